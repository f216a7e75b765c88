package trust

import (
	"fmt"
	"strconv"
	"strings"

	"cambio/trust/strictyaml"
)

// match reads the lines of match, and refuses a trust that pins no anchor: any
// workload of a shared issuer could else assume it.
func (r *reader) match(t *rule, root *strictyaml.Node) {
	n := root.Get("match")
	broken := false // an anchor's line has another error, which says enough
	if n != nil {
		if !r.isMap(n) {
			return
		}
		if len(n.Keys()) > maxLines {
			r.Error(n, FindingTooMany, fmt.Sprintf("match has %d lines; at most %d are allowed", len(n.Keys()), maxLines), "split the document")
			return
		}
	}
	if t.provider == nil {
		// Of which claims and types they are cannot be said, but their forms can.
		for _, item := range n.Items() {
			r.patterns(item, nil)
		}
		if len(n.Keys()) == 0 {
			r.Error(root.Find("match"), FindingTooBroad, "match pins no claim", "name an immutable claim of the identity provider with its value")
		}
		return
	}
	schema := t.provider.schema
	seen := map[string]bool{}
	for i, key := range n.Keys() {
		claim := schema.lookup(key.Text)
		if claim == nil {
			r.Error(key, FindingUnknownClaim, "the identity provider's tokens have no claim "+key.Show(), strictyaml.DidYouMean(key.Text, schema.names))
			continue
		}
		if seen[claim.id] {
			r.Error(key, FindingInvalid, "match names this claim twice, by two of its names", "name it once")
			continue
		}
		seen[claim.id] = true
		want, ok := r.patterns(n.Items()[i], claim)
		if !ok {
			broken = broken || t.provider.isAnchor(claim) && n.Items()[i].Kind != strictyaml.Map && !isEmptyList(n.Items()[i])
			continue
		}
		t.match = append(t.match, matchLine{claim: claim, name: r.c.intern(key.Text), want: want, at: placeOf(key)})
	}
	t.anchorKey = t.provider.anchorOf(t.match)
	if t.anchorKey == nil && !broken {
		r.Error(root.Find("match"), FindingTooBroad, "match pins no immutable claim of the identity provider by equality",
			"name "+t.provider.toPin()+" with its value")
	}
	if t.anchorKey != nil {
		r.advise(t, n)
	}
	t.named = make([]bool, len(t.provider.guards))
	for i, g := range t.provider.guards {
		for j := range t.match {
			if t.match[j].claim.id == g.claim.id && t.match[j].names(g.value) {
				t.named[i] = true
			}
		}
	}
	if len(t.named) == 0 {
		t.named = nil
	}
}

// imply adds the conditions that the platform has for a match that does not say
// otherwise.
func (t *rule) imply(at Place) {
	t.written = len(t.when)
	if t.provider == nil {
		return
	}
	for _, i := range t.provider.implied {
		if pinOf(t.match, i.claim) == nil {
			t.when, t.whenAt = append(t.when, i.condition), append(t.whenAt, at)
		}
	}
}

// advise warns where match leaves several workloads one identity.
func (r *reader) advise(t *rule, n *strictyaml.Node) {
	if len(t.provider.advised) == 0 {
		return
	}
	for i := range t.match {
		for _, claim := range t.provider.advised {
			if t.match[i].claim.id == claim.id {
				return
			}
		}
	}
	names := make([]string, len(t.provider.advised))
	for i, claim := range t.provider.advised {
		names[i] = claim.name
	}
	r.Warn(n, FindingSharedIdentity, "several workloads can hold this identity", "name "+strings.Join(names, " or ")+" too")
}

func isEmptyList(n *strictyaml.Node) bool {
	return n.Kind == strictyaml.List && len(n.Items()) == 0
}

// patterns reads the value of one line of match: a scalar, a glob, or a list of
// them. Without a claim, that of an unknown provider, it looks at forms alone.
func (r *reader) patterns(n *strictyaml.Node, claim *claimVar) ([]pattern, bool) {
	if claim != nil && (claim.typ == ListClaim || claim.typ == MapClaim) {
		r.Error(n, FindingListClaim, "match cannot name "+claim.name+", which is a "+string(claim.typ),
			"write it under when, such as: \"x\" in "+showPath(claim.path))
		return nil, false
	}
	if n.Kind != strictyaml.List {
		p, ok := r.pattern(n, claim)
		return []pattern{p}, ok
	}
	items := r.list(n, maxItems)
	want, ok := make([]pattern, 0, len(items)), len(items) > 0
	for _, item := range items {
		p, fine := r.pattern(item, claim)
		want, ok = append(want, p), ok && fine
	}
	return want, ok
}

func (r *reader) pattern(n *strictyaml.Node, claim *claimVar) (pattern, bool) {
	if n.Kind == strictyaml.Map {
		return r.glob(n, claim)
	}
	value, ok := r.value(n, claim)
	if !ok {
		return pattern{}, false
	}
	if s, isText := value.(string); isText {
		r.star(n, s)
		r.closedSet(n, claim, s)
		value = r.c.intern(s)
	}
	return pattern{value: value}, true
}

// star warns of a plain text with a `*`: the author most likely means a
// wildcard, and the trust would match nothing.
func (r *reader) star(n *strictyaml.Node, s string) {
	if strings.Contains(s, "*") {
		r.Warn(n, FindingStarIsLiteral, "a star is literal here", "write {glob: "+n.Show()+"}")
	}
}

func (r *reader) closedSet(n *strictyaml.Node, claim *claimVar, s string) {
	if claim == nil {
		return
	}
	for _, v := range claim.values {
		if v == s {
			return
		}
	}
	if len(claim.values) > 0 {
		r.Warn(n, FindingUnknownValue, claim.name+" never has the value "+n.Show(), strictyaml.DidYouMean(s, claim.values))
	}
}

func (r *reader) glob(n *strictyaml.Node, claim *claimVar) (pattern, bool) {
	r.allow(n, "glob")
	g := n.Get("glob")
	switch {
	case g == nil:
		r.Missing(n, "glob", `write {glob: "refs/tags/v*"}`)
		return pattern{}, false
	case g.Kind != strictyaml.String:
		r.WrongType(g, "text")
		return pattern{}, false
	case claim != nil && claim.typ != StringClaim:
		r.Error(n, FindingTypeMismatch, claim.name+" is of type "+string(claim.typ)+"; a glob is for text", "write the value")
		return pattern{}, false
	}
	if err := checkGlob(g.Text); err != nil {
		r.Error(g, FindingGlob, err.Error(), "write `*` alone for what may vary")
		return pattern{}, false
	}
	return pattern{value: r.c.intern(g.Text), glob: true}, true
}

// value reads a scalar of the claim's own type. Nothing is coerced: "1" for 1
// would match what no token sends, and the author would never see why.
func (r *reader) value(n *strictyaml.Node, claim *claimVar) (any, bool) {
	switch {
	case n.Kind == strictyaml.Invalid:
		return nil, false
	case claim == nil:
		if n.Kind != strictyaml.String && n.Kind != strictyaml.Bool && n.Kind != strictyaml.Int {
			r.WrongType(n, "text") // no type of claim takes it
			return nil, false
		}
		return n.Value()
	case claim.typ == StringClaim && n.Kind == strictyaml.String:
		return n.Text, true
	case claim.typ == BoolClaim && n.Kind == strictyaml.Bool:
		return n.Bool(), true
	case claim.typ == IntClaim && n.Kind == strictyaml.Int:
		return n.Int(), true
	}
	fix := "write a value of type " + string(claim.typ)
	switch {
	case claim.typ == DoubleClaim:
		fix = "write the comparison under when"
	case claim.typ == StringClaim && n.IsScalar() && n.Kind != strictyaml.Null:
		fix = "write quotes: " + strconv.Quote(n.Text)
	}
	r.Error(n, FindingTypeMismatch, claim.name+" is of type "+string(claim.typ)+", and "+n.Show()+" is not", fix)
	return nil, false
}
