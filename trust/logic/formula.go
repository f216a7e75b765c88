// Package logic decides quantifier-free formulas over the atoms that trust
// documents are made of: strings in regular languages, integers and instants,
// numbers, addresses, lists of strings, booleans and single values.
//
// Solve says whether any values make a formula true, and gives such values. It
// names no claim and no document: a caller translates its rules to formulas and
// the values back to a token.
package logic

import "slices"

// Formula is an immutable formula. Only this package's functions make one, and
// they simplify constants away. The zero value is False.
//
// A formula is a graph: whoever uses one part twice pays for it once.
type Formula struct {
	n   *node // nil: a constant, true if neg
	neg bool
}

// node is a conjunction of args, or an atom. Or is the negation of a
// conjunction of negations, so that Not costs nothing.
type node struct {
	args []Formula
	atom *atom
}

// True holds always.
func True() Formula { return Formula{neg: true} }

// False holds never.
func False() Formula { return Formula{} }

// Const reports whether f was simplified to a constant (ok), and to which.
func (f Formula) Const() (value, ok bool) { return f.neg && f.n == nil, f.n == nil }

// Not holds when f does not.
func Not(f Formula) Formula {
	f.neg = !f.neg
	return f
}

// And holds when all of fs do; with none it is True.
func And(fs ...Formula) Formula {
	var few [8]Formula // most conjunctions are short
	args := few[:0]
	for _, f := range fs {
		switch {
		case f == False():
			return False()
		case f == True():
		case f.isAnd():
			args = append(args, f.n.args...)
		default:
			args = append(args, f)
		}
	}
	args, ok := distinct(args)
	switch {
	case !ok:
		return False()
	case len(args) == 0:
		return True()
	case len(args) == 1:
		return args[0]
	}
	return Formula{n: &node{args: slices.Clone(args)}}
}

// distinct drops what stands twice, and reports whether nothing stands beside
// its own negation.
func distinct(args []Formula) ([]Formula, bool) {
	const pairwise = 16 // up to here comparing all pairs is cheaper than a map
	kept := args[:0]
	if len(args) <= pairwise {
		for _, f := range args {
			if slices.Contains(kept, Not(f)) {
				return nil, false
			}
			if !slices.Contains(kept, f) {
				kept = append(kept, f)
			}
		}
		return kept, true
	}
	seen := make(map[Formula]bool, len(args))
	for _, f := range args {
		if seen[Not(f)] {
			return nil, false
		}
		if !seen[f] {
			seen[f] = true
			kept = append(kept, f)
		}
	}
	return kept, true
}

func (f Formula) isAnd() bool { return f.n != nil && f.n.atom == nil && !f.neg }

// Or holds when one of fs does; with none it is False.
func Or(fs ...Formula) Formula {
	nots := make([]Formula, len(fs))
	for i, f := range fs {
		nots[i] = Not(f)
	}
	return Not(And(nots...))
}

// Implies holds when b does or a does not.
func Implies(a, b Formula) Formula { return Or(Not(a), b) }

// If holds when c and a do, or b without c.
func If(c, a, b Formula) Formula { return And(Implies(c, a), Or(c, b)) }
