package prove

import (
	"math"
	"math/big"
	"time"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"cambio/trust/logic"
)

// scalar is a constant as a number: an integer, an instant or a duration; exact
// says that it is no fraction.
func scalar(t term) (n int64, kind numberKind, ok bool) {
	switch x := t.(type) {
	case types.Int:
		return int64(x), integer, true
	case types.Timestamp:
		if x.Year() < 1679 || x.Year() > 2261 {
			return 0, instant, false
		}
		return x.UnixNano(), instant, true
	case types.Duration:
		return int64(x.Duration), duration, true
	case types.Double:
		if f := float64(x); f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f), integer, true
		}
	}
	return 0, integer, false
}

// atMost says where the number is at most c.
func (n number) atMost(c int64) (logic.Formula, bool) {
	if n.x == "" && n.y == "" {
		return boolean(n.add <= c), true
	}
	// (x - y)/unit + add <= c, with the quotient rounded down: x - y < (c - add + 1) * unit
	bound := new(big.Int).Sub(big.NewInt(c), big.NewInt(n.add))
	bound.Add(bound, big.NewInt(1)).Mul(bound, big.NewInt(n.unit)).Sub(bound, big.NewInt(1))
	switch {
	case bound.IsInt64():
	case bound.Sign() > 0:
		return logic.True(), n.y == "" // a difference can be beyond 64 bits
	default:
		return logic.False(), n.y == ""
	}
	switch {
	case n.y == "":
		return logic.AtMost(n.x, bound.Int64()), true
	case n.x == "":
		// -y <= b where y >= -b
		if bound.Int64() == math.MinInt64 {
			return logic.False(), true
		}
		if -bound.Int64() == math.MinInt64 {
			return logic.True(), true
		}
		return logic.Not(logic.AtMost(n.y, -bound.Int64()-1)), n.unit == 1
	}
	return logic.Difference(n.x, n.y, bound.Int64()), true
}

// minus is n - m as one number, where at most one variable is left on each side.
func (n number) minus(m number) (number, bool) {
	if n.unit != m.unit {
		return number{}, false
	}
	out := number{kind: n.kind, unit: n.unit}
	plus, less := []logic.Var{n.x, m.y}, []logic.Var{n.y, m.x}
	for i, x := range plus {
		for j, y := range less {
			if x != "" && x == y {
				plus[i], less[j] = "", ""
			}
		}
	}
	one := func(vs []logic.Var) (logic.Var, bool) {
		if vs[0] != "" && vs[1] != "" {
			return "", false
		}
		return vs[0] + vs[1], true
	}
	var ok, ok2 bool
	out.x, ok = one(plus)
	out.y, ok2 = one(less)
	if !ok || !ok2 {
		return out, false
	}
	if n.unit > 1 && out.y != "" && out.y == timeVar {
		return out, false // a rounded difference needs whole seconds to be taken away
	}
	sum := new(big.Int).Sub(big.NewInt(n.add), big.NewInt(m.add))
	if !sum.IsInt64() {
		return out, false
	}
	out.add = sum.Int64()
	return out, true
}

func numbersEqual(n number, b term) (truth, bool) {
	le, ok := compareNumber(operators.LessEquals, n, b)
	ge, ok2 := compareNumber(operators.GreaterEquals, n, b)
	if ok && ok2 {
		return truth{logic.And(le, ge), logic.Not(logic.And(le, ge))}, true
	}
	switch x := b.(type) {
	case types.String, types.Bool, text, other:
		return always(false), true
	case types.Double:
		if n.kind == integer && float64(x) != math.Trunc(float64(x)) {
			return always(false), true
		}
	case number:
		if x.kind != n.kind {
			return always(false), true
		}
	}
	return truth{}, false
}

// compareNumber is n OP b.
func compareNumber(op string, n number, b term) (logic.Formula, bool) {
	c, kind, ok := scalar(b)
	if m, isNumber := b.(number); isNumber {
		if m.kind != n.kind {
			return logic.False(), false
		}
		var fine bool
		if n, fine = n.minus(m); !fine {
			return logic.False(), false
		}
		if n.x == "" && n.y == "" {
			return boolean(ordered(op, n.add, 0)), true
		}
		c, kind, ok = 0, n.kind, true
	}
	if !ok || kind != n.kind {
		return logic.False(), false
	}
	switch op {
	case operators.LessEquals:
		return n.atMost(c)
	case operators.Less:
		if c == math.MinInt64 {
			return logic.False(), true
		}
		return n.atMost(c - 1)
	case operators.Greater:
		f, ok := n.atMost(c)
		return logic.Not(f), ok
	case operators.GreaterEquals:
		if c == math.MinInt64 {
			return logic.True(), true
		}
		f, ok := n.atMost(c - 1)
		return logic.Not(f), ok
	}
	return logic.False(), false
}

func boolean(b bool) logic.Formula {
	if b {
		return logic.True()
	}
	return logic.False()
}

func ordered(op string, a, b int64) bool {
	switch op {
	case operators.Less:
		return a < b
	case operators.LessEquals:
		return a <= b
	case operators.Greater:
		return a > b
	}
	return a >= b
}

// turned is the operator with its sides changed.
func turned(op string) string {
	switch op {
	case operators.Less:
		return operators.Greater
	case operators.LessEquals:
		return operators.GreaterEquals
	case operators.Greater:
		return operators.Less
	}
	return operators.LessEquals
}

// compare is a OP b for an order.
func (t *translation) compare(op string, a, b term) (truth, bool) {
	if _, ok := constant(a); ok {
		a, b, op = b, a, turned(op)
	}
	if _, ok := b.(number); ok {
		if _, ok := a.(number); !ok {
			a, b, op = b, a, turned(op)
		}
	}
	switch x := a.(type) {
	case number:
		f, ok := compareNumber(op, x, b)
		return exactly(f), ok
	case real:
		return compareReal(op, x, b)
	case rounded:
		// Up to 53 bits rounding keeps the order.
		if c, _, ok := scalar(b); !ok || c <= -1<<53 || c >= 1<<53 {
			return truth{}, false
		}
		f, ok := compareNumber(op, x.number, b)
		return exactly(f), ok
	case length, wallClock, count:
		n, kind, ok := scalar(b)
		if !ok || kind != integer {
			return truth{}, false
		}
		f, ok := counted(op, a, n)
		return exactly(f), ok
	case other:
		return failed(), x.path != ""
	}
	return truth{}, false
}

// counted compares what is a number of something with a constant.
func counted(op string, a term, n int64) (logic.Formula, bool) {
	switch op {
	case operators.Less, operators.GreaterEquals:
		if n == math.MinInt64 {
			return boolean(op == operators.GreaterEquals), true
		}
		n--
	}
	var f logic.Formula
	ok := true
	switch x := a.(type) {
	case length:
		f, ok = x.of.holds(textTest{kind: sized, max: int(min(max(n, -1), math.MaxInt32))})
	case wallClock:
		f, ok = x.atMost(n)
	case count:
		f, ok = sizeAtMost(x.of, n)
	}
	if op == operators.Greater || op == operators.GreaterEquals {
		f = logic.Not(f)
	}
	return f, ok
}

func compareReal(op string, x real, b term) (truth, bool) {
	var c float64
	switch n := b.(type) {
	case types.Double:
		c = float64(n)
	case types.Int:
		c = float64(n)
		if math.Abs(c) >= 1<<53 {
			return truth{}, false
		}
	default:
		return truth{}, false
	}
	if math.IsNaN(c) {
		return truth{}, false
	}
	switch op {
	case operators.Less:
		return exactly(logic.Below(x.x, c, false)), true
	case operators.LessEquals:
		return exactly(logic.Below(x.x, c, true)), true
	case operators.Greater:
		return exactly(logic.Not(logic.Below(x.x, c, true))), true
	}
	return exactly(logic.Not(logic.Below(x.x, c, false))), true
}

// concatOrAdd is a + b, or a - b with sign -1.
func concatOrAdd(a, b term, sign int64) value {
	if sign > 0 {
		if x, ok := asText(a); ok {
			if y, ok := asText(b); ok {
				return only(joined(x, y))
			}
		}
	}
	n, ok := asNumber(a)
	m, ok2 := asNumber(b)
	if !ok || !ok2 {
		return only(opaque{})
	}
	if n.x == "" && n.y == "" && sign > 0 {
		n, m = m, n
	}
	kind := n.kind
	switch {
	case n.kind == instant && m.kind == instant:
		kind = duration
	case m.kind == instant:
		kind = instant
	}
	if m.x == "" && m.y == "" {
		sum := new(big.Int).Add(big.NewInt(n.add), new(big.Int).Mul(big.NewInt(sign), big.NewInt(m.add)))
		if !sum.IsInt64() || n.y != "" && kind == integer {
			return only(opaque{})
		}
		out := n
		out.kind, out.add = kind, sum.Int64()
		return value(nil).add(out.fits(), out)
	}
	if sign > 0 {
		m = number{kind: m.kind, x: m.y, y: m.x, unit: m.unit, add: -m.add}
	}
	out, ok := n.minus(m)
	if !ok || kind == integer && n.unit == 1 && !timeLike(out) {
		return only(opaque{}) // the difference of two integers may not fit
	}
	out.kind = kind
	return only(out)
}

// timeLike numbers are made of times, so that no sum leaves 64 bits.
func timeLike(n number) bool { return n.unit > 1 || n.kind != integer }

// fits says where an integer with something added is one of 64 bits; else CEL has
// an error.
func (n number) fits() logic.Formula {
	switch {
	case n.kind != integer || n.unit > 1 || n.y != "":
		return logic.True()
	case n.add > 0:
		return logic.AtMost(n.x, math.MaxInt64-n.add)
	case n.add < 0:
		return logic.Not(logic.AtMost(n.x, math.MinInt64-n.add-1))
	}
	return logic.True()
}

func asNumber(t term) (number, bool) {
	switch x := t.(type) {
	case number:
		return x, true
	case types.Int, types.Timestamp, types.Duration:
		n, kind, ok := scalar(x)
		return number{kind: kind, unit: 1, add: n}, ok
	}
	return number{}, false
}

// convert is one of CEL's conversions.
func convert(name string, t term) value {
	n, isNumber := t.(number)
	switch name {
	case "timestamp":
		// From an integer it is seconds since 1970.
		if isNumber && n.kind == integer && n.unit == int64(time.Second) && n.y == "" {
			add := new(big.Int).Mul(big.NewInt(n.add), big.NewInt(n.unit))
			if add.IsInt64() {
				return only(number{kind: instant, x: n.x, unit: 1, add: add.Int64()})
			}
		}
		if isNumber && n.kind == instant {
			return only(n)
		}
	case "int":
		if isNumber && n.kind == integer {
			return only(n)
		}
		if isNumber && n.kind == instant && n.y == "" && n.add == 0 {
			return only(number{kind: integer, x: n.x, unit: int64(time.Second)})
		}
	case "double":
		if isNumber && n.kind == integer {
			return only(rounded{n})
		}
		switch t.(type) {
		case real, rounded:
			return only(t)
		}
	case "string":
		switch x := t.(type) {
		case text, segment, cut, address:
			return only(x)
		}
	}
	return only(opaque{})
}
