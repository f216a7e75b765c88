package check

import (
	"slices"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
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
	case overloads.StartsWith, overloads.EndsWith, overloads.Contains:
		if text, ok := literal(b).(string); ok && text == "" {
			return always
		}
	case overloads.Matches:
		if text, ok := literal(b).(string); ok && everything(unwrapped(text)) {
			return always
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

// equal compares two literals, or a claim with itself.
func equal(a, b celast.Expr) truth {
	x, y := literal(a), literal(b)
	if x != nil && y != nil {
		return truthOf(x == y)
	}
	if id := claimOf(a); id != "" && id == claimOf(b) {
		return always
	}
	return open
}

// everything reports a pattern that any text matches, line breaks apart.
func everything(pattern string) bool {
	return slices.Contains([]string{".*", "(.*)", "^.*$", "(?s).*", "(?s:.*)"}, pattern)
}
