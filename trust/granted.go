package trust

import (
	"slices"
	"strings"
	"time"
)

// Granted is one grant of one trust, as an operator sees it who prepares the
// target for what the documents give. It decides nothing.
type Granted struct {
	Trust    string
	Provider string    // the identity provider's name in the configuration
	Shadow   bool      // judged and recorded, never allowed
	Expires  time.Time // the first instant after the trust's end; zero: never
	Resource string    // "" where the grant names none
	// Pins are the claims that match pins by equality, each with the values that
	// it may have: string, int64 or bool. A claim that match leaves open, or
	// narrows by a glob, is not there. The name is the claim's canonical JSON
	// pointer (RFC 6901), which all of its names and aliases share.
	Pins map[string][]any
	// Fields are the target type's own fields that the grant names, sorted.
	Fields []string
	// Literal is the grant as the document alone has it: what depends on claims is
	// not in it.
	Literal Grant
}

// Granted lists what the trusts grant at one target, sorted by trust, each in the
// order of its document. Trusts in mode shadow and expired ones are among them,
// and say so. Conditions, access and guardrails are left out: they can only take
// away. A target that nothing names, or that does not exist, has none.
func (p *Policy) Granted(target string) []Granted {
	var out []Granted
	for _, t := range p.rules {
		for i := range t.grants {
			g := &t.grants[i]
			if g.target != target {
				continue
			}
			out = append(out, Granted{
				Trust: t.name, Provider: t.provider.name, Shadow: t.shadow, Expires: t.expires,
				Resource: g.resource, Pins: t.pins(), Fields: g.fields(), Literal: g.literal(),
			})
		}
	}
	return out
}

// pins are copied for each caller: a policy is immutable.
func (t *rule) pins() map[string][]any {
	pins := make(map[string][]any, len(t.match))
	for i := range t.match {
		line := &t.match[i]
		if !line.pins() {
			continue
		}
		values := make([]any, len(line.want))
		for j, want := range line.want {
			values[j] = want.value
		}
		pins[line.claim.id] = values
	}
	return pins
}

func (g *grantRule) fields() []string {
	var names []string
	for i := range g.extras {
		names = append(names, g.extras[i].name)
	}
	slices.Sort(names)
	return names
}

// Pointer is the canonical JSON pointer of a claim's name, the key of
// [Granted.Pins]. A name that begins with a slash is a pointer already. The
// boolean is false for what is no pointer.
func Pointer(name string) (string, bool) {
	if strings.HasPrefix(name, "/") {
		path, ok := parsePointer(name)
		return pointerOf(path), ok
	}
	return pointerOf([]string{name}), name != ""
}
