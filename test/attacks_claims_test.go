package test

import (
	"strings"
	"testing"
	"time"

	"cambio/test/rig"
)

func attackCLM01(t *testing.T) {
	const hint = "The token's audience is not ours; ask for https://gw.test."
	r := rig.New(t, rig.Setup{})
	r.Control()
	for name, aud := range map[string]any{
		"slash": "https://gw.test/", "case": "HTTPS://GW.TEST", "suffix": "https://gw.test.evil.io", "prefix": "https://gw.tes", "star": "*",
		"cloud": "sts.amazonaws.com", "space": "https://gw.test ", "other": []string{"other"}, "two others": []string{"other", "another"},
		"http": "http://gw.test", "host": "gw.test", "port": "https://gw.test:443", "joined": "https://gw.test,other", "list of star": []string{"*"},
		"nul": "https://gw.test\x00", "homoglyph": "https://gw.t\u0435st", "client": "https://github.com/acme",
	} {
		deniedSaying(t, r, name, r.Exchange(r.Token(map[string]any{"aud": aud})), hint, "aud-mismatch")
		// Who only guesses is told nothing.
		forged := r.Token(map[string]any{"aud": aud})
		forged = forged[:strings.LastIndexByte(forged, '.')+1] + b64(make([]byte, 256))
		denied(t, r, name+", unproven", r.Exchange(forged), "signature-invalid")
	}
	for name, aud := range map[string]any{
		"missing": nil, "empty": "", "empty list": []string{}, "list of empty": []string{""}, "number": 1, "object": map[string]any{"https://gw.test": 1},
		"nested": []any{[]string{"https://gw.test"}}, "list with a number": []any{"https://gw.test", 1}, "bool": true,
	} {
		a := r.Exchange(r.Token(map[string]any{"aud": aud}))
		if a.Text("error_description") != rig.Fixed {
			deniedSaying(t, r, name, a, hint, "aud-mismatch")
			continue
		}
		denied(t, r, name, a, "aud-mismatch")
	}
	for name, aud := range map[string]any{
		"ours last": []string{"other", "https://gw.test"}, "ours first": []string{"https://gw.test", "other"}, "ours twice and another": []string{"https://gw.test", "https://gw.test", "other"},
	} {
		denied(t, r, name, r.Exchange(r.Token(map[string]any{"aud": aud})), "aud-multiple")
	}
	for name, aud := range map[string]any{"list of one": []string{"https://gw.test"}, "ours twice": []string{"https://gw.test", "https://gw.test"}} {
		if a := r.Exchange(r.Token(map[string]any{"aud": aud})); a.Status != 200 {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
	r.Control()

	multi := rig.New(t, rig.Setup{Provider1: "allow_multi_audience: true"})
	multi.Control()
	for _, aud := range [][]string{{"other", "https://gw.test"}, {"https://gw.test", "other", "third"}} {
		if a := multi.Exchange(multi.Token(map[string]any{"aud": aud})); a.Status != 200 {
			t.Errorf("%v: %s", aud, a.Raw)
		}
	}
	for _, aud := range [][]string{{"other", "https://gw.test/"}, {"HTTPS://gw.test", "another"}} {
		deniedSaying(t, multi, strings.Join(aud, ","), multi.Exchange(multi.Token(map[string]any{"aud": aud})), hint, "aud-mismatch")
	}
	multi.Control()
}

func attackCLM02(t *testing.T) {
	resolver := resolverOf(nil)
	const issuer = "https://token.acme.test/org"
	r := rig.New(t, rig.Setup{Resolver: resolver, Config: `issuer: https://gw.test
limits: {per_address: none, per_workload: none}
identity_providers:
  iss1: {type: github-actions, issuer: "{{ISS1}}", audience: "https://gw.test", insecure_loopback: true}
  iss2: {type: github-actions, issuer: "` + issuer + `", audience: "https://gw.test"}
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
  t2: {type: jwt, audience: "api://t2", max_ttl: 1h}
`})
	r.Control()
	r.Move(31 * time.Second)
	before := fetches(r)
	port := strings.TrimPrefix(r.ISS1.Issuer(), "http://127.0.0.1")
	for name, iss := range map[string]any{
		"slash": issuer + "/", "host case": "https://Token.acme.test/org", "scheme case": "HTTPS://token.acme.test/org", "port": "https://token.acme.test:443/org",
		"http": "http://token.acme.test/org", "encoded dot": "https://token%2eacme.test/org", "user": "https://token.acme.test@evil.io/org", "user ours": "https://x@token.acme.test/org",
		"homoglyph": "https://t\u043eken.acme.test/org", "xn--": "https://xn--tken-qqc.acme.test/org", "dot": "https://token.acme.test./org",
		"leading space": " " + issuer, "trailing space": issuer + " ", "NUL": issuer + "\x00", "newline": issuer + "\n", "path case": "https://token.acme.test/Org",
		"shorter": "https://token.acme.test", "longer": issuer + "/x", "query": issuer + "?x", "fragment": issuer + "#x", "dots": "https://token.acme.test/x/../org",
		"double slash": "https://token.acme.test//org", "encoded path": "https://token.acme.test/%6frg", "evil": "https://evil.test", "backslash": `https:\\token.acme.test/org`,
		"loopback slash": r.ISS1.Issuer() + "/", "loopback name": "http://localhost" + port, "loopback https": "https://127.0.0.1" + port, "loopback other": "http://127.0.0.2" + port,
		"loopback case": strings.ToUpper(r.ISS1.Issuer()), "loopback decimal": "http://2130706433" + port, "loopback mapped": "http://[::ffff:127.0.0.1]" + port,
		"metadata": "http://169.254.169.254", "file": "file:///etc/passwd", "empty": "", "missing": nil, "number": 1, "list": []string{r.ISS1.Issuer()}, "null text": "null",
		"object": map[string]any{"x": r.ISS1.Issuer()}, "legacy": "kubernetes/serviceaccount", "ours": "https://gw.test",
	} {
		denied(t, r, name, r.Exchange(r.Token(map[string]any{"iss": iss})), "issuer-unknown")
	}
	if n := fetches(r) - before; n != 0 {
		t.Errorf("%d requests to the identity providers", n)
	}
	if n := resolver.count(""); n != 0 {
		t.Errorf("%d names were resolved", n)
	}
	r.Control()
}

func attackCLM04(t *testing.T) {
	r := rig.New(t, rig.Setup{Provider1: "clock_skew: 30s\nmax_token_age: 1h\nmax_token_lifetime: 24h"})
	r.Control()
	r.Clock.Freeze()
	now := r.Clock.Now().Unix()
	times := func(changes map[string]any) map[string]any {
		c := map[string]any{"iat": now, "nbf": now, "exp": now + 300}
		for k, v := range changes {
			c[k] = v
		}
		return c
	}
	const year9999 = 253402300799
	for _, tt := range []struct {
		name    string
		changes map[string]any
		reason  string // "" is allowed
	}{
		{"exp 29 s ago", map[string]any{"exp": now - 29}, ""},
		{"exp 30 s ago", map[string]any{"exp": now - 30}, "expired"},
		{"exp 31 s ago", map[string]any{"exp": now - 31}, "expired"},
		{"exp now", map[string]any{"exp": now}, ""},
		{"nbf in 29 s", map[string]any{"nbf": now + 29}, ""},
		{"nbf in 31 s", map[string]any{"nbf": now + 31}, "not-yet-valid"},
		{"nbf missing", map[string]any{"nbf": nil}, ""},
		{"iat in 29 s", map[string]any{"iat": now + 29}, ""},
		{"iat in 31 s", map[string]any{"iat": now + 31}, "iat-future"},
		{"iat missing", map[string]any{"iat": nil}, "iat-missing"},
		{"exp missing", map[string]any{"exp": nil}, "exp-missing"},
		{"a day", map[string]any{"exp": now + 86400}, ""},
		{"a day and a second", map[string]any{"exp": now + 86401}, "token-too-long-lived"},
		{"3595 s old", map[string]any{"iat": now - 3595, "nbf": now - 3595}, ""},
		{"3635 s old", map[string]any{"iat": now - 3635, "nbf": now - 3635}, "too-old"},
		{"exp as text", map[string]any{"exp": "4102444800"}, "exp-missing"},
		{"iat as text", map[string]any{"iat": "1"}, "iat-missing"},
		{"exp as a list", map[string]any{"exp": []int64{now + 300}}, "exp-missing"},
		{"exp true", map[string]any{"exp": true}, "exp-missing"},
		{"exp negative", map[string]any{"exp": -1}, "any"},
		{"exp 0", map[string]any{"exp": 0}, "expired"},
		{"exp endless", map[string]any{"exp": 1e300}, "any"},
		{"exp int64", map[string]any{"exp": int64(9223372036854775807)}, "any"},
		{"exp 9999", map[string]any{"exp": year9999}, "token-too-long-lived"},
		{"iat in milliseconds", map[string]any{"iat": now * 1000}, "any"},
		{"iat negative", map[string]any{"iat": -now}, "any"},
		{"nbf as text", map[string]any{"nbf": "0"}, "any"},
		{"nbf endless", map[string]any{"nbf": 1e300}, "any"},
		{"exp with a fraction", map[string]any{"exp": float64(now) + 60.5}, ""},
		{"exp before iat", map[string]any{"iat": now + 20, "exp": now + 10}, ""},
	} {
		changes := times(tt.changes)
		a := r.Exchange(r.Token(changes))
		switch tt.reason {
		case "":
			if a.Status != 200 {
				t.Errorf("%s: %s", tt.name, a.Raw)
				continue
			}
			atMost(t, tt.name, a, now, changes["exp"])
		case "expired":
			at := time.Unix(int64From(changes["exp"]), 0).UTC().Format(time.RFC3339)
			deniedSaying(t, r, tt.name, a, "The token expired at "+at+".", "expired")
		default:
			denied(t, r, tt.name, a, tt.reason)
		}
	}
	// Asking for more time does not help.
	form := rig.Form(r.Token(times(map[string]any{"exp": now + 60})))
	form.Set("ttl", "900")
	atMost(t, "ttl", r.Post(form), now, now+60)
	// An expiry is told to nobody whose token is not proven.
	forged := r.Token(times(map[string]any{"exp": now - 31}))
	forged = forged[:strings.LastIndexByte(forged, '.')+1] + b64(make([]byte, 256))
	denied(t, r, "expired and unproven", r.Exchange(forged), "signature-invalid")
	r.Control()
}

// int64From reads a time that the test wrote.
func int64From(v any) int64 {
	switch n := v.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

// atMost fails the test if our token outlives what it was made from: the subject
// token and its clock skew, the grant's 15 minutes.
func atMost(t *testing.T, name string, a rig.Answer, now int64, subject any) {
	t.Helper()
	exp := int64(minted(t, a)["exp"].(float64))
	end, skewed := int64From(subject), int64From(subject)+30
	if exp > skewed || exp > now+900 || (end > now && exp > end) || exp <= now {
		t.Errorf("%s: at %d our token ends at %d, the subject token at %d", name, now, exp, end)
	}
	if in := a.Body["expires_in"].(float64); int64(in) > exp-now {
		t.Errorf("%s: expires_in %v, but exp is in %d s", name, in, exp-now)
	}
}

func attackCLM07(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	for name, sub := range map[string]any{
		"empty": "", "1025 bytes": strings.Repeat("a", 1025), "1025 bytes of runes": strings.Repeat("\u00e9", 512) + "a", "newline": "repo\nevil", "CR": "a\rb", "NUL": "a\x00b",
		"escape": "a\x1b[31mb", "delete": "a\x7fb", "override": "a\u202eb", "isolate": "a\u2066b", "zero width": "a\u200bb", "soft hyphen": "a\u00adb",
		"line separator": "a\u2028b", "C1": "a\u0085b", "tag": "a\U000e0041b", "byte order mark": "\ufeffa", "number": 1, "missing": nil, "list": []string{"a"},
		"variation selector": "a\ufe0fb", "private": "a\ue000b", "3 KiB": strings.Repeat("a", 3<<10),
	} {
		denied(t, r, name, r.Exchange(r.Token(map[string]any{"sub": sub})), "sub-invalid")
	}
	denied(t, r, "longer than a text may be", r.Exchange(r.Token(map[string]any{"sub": strings.Repeat("a", 5<<10)})), "sub-invalid", "malformed")
	malformedForm(t, "256 kB", r.Exchange(r.Token(map[string]any{"sub": strings.Repeat("a", 256_000)})), 413)
	for name, sub := range map[string]string{"1024 bytes": strings.Repeat("a", 1024), "not Latin": "\u0430\u0431", "quotes": `a"b<script>`, "a customised one": "environment:production"} {
		if a := r.Exchange(r.Token(map[string]any{"sub": sub})); a.Status != 200 {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
	for _, raw := range []string{"repo\nevil", "\x1b[31m", "\u202e", "a\x00b"} {
		if strings.Contains(r.Log.String(), raw) {
			t.Errorf("the log holds %q", raw)
		}
	}
	r.Control()
}
