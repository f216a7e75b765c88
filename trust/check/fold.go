package check

import (
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// fold is the value of an expression that is the same for every token. An error
// counts for nothing: `e || true` is true where e fails, by CEL's own rules.
func fold(e celast.Expr) truth {
	if b, ok := literal(e).(bool); ok {
		return truthOf(b)
	}
	if e.Kind() != celast.CallKind {
		return open
	}
	call := e.AsCall()
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]celast.Expr{call.Target()}, args...)
	}
	switch {
	case call.FunctionName() == operators.LogicalNot && len(args) == 1:
		return fold(args[0]).not()
	case len(args) != 2:
		return open
	}
	a, b := args[0], args[1]
	switch call.FunctionName() {
	case operators.LogicalOr:
		return either(fold(a), fold(b))
	case operators.LogicalAnd:
		return either(fold(a).not(), fold(b).not()).not()
	case operators.Equals:
		return equal(a, b)
	case operators.NotEquals:
		return equal(a, b).not()
	case operators.In:
		if b.Kind() == celast.ListKind && len(b.AsList().Elements()) == 0 {
			return never
		}
	}
	return open
}

func truthOf(b bool) truth {
	if b {
		return always
	}
	return never
}

func either(a, b truth) truth {
	switch {
	case a == always || b == always:
		return always
	case a == never && b == never:
		return never
	}
	return open
}

// equal compares two literals. A claim with itself is left to the proof: a token
// may lack it, and then the comparison fails.
func equal(a, b celast.Expr) truth {
	x, y := literal(a), literal(b)
	if x != nil && y != nil {
		return truthOf(x == y)
	}
	return open
}
