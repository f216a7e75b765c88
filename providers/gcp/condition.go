package gcp

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"cambio/providers/internal/draft"
)

const (
	// maxExpression is the longest condition that Google keeps, in characters.
	maxExpression = 4096
	// maxExpressionDepth bounds the parser's recursion and ours.
	maxExpressionDepth = 100
)

var (
	errNoCEL   = errors.New("the expression is not CEL, or is too long or too deep")
	errNoClaim = errors.New("the expression is no claim as it is")
)

// parse reads CEL without its macros: has() and all() stay calls, which no line
// of match is.
func parse(text string) (ast.Expr, error) {
	p, err := parser.NewParser(
		parser.MaxRecursionDepth(maxExpressionDepth), parser.ExpressionSizeCodePointLimit(maxExpression), parser.ErrorRecoveryLimit(1),
	)
	if err != nil {
		return nil, err
	}
	tree, problems := p.Parse(common.NewTextSource(text))
	if len(problems.GetErrors()) > 0 {
		return nil, errNoCEL
	}
	return tree.Expr(), nil
}

// mapped is the path of the claim that an attribute is mapped from.
func mapped(text string) ([]string, error) {
	e, err := parse(text)
	if err != nil {
		return nil, err
	}
	root, path := selected(e)
	if root != "assertion" || len(path) == 0 {
		return nil, errNoClaim
	}
	return path, nil
}

// selected takes a.b["c"] apart.
func selected(e ast.Expr) (root string, path []string) {
	if e.Kind() == ast.IdentKind {
		return e.AsIdent(), nil
	}
	if e.Kind() == ast.SelectKind && !e.AsSelect().IsTestOnly() {
		root, path = selected(e.AsSelect().Operand())
		return root, append(path, e.AsSelect().FieldName())
	}
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.Index {
		return "", nil
	}
	args := e.AsCall().Args()
	name, ok := text(args[1])
	if !ok {
		return "", nil
	}
	root, path = selected(args[0])
	return root, append(path, name)
}

func text(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// readCondition turns a condition into lines that all hold, each of a claim that
// is one of some values. What has no such form is an error: to leave a part out
// would let more in.
func readCondition(condition string, mapping map[string]string) ([]draft.Line, error) {
	e, err := parse(condition)
	if err != nil {
		return nil, err
	}
	return conditionReader{mapping: mapping}.all(e)
}

type conditionReader struct{ mapping map[string]string }

// all reads what must hold together.
func (r conditionReader) all(e ast.Expr) ([]draft.Line, error) {
	if e.Kind() == ast.LiteralKind && e.AsLiteral() == types.True {
		return nil, nil
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		var lines []draft.Line
		for _, arg := range e.AsCall().Args() {
			more, err := r.all(arg)
			if err != nil {
				return nil, err
			}
			lines = append(lines, more...)
		}
		return lines, nil
	}
	l, err := r.one(e)
	return []draft.Line{l}, err
}

// one reads what one line says: alternatives of one claim.
func (r conditionReader) one(e ast.Expr) (draft.Line, error) {
	if e.Kind() != ast.CallKind {
		return draft.Line{}, errors.New("a condition that compares no claim cannot be carried over")
	}
	c := e.AsCall()
	args := c.Args()
	switch c.FunctionName() {
	case operators.LogicalOr:
		return r.either(args)
	case operators.Equals:
		if _, ok := text(args[0]); ok {
			args = []ast.Expr{args[1], args[0]}
		}
		return r.values(args[0], args[1:])
	case operators.In:
		if args[1].Kind() != ast.ListKind {
			return draft.Line{}, errors.New("`in` anything but a list of texts cannot be carried over")
		}
		return r.values(args[0], args[1].AsList().Elements())
	case "startsWith":
		if !c.IsMemberFunction() || len(args) != 1 {
			break
		}
		l, err := r.values(c.Target(), args)
		if err != nil {
			return l, err
		}
		return l, begins(&l)
	}
	return draft.Line{}, fmt.Errorf("the condition on %s cannot be carried over: only ==, in, && and startsWith are", draft.Show(strings.Trim(c.FunctionName(), "_")))
}

// begins makes a pattern of a beginning. One that ends inside a name is refused:
// startsWith('acme') lets in acme-evil, which nobody means.
func begins(l *draft.Line) error {
	v := &l.Values[0]
	if v.Text == "" || alphanumeric(v.Text[len(v.Text)-1]) {
		return fmt.Errorf("startsWith(%s) ends inside a name: it lets in whatever goes on, such as %s", draft.Show(v.Text), draft.Show(v.Text+"-evil"))
	}
	if strings.ContainsAny(v.Text, "*?") {
		return fmt.Errorf("startsWith(%s) holds a star or a question mark, which patterns read otherwise", draft.Show(v.Text))
	}
	*v = draft.Value{Text: v.Text + "*", Glob: true}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
}

// either joins alternatives of one claim.
func (r conditionReader) either(args []ast.Expr) (draft.Line, error) {
	var out draft.Line
	for _, arg := range args {
		l, err := r.one(arg)
		switch {
		case err != nil:
			return l, err
		case out.Claim != "" && out.Claim != l.Claim:
			return l, fmt.Errorf("|| between %s and %s cannot be carried over: lines of match all hold", draft.Show(out.Claim), draft.Show(l.Claim))
		}
		out.Claim = l.Claim
		out.Values = append(out.Values, l.Values...)
	}
	return out, nil
}

func (r conditionReader) values(claim ast.Expr, values []ast.Expr) (draft.Line, error) {
	path, err := r.claim(claim)
	if err != nil {
		return draft.Line{}, err
	}
	l := draft.Line{Claim: draft.Pointer(path)}
	for _, v := range values {
		s, ok := text(v)
		if !ok {
			return l, fmt.Errorf("%s is compared with what is no text", draft.Show(l.Claim))
		}
		l.Values = append(l.Values, draft.Value{Text: s})
	}
	if len(l.Values) == 0 {
		return l, fmt.Errorf("%s is compared with an empty list: nobody is let in", draft.Show(l.Claim))
	}
	return l, nil
}

// claim is the claim that an expression reads, by itself or through the mapping.
func (r conditionReader) claim(e ast.Expr) ([]string, error) {
	root, path := selected(e)
	switch {
	case root == "assertion" && len(path) > 0:
		return path, nil
	case root == "attribute" && len(path) == 1, root == "google" && len(path) == 1:
		attribute := root + "." + path[0]
		claim, err := mapped(r.mapping[attribute])
		if err != nil {
			return nil, fmt.Errorf("%s is mapped by %s, which is no claim as it is", attribute, draft.Show(r.mapping[attribute]))
		}
		return claim, nil
	}
	return nil, errors.New("what is compared is no claim as it is")
}
