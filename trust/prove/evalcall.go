package prove

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"cambio/trust/logic"
)

// function is one strict function of one combination of terms.
func (t *translation) function(name string, args []term) value {
	if v, ok := t.folded(name, args); ok {
		return v
	}
	switch name {
	case operators.Equals, operators.NotEquals:
		eq, ok := t.equal(args[0], args[1])
		if !ok {
			return only(opaque{})
		}
		if name == operators.NotEquals {
			eq = eq.not()
		}
		return eq.value()
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return decided(t.compare(name, args[0], args[1]))
	case operators.In:
		return t.in(args[0], args[1])
	case operators.Index, operators.OptIndex, operators.OptSelect:
		return t.index(args[0], args[1], name != operators.Index)
	case operators.Add:
		return concatOrAdd(args[0], args[1], 1)
	case operators.Subtract:
		return concatOrAdd(args[0], args[1], -1)
	case "startsWith", "endsWith", "contains", "matches":
		if s, ok := args[1].(types.String); ok {
			return decided(holds(args[0], textTest{kind: testKind(name), arg: string(s)}))
		}
	case "lowerAscii":
		return foldText(args[0], lowered)
	case "upperAscii":
		return foldText(args[0], uppered)
	case "size":
		return sizeOf(args[0])
	case "split":
		if x, ok := plain(args[0]); ok && len(args) == 2 {
			if sep, ok := args[1].(types.String); ok && utf8.RuneCountInString(string(sep)) == 1 {
				return only(segments{x, string(sep)})
			}
		}
	case "substring":
		if len(args) == 3 && types.Equal(asValue(args[1]), types.Int(0)) == types.True {
			if n, ok := args[2].(types.Int); ok && n > 0 && n < 256 {
				return beginning(args[0], int(n))
			}
		}
	case "charAt":
		if x, ok := plain(args[0]); ok && types.Equal(asValue(args[1]), types.Int(0)) == types.True {
			return beginning(args[0], 1).add(logic.In(x, logic.Text("")), types.String("")) // behind the last one is nothing
		}
	case "hasValue":
		if o, ok := args[0].(option); ok {
			return always(o.some).value()
		}
	case "value":
		if o, ok := args[0].(option); ok {
			if !o.some {
				return value{}
			}
			return only(o.val)
		}
	case "optional.of":
		return only(some(args[0]))
	case "optional.none":
		return only(option{})
	case "dyn", "@not_strictly_false":
		return only(args[0])
	case "sets.contains", "sets.intersects":
		return t.sets(name, args[0], args[1])
	case "timestamp", "int", "double", "duration", "string":
		return convert(name, args[0])
	default:
		if strings.HasPrefix(name, "get") {
			return clockOf(name, args)
		}
	}
	return failedOrOpaque(name, args)
}

// failedOrOpaque is what a function of unknown meaning gives: an error for a null
// or a structure where only scalars are taken, else anything.
func failedOrOpaque(name string, args []term) value {
	switch name {
	case "startsWith", "endsWith", "contains", "matches", "lowerAscii", "upperAscii", "split", "substring", "charAt":
		switch args[0].(type) {
		case other, number, real, types.Bool, types.Int, types.Double:
			return value{} // no such overload
		}
	}
	return only(opaque{})
}

// decided is a truth that the fragment has, or an opaque one.
func decided(v truth, ok bool) value {
	if !ok {
		return only(opaque{})
	}
	return v.value()
}

func asValue(t term) ref.Val {
	if v, ok := t.(ref.Val); ok {
		return v
	}
	return types.NullValue
}

// folded runs a function on constants, with the code that decisions use too.
func (t *translation) folded(name string, args []term) (value, bool) {
	values := make([]ref.Val, len(args))
	for i, a := range args {
		v, ok := constant(a)
		if !ok {
			list, isList := a.(items)
			if !isList {
				return nil, false
			}
			if v, ok = list.constant(); !ok {
				return nil, false
			}
		}
		values[i] = v
	}
	if name == operators.OptIndex || name == operators.OptSelect {
		return nil, false
	}
	f := t.pr.functions[name]
	if f == nil {
		return nil, false
	}
	out := f(values...)
	if out == nil {
		return nil, false
	}
	if types.IsUnknownOrError(out) {
		return value{}, true
	}
	if lister, ok := out.(traits.Lister); ok {
		return only(unpacked(lister)), true
	}
	if _, ok := out.(*types.Optional); ok {
		return nil, false
	}
	return only(out), true
}

// constant is the list as CEL has it, where all of its items are certain and
// constant.
func (l items) constant() (ref.Val, bool) {
	out := make([]ref.Val, len(l))
	for i, it := range l {
		if here, ok := it.here.Const(); !ok || !here || len(it.val) != 1 {
			return nil, false
		}
		if defined, ok := it.val[0].when.Const(); !ok || !defined {
			return nil, false
		}
		v, ok := constant(it.val[0].term)
		if !ok {
			return nil, false
		}
		out[i] = v
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out), true
}

func unpacked(l traits.Lister) items {
	var out items
	for it := l.Iterator(); it.HasNext() == types.True; {
		out = append(out, item{logic.True(), only(it.Next())})
	}
	return out
}

// equal compares as CEL does: values of different types are not equal, and
// numbers are equal whatever their type.
func (t *translation) equal(a, b term) (truth, bool) {
	if _, ok := constant(a); ok {
		a, b = b, a
	}
	switch x := a.(type) {
	case opaque:
		return truth{}, false
	case other:
		switch b.(type) {
		case types.String, types.Int, types.Bool, types.Double:
			return always(false), true
		}
		return truth{}, false
	case items, texts, members:
		return truth{}, false
	case object:
		if empty, ok := b.(traits.Mapper); ok && x == "grant.claims" && empty.Size() == types.IntZero {
			return always(len(t.grant.Claims) == 0), true
		}
		return truth{}, false
	case option:
		return t.equalOptions(x, b)
	case number:
		return numbersEqual(x, b)
	case length, wallClock, count, real, rounded:
		switch b.(type) {
		case types.String, types.Bool, text, segment, cut:
			return always(false), true
		}
		le, ok := t.compare(operators.LessEquals, a, b)
		ge, ok2 := t.compare(operators.GreaterEquals, a, b)
		return le.and(ge), ok && ok2
	}
	return textsEqual(a, b)
}

func (t *translation) equalOptions(x option, b term) (truth, bool) {
	y, ok := b.(option)
	switch {
	case !ok:
		return truth{}, false
	case x.some != y.some:
		return always(false), true
	case !x.some:
		return always(true), true
	}
	if v, ok := t.folded(operators.Equals, []term{x.val, y.val}); ok {
		return always(len(v) == 1 && v[0].term == types.True), true
	}
	return t.equal(x.val, y.val)
}

// index is a member of a map or an item of a list.
func (t *translation) index(of, key term, optional bool) value {
	wrap := func(v value) value {
		if !optional {
			return v
		}
		if _, ok := of.(option); ok {
			return v // a chain stays an optional
		}
		return v.each(some).add(logic.Not(v.defined()), option{})
	}
	if name, ok := key.(types.String); ok {
		switch o := of.(type) {
		case object, members, option:
			return wrap(t.member(only(o), string(name)))
		case opaque:
			return only(opaque{})
		case other:
			return only(opaque{})
		}
		return value{}
	}
	n, ok := key.(types.Int)
	if !ok {
		return only(opaque{})
	}
	switch o := of.(type) {
	case segments:
		if n < 0 || n > 16 {
			return only(opaque{})
		}
		s := segment{o.x, o.sep, int(n)}
		return wrap(value(nil).add(s.there(), s))
	case items:
		if all, ok := o.certain(); ok && n >= 0 && int(n) < len(o) && all {
			return wrap(o[n].val)
		}
	}
	return only(opaque{})
}

// certain reports whether all items are in the list in any case.
func (l items) certain() (all, ok bool) {
	for _, it := range l {
		if here, is := it.here.Const(); !is || !here {
			return false, false
		}
	}
	return true, true
}
