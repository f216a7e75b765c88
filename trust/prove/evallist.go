package prove

import (
	"regexp"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"cambio/trust/logic"
)

// list is a list literal: an error where one of its items is.
func (t *translation) list(l ast.ListExpr) value {
	if len(l.OptionalIndices()) > 0 {
		return only(opaque{})
	}
	out := make(items, 0, l.Size())
	defined := make([]logic.Formula, 0, l.Size())
	for _, e := range l.Elements() {
		v := t.eval(e)
		out = append(out, item{logic.True(), v})
		defined = append(defined, v.defined())
	}
	return value(nil).add(logic.And(defined...), out)
}

// some says that an item of the list, as it became, is a word of l.
func (x texts) some(l logic.Language) logic.Formula {
	if x.before != nil {
		l = x.before(l)
	}
	return logic.Some(x.x, logic.Intersect(x.keep, l))
}

// in is a in b.
func (t *translation) in(a, b term) value {
	switch list := b.(type) {
	case items:
		out := always(false)
		for _, it := range list {
			for _, alt := range it.val {
				eq, ok := t.equal2(a, alt.term)
				if !ok {
					return only(opaque{})
				}
				here := logic.And(it.here, alt.when)
				out = out.or(truth{logic.And(here, eq.yes), logic.Or(logic.Not(here), eq.no)})
			}
		}
		return out.value()
	case texts:
		switch x := a.(type) {
		case types.String:
			return exactly(list.some(logic.Text(string(x)))).value()
		case types.Int, types.Bool, types.Double, number, real, other:
			return only(types.False)
		}
	case object:
		if name, ok := a.(types.String); ok {
			return t.hasField(list, string(name)).value()
		}
	case members:
		if name, ok := a.(types.String); ok {
			return exactly(t.present(list.path + "/" + escape(string(name)))).value()
		}
	case text, types.String, number, real, types.Bool, types.Int:
		return value{} // no such overload
	}
	return only(opaque{})
}

// equal2 is equal for terms that may both be constants.
func (t *translation) equal2(a, b term) (truth, bool) {
	if v, ok := t.folded("_==_", []term{a, b}); ok {
		return always(len(v) == 1 && v[0].term == types.True), true
	}
	return t.equal(a, b)
}

// sets are sets.contains and sets.intersects: all, or one, of the items of b are
// in a.
func (t *translation) sets(name string, a, b term) value {
	list, ok := b.(items)
	if !ok {
		if x, isTexts := b.(texts); isTexts {
			return t.textsIn(name, a, x)
		}
		return only(opaque{})
	}
	out := always(name == "sets.contains")
	for _, it := range list {
		for _, alt := range it.val {
			here := logic.And(it.here, alt.when)
			v := t.in(alt.term, a)
			each := truth{logic.False(), logic.False()}
			for _, w := range v {
				switch w.term {
				case types.True:
					each.yes = logic.Or(each.yes, w.when)
				case types.False:
					each.no = logic.Or(each.no, w.when)
				default:
					return only(opaque{})
				}
			}
			if name == "sets.contains" {
				out = out.and(truth{logic.Or(logic.Not(here), each.yes), logic.And(here, each.no)})
			} else {
				out = out.or(truth{logic.And(here, each.yes), logic.Or(logic.Not(here), each.no)})
			}
		}
	}
	return out.value()
}

// textsIn asks whether all, or one, of the items of a list claim are among those
// of a.
func (t *translation) textsIn(name string, a term, x texts) value {
	list, ok := a.(items)
	if !ok {
		return only(opaque{})
	}
	// Which of a's items are there is not always known: intersects is by item.
	var words []string
	out := always(false)
	for _, it := range list {
		for _, alt := range it.val {
			s, ok := alt.term.(types.String)
			if !ok {
				return only(opaque{})
			}
			here := logic.And(it.here, alt.when)
			if name == "sets.contains" && !isTrue(here) {
				return only(opaque{})
			}
			words = append(words, string(s))
			out = out.or(exactly(logic.And(here, x.some(logic.Text(string(s))))))
		}
	}
	if name == "sets.contains" {
		out = exactly(logic.Not(x.some(logic.Complement(logic.Texts(words...)))))
	}
	return out.value()
}

func isTrue(f logic.Formula) bool {
	v, ok := f.Const()
	return ok && v
}

func isFalse(f logic.Formula) bool {
	v, ok := f.Const()
	return ok && !v
}

func sizeOf(t term) value {
	switch x := t.(type) {
	case text:
		return only(length{x})
	case texts, items, segments:
		return only(count{x})
	case number, real, types.Bool, types.Int:
		return value{}
	}
	return only(opaque{})
}

// sizeAtMost says where a list has at most n items.
func sizeAtMost(list term, n int64) (logic.Formula, bool) {
	if n < 0 {
		return logic.False(), true
	}
	switch x := list.(type) {
	case texts:
		all := x.some(logic.Any())
		switch {
		case n == 0:
			return logic.Not(all), true
		case x.whole:
			return logic.SizeAtMost(x.x, n), true
		}
	case items:
		here := make([]logic.Formula, len(x))
		for i, it := range x {
			here[i] = it.here
		}
		return atMostOf(here, int(min(n, int64(len(x))))), true
	case segments:
		if n == 0 {
			return logic.False(), true
		}
		sep := regexp.QuoteMeta(x.sep)
		one := `[^` + class(x.sep) + `]*`
		l, err := logic.Regexp(`(?s)` + one + `(?:` + sep + one + `){0,` + strconv.FormatInt(min(n-1, 500), 10) + `}`)
		return logic.In(x.x, l), err == nil && n <= 500
	}
	return logic.False(), false
}

// atMostOf says that at most n of the formulas hold.
func atMostOf(fs []logic.Formula, n int) logic.Formula {
	// row[k] is that at most k of those behind hold; below zero is impossible.
	row := make([]logic.Formula, n+1)
	for k := range row {
		row[k] = logic.True()
	}
	for i := len(fs) - 1; i >= 0; i-- {
		next := make([]logic.Formula, n+1)
		for k := range next {
			less := logic.False()
			if k > 0 {
				less = row[k-1]
			}
			next[k] = logic.If(fs[i], less, row[k])
		}
		row = next
	}
	return row[n]
}
