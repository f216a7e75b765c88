package test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/issuer"
	"cambio/test/rig"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

// mintingConfig has a target of each profile.
const mintingConfig = `issuer: https://gw.test
limits: {per_address: none, per_workload: none}
identity_providers:
  iss1:
    type: github-actions
    issuer: {{ISS1}}
    audience: https://gw.test
    insecure_loopback: true
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
  t2: {type: jwt, audience: "api://t2", max_ttl: 1h, profile: rfc9068}
  t3: {type: jwt, audience: "api://t3", max_ttl: 5m}
`

const mintingTrust = `name: tr1
owner: t1-team@acme.test
purpose: one of each
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
grants:
  - {to: t1, resource: "urn:a:read", scopes: [read]}
  - {to: t1, resource: "urn:a:plain"}
  - {to: t1, resource: "urn:a:long", ttl: 1h}
  - {to: t1, resource: "urn:a:claims", claims: {repo: "${claims.repository}", fixed: yes-please}}
  - {to: t2, scopes: [read, write], ttl: 10m}
  - {to: t3}
`

func mintedTokens(t *testing.T) {
	r := rig.New(t, rig.Setup{Config: mintingConfig, Trusts: map[string]string{"tr1.yaml": mintingTrust}})
	mint := func(target, resource string, claims map[string]any, more ...string) rig.Answer {
		t.Helper()
		f := rig.Form(r.Token(claims))
		f.Set("audience", target)
		if resource != "" {
			f.Set("resource", resource)
		}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		a := r.Post(f)
		if a.Status != 200 {
			t.Fatalf("%s %s: %d %s", target, resource, a.Status, a.Raw)
		}
		return a
	}
	long := map[string]any{"exp": time.Now().Unix() + 7200}
	basic := []string{"aud", "exp", "iat", "iss", "jti", "nbf", "sub"}
	for name, row := range map[string]struct {
		answer   rig.Answer
		typ, aud string
		more     []string // claims besides the basic ones
		life     float64  // at most, seconds
		exactly  bool
	}{
		"scopes":                    {mint("t1", "urn:a:read", long), "JWT", "api://t1", []string{"scope"}, 900, true},
		"no scopes":                 {mint("t1", "urn:a:plain", long), "JWT", "api://t1", nil, 900, true},
		"an hour":                   {mint("t1", "urn:a:long", long), "JWT", "api://t1", nil, 3600, true},
		"an hour, a minute asked":   {mint("t1", "urn:a:long", long, "ttl", "60"), "JWT", "api://t1", nil, 60, true},
		"a day asked":               {mint("t1", "urn:a:long", long, "ttl", "86400"), "JWT", "api://t1", nil, 3600, true},
		"an hour, a subject of 100": {mint("t1", "urn:a:long", map[string]any{"exp": time.Now().Unix() + 100}), "JWT", "api://t1", nil, 100, false},
		"the target's max_ttl":      {mint("t3", "", long), "JWT", "api://t3", nil, 300, true},
		"rfc9068":                   {mint("t2", "", long), "at+jwt", "api://t2", []string{"client_id", "scope"}, 600, true},
		"claims":                    {mint("t1", "urn:a:claims", long), "JWT", "api://t1", []string{"fixed", "repo"}, 900, true},
		"what the token brings": {mint("t1", "urn:a:plain", map[string]any{
			"exp": long["exp"], "scope": "admin", "client_id": "x", "roles": []any{"admin"}, "cnf": map[string]any{"jkt": "x"}, "email": "a@b.test", "azp": "x", "nonce": "n",
		}), "JWT", "api://t1", nil, 900, true},
	} {
		header, claims := jwtParts(t, row.answer.Text("access_token"))
		if header["alg"] != "ES256" || header["typ"] != row.typ || len(header) != 3 || header["kid"] == "" {
			t.Errorf("%s: header %v", name, header)
		}
		want := slices.Sorted(slices.Values(append(slices.Clone(basic), row.more...)))
		if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
			t.Errorf("%s: claims %v, want %v", name, got, want)
		}
		if claims["iss"] != "https://gw.test" || claims["sub"] != "spiffe://gw.test/iss1/1/2" || claims["aud"] != row.aud {
			t.Errorf("%s: claims %v", name, claims)
		}
		iat, nbf, exp := number(t, claims["iat"]), number(t, claims["nbf"]), number(t, claims["exp"])
		if nbf != iat-30 || exp-iat > row.life || row.exactly && exp-iat != row.life || exp <= iat {
			t.Errorf("%s: iat %.0f, nbf %.0f, exp %.0f; a life of %v", name, iat, nbf, exp, row.life)
		}
		if number(t, row.answer.Body["expires_in"]) != exp-iat {
			t.Errorf("%s: expires_in %v, a life of %v", name, row.answer.Body["expires_in"], exp-iat)
		}
		if row.typ == "at+jwt" && claims["client_id"] != claims["sub"] || name == "claims" && (claims["repo"] != "acme/app" || claims["fixed"] != "yes-please") {
			t.Errorf("%s: claims %v", name, claims)
		}
		others(t, r, name, row.answer.Text("access_token"), row.aud, row.typ)
	}
	randomIDs(t)
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id", "act", "may_act", "cnf", "azp", "nonce", "scp", "auth_time", "acr", "amr"} {
		refusedAtLoad(t, name, strings.Replace(rig.TR1, "ttl: 15m}", "ttl: 15m, claims: {"+name+": x}}", 1), "reserved-claim")
	}
	for grant, ids := range map[string]string{"ttl: 61m": "ttl-above-max", "ttl: 2h": "ttl-above-max", "ttl: 0s": "any", "ttl: -5m": "any", "ttl: 900": "any"} {
		refusedAtLoad(t, grant, strings.Replace(rig.TR1, "ttl: 15m", grant, 1), ids)
	}
}

func number(t *testing.T, v any) float64 {
	t.Helper()
	f, ok := v.(float64)
	if !ok {
		t.Fatalf("%v is no number", v)
	}
	return f
}

// others lets other people's libraries verify the token with the published keys.
func others(t *testing.T, r *rig.Rig, name, token, audience, typ string) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(r.Get(r.URL, "/keys").Raw), &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("%s: go-jose: %v", name, err)
	}
	keys := set.Key(parsed.Headers[0].KeyID)
	if len(keys) != 1 {
		t.Fatalf("%s: %d keys with kid %s", name, len(keys), parsed.Headers[0].KeyID)
	}
	var claims jwt.Claims
	if err := parsed.Claims(keys[0].Key, &claims); err != nil {
		t.Errorf("%s: go-jose: %v", name, err)
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "https://gw.test", AnyAudience: jwt.Audience{audience}, Time: time.Now()}, 0); err != nil {
		t.Errorf("%s: go-jose: %v", name, err)
	}
	if b, err := base64.RawURLEncoding.DecodeString(claims.ID); err != nil || len(b) < 16 {
		t.Errorf("%s: jti %q has %d bytes", name, claims.ID, len(b))
	}
	verifier := oidc.NewVerifier("https://gw.test", oidc.NewRemoteKeySet(context.Background(), r.URL+"/keys"),
		&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"ES256"}})
	if _, err := verifier.Verify(context.Background(), token); err != nil {
		t.Errorf("%s: go-oidc: %v", name, err)
	}
	if typ != "JWT" {
		return
	}
	authorities := jwtbundle.New(spiffeid.RequireTrustDomainFromString("gw.test"))
	for _, k := range set.Keys {
		if err := authorities.AddJWTAuthority(k.KeyID, k.Key); err != nil {
			t.Fatal(err)
		}
	}
	svid, err := jwtsvid.ParseAndValidate(token, authorities, []string{audience})
	if err != nil {
		t.Errorf("%s: go-spiffe: %v", name, err)
		return
	}
	if svid.ID.String() != "spiffe://gw.test/iss1/1/2" {
		t.Errorf("%s: go-spiffe: %s", name, svid.ID)
	}
}

// randomIDs makes a million of what becomes jti.
func randomIDs(t *testing.T) {
	t.Helper()
	seen := make(map[[16]byte]struct{}, 1_000_000)
	for range 1_000_000 {
		id, err := issuer.NewID(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.RawURLEncoding.DecodeString(id)
		if err != nil || len(b) != 16 {
			t.Fatalf("id %q", id)
		}
		seen[[16]byte(b)] = struct{}{}
	}
	if len(seen) != 1_000_000 {
		t.Errorf("%d of a million are different", len(seen))
	}
}

func publishedKeys(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	first := publicKeys(t, r)
	if n := len(first); n != 4 {
		t.Errorf("%d keys, want an active and a next one of RS256 and ES256", n)
	}
	signer := signerOf(t, r)
	// A day later, the keys may be rotated: the next one signs, the old one stays.
	keys := filepath.Join(r.Dir, "state", "keys")
	if o := run(t, nil, "keys", "rotate", "--config", filepath.Join(r.Dir, "cambio.yaml")); o.code == 0 {
		t.Error("a next key that was published a moment ago may sign already")
	}
	r.Stop()
	backdate(t, keys)
	if o := run(t, nil, "keys", "rotate", "--config", filepath.Join(r.Dir, "cambio.yaml")); o.code != 0 {
		t.Fatalf("rotate: exit %d\n%s", o.code, o.stderr)
	} else {
		noPrivate(t, r, "keys rotate", o.stdout+o.stderr)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.Control()
	second := publicKeys(t, r)
	if now := signerOf(t, r); now == signer || first[now] == nil {
		t.Errorf("signs with %s; before %s, published %v", now, signer, slices.Sorted(maps.Keys(first)))
	}
	for kid := range first {
		if second[kid] == nil {
			t.Errorf("%s is not published any more", kid)
		}
	}
	// Where a private key might slip out.
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/state/keys", "/keys/../state/keys"} {
		for _, base := range []string{r.URL, r.AdminURL} {
			a := r.Get(base, path)
			noPrivate(t, r, path, a.Raw)
			if strings.HasPrefix(path, "/debug") && a.Status != 404 {
				t.Errorf("%s: %d", path, a.Status)
			}
		}
	}
	noPrivate(t, r, "the log", r.Log.String())
	noPrivate(t, r, "checkpoints", r.Checkpoints.String())
	noPrivate(t, r, "discovery", r.Get(r.URL, "/.well-known/openid-configuration").Raw)
	segments, err := filepath.Glob(filepath.Join(r.JournalDir(), "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no journal", err)
	}
	for _, s := range segments {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		noPrivate(t, r, "the journal", string(b))
	}
	for _, event := range []audit.Event{audit.KeyPublished, audit.KeyActivated, audit.KeyRetired} {
		for _, rec := range events(t, r, event) {
			onlyPublic(t, rec.Claims)
		}
	}
	for _, name := range []string{"list", "publish"} {
		args := []string{"keys", name, "--config", filepath.Join(r.Dir, "cambio.yaml")}
		if name == "publish" {
			args = append(args, t.TempDir())
		}
		o := run(t, nil, args...)
		noPrivate(t, r, "keys "+name, o.stdout+o.stderr)
	}
	// Modes: nobody else reads them.
	for path, mode := range map[string]os.FileMode{filepath.Join(r.Dir, "state"): 0o700, keys: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	r.Control()
}

// publicKeys are the published keys by kid.
func publicKeys(t *testing.T, r *rig.Rig) map[string]map[string]any {
	t.Helper()
	a := r.Get(r.URL, "/keys")
	if a.Header.Get("Cache-Control") != "public, max-age=300" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", a.Header)
	}
	list, _ := a.Body["keys"].([]any)
	keys, algs := map[string]map[string]any{}, map[any]int{}
	for _, k := range list {
		jwk, _ := k.(map[string]any)
		onlyPublic(t, jwk)
		kid, _ := jwk["kid"].(string)
		if keys[kid] != nil || kid == "" {
			t.Errorf("kid %q is there twice, or empty", kid)
		}
		keys[kid] = jwk
		algs[jwk["alg"]]++
	}
	if len(algs) != 2 || algs["RS256"] == 0 || algs["ES256"] == 0 {
		t.Errorf("algorithms %v", algs)
	}
	noPrivate(t, r, "/keys", a.Raw)
	return keys
}

// onlyPublic fails the test unless a JWK has the public members and no other.
func onlyPublic(t *testing.T, jwk map[string]any) {
	t.Helper()
	want := []string{"alg", "e", "kid", "kty", "n", "use"}
	if jwk["kty"] == "EC" {
		want = []string{"alg", "crv", "kid", "kty", "use", "x", "y"}
	}
	if got := slices.Sorted(maps.Keys(jwk)); !slices.Equal(got, want) || jwk["use"] != "sig" {
		t.Errorf("members %v, want %v", got, want)
	}
}

// noPrivate fails the test if text holds a part of a private key of ours.
func noPrivate(t *testing.T, r *rig.Rig, where, text string) {
	t.Helper()
	if strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("%s holds a private key", where)
	}
	for _, member := range []string{`"d":`, `"p":`, `"q":`, `"dp":`, `"dq":`, `"qi":`, `"k":`} {
		if strings.Contains(text, member) {
			t.Errorf("%s holds a member %s", where, member)
		}
	}
	files, err := filepath.Glob(filepath.Join(r.Dir, "state", "keys", "*.pem"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d key files %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); len(line) > 40 && strings.Contains(text, line) {
				t.Errorf("%s holds a line of %s", where, filepath.Base(file))
			}
		}
	}
}

// signerOf exchanges a token and says which key signed.
func signerOf(t *testing.T, r *rig.Rig) string {
	t.Helper()
	header, _ := jwtParts(t, r.Exchange(r.Token(nil)).Text("access_token"))
	return fmt.Sprint(header["kid"])
}

// backdate lets all keys be two days old.
func backdate(t *testing.T, keys string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(keys, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("manifests %v %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for day := range 2 {
		d := time.Now().UTC().AddDate(0, 0, -day)
		text = strings.ReplaceAll(text, d.Format("2006-01-02"), d.AddDate(0, 0, -3).Format("2006-01-02"))
	}
	if text == string(b) {
		t.Fatalf("no date in %s", text)
	}
	if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
