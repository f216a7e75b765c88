package prove

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"cambio/trust/logic"
)

// selected is a member, or with has() whether there is one.
func (t *translation) selected(s ast.SelectExpr) value {
	if s.IsTestOnly() {
		return t.has(t.eval(s.Operand()), s.FieldName())
	}
	return t.member(t.eval(s.Operand()), s.FieldName())
}

// has is whether each of what v may be has the member.
func (t *translation) has(v value, name string) value {
	var out value
	for _, a := range v {
		switch o := a.term.(type) {
		case object:
			out = append(out, t.hasField(o, name).where(a.when).value()...)
		case members:
			out = append(out, exactly(t.present(o.path+"/"+escape(name))).where(a.when).value()...)
		case option: // has() of an optional asks what is in it
			if o.some {
				out = append(out, t.has(value{{a.when, o.val}}, name)...)
			} else {
				out = out.add(a.when, types.False)
			}
		case ref.Val:
			// Nothing else that is constant has members.
		default:
			out = out.add(a.when, opaque{})
		}
	}
	return out
}

// hasField is whether a variable has a field with a value, as has() and in see
// it: a text that is empty is not there, nor is a name that no field has.
func (t *translation) hasField(o object, name string) truth {
	switch o {
	case "claims":
		return exactly(t.present("/" + escape(name)))
	case "grant.claims":
		_, ok := t.extra(name)
		return always(ok)
	}
	v := t.ident(string(o) + "." + name)
	if len(v) == 0 {
		return always(false)
	}
	switch x := v[0].term.(type) {
	case opaque:
		return always(false)
	case types.String:
		return always(x != "")
	case address:
		return exactly(logic.AddressKnown(x.x))
	}
	return always(true)
}

// member is a member of each of what v may be.
func (t *translation) member(v value, name string) value {
	var out value
	for _, a := range v {
		switch o := a.term.(type) {
		case object:
			switch o {
			case "claims":
				out = append(out, t.path("/"+escape(name)).where(a.when)...)
			case "grant.claims":
				extra, _ := t.extra(name)
				out = append(out, extra.where(a.when)...)
			default: // by a name that was computed: in the map that has() sees
				there := logic.And(a.when, t.hasField(o, name).yes)
				out = append(out, t.ident(string(o)+"."+name).where(there)...)
			}
		case members:
			out = append(out, t.path(o.path+"/"+escape(name)).where(a.when)...)
		case option:
			if !o.some {
				out = out.add(a.when, option{})
				continue
			}
			inner := t.member(value{{logic.True(), o.val}}, name)
			if m, ok := o.val.(members); ok {
				// A chain of .? has an absence where there is no such member.
				out = out.add(logic.And(a.when, logic.Not(t.present(m.path+"/"+escape(name)))), option{})
			}
			for _, b := range inner {
				out = out.add(logic.And(a.when, b.when), some(b.term))
			}
		case opaque:
			out = out.add(a.when, opaque{})
		case other:
			if o.path != "" {
				out = out.add(a.when, opaque{})
			}
		}
	}
	return out
}

// some is an optional with a value. Of what nothing is known it is not known
// either whether there is one.
func some(x term) term {
	if _, ok := x.(opaque); ok {
		return x
	}
	return option{x, true}
}

// path is what lies at a pointer: a declared claim, what holds declared claims,
// or a member of a map claim, which may be of any type.
func (t *translation) path(id string) value {
	if _, ok := t.table.claims[id]; ok {
		return t.read(id)
	}
	for _, known := range t.table.ids {
		if len(known) > len(id) && known[:len(id)] == id && known[len(id)] == '/' {
			return value(nil).add(t.present(id), members{id})
		}
	}
	if parent(id) == "" {
		return only(opaque{}) // a claim that no table names
	}
	has, x := t.present(id), string(claimOf(id))
	// Of which type the member is is part of the situation too.
	isText, isInt := logic.Bool(logic.Var(x+" is text")), logic.Bool(logic.Var(x+" is integer"))
	isBool, isReal := logic.Bool(logic.Var(x+" is boolean")), logic.Bool(logic.Var(x+" is double"))
	b := logic.Bool(logic.Var(x + " boolean"))
	rest := has
	var out value
	next := func(is logic.Formula) logic.Formula {
		here := logic.And(rest, is)
		rest = logic.And(rest, logic.Not(is))
		return here
	}
	out = out.add(next(isText), textOf(logic.Var(x+" text")))
	out = out.add(next(isInt), number{x: logic.Var(x + " integer"), unit: 1})
	boolean := next(isBool)
	out = out.add(logic.And(boolean, b), types.True).add(logic.And(boolean, logic.Not(b)), types.False)
	out = out.add(next(isReal), real{logic.Var(x + " double")})
	return out.add(rest, other{id})
}
