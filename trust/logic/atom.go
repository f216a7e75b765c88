package logic

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Var names a variable. What kind of value it has follows from the atoms it
// stands in: one name in atoms of two kinds makes Solve answer Unknown.
type Var string

// kind is what kind of value a variable has.
type kind uint8

const (
	boolKind kind = iota + 1
	stringKind
	intKind
	realKind
	addressKind
	listKind
	dynKind
)

// relation is what an atom says of its variables.
type relation uint8

const (
	isTrue     relation = iota + 1 // x
	inLanguage                     // x in lang
	same                           // x == y
	difference                     // x - y <= n; without y: x <= n
	clock                          // clock.holds(x)
	below                          // x < f, or x <= f if orEqual
	inNetworks                     // x in one of networks
	known                          // x is an address
	addressIs                      // x == address
	someItem                       // an item of x in lang
	sizeAtMost                     // x has at most n items
	isValue                        // x == value
)

func (r relation) kind() kind {
	switch r {
	case isTrue:
		return boolKind
	case inLanguage, same:
		return stringKind
	case difference, clock:
		return intKind
	case below:
		return realKind
	case inNetworks, known, addressIs:
		return addressKind
	case someItem, sizeAtMost:
		return listKind
	case isValue:
		return dynKind
	}
	return 0
}

// atom is a smallest formula; which fields count depends on the relation.
type atom struct {
	relation relation
	orEqual  bool
	binary   bool // y counts
	x, y     Var
	lang     Language
	n        int64
	f        float64
	networks []netip.Prefix
	address  netip.Addr
	value    any
	clock    *clockwork
	key      string // equal keys are equal atoms
}

// newAtom makes the formula that is a alone; rest is what the key needs beside
// relation and variables.
func newAtom(a atom, rest string) Formula {
	key := make([]byte, 0, len(a.x)+len(a.y)+len(rest)+5)
	key = append(key, byte(a.relation))
	for _, x := range []Var{a.x, a.y} {
		key = binary.AppendUvarint(key, uint64(len(x)))
		key = append(key, x...)
	}
	a.key = string(append(key, rest...))
	return Formula{n: &node{atom: &a}}
}

func number(n int64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // the bits, as a key
	return string(b[:])
}

// Bool holds when x is true.
func Bool(x Var) Formula { return newAtom(atom{relation: isTrue, x: x}, "") }

// In holds when the string x is a word of l.
func In(x Var, l Language) Formula {
	switch {
	case l.isNone():
		return False()
	case l.isAny():
		return True()
	}
	if l.e.kind == complementOf {
		return Not(In(x, Language{l.e.parts[0]}))
	}
	return newAtom(atom{relation: inLanguage, x: x, lang: l}, l.e.key)
}

// Same holds when the strings x and y are equal.
func Same(x, y Var) Formula {
	if x == y {
		return True()
	}
	return newAtom(atom{relation: same, binary: true, x: min(x, y), y: max(x, y)}, "")
}

// AtMost holds when the integer x is at most c. Integers are those of int64.
func AtMost(x Var, c int64) Formula {
	if c == math.MaxInt64 {
		return True()
	}
	return newAtom(atom{relation: difference, x: x, n: c}, "1"+number(c))
}

// Difference holds when x - y is at most c, as mathematics has it: nothing wraps
// around.
func Difference(x, y Var, c int64) Formula {
	if x == y {
		if c >= 0 {
			return True()
		}
		return False()
	}
	return newAtom(atom{relation: difference, binary: true, x: x, y: y, n: c}, "2"+number(c))
}

// Equals holds when the integer x is c.
func Equals(x Var, c int64) Formula {
	if c == math.MinInt64 {
		return AtMost(x, c)
	}
	return And(AtMost(x, c), Not(AtMost(x, c-1)))
}

// Step says how a Clock predicate changes.
type Step struct {
	// Every is how long the predicate keeps its value at least: it is constant
	// from one multiple of Every since 1970 to the next. At least a second.
	Every time.Duration
	// Years is how long one has to look to have seen everything that the
	// predicate does, also beside others: 0 means 2, which is right for hours of
	// the week in any zone; 28 for the day of the month or the year.
	Years int
}

// Clock holds when holds does of the instant x, an integer variable in
// nanoseconds since 1970. The same id says that it is the same predicate. holds
// must answer alike for one instant, and be safe for concurrent use.
func Clock(x Var, id string, holds func(time.Time) bool, step Step) Formula {
	step.Every = max(step.Every, time.Second)
	if step.Years <= 0 {
		step.Years = 2
	}
	return newAtom(atom{relation: clock, x: x, clock: &clockwork{id: id, holds: holds, step: step}}, id)
}

// clockwork is a predicate of an instant.
type clockwork struct {
	id    string
	holds func(time.Time) bool
	step  Step
}

// Below holds when the number x is less than c, or equal to it with orEqual.
// Numbers are the finite ones of float64.
func Below(x Var, c float64, orEqual bool) Formula {
	switch {
	case math.IsNaN(c), math.IsInf(c, -1):
		return False()
	case math.IsInf(c, 1):
		return True()
	}
	c += 0                                          // -0 is 0
	key := "<" + number(int64(math.Float64bits(c))) //nolint:gosec // the bits, as a key
	if orEqual {
		key = "=" + key[1:]
	}
	return newAtom(atom{relation: below, x: x, f: c, orEqual: orEqual}, key)
}

// EqualsReal holds when the number x is c.
func EqualsReal(x Var, c float64) Formula {
	return And(Below(x, c, true), Not(Below(x, c, false)))
}

// InNetworks holds when the address x is known and in one of ps. Addresses are
// those without a zone, and an IPv4 address is never written as an IPv6 one.
func InNetworks(x Var, ps []netip.Prefix) Formula {
	valid := slices.DeleteFunc(slices.Clone(ps), func(p netip.Prefix) bool { return !p.IsValid() })
	if len(valid) == 0 {
		return False()
	}
	var b strings.Builder
	for i, p := range valid {
		valid[i] = p.Masked()
		b.WriteString(valid[i].String())
		b.WriteByte(' ')
	}
	return newAtom(atom{relation: inNetworks, x: x, networks: valid}, b.String())
}

// AddressKnown holds when there is an address x at all.
func AddressKnown(x Var) Formula { return newAtom(atom{relation: known, x: x}, "") }

// AddressIs holds when the address x is known and equal to a, whichever way an
// IPv4 address is written. No address equals one with a zone.
func AddressIs(x Var, a netip.Addr) Formula {
	if !a.IsValid() || a.Zone() != "" {
		return False()
	}
	a = a.Unmap()
	return newAtom(atom{relation: addressIs, x: x, address: a}, a.String())
}

// Some holds when an item of x, a list of strings, is a word of l. That all
// items are words of l is Not(Some(x, Complement(l))).
func Some(x Var, l Language) Formula {
	if l.isNone() {
		return False()
	}
	return newAtom(atom{relation: someItem, x: x, lang: l}, l.e.key)
}

// SizeAtMost holds when the list x has at most n items.
func SizeAtMost(x Var, n int64) Formula {
	if n < 0 {
		return False()
	}
	return newAtom(atom{relation: sizeAtMost, x: x, n: n}, number(n))
}

// Is holds when x, a single value of any type, is v: a string, int64, bool or
// float64. Values of two types are never equal, so 1 is not 1.0 here. Of any
// other v, and of what is no number, it is False.
func Is(x Var, v any) Formula {
	var key string
	switch v := v.(type) {
	case string:
		key = "s" + v
	case int64:
		key = "i" + number(v)
	case bool:
		key = "b0"
		if v {
			key = "b1"
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return False()
		}
		key = "f" + number(int64(math.Float64bits(v+0))) //nolint:gosec // the bits, as a key
	default:
		return False()
	}
	return newAtom(atom{relation: isValue, x: x, value: v}, key)
}
