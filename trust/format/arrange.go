package format

import (
	"slices"
	"strings"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// role is what a map or list is in a document; it says how its names are ordered.
type role int

const (
	other role = iota
	trustDocument
	guardrail
	invariant
	testFile
	access
	claims // match, and claims of a test: by the names of claims
	grants
	grant
	tests
	test
	ask
)

// rootRole tells the documents apart as their reader does.
func rootRole(file string, root *strictyaml.Node) role {
	switch {
	case trust.IsTestFile(file), root.Get("trust") != nil:
		return testFile
	case root.Get("invariant") != nil:
		return invariant
	case root.Get("guardrail") != nil:
		return guardrail
	}
	return trustDocument
}

// names are a role's, in their order.
func (r role) names() []string {
	switch r {
	case trustDocument:
		return trust.Fields(trust.TrustPart)
	case guardrail:
		return trust.Fields(trust.GuardrailPart)
	case invariant:
		return trust.Fields(trust.InvariantPart)
	case testFile:
		return trust.Fields(trust.TestFilePart)
	case access:
		return trust.Fields(trust.AccessPart)
	case test:
		return trust.Fields(trust.TestPart)
	case ask:
		return trust.Fields(trust.AskPart)
	case grant:
		return []string{"to", "resource", "scopes", "ttl", "claims"}
	case other, claims, grants, tests:
	}
	return nil
}

// below is the role of what stands under a name, or of an item.
func (r role) below(name string) role {
	switch {
	case r == grants:
		return grant
	case r == tests:
		return test
	case r == trustDocument && name == "match", r == test && name == "claims":
		return claims
	case r == trustDocument && name == "access":
		return access
	case r == trustDocument && name == "grants":
		return grants
	case (r == trustDocument || r == testFile) && name == "tests":
		return tests
	case r == test && name == "ask":
		return ask
	}
	return other
}

// rank is the place of a name: those that are not known come last, as they stand.
func rank(names []string, name string) int {
	if i := slices.Index(names, name); i >= 0 {
		return i
	}
	return len(names)
}

// arrange puts the names of a block and of all in it into order.
func (b *block) arrange(r role) {
	names := r.names()
	if !b.list {
		slices.SortStableFunc(b.entries, func(x, y *entry) int { return rank(names, x.key.Text) - rank(names, y.key.Text) })
	}
	for _, e := range b.entries {
		name := ""
		if e.key != nil {
			name = e.key.Text
		}
		e.role, e.id = r.below(name), r == claims && isID(name)
		if e.child != nil {
			e.child.ids = e.id
			e.child.arrange(e.role)
			e.hoist()
		}
		e.id = e.id || b.ids
	}
	if len(b.entries) > 0 {
		first := b.entries[0]
		first.gap, first.head = false, trimGap(first.head)
	}
}

// hoist moves what has no place beside the dash of an item, or in an empty block,
// above the entry.
func (e *entry) hoist() {
	if e.key == nil && e.line != "" {
		e.head, e.gap, e.line = e.above(e.line), false, ""
	}
	if e.key == nil && len(e.child.entries) > 0 {
		first := e.child.entries[0]
		if len(first.head) > 0 {
			e.head, e.gap, first.head = e.above(first.head...), false, nil
		}
	}
}

// above is the head with more lines below it.
func (e *entry) above(lines ...string) []string {
	head := e.head
	if e.gap {
		head = append(head, "")
	}
	return append(head, lines...)
}

// isID reports whether a claim's name is that of an id, which stays in quotes: the
// one that is digits alone would be a number without, and another claim's text.
func isID(name string) bool {
	return name == "id" || strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_uid")
}
