package oauth

import (
	"fmt"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
)

// Connection is what the operator of another authorization server sets up so that it
// trusts our issuer. How, is that server's to say; these are the facts that it needs.
type Connection struct {
	Target   string    `json:"target"`
	TokenURL string    `json:"token_url"`
	Issuer   string    `json:"issuer"`
	KeysURL  string    `json:"jwks_uri"`
	Audience string    `json:"audience"`
	Alg      string    `json:"alg"`
	Subjects []Subject `json:"subjects"` // by sub
}

// Subject is one exact value of sub in our assertions.
type Subject struct {
	Sub    string   `json:"sub"`
	Trusts []string `json:"trusts"` // that it comes from
	Shadow bool     `json:"shadow,omitempty"`
}

// Grant tells a connection of a grant to subjects.
func (c *Connection) Grant(of string, subjects []string, shadow bool) {
	for _, s := range subjects {
		i := slices.IndexFunc(c.Subjects, func(have Subject) bool { return have.Sub == s })
		if i < 0 {
			c.Subjects = append(c.Subjects, Subject{Sub: s, Trusts: []string{of}, Shadow: shadow})
			continue
		}
		have := &c.Subjects[i]
		if !slices.Contains(have.Trusts, of) {
			have.Trusts = append(have.Trusts, of)
		}
		have.Shadow = have.Shadow && shadow
	}
	slices.SortFunc(c.Subjects, func(a, b Subject) int { return strings.Compare(a.Sub, b.Sub) })
}

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range []string{
		"Made by: cambio connect " + c.Target,
		"So that " + c.TokenURL + " trusts the assertions of " + c.Issuer + ". Review it before you apply it:",
		"- Compare iss, aud and sub for equality. A server that does not look at sub lets in every workload of this issuer.",
		"- Have it issue tokens that live no longer than the grants say: longer ones are refused here.",
		"- It must reach the keys.",
	} {
		b.WriteString(l + "\n")
	}
	fmt.Fprintf(&b, "\n  iss       %s\n  aud       %s\n  keys      %s\n  alg       %s\n", c.Issuer, c.Audience, c.KeysURL, c.Alg)
	for _, s := range c.Subjects {
		of := strings.Join(s.Trusts, ", ")
		if s.Shadow {
			of += "; in mode shadow only: nothing is issued to it yet"
		}
		fmt.Fprintf(&b, "  sub       %s (%s)\n", s.Sub, of)
	}
	return b.String()
}

// JSON is the connection for programs.
func (c *Connection) JSON() string { return draft.JSON(c) }
