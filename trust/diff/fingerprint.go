package diff

import (
	"fmt"
	"slices"
	"strings"

	"cambio/trust"
)

// fingerprint is the same for two trusts that ask for and give the same, whatever
// they are named and whoever owns them.
func fingerprint(t trust.Trust) string {
	var b strings.Builder
	part := func(name string, texts ...string) { fmt.Fprintf(&b, "%s %q\n", name, texts) }
	part("from", t.Provider)
	part("how", fmt.Sprint(t.Shadow, t.Expires.UnixNano(), t.TokenUse, t.Nonce))
	match := make([]string, len(t.Match))
	for i, l := range t.Match {
		wants := make([]string, len(l.Want))
		for k, w := range l.Want {
			wants[k] = fmt.Sprintf("%T %#v %t", w.Value, w.Value, w.Glob)
		}
		slices.Sort(wants)
		match[i] = fmt.Sprintf("%q %q", l.Claim.ID(), wants)
	}
	slices.Sort(match)
	part("match", match...)
	when := make([]string, len(t.When))
	for i, c := range t.When {
		when[i] = c.Source
	}
	slices.Sort(when)
	part("when", when...)
	part("networks", fmt.Sprint(t.Access.Networks))
	for _, h := range t.Access.Hours {
		part("hours", h.Text)
	}
	for _, g := range t.Grants {
		part("grant", g.Target, g.Resource, fmt.Sprint(g.TTL, g.MinTTL))
		part("scopes", g.Scopes...)
		for _, v := range slices.Concat(g.Claims, g.Fields) {
			part("value", v.Name, v.Value)
		}
	}
	return b.String()
}
