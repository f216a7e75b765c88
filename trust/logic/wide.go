package logic

import (
	"math"
	"math/bits"
)

// wide is a 128-bit integer: sums of bounds of int64 along a path never
// overflow it.
type wide struct {
	hi int64
	lo uint64
}

//nolint:gosec // two's complement, on purpose
func widen(n int64) wide { return wide{n >> 63, uint64(n)} }

//nolint:gosec // two's complement, on purpose
func (a wide) add(b wide) wide {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(uint64(a.hi), uint64(b.hi), carry)
	return wide{int64(hi), lo}
}

func (a wide) neg() wide { return wide{^a.hi, ^a.lo}.add(wide{0, 1}) }

func (a wide) less(b wide) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

// narrow is a as an int64, or the nearest one.
//
//nolint:gosec // checked
func (a wide) narrow() int64 {
	n := int64(a.lo)
	switch {
	case a == widen(n):
		return n
	case a.hi < 0:
		return math.MinInt64
	}
	return math.MaxInt64
}
