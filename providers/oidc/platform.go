package oidc

import (
	"net/http"
	"regexp"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// Platform describes one kind of identity provider as data: what its tokens
// claim, and how the verifier reads them.
type Platform struct {
	trust.Platform

	Issuer    string         // the issuer where the platform has one for all, else ""
	Algs      []string       // the algorithms it signs with
	TokenUse  trust.TokenUse // how often one token may be used, by default
	MaxAge    time.Duration  // since iat, by default
	KeysHosts []string       // other hosts than the issuer's that its key set may be on
	Typ       []string       // media types of the header's typ, lower case; an absent typ is always fine
	Workload  []Segment      // what the workload id is made of, after the provider's name
	// BothWays are claims that the platform sends as a boolean in some tokens
	// and as "true" or "false" in others. They become booleans; nothing else is
	// ever coerced.
	BothWays []string
	// Check refuses claims that contradict each other. It is called after all
	// other checks of the claims. May be nil.
	Check func(claims map[string]any) error
	// ReservedAudience reports audiences that belong to another service, whose
	// tokens we must not take. May be nil.
	ReservedAudience func(issuer, audience string) bool
	// SharedAudience reports the audiences that its tokens have where the workload
	// asks for none: whoever receives such a token elsewhere could show it here, which
	// is worth a warning. May be nil.
	SharedAudience func(issuer, audience string) bool
	// FixedAudience says that nobody can choose the audience, so that a warning about
	// the platform's own would help nobody.
	FixedAudience bool
	// LocalIssuer reports issuers that many installations have alike, so that
	// only pinned keys or a dial rule say which is meant. May be nil.
	LocalIssuer func(issuer string) bool
	// Reviewer makes who is asked whether a proven token is still good, where the
	// configuration says so; the transport reaches what it lets it. It calls nobody.
	// nil: nobody can be asked.
	Reviewer func(r Review, transport http.RoundTripper) (Reviewer, error)
	// Generic lets the configuration declare anchors and the workload id.
	Generic bool

	// Domain is set where subjects are SPIFFE IDs: its tokens may lack iss, and are
	// chosen by their trust domain then, and its keys come in a trust bundle.
	Domain *Domain
	// Derived are claims that the verifier makes of others. One of that name in a
	// token does not count.
	Derived []string
	// CheckSettings says what else is wrong with a provider's configuration, for the
	// fields that only this platform has. May be nil.
	CheckSettings func(p Provider) []Problem

	// Proof is how its workloads prove who they are; the zero value: by a JWT.
	Proof exchange.SubjectType
	// Settings are the fields of the configuration that only this platform has.
	Settings []string
	// IssuerForm is what its issuers look like; nil: anything. One that does not is
	// worth a warning, as it may be a stand-in.
	IssuerForm *regexp.Regexp
	// Facts are what docs/platforms.md says of it.
	Facts Facts
}

// Evidence says how sure we are of a platform's table.
type Evidence string

// The kinds of evidence, the surest first.
const (
	FromToken  Evidence = "token"  // real tokens were read
	FromSource Evidence = "source" // the source code that makes the tokens, or its own client's, was read
	FromDocs   Evidence = "docs"   // the platform's documentation says so
)

// Facts are what people want to know of a platform before they rely on it.
type Facts struct {
	Title    string   // as its makers write it
	Evidence Evidence // of the claims
	Source   string   // where that is: a URL, or a file of a repository
	Obtain   string   // how `cambio exchange` finds the token, in a sentence
	Page     string   // the how-to, a file below docs/how-to
	Risks    []string // what a reviewer of its trusts must know, a sentence each
}

// Segment is one segment of a workload id: a fixed word, or a claim's value.
type Segment struct {
	Literal string
	Claim   string // a claim's name, or a JSON pointer
	// Split takes a value apart that is several segments. nil: it is one.
	Split func(value string) ([]string, error)
}

// Generic is the platform of configuration type oidc: any OpenID Connect issuer,
// whose claims, anchors and workload id the configuration declares.
func Generic() Platform {
	return Platform{
		Platform: trust.Platform{
			Name:   "oidc",
			Claims: StandardClaims(),
			// And those that the configuration declares: whoever wrote them down there
			// means them for decisions.
			Journal: []string{"iss", "iat", "exp"},
			Sample: map[string]any{
				"iss": "https://issuer.example", "sub": "workload", "aud": "https://id.acme.example",
				"iat": int64(1795320000), "exp": int64(1795323600),
			},
		},
		Algs:     []string{"RS256", "ES256"},
		TokenUse: trust.Once,
		MaxAge:   time.Hour,
		Typ:      []string{"jwt", "at+jwt"},
		Workload: []Segment{{Claim: "sub"}},
		Generic:  true,
		Facts: Facts{
			Title: "Any OpenID Connect issuer", Evidence: FromSource, Page: "any-oidc-issuer.md",
			Source: "OpenID Connect Core 1.0 section 2, RFC 7519; the claims are those that the configuration declares",
			Obtain: "reads the file or the variable that it is pointed to",
			Risks:  []string{"Which claim is immutable, and of one tenant, only the operator knows: the declared anchor is as good as that."},
		},
	}
}

// StandardClaims are the registered claims (RFC 7519 section 4.1) that the
// tokens of every platform have. A platform that sends aud as a list says so
// itself.
func StandardClaims() map[string]trust.Claim {
	return map[string]trust.Claim{
		"iss": {Type: trust.StringClaim, Always: true},
		"sub": {Type: trust.StringClaim, Always: true},
		"aud": {Type: trust.StringClaim, Always: true},
		"exp": {Type: trust.IntClaim, Always: true},
		"iat": {Type: trust.IntClaim, Always: true},
		"nbf": {Type: trust.IntClaim},
		"jti": {Type: trust.StringClaim},
	}
}
