package oidc_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

func TestVerify(t *testing.T) {
	s := newSet(t, config(provider()))
	got, err := s.Verify(context.Background(), rs256(base()))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("jti\x00" + issuerURL + "\x00" + "7d0e6f0a-1"))
	now := start()
	want := exchange.Proof{
		Identity: trust.Identity{
			Provider: "p1", Workload: "spiffe://gw.test/p1/job-1", Subject: "job-1", Issuer: issuerURL, Audience: audience,
			TokenID: "7d0e6f0a-1", IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
			Claims: map[string]any{
				"iss": issuerURL, "aud": audience, "sub": "job-1", "jti": "7d0e6f0a-1", "project": "p1",
				"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 300,
			},
		},
		ReplayKey: base64.RawURLEncoding.EncodeToString(sum[:]),
		ClockSkew: 30 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNonces: a nonce of ours is taken off the audience or out of its claim, and
// conditions see the bare audience.
func TestNonces(t *testing.T) {
	const n = "cn1.abc-_DEF"
	long := "cn1." + strings.Repeat("a", 253)
	for name, c := range map[string]struct {
		claims object
		nonce  string
		want   trust.Reason
	}{
		"none":                  {object{}, "", ""},
		"in aud":                {object{"aud": audience + "?nonce=" + n}, n, ""},
		"in a list":             {object{"aud": []any{audience + "?nonce=" + n}}, n, ""},
		"in the claim":          {object{"nonce": n}, n, ""},
		"in both":               {object{"nonce": n, "aud": audience + "?nonce=" + n}, n, ""},
		"bare and with it":      {object{"aud": []any{audience, audience + "?nonce=" + n}}, n, ""},
		"two":                   {object{"nonce": n + "x", "aud": audience + "?nonce=" + n}, "", trust.ReasonNonceInvalid},
		"two audiences":         {object{"aud": []any{audience + "?nonce=" + n, audience + "?nonce=" + n + "x"}}, "", trust.ReasonNonceInvalid},
		"too long":              {object{"nonce": long}, "", trust.ReasonNonceInvalid},
		"another's in aud":      {object{"aud": audience + "?nonce=abc"}, "", trust.ReasonAudMismatch},
		"another's as a claim":  {object{"nonce": "n-0S6_WzA2Mj"}, "", ""},
		"for another audience":  {object{"aud": "https://other.test?nonce=" + n}, n, trust.ReasonAudMismatch},
		"another query":         {object{"aud": audience + "?x=1&nonce=" + n}, "", trust.ReasonAudMismatch},
		"twice in one audience": {object{"aud": audience + "?nonce=" + n + "?nonce=" + n}, n, trust.ReasonAudMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := newSet(t, config(provider())).Verify(context.Background(), rs256(with(c.claims)))
			if got := reason(t, err); got != c.want {
				t.Fatalf("%s, want %q", got, c.want)
			}
			if proof.Nonce != c.nonce {
				t.Errorf("nonce %q, want %q", proof.Nonce, c.nonce)
			}
			if aud, ok := proof.Claims["aud"].(string); c.want == "" && ok && aud != audience {
				t.Errorf("conditions see the audience %q", aud)
			}
		})
	}
}

// TestClaims starts from a good token and changes claims.
func TestClaims(t *testing.T) {
	now := start().Unix()
	ask := "The token's audience is not ours; ask for https://gw.test."
	for name, c := range map[string]struct {
		claims object
		want   trust.Reason
		tell   string
	}{
		"good":               {object{}, "", ""},
		"aud list":           {object{"aud": []any{audience}}, "", ""},
		"aud twice":          {object{"aud": []any{audience, audience}}, "", ""},
		"aud slash":          {object{"aud": audience + "/"}, trust.ReasonAudMismatch, ask},
		"aud case":           {object{"aud": "HTTPS://GW.TEST"}, trust.ReasonAudMismatch, ask},
		"aud longer":         {object{"aud": audience + ".evil.io"}, trust.ReasonAudMismatch, ask},
		"aud shorter":        {object{"aud": "https://gw.tes"}, trust.ReasonAudMismatch, ask},
		"aud star":           {object{"aud": "*"}, trust.ReasonAudMismatch, ask},
		"aud cloud":          {object{"aud": "sts.amazonaws.com"}, trust.ReasonAudMismatch, ask},
		"aud others":         {object{"aud": []any{"a", "b"}}, trust.ReasonAudMismatch, ask},
		"aud empty":          {object{"aud": ""}, trust.ReasonAudMismatch, ""},
		"aud empty list":     {object{"aud": []any{}}, trust.ReasonAudMismatch, ""},
		"aud missing":        {object{"aud": nil}, trust.ReasonAudMismatch, ""},
		"aud number":         {object{"aud": 5}, trust.ReasonAudMismatch, ""},
		"aud mixed":          {object{"aud": []any{audience, 5}}, trust.ReasonAudMismatch, ""},
		"aud object":         {object{"aud": object{audience: true}}, trust.ReasonAudMismatch, ""},
		"aud two":            {object{"aud": []any{"other", audience}}, trust.ReasonAudMultiple, ""},
		"aud before expiry":  {object{"aud": "a", "exp": now - 1000}, trust.ReasonAudMismatch, ask},
		"exp missing":        {object{"exp": nil}, trust.ReasonExpMissing, ""},
		"exp text":           {object{"exp": "1"}, trust.ReasonExpMissing, ""},
		"exp negative":       {object{"exp": -1}, trust.ReasonExpMissing, ""},
		"exp huge":           {object{"exp": 1e300}, trust.ReasonExpMissing, ""},
		"iat missing":        {object{"iat": nil}, trust.ReasonIatMissing, ""},
		"iat text":           {object{"iat": "1"}, trust.ReasonIatMissing, ""},
		"exp 29 ago":         {object{"exp": now - 29}, "", ""},
		"exp 30 ago":         {object{"exp": now - 30}, trust.ReasonExpired, "The token expired at 2026-11-22T11:59:30Z."},
		"exp 31 ago":         {object{"exp": now - 31}, trust.ReasonExpired, "The token expired at 2026-11-22T11:59:29Z."},
		"exp fraction":       {object{"exp": float64(now) - 29.5}, trust.ReasonExpired, "The token expired at 2026-11-22T11:59:30Z."},
		"nbf in 29":          {object{"nbf": now + 29}, "", ""},
		"nbf in 30":          {object{"nbf": now + 30}, "", ""},
		"nbf in 31":          {object{"nbf": now + 31}, trust.ReasonNotYetValid, ""},
		"nbf text":           {object{"nbf": "x"}, trust.ReasonClaimInvalid, ""},
		"nbf missing":        {object{"nbf": nil}, "", ""},
		"iat in 29":          {object{"iat": now + 29}, "", ""},
		"iat in 30":          {object{"iat": now + 30}, "", ""},
		"iat in 31":          {object{"iat": now + 31}, trust.ReasonIatFuture, ""},
		"iat young enough":   {object{"iat": now - 3595}, "", ""},
		"iat at the limit":   {object{"iat": now - 3630}, "", ""},
		"iat too old":        {object{"iat": now - 3631}, trust.ReasonTooOld, ""},
		"lives a day":        {object{"exp": now + 86400}, "", ""},
		"lives longer":       {object{"exp": now + 86401}, trust.ReasonTooLongLived, ""},
		"lives a year":       {object{"exp": now + 365*86400}, trust.ReasonTooLongLived, ""},
		"sub missing":        {object{"sub": nil}, trust.ReasonSubInvalid, ""},
		"sub empty":          {object{"sub": ""}, trust.ReasonSubInvalid, ""},
		"sub number":         {object{"sub": 5}, trust.ReasonSubInvalid, ""},
		"sub at the limit":   {object{"sub": strings.Repeat("a", 1024)}, "", ""},
		"sub long":           {object{"sub": strings.Repeat("a", 1025)}, trust.ReasonSubInvalid, ""},
		"sub newline":        {object{"sub": "a\nb"}, trust.ReasonSubInvalid, ""},
		"sub DEL":            {object{"sub": "a\x7fb"}, trust.ReasonSubInvalid, ""},
		"sub C1":             {object{"sub": "a\u0085b"}, trust.ReasonSubInvalid, ""},
		"sub override":       {object{"sub": "a\u202eb"}, trust.ReasonSubInvalid, ""},
		"sub zero width":     {object{"sub": "a\u200bb"}, trust.ReasonSubInvalid, ""},
		"sub soft hyphen":    {object{"sub": "a\u00adb"}, trust.ReasonSubInvalid, ""},
		"sub filler":         {object{"sub": "a\u3164b"}, trust.ReasonSubInvalid, ""},
		"sub variation":      {object{"sub": "a\ufe0fb"}, trust.ReasonSubInvalid, ""},
		"sub tag":            {object{"sub": "a\U000e0041b"}, trust.ReasonSubInvalid, ""},
		"sub no-break space": {object{"sub": "a\u00a0b"}, trust.ReasonSubInvalid, ""},
		"sub letters":        {object{"sub": "Zürich 東京"}, "", ""},
		"act":                {object{"act": object{"sub": "x"}}, trust.ReasonActorUnsupported, ""},
		"may_act null":       {object{"may_act": object{}}, trust.ReasonActorUnsupported, ""},
		"jti empty":          {object{"jti": ""}, trust.ReasonClaimInvalid, ""},
		"jti number":         {object{"jti": 1}, trust.ReasonClaimInvalid, ""},
		"jti missing":        {object{"jti": nil}, "", ""},
		"iss slash":          {object{"iss": issuerURL + "/"}, trust.ReasonIssuerUnknown, ""},
		"iss case":           {object{"iss": "https://ISSUER.test"}, trust.ReasonIssuerUnknown, ""},
		"iss port":           {object{"iss": issuerURL + ":443"}, trust.ReasonIssuerUnknown, ""},
		"iss http":           {object{"iss": "http://issuer.test"}, trust.ReasonIssuerUnknown, ""},
		"iss encoded":        {object{"iss": "https://issuer%2etest"}, trust.ReasonIssuerUnknown, ""},
		"iss userinfo":       {object{"iss": "https://issuer.test@evil.test"}, trust.ReasonIssuerUnknown, ""},
		"iss homoglyph":      {object{"iss": "https://іssuer.test"}, trust.ReasonIssuerUnknown, ""},
		"iss dot":            {object{"iss": issuerURL + "."}, trust.ReasonIssuerUnknown, ""},
		"iss space":          {object{"iss": " " + issuerURL}, trust.ReasonIssuerUnknown, ""},
		"iss NUL":            {object{"iss": issuerURL + "\x00"}, trust.ReasonIssuerUnknown, ""},
		"iss missing":        {object{"iss": nil}, trust.ReasonIssuerUnknown, ""},
		"iss number":         {object{"iss": 1}, trust.ReasonIssuerUnknown, ""},
		"iss list":           {object{"iss": []any{issuerURL}}, trust.ReasonIssuerUnknown, ""},
		"iss in other case":  {object{"iss": nil, "ISS": issuerURL}, trust.ReasonIssuerUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, config(provider()))
			token := rs256(with(c.claims))
			proof, err := s.Verify(context.Background(), token)
			if reason(t, err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			var e *exchange.Error
			if errors.As(err, &e) {
				if e.Tell != c.tell {
					t.Errorf("told %q, want %q", e.Tell, c.tell)
				}
				if e.Code != exchange.InvalidRequest {
					t.Errorf("code %s", e.Code)
				}
			}
			// Whose token it was is on record as soon as it is proven.
			if known := c.want != trust.ReasonIssuerUnknown; known != (proof.Claims != nil) || known != (proof.Provider == "p1") {
				t.Errorf("proof %v", proof)
			}
			// With a bad signature nothing is told, and nothing is proven.
			if c.want == trust.ReasonIssuerUnknown {
				return
			}
			forged := sign("RS256", keys().other, []byte(`{"alg":"RS256","kid":"k1"}`), asJSON(with(c.claims)))
			proof, err = s.Verify(context.Background(), forged)
			if reason(t, err) != trust.ReasonSignature || errors.As(err, &e) && e.Tell != "" {
				t.Errorf("forged: %v, told %q", err, e.Tell)
			}
			if diff := cmp.Diff(exchange.Proof{Identity: trust.Identity{Provider: "p1"}}, proof); diff != "" {
				t.Errorf("forged: %s", diff)
			}
		})
	}
}

// TestAudiences tries providers that share an issuer.
func TestAudiences(t *testing.T) {
	one, two, multi := provider(), provider(), provider()
	one.Audiences = []string{"a", "b"}
	two.Name, two.Audiences = "p2", []string{"c"}
	multi.AllowMultiAudience = true
	multi.Audiences = []string{"m", "n"}
	s := newSet(t, config(one, two))
	m := newSet(t, config(multi))
	for _, c := range []struct {
		set      *oidc.Set
		aud      any
		want     trust.Reason
		provider string
		audience string
	}{
		{s, "a", "", "p1", "a"},
		{s, "b", "", "p1", "b"},
		{s, "c", "", "p2", "c"},
		{s, []any{"a", "c"}, trust.ReasonProviderAmbiguous, "", ""},
		{s, []any{"a", "b"}, trust.ReasonAudMultiple, "p1", "a"},
		{s, []any{"a", "x"}, trust.ReasonAudMultiple, "p1", "a"},
		{s, "x", trust.ReasonAudMismatch, "", ""},
		{s, nil, trust.ReasonAudMismatch, "", ""},
		{m, []any{"x", "n"}, "", "p1", "n"},
		{m, []any{"n", "m"}, "", "p1", "m"},
		{m, []any{"x", "y"}, trust.ReasonAudMismatch, "p1", ""},
	} {
		proof, err := c.set.Verify(context.Background(), rs256(with(object{"aud": c.aud})))
		if reason(t, err) != c.want || proof.Provider != c.provider || proof.Audience != c.audience {
			t.Errorf("%v: %v, %q, %q", c.aud, err, proof.Provider, proof.Audience)
		}
		var e *exchange.Error
		if errors.As(err, &e) && proof.Provider == "" && e.Tell != "" {
			t.Errorf("%v: told %q without a proof", c.aud, e.Tell)
		}
	}
}

// TestIssuersAreApart: each provider's keys prove its own tokens only.
func TestIssuersAreApart(t *testing.T) {
	one, two := provider(), provider()
	two.Name, two.Issuer = "p2", "https://two.test"
	two.JWKSFile = keySet(jwk("k1", keys().other, nil))
	s := newSet(t, config(one, two))
	refused(t, s, rs256(base()), "")
	refused(t, s, rs256(with(object{"iss": "https://two.test"})), trust.ReasonSignature)
	theirs := sign("RS256", keys().other, []byte(`{"alg":"RS256","kid":"k1"}`), asJSON(with(object{"iss": "https://two.test"})))
	refused(t, s, theirs, "")
}

func TestReplayKey(t *testing.T) {
	p2 := provider()
	p2.Name, p2.Issuer = "p2", "https://two.test"
	s := newSet(t, config(provider(), p2))
	key := func(token string) string {
		t.Helper()
		proof, err := s.Verify(context.Background(), token)
		if err != nil {
			t.Fatal(err)
		}
		return proof.ReplayKey
	}
	if key(rs256(base())) != key(rs256(with(object{"project": "other"}))) {
		t.Error("one jti, two keys")
	}
	if key(rs256(base())) == key(rs256(with(object{"jti": "other"}))) {
		t.Error("two tokens, one key")
	}
	if key(rs256(base())) == key(rs256(with(object{"iss": "https://two.test"}))) {
		t.Error("two issuers, one key")
	}
	// Without a jti the payload decides, whatever signs it: ECDSA signs one text
	// in any number of ways.
	header := []byte(`{"alg":"ES256","kid":"k2"}`)
	payload := asJSON(with(object{"jti": nil}))
	a, b := sign("ES256", keys().p256, header, payload), sign("ES256", keys().p256, header, payload)
	if a == b || key(a) != key(b) {
		t.Error("a signature has its own key")
	}
	if key(a) == key(sign("ES256", keys().p256, header, asJSON(with(object{"jti": nil, "project": "x"})))) {
		t.Error("two payloads, one key")
	}
}

func TestAlgorithms(t *testing.T) {
	k := keys()
	header := func(alg, kid string) []byte { return asJSON(object{"alg": alg, "kid": kid}) }
	all := newSet(t, config(provider()))
	only := provider()
	only.Algs = []string{"RS256"}
	rs := newSet(t, config(only))
	for _, c := range []struct {
		alg, kid string
		key      any
		all, rs  trust.Reason
	}{
		{"RS256", "k1", k.rsa, "", ""},
		{"RS384", "k1", k.rsa, "", trust.ReasonAlgNotAllowed},
		{"RS512", "k1", k.rsa, "", trust.ReasonAlgNotAllowed},
		{"PS256", "k1", k.rsa, "", trust.ReasonAlgNotAllowed},
		{"PS384", "k1", k.rsa, "", trust.ReasonAlgNotAllowed},
		{"PS512", "k1", k.rsa, "", trust.ReasonAlgNotAllowed},
		{"ES256", "k2", k.p256, "", trust.ReasonAlgNotAllowed},
		{"ES384", "k384", k.p384, "", trust.ReasonAlgNotAllowed},
		{"ES512", "k521", k.p521, "", trust.ReasonAlgNotAllowed},
		{"EdDSA", "k3", k.ed, "", trust.ReasonAlgNotAllowed},
		// The key must be one for the algorithm.
		{"ES256", "k1", k.p256, trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
		{"RS256", "k2", k.rsa, trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
		{"ES384", "k2", k.p384, trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
		{"ES256", "k384", k.p256, trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
		{"EdDSA", "k1", k.ed, trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
		// A good signature of a key that the issuer does not have.
		{"RS256", "k1", k.other, trust.ReasonSignature, trust.ReasonSignature},
		{"HS256", "k1", asJSON(jwk("k1", k.rsa, nil)), trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
		{"Ed25519", "k3", k.ed, trust.ReasonAlgNotAllowed, trust.ReasonAlgNotAllowed},
	} {
		token := sign(c.alg, c.key, header(c.alg, c.kid), asJSON(base()))
		for _, s := range []struct {
			set  *oidc.Set
			want trust.Reason
		}{{all, c.all}, {rs, c.rs}} {
			if _, err := s.set.Verify(context.Background(), token); reason(t, err) != s.want {
				t.Errorf("%s with %s: %v, want %q", c.alg, c.kid, err, s.want)
			}
		}
	}
	// One byte changed, anywhere.
	good := rs256(base())
	seg := strings.Split(good, ".")
	refused(t, all, seg[0]+"."+b64(asJSON(with(object{"sub": "job-2"})))+"."+seg[2], trust.ReasonSignature)
	refused(t, all, b64(asJSON(object{"alg": "RS256", "kid": "k1"}))+"."+seg[1]+"."+seg[2], trust.ReasonSignature)
	zero := b64(header("ES256", "k2")) + "." + seg[1]
	refused(t, all, zero+"."+b64(make([]byte, 64)), trust.ReasonSignature)
	refused(t, all, zero+"."+b64(make([]byte, 63)), trust.ReasonSignature)
	der := sign("ES256", k.p256, header("ES256", "k2"), asJSON(base()))
	refused(t, all, der[:len(der)-2], trust.ReasonSignature)
}

// TestNone tries unsecured tokens, with an empty and with a valid signature.
func TestNone(t *testing.T) {
	s := newSet(t, config(provider()))
	valid := rs256(base())
	sig := valid[strings.LastIndexByte(valid, '.')+1:]
	for _, header := range []string{
		`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"NONE"}`, `{"alg":"nOnE"}`, `{"alg":""}`, `{}`,
		`{"alg":"HS256"}`, `{"alg":"rs256"}`, `{"alg":"RSA-OAEP"}`, `{"alg":"dir"}`, `{"ALG":"RS256"}`,
	} {
		for _, sig := range []string{"", sig} {
			refused(t, s, b64([]byte(header))+"."+b64(asJSON(base()))+"."+sig, trust.ReasonAlgNotAllowed)
		}
	}
}

// TestHMAC tries the issuer's public key, in every form an attacker could take
// it in, as the secret of an HMAC.
func TestHMAC(t *testing.T) {
	s := newSet(t, config(provider()))
	k := &keys().rsa.PublicKey
	spki, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(k)
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	for _, secret := range [][]byte{
		block, []byte(strings.TrimSpace(string(block))), pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		spki, asJSON(jwk("k1", k, nil)), []byte(b64(k.N.Bytes())),
	} {
		refused(t, s, sign("HS256", secret, []byte(`{"alg":"HS256","kid":"k1"}`), asJSON(base())), trust.ReasonAlgNotAllowed)
	}
}

// TestDeclaredWorkload forms the workload id of the configured claims.
func TestDeclaredWorkload(t *testing.T) {
	p := provider()
	p.Workload = []string{"project", "/env/name"}
	s := newSet(t, config(p))
	proof, err := s.Verify(context.Background(), rs256(with(object{"env": object{"name": "prod"}})))
	if err != nil || proof.Workload != "spiffe://gw.test/p1/p1/prod" {
		t.Errorf("got %q, %v", proof.Workload, err)
	}
	refused(t, s, rs256(base()), trust.ReasonWorkloadClaim)
	refused(t, s, rs256(with(object{"env": object{"name": ""}})), trust.ReasonWorkloadClaim)
	refused(t, s, rs256(with(object{"env": object{"name": 1}})), trust.ReasonWorkloadClaim)
	refused(t, s, rs256(with(object{"env": "prod"})), trust.ReasonWorkloadClaim)
}

// TestLimitsOfProvider: the limits are the provider's own.
func TestLimitsOfProvider(t *testing.T) {
	now := start().Unix()
	p := provider()
	p.ClockSkew, p.MaxAge, p.MaxLifetime = time.Second, time.Minute, 2*time.Minute
	s := newSet(t, config(p))
	good := object{"exp": now + 60}
	refused(t, s, rs256(with(good)), "")
	refused(t, s, rs256(with(object{"exp": now - 1})), trust.ReasonExpired)
	refused(t, s, rs256(with(object{"exp": now + 60, "iat": now - 62})), trust.ReasonTooOld)
	refused(t, s, rs256(with(object{"exp": now + 121})), trust.ReasonTooLongLived)
}

func TestNew(t *testing.T) {
	if _, err := oidc.New(oidc.Config{}); err == nil {
		t.Error("an empty configuration is taken")
	}
	for name, change := range map[string]func(p *oidc.Provider){
		"type":        func(p *oidc.Provider) { p.Type = "saml" },
		"issuer":      func(p *oidc.Provider) { p.Issuer = "" },
		"http":        func(p *oidc.Provider) { p.Issuer = "http://issuer.test" },
		"no audience": func(p *oidc.Provider) { p.Audiences = nil },
		"empty":       func(p *oidc.Provider) { p.Audiences = []string{""} },
		"none":        func(p *oidc.Provider) { p.Algs = []string{"none"} },
		"HMAC":        func(p *oidc.Provider) { p.Algs = []string{"RS256", "HS256"} },
		"two ways":    func(p *oidc.Provider) { p.JWKSURL = "https://issuer.test/keys" },
		"no keys":     func(p *oidc.Provider) { p.JWKSFile = []byte(`{"keys":[]}`) },
		"CA":          func(p *oidc.Provider) { p.CA = []byte("x") },
		"skew":        func(p *oidc.Provider) { p.ClockSkew = -1 },
		"jwks_url":    func(p *oidc.Provider) { p.JWKSFile, p.JWKSURL = nil, "https://10.0.0.1/keys" },
		"discovery":   func(p *oidc.Provider) { p.JWKSFile, p.DiscoveryURL = nil, "https://10.0.0.1/x" },
		"workload":    func(p *oidc.Provider) { p.Type, p.Workload = "gcp", []string{"email"} },
	} {
		p := provider()
		change(&p)
		cfg := config(p)
		cfg.Platforms = map[string]oidc.Platform{"oidc": oidc.Generic(), "gcp": {}}
		if _, err := oidc.New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	two := provider()
	two.Name = "p2"
	cfg := config(provider(), two)
	cfg.Platforms = map[string]oidc.Platform{"oidc": oidc.Generic()}
	if _, err := oidc.New(cfg); err == nil {
		t.Error("two providers with the same issuer and audience are taken")
	}
}
