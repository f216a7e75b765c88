package trust

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Near is one trust that came near to allowing a request: what it asked for line
// by line, and the smallest edit of it that would allow the request.
type Near struct {
	Trust  string `json:"trust"`
	Owner  string `json:"owner"`
	File   string `json:"file"`
	Shadow bool   `json:"shadow,omitempty"` // judged and recorded, never allows
	Lines  []Line `json:"lines"`
	// Edit is verified: with all of it, and nothing else, the request is allowed.
	// Without one NoEdit says what stands in the way.
	Edit   []Change `json:"edit,omitempty"`
	NoEdit string   `json:"no_edit,omitempty"`
}

// Change is one change of a trust's document.
type Change struct {
	Field string `json:"field"`           // as in Line; grants[0].scopes where only those change
	Do    string `json:"do"`              // in words
	Write string `json:"write,omitempty"` // YAML: the line of match, access, mode or expires with the section it stands in, the one item of when, the scopes of a grant, or one more grant; "": nothing is written
}

// maxNear is how many trusts an explanation tells of.
const maxNear = 3

// approach is one trust on the way to Near.
type approach struct {
	rule   *rule
	trace  *trace
	proven bool // the token has the anchors that it pins
	named  bool // the caller asked for it by name
	grants bool // what was asked for
}

// closest is the nearest trust, or nil where the provider has none.
func (j *judging) closest(p *Policy) *rule {
	if t := p.byName[j.req.Trust]; t != nil && t.provider == j.provider {
		return t
	}
	if found := j.ranked(1); len(found) > 0 {
		return found[0].rule
	}
	return nil
}

// ranked are the nearest trusts of the provider: the one that was asked for by name,
// then those whose anchors the token proves, those that grant the target, those
// that are in force, and those with fewer lines that fail. It looks at all of
// them, and not only at those that the index finds: the line that fails may be the
// anchor itself.
func (j *judging) ranked(most int) []approach {
	var found []approach
	for _, t := range j.provider.rules {
		a := j.approach(t)
		at, _ := slices.BinarySearchFunc(found, a, j.nearer)
		if at >= most {
			continue
		}
		found = slices.Insert(found, at, a)
		found = found[:min(len(found), most)]
	}
	return found
}

func (j *judging) approach(t *rule) approach {
	tr := &trace{}
	o := j.judge(t, tr)
	tr.grants(t, j, o)
	return approach{
		rule: t, trace: tr, proven: j.proves(t), grants: t.grantsAt(j.req.Target),
		named: t.name == j.req.Trust,
	}
}

func (j *judging) nearer(a, b approach) int {
	for _, pair := range [][2]bool{
		{a.named, b.named}, {a.proven, b.proven}, {a.grants, b.grants}, {!j.onTrial(a.rule), !j.onTrial(b.rule)},
	} {
		if pair[0] != pair[1] {
			if pair[0] {
				return -1
			}
			return 1
		}
	}
	return cmp.Or(cmp.Compare(a.trace.failed(), b.trace.failed()), cmp.Compare(a.rule.name, b.rule.name))
}

// near tells of the trusts that came near to what was explained, first the one
// that it is about.
func (p *Policy) near(e Explanation, j *judging, stops StopSet) []Near {
	if j == nil || e.Allow {
		return nil
	}
	found := j.ranked(maxNear)
	if first := p.byName[e.Trust]; first != nil && first.provider == j.provider {
		found = slices.DeleteFunc(found, func(a approach) bool { return a.rule == first })
		found = slices.Insert(found, 0, j.approach(first))
		found = found[:min(len(found), maxNear)]
	}
	out := make([]Near, len(found))
	for i, a := range found {
		out[i] = Near{Trust: a.rule.name, Owner: a.rule.owner, File: a.rule.file, Shadow: j.onTrial(a.rule), Lines: a.trace.lines}
		out[i].Edit, out[i].NoEdit = j.edit(p, a.rule, stops)
	}
	return out
}

// write appends the edit, or what stands in its way, as text.
func (n *Near) write(b *strings.Builder) {
	if len(n.Edit) == 0 {
		if n.NoEdit != "" {
			fmt.Fprintf(b, "  no edit of it allows this: %s\n", n.NoEdit)
		}
		return
	}
	b.WriteString("  smallest edit of it that allows this:\n")
	for _, c := range n.Edit {
		fmt.Fprintf(b, "    %s: %s\n", c.Field, c.Do)
		for line := range strings.Lines(c.Write) {
			fmt.Fprintf(b, "      %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}
