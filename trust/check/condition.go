package check

import (
	"slices"
	"sync"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"cambio/trust"
)

// subjectID is the claim that identity.subject repeats.
const subjectID = "/sub"

// condition is what the linter knows of one line of CEL. It is shared by all that
// have the same line.
type condition struct {
	tests []textTest
	reads []string         // ids of the claims that it reads, each once
	equal map[string][]any // claims that must be one of these for it to be true
	value truth            // where it is the same whatever the token says
	whole bool             // equal is all that it says
	// single says that it is one look at one claim, which some values pass and
	// others do not.
	single bool
}

// textTest is a look at a part of a claim's text.
type textTest struct {
	function string // startsWith, endsWith, contains or matches
	claim    string // id
	text     string // the literal; of matches without the wrapping
	positive bool   // the condition can only hold where the test does
}

// truth is the value of an expression that depends on nothing.
type truth int

const (
	open truth = iota
	always
	never
)

func (t truth) not() truth {
	switch t {
	case always:
		return never
	case never:
		return always
	case open:
	}
	return open
}

type conditionOnce struct {
	once sync.Once
	c    *condition
}

// condition reads a line of CEL, each distinct one of a provider once: thousands
// of trusts share a few.
func (l *linter) condition(environment string, c trust.Condition) *condition {
	found, _ := l.conditions.LoadOrStore(environment+"\x00"+c.Source, &conditionOnce{})
	entry, _ := found.(*conditionOnce)
	entry.once.Do(func() { entry.c = readCondition(c) })
	return entry.c
}

func readCondition(c trust.Condition) *condition {
	out := &condition{equal: map[string][]any{}}
	syntax, err := c.Syntax()
	if err != nil {
		return out // it compiled before: there is nothing to say
	}
	root := syntax.NativeRep().Expr()
	out.value = fold(root)
	out.walk(root, true)
	out.whole = out.conjuncts(root)
	out.single = len(out.tests) == 1 && root.Kind() == celast.CallKind && out.tests[0].function == root.AsCall().FunctionName() && out.tests[0].function != overloads.Matches &&
		out.tests[0].text != ""
	return out
}

// walk collects reads and tests. positive says that the condition can only be
// true where this part is.
func (c *condition) walk(e celast.Expr, positive bool) {
	if id := claimRead(e); id != "" {
		if !slices.Contains(c.reads, id) {
			c.reads = append(c.reads, id)
		}
		return
	}
	switch e.Kind() {
	case celast.SelectKind:
		c.walk(e.AsSelect().Operand(), positive)
	case celast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == operators.LogicalNot {
			positive = !positive
		}
		c.test(call, positive)
		if call.IsMemberFunction() {
			c.walk(call.Target(), positive)
		}
		for _, arg := range call.Args() {
			c.walk(arg, positive)
		}
	case celast.ListKind:
		for _, item := range e.AsList().Elements() {
			c.walk(item, positive)
		}
	case celast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			c.walk(entry.AsMapEntry().Value(), positive)
		}
	case celast.ComprehensionKind:
		loop := e.AsComprehension()
		for _, part := range []celast.Expr{loop.IterRange(), loop.AccuInit(), loop.LoopStep(), loop.Result()} {
			c.walk(part, positive)
		}
	case celast.IdentKind, celast.LiteralKind, celast.StructKind, celast.UnspecifiedExprKind:
	}
}

// test notes a call that looks at a part of a claim's text.
func (c *condition) test(call celast.CallExpr, positive bool) {
	function := call.FunctionName()
	if !slices.Contains([]string{overloads.StartsWith, overloads.EndsWith, overloads.Contains, overloads.Matches}, function) {
		return
	}
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]celast.Expr{call.Target()}, args...)
	}
	if len(args) != 2 {
		return
	}
	text, ok := literal(args[1]).(string)
	id := claimWithin(args[0])
	if !ok || id == "" {
		return
	}
	if function == overloads.Matches {
		text = unwrapped(text)
	}
	c.tests = append(c.tests, textTest{function: function, claim: id, text: text, positive: positive})
}

// conjuncts takes the equalities that must hold for the expression to be true. It
// reports whether they are all that it says.
func (c *condition) conjuncts(e celast.Expr) bool {
	if id := claimOf(e); id != "" {
		return c.must(id, []any{true})
	}
	if e.Kind() != celast.CallKind {
		return literal(e) == true
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		whole := true
		for _, arg := range call.Args() {
			whole = c.conjuncts(arg) && whole
		}
		return whole
	case operators.LogicalNot:
		if id := claimOf(call.Args()[0]); id != "" {
			return c.must(id, []any{false})
		}
	case operators.LogicalOr, operators.Equals, operators.In:
		if id, values, ok := oneOf(e); ok {
			return c.must(id, values)
		}
	}
	return false
}

// must narrows a claim to these values.
func (c *condition) must(id string, values []any) bool {
	if before, ok := c.equal[id]; ok {
		values = intersect(before, values)
	}
	c.equal[id] = values
	return true
}

func intersect(a, b []any) []any {
	out := []any{}
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// oneOf takes an expression for: this claim has one of these values.
func oneOf(e celast.Expr) (id string, values []any, ok bool) {
	if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 2 {
		return "", nil, false
	}
	a, b := e.AsCall().Args()[0], e.AsCall().Args()[1]
	switch e.AsCall().FunctionName() {
	case operators.Equals:
		if claimOf(a) == "" {
			a, b = b, a
		}
		id, value := claimOf(a), literal(b)
		return id, []any{value}, id != "" && value != nil
	case operators.In:
		if id = claimOf(a); id == "" || b.Kind() != celast.ListKind {
			return "", nil, false
		}
		for _, item := range b.AsList().Elements() {
			value := literal(item)
			if value == nil {
				return "", nil, false
			}
			values = append(values, value)
		}
		return id, values, true
	case operators.LogicalOr:
		left, some, ok := oneOf(a)
		right, more, fine := oneOf(b)
		return left, append(some, more...), ok && fine && left == right
	}
	return "", nil, false
}

// claimOf is the id of the claim that an expression is, or "".
func claimOf(e celast.Expr) string {
	switch e.Kind() {
	case celast.IdentKind:
		if e.AsIdent() == "identity.subject" {
			return subjectID
		}
		id, _, _ := trust.ClaimOf(e.AsIdent())
		return id
	case celast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() && s.FieldName() == "subject" && s.Operand().Kind() == celast.IdentKind && s.Operand().AsIdent() == "identity" {
			return subjectID
		}
	case celast.CallKind, celast.ComprehensionKind, celast.ListKind, celast.LiteralKind, celast.MapKind, celast.StructKind, celast.UnspecifiedExprKind:
	}
	return ""
}

// claimRead is the id of the claim whose value an expression has, if only where
// the token has it, as in claims.?x.orValue(""); or "".
func claimRead(e celast.Expr) string {
	if e.Kind() == celast.CallKind {
		if call := e.AsCall(); call.IsMemberFunction() && slices.Contains([]string{"orValue", "value"}, call.FunctionName()) {
			return claimOf(call.Target())
		}
	}
	return claimOf(e)
}

// claimWithin is the claim whose text an expression is made of, as in
// claims.x.lowerAscii(), or "".
func claimWithin(e celast.Expr) string {
	for {
		if id := claimRead(e); id != "" {
			return id
		}
		if e.Kind() != celast.CallKind || !e.AsCall().IsMemberFunction() {
			return ""
		}
		e = e.AsCall().Target()
	}
}

// literal is the string, int64 or bool that an expression is, or nil.
func literal(e celast.Expr) any {
	if e.Kind() != celast.LiteralKind {
		return nil
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return string(v)
	case types.Int:
		return int64(v)
	case types.Bool:
		return bool(v)
	}
	return nil
}
