package prove

import (
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/debug"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"cambio/trust"
	"cambio/trust/logic"
)

// maxAlternatives bounds how many alternatives a value may have: operations
// multiply them.
const maxAlternatives = 64

// translation turns one condition into formulas.
type translation struct {
	*exchange
	tree  *tree
	cond  trust.Condition
	file  string
	bound map[string]value // variables of loops
}

// truth is what a condition comes to for this grant.
func (x *exchange) truth(c trust.Condition, file string) truth {
	t, err := x.pr.tree(c)
	if err != nil {
		return x.unknown(Outside{File: file, At: c.At, Expression: c.Source, Why: err.Error()})
	}
	tr := translation{exchange: x, tree: t, cond: c, file: file}
	return tr.truth(t.root)
}

// unknown is a boolean that nothing is known about: a variable for each polarity.
func (s *state) unknown(o Outside) truth {
	s.fresh++
	return s.unknownAs("? "+strconv.Itoa(s.fresh), o)
}

// unknownAs is the same boolean wherever the name is the same.
func (s *state) unknownAs(name string, o Outside) truth {
	yes, no := logic.Var(name+" is true"), logic.Var(name+" is false")
	s.outside[yes], s.outside[no] = o, o
	return truth{logic.Bool(yes), logic.And(logic.Bool(no), logic.Not(logic.Bool(yes)))}
}

// free is what an expression outside the fragment comes to.
func (t *translation) free(e ast.Expr) truth {
	o := t.tree.outside(e, t.cond, t.file)
	if len(t.bound) > 0 {
		return t.unknown(o) // which item it is about is not known
	}
	// Not by the text that is shown, which two different parts can have in common.
	name := "? " + debug.ToDebugString(e)
	if t.tree.perGrant[e.ID()] {
		name += " " + t.key
	}
	return t.unknownAs(name, o)
}

func (t *translation) truth(e ast.Expr) truth {
	v := t.eval(e)
	out := failed()
	for _, a := range v {
		switch a.term {
		case types.True:
			out.yes = logic.Or(out.yes, a.when)
			continue
		case types.False:
			out.no = logic.Or(out.no, a.when)
			continue
		}
		if _, ok := a.term.(opaque); ok {
			free := t.free(e).where(a.when)
			out.yes, out.no = logic.Or(out.yes, free.yes), logic.Or(out.no, free.no)
		}
	}
	return out
}

func (t *translation) eval(e ast.Expr) value {
	var v value
	switch e.Kind() {
	case ast.LiteralKind:
		v = only(e.AsLiteral())
	case ast.IdentKind:
		v = t.ident(e.AsIdent())
	case ast.SelectKind:
		v = t.selected(e.AsSelect())
	case ast.CallKind:
		v = t.call(e)
	case ast.ListKind:
		v = t.list(e.AsList())
	case ast.ComprehensionKind:
		v = t.loop(e)
	case ast.MapKind, ast.StructKind, ast.UnspecifiedExprKind:
		v = only(opaque{})
	}
	if len(v) > maxAlternatives {
		return value{{v.defined(), opaque{}}}
	}
	return v
}

func (t *translation) ident(name string) value {
	if id, optional, ok := trust.ClaimOf(name); ok {
		v := t.read(id)
		if !optional {
			return v
		}
		return v.each(func(x term) term { return option{x, true} }).add(logic.Not(v.defined()), option{})
	}
	if v, ok := t.bound[name]; ok {
		return v
	}
	switch name {
	case "claims", "identity", "request", "grant":
		return only(object(name))
	case "identity.provider":
		return only(types.String(t.table.provider))
	case "identity.workload":
		if t.workload != "" {
			return only(types.String(t.workload))
		}
		t.seeWorkload()
		return only(textOf(workloadVar))
	case "identity.subject":
		return t.read("/sub")
	case "identity.issuer":
		return t.read("/iss")
	case "identity.audience":
		if t.see(audienceVar) {
			t.domain = append(t.domain, logic.In(audienceVar, logic.Lengths(1, -1)))
		}
		return only(textOf(audienceVar))
	case "identity.issued_at", "identity.expires_at":
		id := "/iat"
		if name == "identity.expires_at" {
			id = "/exp"
		}
		t.seeTimes(id)
		return only(number{kind: instant, x: claimOf(id), unit: 1})
	case "request.to", "grant.to":
		return only(types.String(t.grant.Target))
	case "request.resource", "grant.resource":
		return only(types.String(t.grant.Resource))
	case "request.scopes", "grant.scopes":
		return t.scopes()
	case "request.ttl", "grant.ttl":
		return t.lifetime()
	case "request.time":
		t.seeClock()
		return only(number{kind: instant, x: timeVar, unit: 1})
	case "request.address":
		return only(address{addressVar})
	case "grant.claims":
		return only(object(name))
	}
	return only(opaque{})
}

// call is a function or an operator.
func (t *translation) call(e ast.Expr) value {
	c := e.AsCall()
	args := c.Args()
	switch c.FunctionName() {
	case operators.LogicalAnd:
		// Left to right, for what is false already decides.
		left := t.truth(args[0])
		if no, ok := left.no.Const(); ok && no {
			return only(types.False)
		}
		return left.and(t.truth(args[1])).value()
	case operators.LogicalOr:
		left := t.truth(args[0])
		if yes, ok := left.yes.Const(); ok && yes {
			return only(types.True)
		}
		return left.or(t.truth(args[1])).value()
	case operators.LogicalNot:
		return t.truth(args[0]).not().value()
	case operators.Conditional:
		cond := t.truth(args[0])
		var out value
		if no, ok := cond.yes.Const(); !ok || no {
			out = t.eval(args[1]).where(cond.yes)
		}
		if no, ok := cond.no.Const(); !ok || no {
			out = append(out, t.eval(args[2]).where(cond.no)...)
		}
		return out
	case "orValue", "or":
		return t.orValue(t.eval(c.Target()), args[0], c.FunctionName() == "or")
	}
	values := make([]value, 0, len(args)+1)
	if c.IsMemberFunction() {
		values = append(values, t.eval(c.Target()))
	}
	for _, a := range args {
		values = append(values, t.eval(a))
	}
	return t.apply(c.FunctionName(), values)
}

// orValue is what is in an optional, or else the fallback: the right side is
// looked at only there.
func (t *translation) orValue(v value, fallback ast.Expr, wrapped bool) value {
	var out value
	for _, a := range v {
		o, ok := a.term.(option)
		switch {
		case !ok:
			out = out.add(a.when, opaque{})
		case o.some && wrapped:
			out = out.add(a.when, o)
		case o.some:
			out = out.add(a.when, o.val)
		default:
			out = append(out, t.eval(fallback).where(a.when)...)
		}
	}
	return out
}

// apply runs a strict function on every combination of what its arguments may
// be.
func (t *translation) apply(name string, args []value) value {
	n := 1
	for _, a := range args {
		n *= len(a)
	}
	if n > 4*maxAlternatives {
		when := make([]logic.Formula, len(args))
		for i, a := range args {
			when[i] = a.defined()
		}
		return value(nil).add(logic.And(when...), opaque{})
	}
	var out value
	terms := make([]term, len(args))
	var walk func(i int, when logic.Formula)
	walk = func(i int, when logic.Formula) {
		if never, ok := when.Const(); ok && !never {
			return
		}
		if i == len(args) {
			out = append(out, t.function(name, terms).where(when)...)
			return
		}
		for _, a := range args[i] {
			terms[i] = a.term
			walk(i+1, logic.And(when, a.when))
		}
	}
	walk(0, logic.True())
	return out.merged()
}

// merged has one alternative for each constant truth value: comparisons of many
// alternatives come to one of the two.
func (v value) merged() value {
	yes, no, rest := logic.False(), logic.False(), v[:0]
	for _, a := range v {
		switch a.term {
		case types.True:
			yes = logic.Or(yes, a.when)
		case types.False:
			no = logic.Or(no, a.when)
		default:
			rest = append(rest, a)
		}
	}
	return rest.add(yes, types.True).add(no, types.False)
}
