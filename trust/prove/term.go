package prove

import (
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"cambio/trust/logic"
)

// truth is what a boolean expression comes to: true where yes holds, false where
// no does, and an error where neither does. Both never hold at once.
type truth struct{ yes, no logic.Formula }

func always(value bool) truth {
	if value {
		return truth{logic.True(), logic.False()}
	}
	return truth{logic.False(), logic.True()}
}

// exactly is an expression that is true or false by f, and never an error.
func exactly(f logic.Formula) truth { return truth{f, logic.Not(f)} }

// failed is an expression that cannot be evaluated.
func failed() truth { return truth{logic.False(), logic.False()} }

func (v truth) not() truth { return truth{v.no, v.yes} }

func (v truth) defined() logic.Formula { return logic.Or(v.yes, v.no) }

// where is v where f holds, and nothing elsewhere.
func (v truth) where(f logic.Formula) truth {
	return truth{logic.And(f, v.yes), logic.And(f, v.no)}
}

// and absorbs an error on either side, as CEL does; so does or.
func (v truth) and(w truth) truth {
	return truth{logic.And(v.yes, w.yes), logic.Or(v.no, w.no)}
}

func (v truth) or(w truth) truth { return v.not().and(w.not()).not() }

// value is what any expression comes to: the term of the alternative whose guard
// holds, an error where none does. Guards exclude each other.
type value []alternative

type alternative struct {
	when logic.Formula
	term term
}

// term is one of the types below, or a constant of CEL (a [ref.Val]).
type term any

func only(t term) value { return value{{logic.True(), t}} }

func (v truth) value() value {
	return value(nil).add(v.yes, types.True).add(v.no, types.False)
}

// add appends an alternative that is possible at all.
func (v value) add(when logic.Formula, t term) value {
	if never, ok := when.Const(); ok && !never {
		return v
	}
	return append(v, alternative{when, t})
}

// where is v where f holds, and an error elsewhere.
func (v value) where(f logic.Formula) value {
	out := make(value, 0, len(v))
	for _, a := range v {
		out = out.add(logic.And(f, a.when), a.term)
	}
	return out
}

// defined says where v is no error.
func (v value) defined() logic.Formula {
	fs := make([]logic.Formula, len(v))
	for i, a := range v {
		fs[i] = a.when
	}
	return logic.Or(fs...)
}

// each maps the terms.
func (v value) each(f func(term) term) value {
	out := make(value, len(v))
	for i, a := range v {
		out[i] = alternative{a.when, f(a.term)}
	}
	return out
}

// constant is a term as a constant of CEL, where it is one.
func constant(t term) (ref.Val, bool) {
	v, ok := t.(ref.Val)
	return v, ok
}

// text is a string made of pieces, each a literal or a variable.
type text []piece

type piece struct {
	literal string
	x       logic.Var // "": the literal
	fold    fold
}

// fold is what was done to a variable's ASCII letters.
type fold uint8

const (
	asIs fold = iota
	lowered
	uppered
)

func textOf(x logic.Var) text { return text{{x: x}} }

// segment is one item of a variable that is split: x.split(sep)[at].
type segment struct {
	x   logic.Var
	sep string
	at  int
}

// segments are all of them.
type segments struct {
	x   logic.Var
	sep string
}

// cut is a piece of a variable from its beginning: x.substring(0, n).
type cut struct {
	x logic.Var
	n int
}

// length is the number of code points of a text.
type length struct{ of text }

// number is (x - y)/unit + add: an integer, or with another kind an instant or a
// duration in nanoseconds. x and y may be "". With a unit above 1 the quotient
// is rounded down.
type number struct {
	kind numberKind
	x, y logic.Var
	unit int64
	add  int64
}

type numberKind uint8

const (
	integer numberKind = iota
	instant
	duration
)

// wallClock is what a clock on the wall shows at the instant x, as a number.
type wallClock struct {
	x    logic.Var
	id   string
	show func(time.Time) int64
	step logic.Step
	// starts is when the clock comes to show n, where it never goes back.
	starts func(n int64) (time.Time, bool)
}

// real is a double.
type real struct{ x logic.Var }

// rounded is an integer as the nearest double: beyond 53 bits two of them can
// become equal.
type rounded struct{ number }

// address is the caller's address as text.
type address struct{ x logic.Var }

// texts is a list claim. before maps a language of what an item became to one of
// what it was; only items of keep are left.
type texts struct {
	x      logic.Var
	before func(logic.Language) logic.Language
	keep   logic.Language
	whole  bool // none is left out
}

// items is a list whose possible items are known.
type items []item

type item struct {
	here logic.Formula // it is in the list
	val  value         // where it is
}

// count is the number of items of a list.
type count struct{ of term }

// members is a map claim, or a map in it; path is its pointer.
type members struct{ path string }

// object is one of the variables claims, identity, request and grant as a whole,
// or the extra claims of the grant.
type object string

// option is an optional with a value, or without one.
type option struct {
	val  term
	some bool
}

// other is a JSON value of a type that nothing here can do anything with: null, a
// list or a map inside a map claim.
type other struct{ path string }

// opaque is a value that the fragment cannot say anything about.
type opaque struct{}
