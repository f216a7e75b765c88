package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

// Tokens holds one platform whose workloads show JWTs to the contract: the sample
// is taken, in every algorithm; then one thing after the other is broken.
type Tokens struct {
	Type     string // its name in the catalogue
	Platform oidc.Platform
}

const (
	ours = "https://gw.test" // the audience of the provider under test
	name = "p-1"             // its name
)

// Run holds the platform to the contract.
func (c Tokens) Run(t *testing.T) {
	p := c.Platform
	if p.Facts.Title == "" || p.Facts.Evidence == "" || p.Facts.Source == "" || p.Facts.Obtain == "" || p.Facts.Page == "" {
		t.Errorf("the facts are not whole: %+v", p.Facts)
	}
	t.Run("algorithms", c.algorithms)
	t.Run("issuer", c.issuer)
	t.Run("audience", c.audience)
	t.Run("claims", c.claims)
	t.Run("aliases", c.aliases)
	t.Run("pins", c.pins)
}

// now is the time at which the sample is good.
func (c Tokens) now() time.Time {
	issued, ok := c.Platform.Sample["iat"].(int64)
	if !ok {
		issued = c.Platform.Sample["exp"].(int64) - 60 //nolint:forcetypeassert // a sample without exp fails the test
	}
	return time.Unix(issued+10, 0)
}

// sample is the sample as a token has it, for our audience.
func (c Tokens) sample() map[string]any {
	claims := clone(c.Platform.Sample)
	for alias := range c.Platform.Aliases {
		delete(claims, alias)
	}
	if _, list := claims["aud"].([]any); list {
		claims["aud"] = []any{ours}
	} else {
		claims["aud"] = ours
	}
	return claims
}

func clone(claims map[string]any) map[string]any {
	out := maps.Clone(claims)
	for k, v := range out {
		if m, ok := v.(map[string]any); ok {
			out[k] = clone(m)
		}
	}
	return out
}

// provider is the identity provider under test.
func (c Tokens) provider(tb testing.TB) oidc.Provider {
	issuer, _ := c.Platform.Sample["iss"].(string)
	p := oidc.Provider{Name: name, Type: c.Type, Issuer: issuer, Audiences: []string{ours}, JWKSFile: keysOf(tb).set}
	if c.Platform.Domain != nil {
		// Its keys come in a bundle, and its subjects say whose it is.
		sub, _ := c.Platform.Sample["sub"].(string)
		domain, _, err := c.Platform.Domain.Parse(sub)
		if err != nil {
			tb.Fatal(err)
		}
		p.TrustDomain, p.JWKSFile, p.Bundle = domain, nil, bytes.ReplaceAll(p.JWKSFile, []byte(`{"kty"`), []byte(`{"use":"jwt-svid","kty"`))
	}
	return p
}

func (c Tokens) open(tb testing.TB) *oidc.Set {
	tb.Helper()
	s, err := oidc.New(oidc.Config{
		TrustDomain: "gw.test", Now: c.now, Log: slog.New(slog.DiscardHandler),
		Platforms: map[string]oidc.Platform{c.Type: c.Platform}, Providers: []oidc.Provider{c.provider(tb)},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func (c Tokens) verify(t *testing.T, claims map[string]any) (exchange.Proof, error) {
	t.Helper()
	return c.open(t).Verify(t.Context(), keysOf(t).sign(t, c.Platform.Algs[0], claims))
}

// algorithms: those of the table, and no other.
func (c Tokens) algorithms(t *testing.T) {
	set, keys := c.open(t), keysOf(t)
	for alg := range keys.keys {
		proof, err := set.Verify(t.Context(), keys.sign(t, alg, c.sample()))
		switch listed := slices.Contains(c.Platform.Algs, alg); {
		case listed && err != nil:
			t.Errorf("%s: %v", alg, err)
		case listed && proof.Workload == "":
			t.Errorf("%s: no workload id", alg)
		case !listed && reasonOf(err) != trust.ReasonAlgNotAllowed:
			t.Errorf("%s, which is not in the table: %v", alg, err)
		}
	}
	token := keys.sign(t, c.Platform.Algs[0], c.sample())
	if _, err := set.Verify(t.Context(), token[:len(token)-4]+"AAAA"); err == nil {
		t.Error("another signature is taken")
	}
}

// issuer: byte for byte.
func (c Tokens) issuer(t *testing.T) {
	iss, _ := c.Platform.Sample["iss"].(string)
	other := strings.TrimSuffix(iss, "/")
	if other == iss {
		other += "/"
	}
	for _, bad := range []any{other, strings.ToUpper(iss), iss + ".evil.example", "https://evil.example/?" + iss, 7, []any{iss}, map[string]any{}} {
		claims := c.sample()
		claims["iss"] = bad
		if _, err := c.verify(t, claims); reasonOf(err) != trust.ReasonIssuerUnknown {
			t.Errorf("iss %v: %v", bad, err)
		}
	}
}

// audience: ours alone.
func (c Tokens) audience(t *testing.T) {
	for _, bad := range []any{"https://other.test", []any{"https://other.test"}, ours + "/", strings.ToUpper(ours), []any{}, "", nil, 7, map[string]any{ours: true}} {
		claims := c.sample()
		claims["aud"] = bad
		if _, err := c.verify(t, claims); reasonOf(err) != trust.ReasonAudMismatch {
			t.Errorf("aud %v: %v", bad, err)
		}
	}
	claims := c.sample()
	claims["aud"] = []any{ours, "https://other.test"}
	if _, err := c.verify(t, claims); reasonOf(err) != trust.ReasonAudMultiple {
		t.Errorf("two audiences: %v", err)
	}
}

// claims: a trust that pins all that the sample has takes the sample, and not one
// in which a claim is missing, null, empty, of another type or another value.
func (c Tokens) claims(t *testing.T) {
	policy := c.policy(t)
	if d := c.decide(t, policy, c.sample()); d != "" {
		t.Fatalf("the sample: %s", d)
	}
	for path := range c.pinned() {
		for what, value := range map[string]any{
			"missing": missing{}, "null": nil, "empty": "", "a number": 4711, "a text": "another", "true": true,
			"a list": []any{"x"}, "an empty list": []any{}, "an object": map[string]any{"x": 1}, "half": 0.5,
			"with a NUL": "main\x00", "with a space": " main", "long": strings.Repeat("x", 5000),
		} {
			claims := c.sample()
			if !put(claims, path, value) {
				continue // as it was
			}
			if d := c.decide(t, policy, claims); d == "" {
				t.Errorf("%s %s: allowed", path, what)
			}
		}
	}
}

// missing takes a claim out.
type missing struct{}

// put sets a claim by its name or pointer; false: it has this value already.
func put(claims map[string]any, path string, value any) bool {
	steps := []string{path}
	if strings.HasPrefix(path, "/") {
		steps = strings.Split(path[1:], "/")
		for i := range steps {
			steps[i] = strings.ReplaceAll(strings.ReplaceAll(steps[i], "~1", "/"), "~0", "~")
		}
	}
	for _, step := range steps[:len(steps)-1] {
		claims, _ = claims[step].(map[string]any)
	}
	last := steps[len(steps)-1]
	if _, out := value.(missing); out {
		delete(claims, last)
		return true
	}
	if fmt.Sprint(claims[last]) == fmt.Sprint(value) {
		return false
	}
	claims[last] = value
	return true
}

// decide says why claims are refused, by the verifier or the policy; "": allowed.
func (c Tokens) decide(t *testing.T, policy *trust.Policy, claims map[string]any) trust.Reason {
	t.Helper()
	proof, err := c.verify(t, claims)
	if err != nil {
		if proof.Workload != "" && reasonOf(err) == trust.ReasonWorkloadClaim {
			t.Errorf("a workload id without its claims: %s", proof.Workload)
		}
		return reasonOf(err)
	}
	d := policy.Decide(proof.Identity, trust.Request{Target: "api"}, trust.StopSet{}, c.now())
	if d.Allow {
		return ""
	}
	return d.Reason
}

// pinned are the claims of the sample that match can pin, with their values. Times
// are left out: they have rules of their own.
func (c Tokens) pinned() map[string]any {
	out := map[string]any{}
	for path, claim := range c.Platform.Claims {
		if slices.Contains(c.Platform.Derived, path) {
			continue // the verifier's own, whatever a token has there
		}
		if slices.Contains([]string{"iss", "aud", "exp", "iat", "nbf", "jti"}, path) || claim.Type == trust.ListClaim || claim.Type == trust.MapClaim || claim.Type == trust.DoubleClaim {
			continue
		}
		if v, ok := at(c.Platform.Sample, path); ok {
			out[path] = v
		}
	}
	return out
}

func at(claims map[string]any, path string) (any, bool) {
	if !strings.HasPrefix(path, "/") {
		v, ok := claims[path]
		return v, ok
	}
	var v any = claims
	for step := range strings.SplitSeq(path[1:], "/") {
		m, _ := v.(map[string]any)
		var ok bool
		if v, ok = m[strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")]; !ok {
			return nil, false
		}
	}
	return v, true
}

// policy is one trust that pins all of them.
func (c Tokens) policy(t *testing.T) *trust.Policy {
	t.Helper()
	policy, findings := c.compile(c.pinned())
	if policy == nil {
		t.Fatal(findings)
	}
	return policy
}

func (c Tokens) compile(match map[string]any) (*trust.Policy, error) {
	lines, err := json.Marshal(match)
	if err != nil {
		return nil, err
	}
	provider := trust.Provider{Platform: c.Platform.Platform, TokenUse: c.Platform.TokenUse}
	if c.Platform.Generic {
		provider.Anchors = []string{"sub"}
	}
	policy, findings := trust.Compile(trust.World{
		Providers: map[string]trust.Provider{name: provider},
		Targets: map[string]trust.Target{"api": {MaxTTL: time.Hour, Type: trust.TargetType{
			Name: "jwt", MaxTTL: time.Hour, Fields: map[string]trust.Field{"ttl": {Type: trust.DurationField, Narrows: trust.Max}},
		}}},
	}, []trust.Source{{Name: "all.yaml", Data: []byte("name: all\nowner: team@acme.test\npurpose: all that can be pinned\nfrom: " + name +
		"\nmatch: " + string(lines) + "\ngrants: [{to: api}]\n")}}, c.now())
	if policy == nil {
		return nil, errors.New(findings.Error())
	}
	return policy, nil
}

// aliases: a claim of the token that is called as an alias is none.
func (c Tokens) aliases(t *testing.T) {
	for alias, pointer := range c.Platform.Aliases {
		claims := c.sample()
		v, has := at(claims, pointer)
		if !has {
			continue
		}
		put(claims, pointer, missing{})
		claims[alias] = v
		if proof, err := c.verify(t, claims); err == nil {
			if _, poses := proof.Claims[alias]; poses {
				t.Errorf("a claim poses as the alias %s", alias)
			}
		}
	}
}

// pins: without an anchor, or what belongs beside it, no trust loads.
func (c Tokens) pins(t *testing.T) {
	if c.Platform.Generic {
		return
	}
	all := c.pinned()
	same := func(a, b string) bool {
		p, _ := trust.Pointer(alias(c.Platform, a))
		q, _ := trust.Pointer(alias(c.Platform, b))
		return p == q
	}
	without := func(names ...string) map[string]any {
		out := map[string]any{}
		for path, v := range all {
			if !slices.ContainsFunc(names, func(n string) bool { return same(n, path) }) {
				out[path] = v
			}
		}
		return out
	}
	for _, names := range append([][]string{c.Platform.Anchors}, singles(c.Platform.Pinned)...) {
		match := without(names...)
		if len(match) == 0 {
			match = map[string]any{"iss": c.Platform.Sample["iss"]}
		}
		if _, err := c.compile(match); err == nil || !strings.Contains(err.Error(), trust.FindingTooBroad) {
			t.Errorf("without %v: %v", names, err)
		}
	}
}

func singles(names []string) [][]string {
	var out [][]string
	for _, n := range names {
		out = append(out, []string{n})
	}
	return out
}

// alias is the pointer that a flat name stands for, or the name.
func alias(p oidc.Platform, claim string) string {
	if pointer, ok := p.Aliases[claim]; ok {
		return pointer
	}
	return claim
}

func reasonOf(err error) trust.Reason {
	var e *exchange.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return trust.Reason("no refusal: " + err.Error())
	}
	return ""
}
