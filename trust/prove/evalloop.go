package prove

import (
	"maps"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"cambio/trust/logic"
)

type loopKind int

const (
	noLoop loopKind = iota
	exists
	all
	existsOne
	collect // filter and map
	binding // a name for a value
)

// loop is one of CEL's macros, taken apart again.
type loop struct {
	kind loopKind
	name string   // of the item
	test ast.Expr // nil: every item
	made ast.Expr // what collect makes of an item
}

// readLoop recognises what the macros expand to.
func readLoop(c ast.ComprehensionExpr) loop {
	l := loop{name: c.IterVar()}
	if c.HasIterVar2() {
		return l
	}
	isAccu := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == c.AccuVar() }
	step := c.LoopStep()
	if isAccu(step) && c.IterRange().Kind() == ast.ListKind && c.IterRange().AsList().Size() == 0 {
		l.kind = binding
		return l
	}
	if step.Kind() != ast.CallKind {
		return l
	}
	call := step.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalOr:
		l.kind, l.test = exists, args[1]
	case operators.LogicalAnd:
		l.kind, l.test = all, args[1]
	case operators.Conditional:
		l.test = args[0]
		if args[1].Kind() != ast.CallKind || args[1].AsCall().FunctionName() != operators.Add || !isAccu(args[2]) {
			return l
		}
		added := args[1].AsCall().Args()[1]
		if added.Kind() == ast.LiteralKind {
			l.kind = existsOne
		}
		if added.Kind() == ast.ListKind {
			l.kind, l.made = collect, added.AsList().Elements()[0]
		}
	case operators.Add:
		if args[1].Kind() == ast.ListKind && args[1].AsList().Size() == 1 {
			l.kind, l.made = collect, args[1].AsList().Elements()[0]
		}
	}
	return l
}

func (t *translation) loop(e ast.Expr) value {
	c := e.AsComprehension()
	l := readLoop(c)
	if l.kind == noLoop {
		return only(opaque{})
	}
	if l.kind == binding {
		return t.with(c.AccuVar(), t.eval(c.AccuInit())).eval(c.Result())
	}
	var out value
	for _, a := range t.eval(c.IterRange()) {
		switch list := a.term.(type) {
		case items:
			out = append(out, t.overItems(l, list).where(a.when)...)
		case texts:
			out = append(out, t.overTexts(l, list).where(a.when)...)
		case types.String, types.Bool, types.Int, text, number, real:
			// Not a list: an error.
		default:
			out = out.add(a.when, opaque{})
		}
	}
	return out
}

// with is the same translation with one more name.
func (t *translation) with(name string, v value) *translation {
	inner := *t
	inner.bound = maps.Clone(t.bound)
	if inner.bound == nil {
		inner.bound = map[string]value{}
	}
	inner.bound[name] = v
	return &inner
}

// overItems looks at each possible item by itself.
func (t *translation) overItems(l loop, list items) value {
	result, here := always(l.kind == all), make([]logic.Formula, 0, len(list))
	var made items
	fine := logic.True() // no item makes the whole an error
	for _, it := range list {
		inner := t.with(l.name, it.val)
		test := always(true)
		if l.test != nil {
			test = inner.truth(l.test)
		}
		absent := logic.Not(it.here)
		chosen := logic.And(it.here, test.yes)
		switch l.kind {
		case exists:
			result = result.or(truth{chosen, logic.Or(absent, test.no)})
		case all:
			result = result.and(truth{logic.Or(absent, test.yes), logic.And(it.here, test.no)})
		case existsOne:
			fine = logic.And(fine, logic.Or(absent, test.defined()))
			here = append(here, chosen)
		case collect:
			v := inner.eval(l.made)
			fine = logic.And(fine, logic.Or(absent, test.no, logic.And(test.yes, v.defined())))
			made = append(made, item{chosen, v})
		case noLoop, binding:
		}
	}
	if l.kind == existsOne {
		one := logic.And(atMostOf(here, min(1, len(here))), logic.Not(atMostOf(here, 0)))
		return exactly(one).where(fine).value()
	}
	if l.kind == collect {
		return value(nil).add(fine, made)
	}
	return result.value()
}

// overTexts turns the test into languages: what an item has to be for it to be
// true, and false.
func (t *translation) overTexts(l loop, list texts) value {
	cases := []itemCase{{logic.True(), logic.Any(), logic.None()}}
	if l.test != nil {
		var ok bool
		if cases, ok = t.itemTest(l.test, l.name); !ok {
			return only(opaque{})
		}
	}
	var out value
	for _, c := range cases {
		sure := logic.Not(list.some(logic.Complement(logic.Union(c.yes, c.no)))) // no item is an error
		switch l.kind {
		case exists:
			v := truth{list.some(c.yes), logic.Not(list.some(logic.Complement(c.no)))}
			out = append(out, v.where(c.when).value()...)
		case all:
			v := truth{logic.Not(list.some(logic.Complement(c.yes))), list.some(c.no)}
			out = append(out, v.where(c.when).value()...)
		case existsOne:
			// How often a text is in the list is outside, unless it is not at all.
			some := list.some(c.yes)
			when := logic.And(c.when, sure)
			out = out.add(logic.And(when, logic.Not(some)), types.False)
			if list.whole {
				out = out.add(logic.And(when, some, logic.SizeAtMost(list.x, 1)), types.True)
				some = logic.And(some, logic.Not(logic.SizeAtMost(list.x, 1)))
			}
			out = out.add(logic.And(when, some), opaque{})
		case collect:
			next, ok := list.kept(c.yes).mapped(l.made, l.name)
			if !ok {
				return only(opaque{})
			}
			out = out.add(logic.And(c.when, sure), next)
		case noLoop, binding:
		}
	}
	return out.merged()
}

// kept are the items in l.
func (x texts) kept(l logic.Language) texts {
	if x.before != nil {
		l = x.before(l)
	}
	next := logic.Intersect(x.keep, l)
	return texts{x: x.x, before: x.before, keep: next, whole: x.whole && isTrue(logic.In("x", l))}
}

// mapped are the items after their ASCII letters were changed, or as they are.
func (x texts) mapped(made ast.Expr, name string) (texts, bool) {
	f, ok := foldOf(made, name)
	if !ok {
		return texts{}, false
	}
	if f == asIs {
		return x, true
	}
	before := x.before
	x.before = func(l logic.Language) logic.Language {
		l = logic.MapASCII(l, f == lowered)
		if before != nil {
			l = before(l)
		}
		return l
	}
	return x, true
}

// foldOf recognises the item itself, and its lowerAscii() and upperAscii().
func foldOf(e ast.Expr, name string) (fold, bool) {
	if e.Kind() == ast.IdentKind {
		return asIs, e.AsIdent() == name
	}
	if e.Kind() != ast.CallKind || !e.AsCall().IsMemberFunction() {
		return asIs, false
	}
	_, ok := foldOf(e.AsCall().Target(), name)
	switch e.AsCall().FunctionName() {
	case "lowerAscii":
		return lowered, ok
	case "upperAscii":
		return uppered, ok
	}
	return asIs, false
}

// itemCase is what a test of an item comes to where something holds that has
// nothing to do with the item.
type itemCase struct {
	when    logic.Formula
	yes, no logic.Language // neither: an error
}

// maxItemCases bounds what a test of an item may depend on beside the item.
const maxItemCases = 16

func (t *translation) itemTest(e ast.Expr, name string) ([]itemCase, bool) {
	if !mentions(e, name) {
		v := t.truth(e)
		out := make([]itemCase, 0, 3)
		for _, c := range []itemCase{
			{v.yes, logic.Any(), logic.None()}, {v.no, logic.None(), logic.Any()}, {logic.Not(v.defined()), logic.None(), logic.None()},
		} {
			if !isFalse(c.when) {
				out = append(out, c)
			}
		}
		return out, true
	}
	if e.Kind() != ast.CallKind {
		return nil, false
	}
	c := e.AsCall()
	args := c.Args()
	switch c.FunctionName() {
	case operators.LogicalNot:
		cases, ok := t.itemTest(args[0], name)
		for i := range cases {
			cases[i].yes, cases[i].no = cases[i].no, cases[i].yes
		}
		return cases, ok
	case operators.LogicalAnd, operators.LogicalOr:
		left, ok := t.itemTest(args[0], name)
		right, ok2 := t.itemTest(args[1], name)
		if !ok || !ok2 || len(left)*len(right) > maxItemCases {
			return nil, false
		}
		var out []itemCase
		for _, a := range left {
			for _, b := range right {
				n := itemCase{when: logic.And(a.when, b.when)}
				if c.FunctionName() == operators.LogicalAnd {
					n.yes, n.no = logic.Intersect(a.yes, b.yes), logic.Union(a.no, b.no)
				} else {
					n.yes, n.no = logic.Union(a.yes, b.yes), logic.Intersect(a.no, b.no)
				}
				if !isFalse(n.when) {
					out = append(out, n)
				}
			}
		}
		return out, true
	}
	return t.itemAtom(c, name)
}

// itemAtom compares the item with something that has nothing to do with it.
func (t *translation) itemAtom(c ast.CallExpr, name string) ([]itemCase, bool) {
	sides := c.Args()
	if c.IsMemberFunction() {
		sides = append([]ast.Expr{c.Target()}, sides...)
	}
	if len(sides) != 2 {
		return nil, false
	}
	kind, negated := testKind(c.FunctionName()), false
	switch c.FunctionName() {
	case operators.Equals, operators.NotEquals:
		kind, negated = equals, c.FunctionName() == operators.NotEquals
		if mentions(sides[1], name) {
			sides = []ast.Expr{sides[1], sides[0]}
		}
	case operators.In:
	case "startsWith", "endsWith", "contains", "matches":
	default:
		return nil, false
	}
	f, ok := foldOf(sides[0], name)
	if !ok || mentions(sides[1], name) {
		return nil, false
	}
	other := t.eval(sides[1])
	var out []itemCase
	for _, a := range other {
		l, ok := wordsOf(kind, a.term)
		if !ok || len(other) > maxItemCases {
			return nil, false
		}
		if f != asIs {
			l = logic.MapASCII(l, f == lowered)
		}
		n := itemCase{a.when, l, logic.Complement(l)}
		if negated {
			n.yes, n.no = n.no, n.yes
		}
		out = append(out, n)
	}
	if undefined := logic.Not(other.defined()); !isFalse(undefined) {
		out = append(out, itemCase{undefined, logic.None(), logic.None()})
	}
	return out, true
}

// wordsOf are the texts that pass a test against a constant, or are in a list of
// constants.
func wordsOf(kind testKind, t term) (logic.Language, bool) {
	if s, ok := t.(types.String); ok {
		return textTest{kind: kind, arg: string(s)}.language()
	}
	list, ok := t.(items)
	if !ok || string(kind) != operators.In {
		return logic.None(), false
	}
	words := make([]string, 0, len(list))
	for _, it := range list {
		if !isTrue(it.here) || len(it.val) != 1 {
			return logic.None(), false
		}
		s, ok := it.val[0].term.(types.String)
		if !ok {
			return logic.None(), false
		}
		words = append(words, string(s))
	}
	return logic.Texts(words...), true
}

// mentions reports whether e uses a name.
func mentions(e ast.Expr, name string) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.IdentKind && e.AsIdent() == name
	}))
	return found
}
