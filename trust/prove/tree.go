package prove

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"cambio/trust"
)

// Outside is a part of a condition that no formula stands for.
type Outside struct {
	File       string      `json:"file"`
	At         trust.Place `json:"at"` // of the part, where the condition is written on one line; else of the condition
	Expression string      `json:"expression"`
	Why        string      `json:"why,omitempty"`
}

// tree is the checked syntax of one condition.
type tree struct {
	root     ast.Expr
	info     *ast.SourceInfo
	perGrant map[int64]bool // the nodes that read request or grant
	readsTTL bool
	reads    map[string]bool // the claims that it names, by id
	// readsScopes says the same of scopes, as far as they are named.
	readsScopes bool
	plainTTL    bool // the lifetime is compared with written durations, and nothing else
	ttls        []time.Duration
}

func newTree(c trust.Condition) (*tree, error) {
	checked, err := c.Syntax()
	if err != nil {
		return nil, err
	}
	native := checked.NativeRep()
	t := &tree{root: native.Expr(), info: native.SourceInfo(), perGrant: map[int64]bool{}, reads: map[string]bool{}, plainTTL: true}
	t.look(t.root)
	return t, nil
}

// look notes what the tree reads, and the durations in it.
func (t *tree) look(e ast.Expr) bool {
	reads := false
	if e.Kind() == ast.IdentKind {
		name := e.AsIdent()
		if id, _, ok := trust.ClaimOf(name); ok {
			t.reads[id] = true
		}
		// The whole of one may be indexed by a name that is computed.
		whole := name == "request" || name == "grant"
		t.readsTTL = t.readsTTL || whole || strings.HasSuffix(name, ".ttl")
		t.readsScopes = t.readsScopes || whole || strings.HasSuffix(name, ".scopes")
		t.plainTTL = t.plainTTL && !whole
		reads = whole ||
			strings.HasPrefix(name, "grant.") || strings.HasPrefix(name, "request.") && name != "request.time" && name != "request.address"
	}
	if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() {
		t.reads["/"+escape(e.AsSelect().FieldName())] = true // has(claims.x), or of something that is no claim
	}
	comparison := false
	if e.Kind() == ast.CallKind {
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
			for _, side := range call.Args() {
				if d, ok := written(side); ok {
					t.ttls, comparison = append(t.ttls, d), true
				}
			}
		}
	}
	if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() && e.AsSelect().Operand().Kind() == ast.IdentKind {
		name := e.AsSelect().Operand().AsIdent()
		t.perGrant[e.ID()] = name == "request" || name == "grant" // has() reads no value
		return t.perGrant[e.ID()]
	}
	for _, child := range children(e) {
		t.plainTTL = t.plainTTL && (comparison || !isTTL(child))
		reads = t.look(child) || reads
	}
	t.perGrant[e.ID()] = reads
	return reads
}

func isTTL(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && strings.HasSuffix(e.AsIdent(), ".ttl")
}

// written is the duration that an expression is.
func written(e ast.Expr) (time.Duration, bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "duration" {
		return 0, false
	}
	s, ok := literal(e.AsCall().Args()[0])
	if !ok {
		return 0, false
	}
	d, ok := types.String(s).ConvertToType(types.DurationType).(types.Duration)
	return d.Duration, ok
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func children(e ast.Expr) []ast.Expr {
	var out []ast.Expr
	switch e.Kind() {
	case ast.SelectKind:
		out = append(out, e.AsSelect().Operand())
	case ast.CallKind:
		if e.AsCall().IsMemberFunction() {
			out = append(out, e.AsCall().Target())
		}
		out = append(out, e.AsCall().Args()...)
	case ast.ListKind:
		out = append(out, e.AsList().Elements()...)
	case ast.MapKind:
		for _, m := range e.AsMap().Entries() {
			out = append(out, m.AsMapEntry().Key(), m.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		out = append(out, c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result())
	case ast.IdentKind, ast.LiteralKind, ast.StructKind, ast.UnspecifiedExprKind:
	}
	return out
}

// outside says which part of a condition e is.
func (t *tree) outside(e ast.Expr, c trust.Condition, file string) Outside {
	o := Outside{File: file, At: c.At, Expression: t.source(e)}
	if strings.Contains(strings.TrimSpace(c.Source), "\n") {
		return o
	}
	if column, ok := t.column(e, []rune(c.Source)); ok {
		o.At.Column += column
	}
	return o
}

// column is where the part begins in the condition: an operator's own place is
// in the middle of it, and an access has that of its last dot.
func (t *tree) column(e ast.Expr, source []rune) (int, bool) {
	at, ok := t.info.GetOffsetRange(e.ID())
	column := int(at.Start)
	if ok && e.Kind() == ast.IdentKind && column <= len(source) {
		if root, _, member := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(e.AsIdent(), "/", "."), "?", "."), "."); member {
			before := string(source[:column])
			if i := strings.LastIndex(before, root); i >= 0 {
				column = utf8.RuneCountInString(before[:i])
			}
		}
	}
	for _, child := range children(e) {
		if inner, found := t.column(child, source); found && (!ok || inner < column) {
			column, ok = inner, true
		}
	}
	return column, ok
}

// source writes a part as its author did, but for spaces.
func (t *tree) source(e ast.Expr) string {
	factory := ast.NewExprFactory()
	shown := factory.CopyExpr(e)
	ast.PostOrderVisit(shown, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			if id, optional, ok := trust.ClaimOf(e.AsIdent()); ok {
				e.SetKindCase(factory.NewIdent(e.ID(), claimText(id, optional)))
			}
		}
		if s, ok := literal(e); ok && strings.HasPrefix(s, "^(?:") && strings.HasSuffix(s, ")$") {
			e.SetKindCase(factory.NewLiteral(e.ID(), types.String(s[len("^(?:"):len(s)-len(")$")])))
		}
	}))
	text, err := parser.Unparse(shown, t.info, parser.WrapOnColumn(1<<16))
	if err != nil {
		return "part " + strconv.FormatInt(e.ID(), 10)
	}
	return text
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// claimText writes a pointer as a condition does.
func claimText(id string, optional bool) string {
	var b strings.Builder
	b.WriteString("claims")
	for _, member := range strings.Split(id[1:], "/") {
		member = unescape(member)
		switch {
		case identifier.MatchString(member) && optional:
			b.WriteString(".?" + member)
		case identifier.MatchString(member):
			b.WriteString("." + member)
		case optional:
			b.WriteString("[?" + strconv.Quote(member) + "]")
		default:
			b.WriteString("[" + strconv.Quote(member) + "]")
		}
	}
	return b.String()
}

// unescape reads one member of a pointer.
func unescape(member string) string {
	if !strings.Contains(member, "~") {
		return member
	}
	return strings.ReplaceAll(strings.ReplaceAll(member, "~1", "/"), "~0", "~")
}

// escape writes one member of a pointer (RFC 6901 section 3).
func escape(member string) string {
	if !strings.ContainsAny(member, "~/") {
		return member
	}
	return strings.ReplaceAll(strings.ReplaceAll(member, "~", "~0"), "/", "~1")
}
