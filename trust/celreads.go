package trust

import (
	"slices"
	"strings"
)

// reads is what a condition looks at.
type reads struct {
	perGrant bool // request or grant, so that its value depends on the grant
	// claims are those that it names, in the order of their pointers. all says that
	// it looks at others too: it counts them, or goes through them.
	claims []*claimVar
	all    bool
	// identity are the names of the identity's fields; "" stands for any of them.
	identity []string
}

// claim notes a claim; nil is one that has no name.
func (r *reads) claim(v *claimVar) {
	switch {
	case v == nil:
		r.all = true
	case !slices.Contains(r.claims, v):
		r.claims = append(r.claims, v)
		slices.SortFunc(r.claims, func(a, b *claimVar) int { return strings.Compare(a.id, b.id) })
	}
}

// field notes a field of a variable beside claims; "" is any of them.
func (r *reads) field(object, name string) {
	if object != "identity" {
		r.perGrant = true
	} else if !slices.Contains(r.identity, name) {
		r.identity = append(r.identity, name)
	}
}

// holder is the declared claim at the path or above it; nil where there is none.
func (w *astWalk) holder(path []string) *claimVar {
	for i := len(path); i > 0; i-- {
		if v, _ := w.schema.lookupPath(path[:i]); v != nil {
			return v
		}
	}
	return nil
}
