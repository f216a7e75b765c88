package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// typeCallerIdentity are the roles of AWS that prove themselves by a signed request.
const typeCallerIdentity = "aws-caller-identity"

// nameForm is a name of a provider or target. It stands in URIs, metrics and
// file names unescaped.
var nameForm = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// providers checks the identity providers, each by itself and against the
// others.
func (c *checker) providers() {
	all := c.root.Get("identity_providers")
	if all == nil || all.Kind == strictyaml.Map && len(all.Items()) == 0 {
		c.r.Warn(c.root.Find("identity_providers"), "no-identity-provider", "without an identity provider every token is refused", "write identity_providers:")
	}
	type pair struct{ issuer, audience string }
	taken := map[pair]string{}
	for i, key := range all.Keys() {
		n := all.Items()[i]
		c.name(key)
		if key.Text == "trust" {
			c.r.Error(key, "name-reserved", "the name trust is reserved for workload ids of trusts", "write another name")
		}
		if n.Kind != strictyaml.Map {
			continue
		}
		p := c.provider(key.Text, n, c.config.IdentityProviders[key.Text])
		c.config.IdentityProviders[key.Text] = p
		for _, aud := range p.Audience {
			// A token of both would be one of either: a trust from the one would
			// be open to the other's.
			k := pair{p.Issuer, aud}
			if p.Issuer == "" && p.TrustDomain != "" {
				k.issuer = "spiffe://" + p.TrustDomain
			}
			if p.Type == typeCallerIdentity {
				k.issuer = p.Type // a signed request names its audience alone
			}
			if other, twice := taken[k]; twice && other != key.Text && k.issuer != "" {
				c.r.Error(n.Find("audience"), "provider-duplicate", other+" has this issuer and this audience already", "give each its own audience")
			}
			taken[k] = key.Text
		}
	}
}

func (c *checker) name(key *strictyaml.Node) {
	if !nameForm.MatchString(key.Text) {
		c.r.Error(key, "name", strconv.Quote(key.Text)+" is not a name", "write 1 to 63 of a-z, 0-9 and -")
	}
}

// platform is the platform of this name: made once, as a thousand providers are of
// few types.
func (c *checker) platform(name string) oidc.Platform {
	platform, made := c.platforms[name]
	if !made {
		platform, _ = providers.Platform(name)
		c.platforms[name] = platform
	}
	return platform
}

// provider checks one identity provider, and returns it with its defaults and
// the files that it names.
func (c *checker) provider(name string, n *strictyaml.Node, p IdentityProvider) IdentityProvider {
	known := c.oneOf(n.Get("type"), c.platformNames, "provider-type")
	platform := c.platform(p.Type)
	if n.Get("issuer") == nil {
		p.Issuer = platform.Issuer
	}
	if n.Get("clock_skew") == nil {
		p.ClockSkew = strictyaml.Duration(defaultSkew)
	}
	if n.Get("max_token_lifetime") == nil {
		p.MaxTokenLifetime = strictyaml.Duration(defaultLifetime)
	}
	for _, field := range []string{"issuer", "jwks_file", "jwks_url", "discovery_url", "ca_file", "trust_domain", "bundle_file", "bundle_url", "bundle_endpoint_id", "client_ca_file"} {
		c.notEmpty(n.Get(field))
	}
	p.JWKSFile, p.jwks = c.file(n.Get("jwks_file"), p.JWKSFile)
	p.CAFile, p.ca = c.file(n.Get("ca_file"), p.CAFile)
	p.BundleFile, p.bundle = c.file(n.Get("bundle_file"), p.BundleFile)
	p.ClientCAFile, p.clientCA = c.file(n.Get("client_ca_file"), p.ClientCAFile)
	if p.TokenReview != nil {
		for _, field := range []string{"url", "token_file"} {
			c.notEmpty(n.Get("token_review").Get(field))
		}
		p.TokenReview.TokenFile = c.path(p.TokenReview.TokenFile)
	}
	c.settings(n, platform)
	c.certificates(n, platform)
	c.audiences(n, p)
	if form := platform.IssuerForm; form != nil && p.Issuer != "" && !p.InsecureLoopback && !form.MatchString(p.Issuer) {
		// It may be an installation of one's own, or somebody else's who looks like it.
		c.r.Warn(n.Find("issuer"), "issuer-form", strconv.Quote(p.Issuer)+" is not what an issuer of this platform looks like",
			"compare it with iss of a token, byte by byte; an installation of your own may differ")
	}
	c.times(n, platform)
	c.tokenUse(n.Get("token_use"), platform)
	for _, list := range []string{"algs", "workload", "dial"} {
		c.list(n.Get(list))
	}
	if p.InsecureLoopback && !c.loopbackListener() {
		c.r.Error(n.Find("insecure_loopback"), "insecure-loopback", "insecure_loopback works only while listen is loopback", "leave it out, or listen on 127.0.0.1")
	}
	if known {
		c.catalogue(name, n, p)
		c.claims(n, p, platform)
	}
	if p.Issuer != "" && strings.TrimSuffix(p.Issuer, "/") == c.config.Issuer {
		// What we issue could be exchanged for more, for ever.
		c.r.Error(n.Find("issuer"), "issuer-own", "the issuer is our own", "write the identity provider's")
	}
	return p
}

// certificates checks what is different where workloads prove themselves by the
// certificate of their connection: it has no audience, and only who ends TLS sees it.
func (c *checker) certificates(n *strictyaml.Node, platform oidc.Platform) {
	byCertificate := platform.Proof == exchange.SubjectMTLS
	aud := n.Get("audience")
	switch {
	case aud == nil && !byCertificate:
		c.r.Missing(n, "audience", "write audience: and its value")
	case aud != nil && byCertificate:
		c.r.Error(aud, "audience-invalid", "a certificate has no audience", "leave it out")
	}
	if byCertificate && (c.config.TLS == nil || c.config.TLS.Cert == "") {
		c.r.Error(n.Find("type"), "client-certificates-unseen", "client certificates end where TLS ends, and that is not here", "write tls: {cert: ..., key: ...}, and let clients connect to this process itself")
	}
}

// settings refuses the fields that only other platforms have.
func (c *checker) settings(n *strictyaml.Node, platform oidc.Platform) {
	own := []string{"token_review", "trust_domain", "bundle_file", "bundle_url", "bundle_endpoint_id", "client_ca_file", "endpoint"}
	for _, key := range n.Keys() {
		if slices.Contains(own, key.Text) && !slices.Contains(platform.Settings, key.Text) {
			c.r.UnknownField(n, key, append([]string{"type", "issuer", "audience"}, platform.Settings...))
		}
	}
}

// review is the question to the cluster, or nil.
func (r *TokenReview) review() *oidc.Review {
	if r == nil {
		return nil
	}
	return &oidc.Review{URL: r.URL, Token: func() (string, error) {
		b, err := os.ReadFile(r.TokenFile) // the kubelet renews it
		return strings.TrimSpace(string(b)), err
	}}
}

// file reads a file that a provider names.
func (c *checker) file(n *strictyaml.Node, path string) (string, []byte) {
	if !usable(n) {
		return path, nil
	}
	full := c.path(path)
	if c.readFile == nil {
		return full, nil
	}
	b, err := c.readFile(full)
	if err != nil {
		c.r.Error(n, "file-unreadable", n.Show()+" cannot be read", "make it readable, or write another path")
		return full, nil
	}
	if len(b) == 0 {
		c.r.Error(n, "file-unreadable", n.Show()+" is empty", "write another path")
		return full, nil
	}
	return full, b
}

func (c *checker) audiences(n *strictyaml.Node, p IdentityProvider) {
	node := n.Get("audience")
	platform := c.platform(p.Type)
	for i, aud := range p.Audience {
		at := node
		if items := node.Items(); i < len(items) {
			at = items[i]
		}
		switch {
		case !exactText(aud):
			c.r.Error(at, "audience-invalid", at.Show()+" is not an audience", "write the exact text, without spaces and wildcards")
		case platform.SharedAudience != nil && platform.SharedAudience(cmp.Or(p.Issuer, platform.Issuer), aud):
			c.r.Warn(at, "audience-shared", at.Show()+" is what tokens of this platform are for where their job asks for nothing else: whoever receives one could show it here", "write an audience of this gateway's own, which jobs ask for")
		case cloudAudience(aud) && !platform.FixedAudience:
			c.r.Warn(at, "audience-shared", at.Show()+" is a cloud's audience: tokens made for the cloud would be taken here too", "write an audience of this gateway's own")
		}
	}
}

// exactText reports a text that can be compared byte for byte and be meant.
func exactText(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || b == '*' {
			return false
		}
	}
	return s != "" && len(s) <= 1024
}

// list reports an empty list and repeated items.
func (c *checker) list(n *strictyaml.Node) {
	if n == nil || n.Kind != strictyaml.List {
		return
	}
	if len(n.Items()) == 0 {
		c.r.Error(n, "empty-list", "the list is empty", "write at least one, or leave the line out")
	}
	seen := map[string]bool{}
	for _, item := range n.Items() {
		if usable(item) && seen[item.Text] {
			c.r.Error(item, "repeated", item.Show()+" stands here twice", "keep one")
		}
		seen[item.Text] = true
	}
}

// times checks the durations of a provider.
func (c *checker) times(n *strictyaml.Node, platform oidc.Platform) {
	// Zero stands for the default further in, so that nobody may write it.
	at := n.Get("clock_skew")
	if skew, ok := written(at); ok && (skew > maxSkew || skew == 0) {
		c.r.Error(at, "clock-skew", at.Show()+" is not between 1s and 5m", "write 30s, or what the clocks need")
	}
	for _, field := range []string{"max_token_age", "max_token_lifetime"} {
		if d, ok := written(n.Get(field)); ok && d == 0 {
			c.r.Error(n.Get(field), "token-time", "no token would be taken", "write a time such as 1h")
		}
	}
	at = n.Get("max_token_age")
	if age, ok := written(at); ok && platform.MaxAge > 0 && age > platform.MaxAge {
		c.r.Info(at, "max-token-age-longer", "older tokens are taken than this platform needs", "leave it out for "+strictyaml.Duration(platform.MaxAge).String())
	}
}

func (c *checker) tokenUse(n *strictyaml.Node, platform oidc.Platform) {
	uses := []string{string(trust.Once), string(trust.OncePerGrant), string(trust.UntilExpiry)}
	if !c.oneOf(n, uses, "token-use") {
		return
	}
	if platform.TokenUse != "" && platform.TokenUse.Tighter(trust.TokenUse(n.Text)) {
		c.r.Warn(n, "token-use-looser", "a stolen token of this platform can be used more often than it need be", "leave it out for "+string(platform.TokenUse))
	}
}

// catalogue asks the platform's own check: URLs, keys, algorithms, audiences.
func (c *checker) catalogue(name string, n *strictyaml.Node, p IdentityProvider) {
	algs := n.Get("algs").Items()
	platform := c.platform(p.Type)
	for _, problem := range oidc.Check(p.provider(name).WithDefaults(platform), platform) {
		at := n.Find(problem.Field)
		switch {
		case problem.Finding == oidc.FindingKeys && c.unread(n, p):
			continue // reported as a file that cannot be read
		case problem.Field == "audience" && problem.Finding == oidc.FindingSetting && n.Get("audience") == nil:
			continue // reported as required
		case problem.Field == "algs" && len(algs) > 0 && platform.Proof == exchange.SubjectJWT:
			continue // reported below, each where it stands
		case problem.Field == "issuer" && p.Issuer == "" && at == n:
			c.r.Missing(n, "issuer", "write issuer: and the exact iss of its tokens")
			continue
		case problem.Field == "issuer" && p.Issuer == "":
			continue // reported as empty or wrong
		}
		if at == n {
			problem.Text = fmt.Sprintf("%s: %s", problem.Field, problem.Text)
		}
		c.problem(at, problem)
	}
	for _, a := range algs {
		// Symmetric ones would make every verifier a signer (CVE-2026-33322).
		c.oneOf(a, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}, "alg-not-allowed")
	}
}

// unread reports whether a file with the provider's keys is named and was not read.
func (c *checker) unread(n *strictyaml.Node, p IdentityProvider) bool {
	for field, content := range map[string][]byte{"jwks_file": p.jwks, "bundle_file": p.bundle, "client_ca_file": p.clientCA} {
		if usable(n.Get(field)) && c.readFile != nil && content == nil {
			return true
		}
	}
	return false
}

// provider is the identity provider as its verifier takes it.
func (p IdentityProvider) provider(name string) oidc.Provider {
	rules := make([]oidc.DialRule, 0, len(p.Dial))
	for _, d := range p.Dial {
		if d.Host != "" {
			rules = append(rules, d.DialRule)
		}
	}
	return oidc.Provider{
		Name: name, Type: p.Type, Issuer: p.Issuer, Audiences: p.Audience,
		JWKSFile: p.jwks, JWKSURL: p.JWKSURL, DiscoveryURL: p.DiscoveryURL, CA: p.ca, Dial: rules,
		Algs: p.Algs, ClockSkew: time.Duration(p.ClockSkew), MaxAge: time.Duration(p.MaxTokenAge), MaxLifetime: time.Duration(p.MaxTokenLifetime),
		AllowMultiAudience: p.AllowMultiAudience, Workload: p.Workload, InsecureLoopback: p.InsecureLoopback,
		Review: p.TokenReview.review(), TrustDomain: p.TrustDomain, Bundle: p.bundle, BundleRead: again(p.BundleFile), BundleURL: p.BundleURL, BundleEndpointID: p.BundleEndpointID,
		ClientCA: p.clientCA, Endpoint: p.Endpoint,
	}
}

// again reads a file anew whenever it is asked; nil: there is none.
func again(path string) func() ([]byte, error) {
	if path == "" {
		return nil
	}
	return func() ([]byte, error) { return os.ReadFile(path) } //nolint:gosec // the operator named the file
}

// showsCertificates reports whether some provider takes the certificates of
// connections.
func (c Config) showsCertificates() bool {
	for _, p := range c.IdentityProviders {
		platform, _ := providers.Platform(p.Type)
		if platform.Proof == exchange.SubjectMTLS || platform.Domain != nil {
			return true
		}
	}
	return false
}

// Verified are the identity providers as package providers takes them, sorted
// by name, with the key sets and certificates read.
func (c Config) Verified() []oidc.Provider {
	out := make([]oidc.Provider, 0, len(c.IdentityProviders))
	for _, name := range slices.Sorted(maps.Keys(c.IdentityProviders)) {
		out = append(out, c.IdentityProviders[name].provider(name))
	}
	return out
}
