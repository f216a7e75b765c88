package trust

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/parser"
)

// widened is the condition with the token's own value put beside those that a
// comparison of it accepts: claims.x == "a" becomes claims.x in ["a", "b"]. Parts
// joined by && are looked at one by one, and those that hold stay. nil where a
// part that fails is no such comparison.
func (e *editing) widened(c *condition) *condition {
	env := e.j.provider.env
	parsed, issues := env.env.Parse(c.source)
	if issues.Err() != nil {
		return nil
	}
	info := parsed.NativeRep().SourceInfo()
	var parts []string
	whole := conjuncts(parsed.NativeRep().Expr())
	for _, part := range whole {
		text, err := parser.Unparse(part, info)
		if err != nil {
			return nil
		}
		alone, problems := env.compile(text)
		if len(problems) > 0 {
			return nil
		}
		if holds, _ := alone.eval(&e.j.vars); !holds {
			if text = e.wider(part); text == "" {
				return nil
			}
		} else if len(whole) > 1 && loose(part) {
			text = "(" + text + ")"
		}
		parts = append(parts, text)
	}
	wider, problems := env.compile(strings.Join(parts, " && "))
	if len(problems) > 0 {
		return nil
	}
	if holds, _ := wider.eval(&e.j.vars); !holds {
		return nil
	}
	return wider
}

// conjuncts are the parts that && joins.
func conjuncts(e celast.Expr) []celast.Expr {
	if e.Kind() == celast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		var parts []celast.Expr
		for _, arg := range e.AsCall().Args() {
			parts = append(parts, conjuncts(arg)...)
		}
		return parts
	}
	return []celast.Expr{e}
}

// loose reports an expression that && would tear apart.
func loose(e celast.Expr) bool {
	return e.Kind() == celast.CallKind && slices.Contains([]string{operators.LogicalOr, operators.Conditional}, e.AsCall().FunctionName())
}

// wider is the comparison of a claim with one value, or with a list of them, with
// the token's value among them; "" for anything else.
func (e *editing) wider(part celast.Expr) string {
	if part.Kind() != celast.CallKind {
		return ""
	}
	args := part.AsCall().Args()
	var claim celast.Expr
	var values []celast.Expr
	switch part.AsCall().FunctionName() {
	case operators.Equals:
		claim, values = args[0], []celast.Expr{args[1]}
		if claim.Kind() == celast.LiteralKind {
			claim, values = args[1], []celast.Expr{args[0]}
		}
	case operators.In:
		if args[1].Kind() != celast.ListKind {
			return ""
		}
		claim, values = args[0], args[1].AsList().Elements()
	default:
		return ""
	}
	walk := astWalk{schema: e.j.provider.schema}
	path, ok := walk.path(claim)
	if !ok || len(path) == 0 || walk.optional(claim) || claim.Kind() == celast.SelectKind && claim.AsSelect().IsTestOnly() {
		return ""
	}
	v, _ := e.j.provider.schema.lookupPath(path)
	if v == nil {
		return ""
	}
	x, found := v.find(e.j.id.Claims)
	x, ok = v.typed(x)
	own, writable := literalOf(x)
	if !found || !ok || !writable {
		return ""
	}
	items := make([]string, 0, len(values)+1)
	for _, value := range values {
		if value.Kind() != celast.LiteralKind {
			return ""
		}
		text, ok := literalOf(value.AsLiteral())
		if !ok {
			return ""
		}
		items = append(items, text)
	}
	return showPath(path) + " in [" + strings.Join(append(items, own), ", ") + "]"
}

// literalOf writes a value as CEL does.
func literalOf(x any) (string, bool) {
	if v, ok := x.(ref.Val); ok {
		switch v := v.(type) {
		case types.String, types.Int, types.Bool:
			x = v.Value()
		}
	}
	switch x := x.(type) {
	case string:
		return strconv.Quote(x), writable(x) && len(x) <= maxText
	case int64, bool:
		return fmt.Sprint(x), true
	}
	return "", false
}
