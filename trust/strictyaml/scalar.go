package strictyaml

import (
	"math"
	"regexp"
	"strconv"
)

// The plain scalars of the YAML 1.2 core schema (section 10.3.2) that mean the
// same to every reader, and those that do not.
var (
	plainInt   = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)$`)
	plainFloat = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$`)
	// A YAML 1.1 reader takes the first for octal, hexadecimal, binary or
	// grouped numbers, the second for base 60, the third for a timestamp; a YAML
	// 1.2 reader takes some of them for other numbers, and others for text.
	numberLike = regexp.MustCompile(`^[-+]?(?:[0-9][0-9_]*|0[xX][0-9a-fA-F_]*|0[oO][0-7_]*|0[bB][01_]*|[0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9_]*)?|[0-9][0-9_]*[eE][-+]?[0-9_]*|\.(?:inf|Inf|INF|nan|NaN|NAN))$`)
	baseSixty  = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`)
	dateLike   = regexp.MustCompile(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}.*)?$`)
)

// resolve gives a plain scalar its kind and value.
func (n *Node) resolve() {
	switch n.Text {
	case "", "~", "null", "Null", "NULL":
		n.Kind = Null
		return
	case "true", "True", "TRUE":
		n.Kind, n.integer = Bool, 1
		return
	case "false", "False", "FALSE":
		n.Kind = Bool
		return
	case ".", "-", "+", "...":
		n.Kind = String
		return
	}
	n.Kind = String
	if first := n.Text[0]; first != '-' && first != '+' && first != '.' && (first < '0' || first > '9') {
		return // no number and no date begins otherwise
	}
	switch {
	case plainInt.MatchString(n.Text):
		v, err := strconv.ParseInt(n.Text, 10, 64)
		if err != nil { // beyond 64 bits: some readers would round it
			n.Kind = Ambiguous
			return
		}
		n.Kind, n.integer = Int, v
	case plainFloat.MatchString(n.Text):
		v, err := strconv.ParseFloat(n.Text, 64)
		if err != nil || math.IsInf(v, 0) {
			n.Kind = Ambiguous
			return
		}
		n.Kind, n.number = Float, v
	case numberLike.MatchString(n.Text), baseSixty.MatchString(n.Text), dateLike.MatchString(n.Text):
		n.Kind = Ambiguous
	}
}
