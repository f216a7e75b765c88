package spiffe_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/providers/providertest"
	"cambio/providers/spiffe/spiffetest"
	"cambio/trust"
)

const workload = "spiffe://td1/ns/payments/sa/api_1"

func TestJWTSVID(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	v := open(t, provider(a))
	got, err := v.set.Verify(t.Context(), a.JWT(a.Claims(workload, audience), nil))
	if err != nil {
		t.Fatal(err)
	}
	now := start()
	want := exchange.Proof{
		Identity: trust.Identity{
			Provider: "mesh", Workload: "spiffe://gw.test/mesh/ns/payments/sa/api_5f1", Subject: workload, Issuer: "spiffe://td1", Audience: audience,
			IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
			Claims: map[string]any{
				"sub": workload, "aud": []any{audience}, "iat": now.Unix(), "exp": now.Unix() + 300,
				"trust_domain": "td1", "path": "/ns/payments/sa/api_1", "svid": "jwt",
			},
		},
		ReplayKey: got.ReplayKey, ClockSkew: 30 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestBrokenJWTSVID starts from a good one and breaks one thing.
func TestBrokenJWTSVID(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	now := start().Unix()
	day := int64(24 * 60 * 60)
	good := func() map[string]any { return a.Claims(workload, audience) }
	with := func(changes map[string]any) map[string]any {
		c := good()
		for k, v := range changes {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	for name, c := range map[string]struct {
		token string
		want  trust.Reason
	}{
		"good":                    {a.JWT(good(), nil), ""},
		"typ JOSE":                {a.JWT(good(), map[string]any{"typ": "JOSE"}), ""},
		"typ JWT":                 {a.JWT(good(), map[string]any{"typ": "JWT"}), ""},
		"no typ":                  {a.JWT(good(), map[string]any{"typ": nil}), ""},
		"typ at+jwt":              {a.JWT(good(), map[string]any{"typ": "at+jwt"}), trust.ReasonTypNotAllowed},
		"no kid":                  {a.JWT(good(), map[string]any{"kid": nil}), ""},
		"unknown kid":             {a.JWT(good(), map[string]any{"kid": "other"}), trust.ReasonKidUnknown},
		"iss that nobody has":     {a.JWT(with(map[string]any{"iss": "https://spire.test"}), nil), trust.ReasonIssuerUnknown},
		"iss empty":               {a.JWT(with(map[string]any{"iss": ""}), nil), trust.ReasonIssuerUnknown},
		"iss null":                {a.JWT(nullIss(good()), nil), trust.ReasonIssuerUnknown},
		"ISS":                     {a.JWT(with(map[string]any{"ISS": "https://spire.test"}), nil), trust.ReasonClaimInvalid},
		"no iat":                  {a.JWT(with(map[string]any{"iat": nil}), nil), ""},
		"no iat, a day":           {a.JWT(with(map[string]any{"iat": nil, "exp": now + day}), nil), ""},
		"no iat, more than a day": {a.JWT(with(map[string]any{"iat": nil, "exp": now + day + 1}), nil), trust.ReasonTooLongLived},
		"iat null":                {a.JWT(nullIat(good()), nil), trust.ReasonIatMissing},
		"iat text":                {a.JWT(with(map[string]any{"iat": "1"}), nil), trust.ReasonIatMissing},
		"iat in the future":       {a.JWT(with(map[string]any{"iat": now + 31}), nil), trust.ReasonIatFuture},
		"more than a day":         {a.JWT(with(map[string]any{"exp": now + day + 1}), nil), trust.ReasonTooLongLived},
		"no exp":                  {a.JWT(with(map[string]any{"exp": nil}), nil), trust.ReasonExpMissing},
		"expired":                 {a.JWT(with(map[string]any{"exp": now - 30}), nil), trust.ReasonExpired},
		"expired, no iat":         {a.JWT(with(map[string]any{"iat": nil, "exp": now - 30}), nil), trust.ReasonExpired},
		"nbf, no iat":             {a.JWT(with(map[string]any{"iat": nil, "nbf": now + 31}), nil), trust.ReasonNotYetValid},
		"no aud":                  {a.JWT(with(map[string]any{"aud": nil}), nil), trust.ReasonAudMismatch},
		"another aud":             {a.JWT(with(map[string]any{"aud": "https://other.test"}), nil), trust.ReasonAudMismatch},
		"two aud":                 {a.JWT(with(map[string]any{"aud": []string{audience, "x"}}), nil), trust.ReasonAudMultiple},
		"no sub":                  {a.JWT(with(map[string]any{"sub": nil}), nil), trust.ReasonIssuerUnknown},
		"sub no SPIFFE ID":        {a.JWT(with(map[string]any{"sub": "api"}), nil), trust.ReasonIssuerUnknown},
		"sub a list":              {a.JWT(with(map[string]any{"sub": []string{workload}}), nil), trust.ReasonIssuerUnknown},
		"the trust domain itself": {a.JWT(with(map[string]any{"sub": "spiffe://td1"}), nil), trust.ReasonSPIFFEID},
		"unknown trust domain":    {a.JWT(with(map[string]any{"sub": "spiffe://td3/x"}), nil), trust.ReasonIssuerUnknown},
		"td1 speaks for td2":      {a.JWT(with(map[string]any{"sub": "spiffe://td2/x"}), map[string]any{"kid": "jwt-td2"}), trust.ReasonSignature},
		"td2 speaks for td1":      {b.JWT(good(), map[string]any{"kid": "jwt-td1"}), trust.ReasonSignature},
		"a longer name":           {a.JWT(with(map[string]any{"sub": "spiffe://td1.evil/x"}), nil), trust.ReasonIssuerUnknown},
		"act":                     {a.JWT(with(map[string]any{"act": map[string]any{"sub": "x"}}), nil), trust.ReasonActorUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			other := provider(b)
			other.Name = "other"
			_, err := open(t, provider(a), other).set.Verify(t.Context(), c.token)
			if got := reason(t, err); got != c.want {
				t.Errorf("%s (%v), want %q", got, err, c.want)
			}
		})
	}
}

func nullIss(c map[string]any) map[string]any { c["iss"] = nil; return c }

func nullIat(c map[string]any) map[string]any { c["iat"] = nil; return c }

// TestSPF01: a SPIFFE ID that is not one to the letter is refused, with an issuer
// and without.
func TestSPF01(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	issued := provider(a)
	issued.Name, issued.Issuer = "issued", "https://spire.test"
	v := open(t, provider(a), issued)
	for name, id := range malformed() {
		claims := a.Claims(id, audience)
		want := trust.ReasonSPIFFEID
		if _, err := v.set.Verify(t.Context(), a.JWT(claims, nil)); reason(t, err) != want {
			t.Errorf("%s: %v", name, err)
		}
		claims["iss"] = "https://spire.test"
		if _, err := v.set.Verify(t.Context(), a.JWT(claims, nil)); reason(t, err) != want {
			t.Errorf("%s, with iss: %v", name, err)
		}
		if _, err := url.Parse(id); err != nil || name == "not ASCII" || name == "IDN" {
			continue // Go's parser of certificates refuses the connection
		}
		if proof, err := v.certs.Verify(t.Context(), spiffetest.Shown(t, a.SVID(id, nil))); reason(t, err) != want || proof.Workload != "" {
			t.Errorf("%s, in a certificate: %v", name, err)
		}
	}
}

// TestIssuer: where the configuration has an issuer, the token has exactly it; and
// the keys of one trust domain never speak for another.
func TestIssuer(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	p := provider(a)
	p.Issuer = "https://spire.test"
	v := open(t, p)
	claims := a.Claims(workload, audience)
	for _, c := range []struct {
		iss  any
		sub  string
		want trust.Reason
	}{
		{"https://spire.test", workload, ""},
		{"https://spire.test/", workload, trust.ReasonIssuerUnknown},
		{nil, workload, trust.ReasonIssuerUnknown},
		{"https://spire.test", "spiffe://td2/x", trust.ReasonSPIFFEID},
		{"https://spire.test", "spiffe://td1", trust.ReasonSPIFFEID},
		{"https://spire.test", "api", trust.ReasonSPIFFEID},
	} {
		changed := maps.Clone(claims)
		changed["sub"] = c.sub
		if c.iss != nil {
			changed["iss"] = c.iss
		}
		proof, err := v.set.Verify(t.Context(), a.JWT(changed, nil))
		if got := reason(t, err); got != c.want {
			t.Errorf("%v %s: %v", c.iss, c.sub, err)
		}
		if err == nil && proof.Issuer != "https://spire.test" {
			t.Errorf("issuer %q", proof.Issuer)
		}
	}
}

// TestDerived: what a token says of itself under the names of derived claims does
// not count.
func TestDerived(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	claims := a.Claims(workload, audience)
	claims["trust_domain"], claims["path"], claims["svid"] = "td2", "/admin", "x509"
	proof, err := open(t, provider(a)).set.Verify(t.Context(), a.JWT(claims, nil))
	if err != nil {
		t.Fatal(err)
	}
	if proof.Claims["trust_domain"] != "td1" || proof.Claims["path"] != "/ns/payments/sa/api_1" || proof.Claims["svid"] != "jwt" {
		t.Errorf("%v", proof.Claims)
	}
}

// TestReplayKeys: two trust domains never share a use, nor do an issuer and a
// trust domain; the provider's name does not count.
func TestReplayKeys(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	issued, renamed := provider(a), provider(a)
	issued.Name, issued.Issuer, renamed.Name = "issued", "https://spire.test", "renamed"
	other := provider(b)
	other.Name = "other"
	v := open(t, provider(a), issued, other)
	key := func(v *verifier, a *spiffetest.Authority, more map[string]any) string {
		claims := a.Claims("spiffe://"+a.Domain+"/x", audience)
		maps.Copy(claims, more)
		proof, err := v.set.Verify(t.Context(), a.JWT(claims, nil))
		if err != nil {
			t.Fatal(err)
		}
		return proof.ReplayKey
	}
	seen := map[string]string{}
	for name, k := range map[string]string{
		"td1": key(v, a, map[string]any{"jti": "1"}), "td2": key(v, b, map[string]any{"jti": "1"}),
		"issued": key(v, a, map[string]any{"jti": "1", "iss": "https://spire.test"}),
		"no jti": key(v, a, nil), "no jti, later": key(v, a, map[string]any{"exp": start().Unix() + 299}),
	} {
		if other, twice := seen[k]; twice {
			t.Errorf("%s and %s are one use", name, other)
		}
		seen[k] = name
	}
	if key(v, a, map[string]any{"jti": "1"}) != key(open(t, renamed), a, map[string]any{"jti": "1"}) {
		t.Error("the provider's name counts")
	}
}

// TestUndated: without iat a token counts as issued at the earliest moment at which
// it could have been shown here: what a store of uses forgot before is refused.
func TestUndated(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	claims := a.Claims(workload, audience)
	delete(claims, "iat")
	proof, err := open(t, provider(a)).set.Verify(t.Context(), a.JWT(claims, nil))
	if err != nil {
		t.Fatal(err)
	}
	if want := start().Add(5*time.Minute - 24*time.Hour); !proof.IssuedAt.Equal(want) {
		t.Errorf("issued at %s, want %s", proof.IssuedAt, want)
	}
	if _, has := proof.Claims["iat"]; has {
		t.Error("a claim that the token does not have")
	}
}

// TestTwoAudiences: one trust domain for two uses is told apart by the audience.
func TestTwoAudiences(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	second := provider(a)
	second.Name, second.Audiences = "second", []string{"https://two.test"}
	v := open(t, provider(a), second)
	for aud, want := range map[string]string{audience: "mesh", "https://two.test": "second"} {
		if proof, err := v.set.Verify(t.Context(), a.JWT(a.Claims(workload, aud), nil)); err != nil || proof.Provider != want {
			t.Errorf("%s: %s %v", aud, proof.Provider, err)
		}
	}
	both := a.Claims(workload, audience)
	both["aud"] = []string{audience, "https://two.test"}
	if _, err := v.set.Verify(t.Context(), a.JWT(both, nil)); reason(t, err) != trust.ReasonProviderAmbiguous {
		t.Errorf("%v", err)
	}
	if _, err := v.certs.Verify(t.Context(), spiffetest.Shown(t, a.SVID(workload, nil))); reason(t, err) != trust.ReasonProviderAmbiguous {
		t.Errorf("a certificate has no audience to tell them apart: %v", err)
	}
	if _, err := oidc.New(oidc.Config{
		TrustDomain: "gw.test", Platforms: platforms(), Now: start, Log: discard(), Providers: []oidc.Provider{provider(a), provider(a)},
	}); err == nil {
		t.Error("two providers with one trust domain and audience")
	}
}

// TestAgainstGoSpiffe: what go-spiffe validates, we do, and neither takes what the
// other trust domain signed.
func TestAgainstGoSpiffe(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	now := time.Now()
	live := spiffetest.New(t, "td1", now)
	td := spiffeid.RequireTrustDomainFromString("td1")
	bundle := jwtbundle.New(td)
	if err := bundle.AddJWTAuthority(live.Kid, live.JWTKey()); err != nil {
		t.Fatal(err)
	}
	v := open(t, provider(live))
	v.clock.add(now.Sub(start()))
	for name, token := range map[string]string{
		"good":    live.JWT(live.Claims(workload, audience), nil),
		"another": b.JWT(live.Claims(workload, audience), map[string]any{"kid": live.Kid}),
		"old":     a.JWT(live.Claims(workload, audience), nil),
	} {
		theirs, theirErr := jwtsvid.ParseAndValidate(token, bundle, []string{audience})
		proof, err := v.set.Verify(t.Context(), token)
		if (err == nil) != (theirErr == nil) {
			t.Errorf("%s: %v, go-spiffe %v", name, err, theirErr)
		}
		if err == nil && (proof.Subject != theirs.ID.String() || !proof.ExpiresAt.Equal(theirs.Expiry)) {
			t.Errorf("%s: %s until %s, go-spiffe %s until %s", name, proof.Subject, proof.ExpiresAt, theirs.ID, theirs.Expiry)
		}
	}
}

// TestJWTConformance holds JWT-SVIDs to the suite of every other kind of proof too.
func TestJWTConformance(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	good := a.JWT(a.Claims(workload, audience), nil)
	broken := func(token string, r trust.Reason) providertest.Broken {
		return providertest.Broken{Subject: exchange.Subject{Token: token}, Reason: r}
	}
	providertest.Verifier{
		Set: open(t, provider(a)), Good: exchange.Subject{Token: good},
		Broken: map[string]providertest.Broken{
			"signature":    broken(good[:len(good)-4]+"AAAA", trust.ReasonSignature),
			"another key":  broken(b.JWT(a.Claims(workload, audience), map[string]any{"kid": a.Kid}), trust.ReasonSignature),
			"audience":     broken(a.JWT(a.Claims(workload, "https://other.test"), nil), trust.ReasonAudMismatch),
			"trust domain": broken(a.JWT(a.Claims("spiffe://td2/x", audience), nil), trust.ReasonIssuerUnknown),
		},
	}.Run(t)
}

// TestAlgorithms is in the catalogue's suite; here is the one that none may have.
func TestNoneAlgorithm(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(`{"sub":"` + workload + `","aud":"` + audience + `","exp":1795350000}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, provider(a)).set.Verify(t.Context(), token); reason(t, err) != trust.ReasonAlgNotAllowed {
		t.Errorf("%v", err)
	}
}
