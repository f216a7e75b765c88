package oidc

import (
	"fmt"
	"slices"
	"time"

	"cambio/exchange"
)

// Provider is one identity provider of the configuration. What is zero takes
// the platform's default where the field says so.
type Provider struct {
	Name      string
	Type      string   // a name in Config.Platforms
	Issuer    string   // exact; default: the platform's
	Audiences []string // exact, at least one; the first is what a caller is told to ask for

	JWKSFile     []byte // a pinned key set; nothing is ever fetched
	JWKSURL      string // where the key set is; no discovery
	DiscoveryURL string // where the discovery document is; default: below the issuer
	CA           []byte // PEM; default: the system's roots
	Dial         []DialRule

	Algs               []string      // default: the platform's
	ClockSkew          time.Duration // default: 30 s
	MaxAge             time.Duration // since iat; default: the platform's
	MaxLifetime        time.Duration // exp - iat; default: 24 h
	AllowMultiAudience bool
	Workload           []string // claims of the workload id; generic platform only; default: sub
	InsecureLoopback   bool     // http and loopback addresses may be called

	// What only some platforms have; see [Platform.Settings].
	Review      *Review // kubernetes: asked about each token that its keys prove
	TrustDomain string  // spiffe
	Bundle      []byte  // spiffe: a trust bundle, pinned or the first one
	// BundleRead reads the file of Bundle again, which somebody may keep up to date;
	// nil: it never changes.
	BundleRead       func() ([]byte, error)
	BundleURL        string // spiffe: the bundle endpoint
	BundleEndpointID string // spiffe: the SPIFFE ID that the endpoint proves itself with
	ClientCA         []byte // x509: PEM of those who vouch for client certificates
	Endpoint         string // aws-caller-identity: where signed requests go instead
}

// Review is a service that is asked whether a proven token is still good.
type Review struct {
	URL   string                 // of the API server
	Token func() (string, error) // what we show it; called for each question
}

const (
	defaultSkew     = 30 * time.Second
	defaultLifetime = 24 * time.Hour
)

// WithDefaults returns p with the platform's defaults for what is zero.
func (p Provider) WithDefaults(platform Platform) Provider {
	if p.Issuer == "" {
		p.Issuer = platform.Issuer
	}
	if len(p.Algs) == 0 {
		p.Algs = platform.Algs
	}
	if p.ClockSkew == 0 {
		p.ClockSkew = defaultSkew
	}
	if p.MaxAge == 0 {
		p.MaxAge = platform.MaxAge
	}
	if p.MaxLifetime == 0 {
		p.MaxLifetime = defaultLifetime
	}
	return p
}

// Check says all that is wrong with a provider that has its defaults.
func Check(p Provider, platform Platform) []Problem {
	var problems []Problem
	add := func(finding, field, text string) {
		problems = append(problems, Problem{Finding: finding, Field: field, Text: text})
	}
	tokens := platform.Proof == exchange.SubjectJWT
	if p.Issuer == "" && tokens && platform.Domain == nil {
		add(FindingURL, "issuer", "an issuer is required: this platform has no default")
	}
	for _, u := range []struct{ field, url string }{
		{"issuer", p.Issuer}, {"jwks_url", p.JWKSURL}, {"discovery_url", p.DiscoveryURL}, {"endpoint", p.Endpoint},
	} {
		if u.url == "" {
			continue
		}
		if problem := CheckURL(u.field, u.url, p.InsecureLoopback, p.Dial); problem != nil {
			problems = append(problems, *problem)
		}
	}
	if p.Review != nil {
		if problem := CheckURL("token_review", p.Review.URL, p.InsecureLoopback, p.Dial); problem != nil {
			problems = append(problems, *problem)
		}
		if platform.Reviewer == nil {
			add(FindingSetting, "token_review", "this platform has nobody to ask about tokens")
		}
	}
	if (len(p.Audiences) == 0 || slices.Contains(p.Audiences, "")) && platform.Proof != exchange.SubjectMTLS {
		add(FindingSetting, "audience", "an audience is required: without one, any token of the issuer would do")
	}
	if len(p.Algs) == 0 && tokens {
		add(FindingSetting, "algs", "an algorithm is required")
	}
	for _, alg := range p.Algs {
		if !slices.Contains(algorithms(), alg) {
			add(FindingSetting, "algs", fmt.Sprintf("%q is not one of %v", alg, algorithms()))
		}
	}
	ways := 0
	for _, set := range []bool{p.JWKSFile != nil, p.JWKSURL != "", p.DiscoveryURL != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		add(FindingSetting, "jwks_url", "set one of jwks_file, jwks_url and discovery_url")
	}
	if p.JWKSFile != nil {
		if _, err := parseKeys(p.JWKSFile); err != nil {
			add(FindingKeys, "jwks_file", err.Error())
		}
	}
	if _, err := roots(p.CA); err != nil {
		add(FindingKeys, "ca_file", err.Error())
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"clock_skew", p.ClockSkew}, {"max_token_age", p.MaxAge}, {"max_token_lifetime", p.MaxLifetime}} {
		if d.value < 0 {
			add(FindingSetting, d.field, "a negative duration")
		}
	}
	for _, a := range p.Audiences {
		if platform.ReservedAudience != nil && platform.ReservedAudience(p.Issuer, a) {
			add(FindingAudience, "audience", fmt.Sprintf("%q is the platform's own audience; its tokens open the platform itself, choose one for this gateway alone", a))
		}
	}
	if platform.LocalIssuer != nil && platform.LocalIssuer(p.Issuer) && p.JWKSFile == nil && len(p.Dial) == 0 {
		add(FindingKeys, "jwks_file", "the issuer is the same in every cluster; pin this cluster's keys with jwks_file, or open its address with dial")
	}
	if !tokens || platform.Domain != nil {
		problems = append(problems, keyless(p, tokens)...)
	}
	if platform.Domain != nil {
		problems = append(problems, platform.Domain.check(p)...)
	}
	if platform.CheckSettings != nil {
		problems = append(problems, platform.CheckSettings(p)...)
	}
	if len(p.Workload) > 0 && !platform.Generic {
		add(FindingSetting, "workload", "the platform's workload id is fixed; only type oidc has a choice")
	}
	return problems
}

// keyless refuses the settings of key sets where there is none.
func keyless(p Provider, tokens bool) []Problem {
	var problems []Problem
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"issuer", p.Issuer != "" && !tokens},
		{"algs", len(p.Algs) > 0 && !tokens},
		{"jwks_file", p.JWKSFile != nil},
		{"jwks_url", p.JWKSURL != ""},
		{"discovery_url", p.DiscoveryURL != ""},
	} {
		if f.set {
			problems = append(problems, Problem{FindingSetting, f.field, "nobody reads it: the workloads of this platform prove themselves without a key set of an issuer"})
		}
	}
	return problems
}
