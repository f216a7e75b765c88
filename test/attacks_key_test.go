package test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

// keyAttacks are the cases on the keys of identity providers and where they
// come from.
func keyAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"ALG-07": attackALG07, "ISS-01": attackISS01, "ISS-02": attackISS02, "ISS-06": attackISS06,
	}
}

func attackALG07(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	weak := func(kid string, bits, e int, even bool) standin.Key {
		k, err := standin.NewWeakRSA(rand.Reader, bits, e, even)
		if err != nil {
			t.Fatal(err)
		}
		return standin.Key{KID: kid, Private: k}
	}
	keys := []standin.Key{
		weak("512", 512, 65537, false), weak("1024", 1024, 65537, false), weak("2047", 2047, 65537, false), weak("e1", 2048, 1, false),
		weak("even", 2048, 3, true), weak("e1-4096", 4096, 1, false), weak("8193", 8193, 65537, false), weak("16384", 16384, 65537, false),
	}
	// Good numbers that the key set shows otherwise.
	k1 := mustKey(t, r, "k1")
	public := k1.Private.Public().(*rsa.PublicKey)
	show := func(kid string, n, e *big.Int) standin.Key {
		return standin.Key{KID: kid, Private: k1.Private, Members: map[string]any{"n": b64(n.Bytes()), "e": b64(e.Bytes())}}
	}
	e := big.NewInt(int64(public.E))
	keys = append(keys,
		show("n0", big.NewInt(0), e), show("n1", big.NewInt(1), e), show("e0", public.N, big.NewInt(0)), show("e2", public.N, big.NewInt(2)),
		show("e-even", public.N, big.NewInt(65536)), show("e-large", public.N, new(big.Int).Lsh(big.NewInt(1), 64)), show("e-huge", public.N, public.N),
		show("n-even", new(big.Int).Lsh(public.N, 1), e),
	)
	for _, k := range keys {
		r.ISS1.AddKey(k)
	}
	r.ISS1.AddKey(weak("good", 3072, 65537, false)) // of the same making, so that it is the weakness that is refused
	r.Move(31 * time.Second)
	if a := r.Exchange(r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: "good", Alg: "RS256"})); a.Status != 200 {
		t.Fatalf("a good key among weak ones: %s", a.Raw)
	}
	for _, k := range keys {
		token := r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: k.KID, Alg: "RS256"})
		denied(t, r, k.KID, r.Exchange(token), "weak-key")
	}
	r.Control()
}

// ofISS2 lets iss2's workloads have t1, beside the usual trusts.
func ofISS2() map[string]string {
	return map[string]string{"tr1.yaml": rig.TR1, "tr2.yaml": rig.TR2, "tr3.yaml": `name: tr3
owner: t1-team@acme.test
purpose: project x of the other provider
from: iss2
match: {project: x}
grants: [{to: t1, scopes: [read], ttl: 15m}]
`}
}

// token2 is a good token of iss2.
func token2(t *testing.T, r *rig.Rig, changes map[string]any) string {
	t.Helper()
	c := map[string]any{"iss": r.ISS2.Issuer(), "project": "x", "sub": "job-1"}
	for k, v := range changes {
		c[k] = v
	}
	return r.Sign(r.ISS2, standin.JWS{Payload: jsonOf(t, r.Base(c)), Key: "k1", Alg: "RS256"})
}

func attackISS01(t *testing.T) {
	bodies := map[string]string{
		"another": `"https://evil.test"`, "slash": `"OWN/"`, "case": `"HTTP://127.0.0.1"`, "number": `1`, "null": `null`, "list": `["OWN"]`, "empty": `""`, "space": `"OWN "`,
		"twice": `"OWN","issuer":"OWN"`, "twice two": `"https://evil.test","issuer":"OWN"`, "twice, the true one first": `"OWN","issuer":"https://evil.test"`,
		"missing": "", "only case": "", "of the other": `"OTHER"`,
	}
	idps := crowd(t, len(bodies)+1)
	r := rig.New(t, rig.Setup{Config: withProviders(many(idps)...), Trusts: trusting(many(idps)...)})
	r.Control()
	names := slices.Sorted(maps.Keys(bodies))
	for i, name := range names {
		own := idps[i].Issuer()
		issuer := strings.NewReplacer("OWN", own, "OTHER", r.ISS1.Issuer()).Replace(bodies[name])
		doc := strings.Replace(string(idps[i].Discovery()), `"issuer":`+strconv.Quote(own), `"issuer":`+issuer, 1)
		switch name {
		case "missing":
			doc = strings.Replace(string(idps[i].Discovery()), `"issuer":`+strconv.Quote(own)+`,`, "", 1)
		case "only case":
			doc = strings.Replace(string(idps[i].Discovery()), `"issuer"`, `"Issuer"`, 1)
		}
		if doc == string(idps[i].Discovery()) {
			t.Fatalf("%s: the document is the true one", name)
		}
		idps[i].Fail(standin.DiscoveryPath, standin.Fault{Body: []byte(doc)})
		a := r.Exchange(tokenOf(t, r, idps[i], own))
		if a.Status != 503 {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
		r.Unavailable(a, "issuer-discovery-mismatch")
		if n := idps[i].Requests(standin.KeysPath); n != 0 {
			t.Errorf("%s: %d fetches of a key set that a false document names", name, n)
		}
		found := false
		for line := range strings.Lines(r.Log.String()) {
			found = found || strings.Contains(line, "level=ERROR") && strings.Contains(line, fmt.Sprintf("provider=idp%d ", i)) && strings.Contains(line, own) &&
				(name != "another" || strings.Contains(line, "https://evil.test"))
		}
		if !found && !strings.HasPrefix(name, "twice") {
			t.Errorf("%s: no error names provider and both values", name)
		}
	}
	// The others are not affected, and it ends with the lie.
	other := idps[len(names)]
	if a := r.Exchange(tokenOf(t, r, other, other.Issuer())); a.Status != 200 {
		t.Errorf("an honest provider: %s", a.Raw)
	}
	r.Control()
	r.Move(31 * time.Second)
	for i := range names {
		idps[i].Heal(standin.DiscoveryPath)
		if a := r.Exchange(tokenOf(t, r, idps[i], idps[i].Issuer())); a.Status != 200 {
			t.Errorf("healed: %s", a.Raw)
		}
	}
	for _, line := range []string{"skip_issuer_check: true", "insecure_issuer_url: x", "allow_issuer_mismatch: true", "verify_issuer: false"} {
		p := provided{name: "aside", issuer: "https://idp.acme.test", lines: line}
		loads(t, strings.ReplaceAll(withProviders(p), "{{ISS1}}", "http://127.0.0.1:1"), trusting(), "unknown-field")
	}
	r.Control()
}

func attackISS02(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	keySets := func() int { return r.ISS1.Requests(standin.KeysPath) }
	fresh, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r.Move(31 * time.Second)
	r.ISS1.AddKey(standin.Key{KID: "next", Private: fresh})
	r.ISS1.Fail(standin.KeysPath, standin.Fault{Delay: 200 * time.Millisecond}) // so that all of them wait for one
	before := keySets()
	tokens := make([]string, 200)
	for i := range tokens {
		tokens[i] = r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: "next", Alg: "RS256"})
	}
	answers := make([]rig.Answer, len(tokens))
	var wg sync.WaitGroup
	for i, token := range tokens {
		wg.Go(func() { answers[i] = r.Exchange(token) })
	}
	wg.Wait()
	for _, a := range answers {
		if a.Status != 200 {
			t.Fatalf("one of 200: %d %s", a.Status, a.Raw)
		}
	}
	if n := keySets() - before; n != 1 {
		t.Errorf("%d fetches for 200 exchanges", n)
	}
	r.ISS1.Heal(standin.KeysPath)

	flood := func(make func(int) string, n int) {
		for w := range 8 {
			wg.Go(func() {
				for i := w; i < n; i += 8 {
					if a := r.Exchange(make(i)); a.Status != 400 || a.Text("error") != "invalid_request" {
						t.Errorf("%d %s", a.Status, a.Raw)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	good := strings.Split(r.Token(nil), ".")
	random := func(int) string {
		return b64([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+rand.Text()+`"}`)) + "." + good[1] + "." + good[2]
	}
	// Half within the 30 s of that fetch, half after them.
	before = keySets()
	flood(random, 600)
	if n := keySets() - before; n != 0 {
		t.Errorf("%d fetches within 30 s of another", n)
	}
	r.Move(31 * time.Second)
	flood(random, 600)
	if n := keySets() - before; n != 1 {
		t.Errorf("%d fetches in the 30 s after", n)
	}
	denied(t, r, "a random kid in another minute", func() rig.Answer { r.Move(2 * time.Minute); return r.Exchange(random(0)) }(), "kid-unknown")
	r.Control()

	// A bad signature is no reason to ask.
	before = keySets()
	r.Move(31 * time.Second)
	flood(func(int) string {
		parts := strings.Split(r.Token(nil), ".")
		return parts[0] + "." + parts[1] + "." + good[2]
	}, 50)
	if n := keySets() - before; n != 0 {
		t.Errorf("%d fetches for bad signatures", n)
	}
	r.Control()

	// Beyond its age nothing is taken on trust.
	r.ISS1.Fail(standin.KeysPath, standin.Fault{Status: 500})
	r.Move(61 * time.Minute)
	r.Unavailable(r.Exchange(r.Token(nil)), "jwks-stale", "jwks-unavailable")
	r.ISS1.Heal(standin.KeysPath)
	r.Move(31 * time.Second)
	r.Control()
	badKeySets(t)
}

// badKeySets tries key sets that cannot be meant: they replace no good one
// within its age, and are none where there is no other.
func badKeySets(t *testing.T) {
	t.Helper()
	bodies := []string{
		`{"keys":[]}`, `{"keys":[{"kty":"oct","kid":"s","k":"AAAA"}]}`, `[]`, `{}`, "", `{"keys":[{"kty":"RSA","kid":"k1","n":"AQAB","e":"AQAB","d":"AQ"}]}`, `null`,
		`{"keys":[{"kty":"EC","kid":"a"}],"keys":[]}`, `{"keys":{"kty":"EC"}}`, "<html>", strings.Repeat(" ", 600<<10), `{"keys":[` + strings.Repeat(`{"kty":"EC"},`, 100) + `{"kty":"EC"}]}`,
	}
	idps := crowd(t, 2*len(bodies))
	r := rig.New(t, rig.Setup{Config: withProviders(many(idps)...), Trusts: trusting(many(idps)...)})
	r.Control()
	known, cold := idps[:len(bodies)], idps[len(bodies):]
	for _, idp := range known {
		if a := r.Exchange(tokenOf(t, r, idp, idp.Issuer())); a.Status != 200 {
			t.Fatalf("a good set: %s", a.Raw)
		}
	}
	r.Move(31 * time.Second)
	for i, body := range bodies {
		for _, idp := range []*standin.IdentityProvider{known[i], cold[i]} {
			idp.Fail(standin.KeysPath, standin.Fault{Body: []byte(body)})
		}
		parts := strings.Split(tokenOf(t, r, known[i], known[i].Issuer()), ".")
		r.Unavailable(r.Exchange(b64([]byte(`{"alg":"ES256","kid":"unknown"}`))+"."+parts[1]+"."+parts[2]), "jwks-unavailable")
		if a := r.Exchange(tokenOf(t, r, known[i], known[i].Issuer())); a.Status != 200 {
			t.Errorf("%.40q in place of a good set: %d %s", body, a.Status, a.Raw)
		}
		a := r.Exchange(tokenOf(t, r, cold[i], cold[i].Issuer()))
		if a.Status != 503 {
			t.Errorf("%.40q: %d %s", body, a.Status, a.Raw)
		}
		r.Unavailable(a, "jwks-unavailable")
	}
	r.Control()
}

func attackISS06(t *testing.T) {
	config := func(issuer string) string {
		return `issuer: https://gw.test
identity_providers:
  cluster-7: {type: oidc, issuer: "` + issuer + `", audience: "https://gw.test", claims: {sub: {type: string, anchor: true}}}
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
`
	}
	none := map[string]string{}
	templates := []string{
		"https://oidc.eks.*.amazonaws.com/id/*", "https://*", "https://oidc.eks.{region}.amazonaws.com/id/1", "https://oidc.eks.us-east-1.amazonaws.com/id/.*",
		"https://oidc.eks.[a-z].amazonaws.com/id/1", "https://^oidc.eks.us-east-1.amazonaws.com$", "https://*.amazonaws.com", "*", "https://oidc.eks.%2a.amazonaws.com/id/1",
		"https://a.test|https://b.test", "https://oidc.eks.us-east-1.amazonaws.com?/id/1",
	}
	for _, issuer := range templates {
		loads(t, config(issuer), none, "issuer-url-invalid")
	}
	serveRefuses(t, config(templates[0]), none, "issuer-url-invalid", "cluster-7")
	serveRefuses(t, config(templates[1]), none, "issuer-url-invalid", "cluster-7")

	const eks = "https://oidc.eks.us-east-1.amazonaws.com/id/1"
	loads(t, config(eks), none, "")
	resolver := resolverOf(nil)
	r := rig.New(t, rig.Setup{Resolver: resolver, Config: `issuer: https://gw.test
identity_providers:
  iss1: {type: github-actions, issuer: "{{ISS1}}", audience: "https://gw.test", insecure_loopback: true}
  cluster-7: {type: oidc, issuer: "` + eks + `", audience: "https://gw.test", claims: {sub: {type: string, anchor: true}}}
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
  t2: {type: jwt, audience: "api://t2", max_ttl: 1h}
`})
	r.Control()
	before := fetches(r)
	for _, iss := range slices.Concat(templates, []string{
		"https://oidc.eks.evil.io/x.amazonaws.com/id/1", "https://evil.io/?" + eks, "https://oidc.eks.us-east-1.amazonaws.com.evil.io/id/1",
		"https://evil.io#" + eks, "https://oidc.eks.us-east-1.amazonaws.com@evil.io/id/1", eks + "/", eks + "2", "https://oidc.eks.us-east-2.amazonaws.com/id/1",
		"https://oidc-eks.us-east-1.amazonaws.com/id/1", "https://oidc.eks.us-east-1.amazonaws.com/id/1/../2",
	}) {
		denied(t, r, iss, r.Exchange(r.Token(map[string]any{"iss": iss})), "issuer-unknown")
	}
	if n := fetches(r) - before + resolver.count(""); n != 0 {
		t.Errorf("%d calls to anywhere", n)
	}
	// The exact one is asked for its keys, once.
	r.Unavailable(r.Exchange(r.Token(map[string]any{"iss": eks})), "jwks-unavailable")
	if n := resolver.count("oidc.eks.us-east-1.amazonaws.com"); n != 1 {
		t.Errorf("%d times", n)
	}
	r.Control()
}
