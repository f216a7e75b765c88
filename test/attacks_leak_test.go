package test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cambio/standin"
	"cambio/test/rig"
)

// hides fails the test if text holds a secret in any form that it may take on
// its way: as it is, in base64 at each of its three offsets, in hex, in a URL,
// or escaped as Go or JSON would.
func hides(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for form, needle := range forms(secret) {
			if strings.Contains(text, needle) {
				t.Errorf("%s shows a secret (%s): %.30s...", where, form, secret)
			}
		}
	}
}

func forms(secret string) map[string]string {
	out := map[string]string{
		"raw": secret, "hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"URL": url.QueryEscape(secret), "reversed": reversed(secret),
	}
	quoted := fmt.Sprintf("%q", secret)
	out["quoted"] = quoted[1 : len(quoted)-1]
	out["bytes"] = strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")
	for offset := range 3 {
		padded := append(bytes.Repeat([]byte{'x'}, offset), secret...)
		for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			b := e.EncodeToString(padded)
			out[fmt.Sprint(name, offset)] = b[4 : len(b)-4] // the ends depend on what stands beside
		}
	}
	return out
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// ofToken are the parts of a token that nobody may see: its payload and
// signature, and pieces of them.
func ofToken(token string) []string {
	secrets := []string{token}
	for i, part := range strings.Split(token, ".") {
		if i == 0 || len(part) < 40 {
			continue // all headers are alike
		}
		secrets = append(secrets, part, part[:40], part[len(part)-40:])
	}
	return secrets
}

const canary = "c4n4ry-Zq7/+ k=\"x\"-9f1e2d3c4b5a69788796a5b4c3d2e1f0"

// canaries is LEAK-01, with the real program.
func canaries(t *testing.T) {
	configSecrets(t)
	idp := rig.New(t, rig.Setup{}) // for its identity provider and its tokens; its own gateway is tried too
	dir := t.TempDir()
	(&rig.Rig{T: t, Dir: dir}).WriteTrusts(map[string]string{"tr1.yaml": rig.TR1, "g.yaml": recordGuardrail})
	file := filepath.Join(dir, "cambio.yaml")
	config := "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nlimits: {per_address: none, per_workload: none}\n" + strings.NewReplacer("http://127.0.0.1:9", "${env:ISS1}", `"api://t2"`, `"${file:audience}"`).Replace(usualConfig)
	for name, text := range map[string]string{file: config, filepath.Join(dir, "audience"): "api://file-value-" + hex.EncodeToString([]byte("secret")) + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, []string{"ISS1=" + idp.ISS1.Issuer(), "CANARY=" + canary, "GOTRACEBACK=all"}, "serve", "--config", file)
	rig.Eventually(t, "the listeners", func() bool {
		return listening.MatchString(p.stderr.String()) || strings.Contains(p.stderr.String(), "error:")
	})
	m := listening.FindStringSubmatch(p.stderr.String())
	if m == nil {
		t.Fatal(p.stderr.String())
	}
	live := *idp
	live.URL, live.AdminURL = "http://"+m[1], "http://"+m[2]
	secrets, answers := leakyRequests(t, &live)
	secrets = append(secrets, canary)
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		answers += live.Get(live.AdminURL, path).Raw
	}
	// A crash as an operator makes one: all stacks go to standard error.
	if err := p.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || !strings.Contains(p.stderr.String(), "goroutine ") {
		t.Errorf("ended with %v and no stacks", err)
	}
	hides(t, "an answer, a metric or a profile", answers, secrets...)
	hides(t, "standard output", p.stdout.String(), secrets...)
	hides(t, "standard error", p.stderr.String(), secrets...)
	err := filepath.WalkDir(filepath.Join(dir, "state"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		hides(t, path, string(b), secrets...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	idp.Control()
	ours, more := leakyRequests(t, idp) // at level debug
	hides(t, "the log at level debug", idp.Log.String(), ours...)
	hides(t, "an answer", more, ours...)
	idp.Control()
}

// leakyRequests sends tokens and canaries every way there is, good and bad, and
// returns the secrets, and all that was answered but the credentials.
func leakyRequests(t *testing.T, r *rig.Rig) (secrets []string, answers string) {
	t.Helper()
	take := func(a rig.Answer) {
		answers += fmt.Sprint(a.Header)
		if token := a.Text("access_token"); token != "" {
			secrets = append(secrets, ofToken(token)...)
			return
		}
		answers += a.Raw
	}
	claims := map[string]any{"jti": canary, "x_secret": canary}
	for _, changes := range []map[string]any{
		nil,
		{"exp": r.Clock.Now().Unix() - 400, "iat": r.Clock.Now().Unix() - 500},
		{"aud": "other"},
		{"iss": "https://nobody.test"},
		{"ref": "refs/heads/x", "sub": "custom"},
		{"actor": "mallory"},
		{"act": map[string]any{"sub": canary}},
		{"exp": canary},
		{"x": strings.Repeat(canary, 100)},
	} {
		all := map[string]any{}
		for _, c := range []map[string]any{claims, changes} {
			for k, v := range c {
				all[k] = v
			}
		}
		if changes == nil {
			all["jti"] = canary + r.Token(nil)[:20] + fmt.Sprint(len(secrets)) // it is used once
		}
		token := r.Token(all)
		secrets = append(secrets, ofToken(token)...)
		take(r.Exchange(token))
		take(r.Exchange(token)) // used, where it was good
		take(r.Exchange(token[:len(token)-4] + "AAAA"))
		take(r.Exchange(token + "." + token))
		for _, name := range []string{"actor_token", "client_secret", "client_assertion", "assertion", "password", "scope", "ttl", "requested_token_type", "grant_type", "subject_token_type", canary} {
			f := rig.Form(token)
			f.Set(name, canary)
			take(r.Post(f))
		}
		for _, header := range []string{"Authorization", "Dpop", "Cookie", "X-Forwarded-For", "Referer", "User-Agent", "Cambio-Decision-Id"} {
			value := "Bearer " + token + "; s=" + strings.ReplaceAll(canary, `"`, "")
			take(r.Do(request(r, "POST", "", rig.Form(token).Encode(), "Content-Type", formMedia, header, value)))
		}
		take(r.Do(request(r, "POST", "?subject_token="+url.QueryEscape(token)+"&c="+url.QueryEscape(canary), "", "Content-Type", formMedia)))
		take(r.Do(request(r, "GET", "/"+url.PathEscape(canary), "")))
		take(r.Do(request(r, "POST", "", token, "Content-Type", "text/plain; c="+hex.EncodeToString([]byte(canary)))))
	}
	hs := r.Sign(r.ISS1, standin.JWS{Payload: []byte(`{"iss":"` + canary + `"}`), Header: []byte(`{"alg":"none","kid":"` + hex.EncodeToString([]byte(canary)) + `"}`), Key: "k1", Alg: "RS256"})
	take(r.Exchange(hs))
	return append(secrets, canary, strings.ReplaceAll(canary, `"`, "")), answers
}

// configSecrets: what comes from the environment or a file is never shown, least
// of all where it is wrong.
func configSecrets(t *testing.T) {
	t.Helper()
	const secret = "hunter2-5f3a9c17e2b84d60"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	(&rig.Rig{T: t, Dir: dir}).WriteTrusts(nil)
	for i, config := range []string{
		usualConfig + "redis: {mode: single, addrs: [10.1.2.3:6379], username: gw, password: %s, master_name: not-for-single}\n",
		usualConfig + "redis: {mode: %s, addrs: [%s], username: %s, password: %s, tls: %s, master_name: %s}\n",
		strings.Replace(usualConfig, "https://gw.test\nidentity", "%s\nidentity", 1),
		strings.Replace(usualConfig, "type: jwt", "type: %s", 1),
		strings.Replace(usualConfig, "max_ttl: 1h", "max_ttl: %s", 1),
		strings.Replace(usualConfig, "type: github-actions", "type: %s", 1),
		strings.Replace(usualConfig, "http://127.0.0.1:9", "%s", 1),
		usualConfig + "listen: %s\nadmin_listen: %s\ntrust: %s\nstate: %s\ntls: {cert: %s, key: %s}\njournal: {keep: %s}\nlimits: {per_address: %s}\ntrusted_proxies: [%s]\n",
		usualConfig + "unknown: %s\n",
	} {
		for _, reference := range []string{"${env:SECRET}", "${file:secret}", "x${env:SECRET}y"} {
			file := filepath.Join(dir, "cambio.yaml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "%s", `"`+reference+`"`)), 0o600); err != nil {
				t.Fatal(err)
			}
			commands := [][]string{{"config", "check"}, {"config", "check", "-o", "json"}, {"serve"}}
			switch { // one way is enough where only the reference differs
			case reference != "${env:SECRET}":
				commands = commands[:1]
			case i > 0:
				commands = commands[:2]
			}
			for _, args := range commands {
				o := run(t, []string{"SECRET=" + secret}, append(args, "--config", file)...)
				if o.code != 3 {
					t.Errorf("%d %v with %s: exit %d\n%s", i, args, reference, o.code, o.stderr)
				}
				hides(t, fmt.Sprint(args, " of configuration ", i), o.stdout+o.stderr, secret)
			}
		}
	}
}

// errorBodies is LEAK-02.
func errorBodies(t *testing.T) {
	// What a tenant's own caller is told beside the sentence is TestHints'.
	silent := func(trust string) string { return strings.Replace(trust, "from: iss1", "hints: false\nfrom: iss1", 1) }
	expired := strings.NewReplacer("name: tr1", "name: old", "from: iss1", "expires: 2020-01-01\nfrom: iss1", `repository_id: "2"`, `repository_id: "3"`).Replace(rig.TR1)
	cel := conditionTrust("very-secret-name", "4", `claims.workflow == "very-secret-text"`)
	r := rig.New(t, rig.Setup{Trusts: map[string]string{"tr1.yaml": silent(rig.TR1), "tr2.yaml": silent(rig.TR2), "old.yaml": expired, "cel.yaml": cel, "g.yaml": recordGuardrail}})
	r.Control()
	now := r.Clock.Now().Unix()
	other := func(id string, more ...any) string {
		claims := map[string]any{"repository_id": id, "sub": "customised"}
		for i := 0; i < len(more); i += 2 {
			claims[more[i].(string)] = more[i+1]
		}
		return r.Token(claims)
	}
	breaks := func(token string) string { return token[:len(token)-8] + "AAAAAAAA" }
	used := r.Token(nil)
	if a := r.Exchange(used); a.Status != 200 {
		t.Fatal(a.Raw)
	}
	overdue := r.Token(map[string]any{"exp": now - 100, "iat": now - 400})
	elsewhere := r.Token(map[string]any{"aud": "https://other.test"})
	bodies, headers := map[string]bool{}, map[string]bool{}
	for name, row := range map[string]struct{ token, reason string }{
		"unknown issuer":        {r.Token(map[string]any{"iss": "https://nobody.test"}), "issuer-unknown"},
		"bad signature":         {breaks(r.Token(nil)), "signature-invalid"},
		"unknown key":           {withHeader(t, r, map[string]any{"alg": "RS256", "kid": "zzz", "typ": "JWT"}, "k1", "RS256"), "kid-unknown"},
		"condition":             {other("4", "workflow", "w"), "condition-false"},
		"condition in error":    {other("4"), "cel-error"},
		"no trust":              {other("77"), "condition-false"},
		"expired trust":         {other("3", "repository_owner_id", "1"), "trust-expired"},
		"guardrail":             {r.Token(map[string]any{"actor": "mallory"}), "guardrail"},
		"not yet valid":         {r.Token(map[string]any{"nbf": now + 100}), "not-yet-valid"},
		"too old":               {r.Token(map[string]any{"iat": now - 7200}), "too-old"},
		"malformed":             {"a.b.c", "malformed"},
		"pull request":          {r.Token(map[string]any{"event_name": "pull_request"}), "event-not-named"},
		"expired, unproven":     {breaks(overdue), "signature-invalid"},
		"audience, unproven":    {breaks(elsewhere), "signature-invalid"},
		"replay, unproven":      {breaks(used), "signature-invalid"},
		"several of it at once": {breaks(r.Token(map[string]any{"exp": now - 100, "iat": now - 400, "aud": "x"})), "any"},
	} {
		a := r.Exchange(row.token)
		r.Deny(a, row.reason)
		if t.Failed() {
			t.Fatalf("that was %s", name)
		}
		bodies[strings.ReplaceAll(a.Raw, a.Decision, "")] = true
		names := a.Header.Clone()
		names.Del("Date")
		names.Del("Cambio-Decision-Id")
		headers[fmt.Sprint(names)] = true
	}
	if len(bodies) != 1 || len(headers) != 1 {
		t.Errorf("refusals differ: %v %v", bodies, headers)
	}
	r.Refused(r.Exchange(used), 400, "invalid_request", usedSentence, "replayed")
	r.Refused(r.Exchange(elsewhere), 400, "invalid_request", "The token's audience is not ours; ask for https://gw.test.", "aud-mismatch")
	a := r.Exchange(overdue)
	if got := a.Text("error_description"); a.Text("error") != "invalid_request" || !strings.HasPrefix(got, "The token expired at 20") || !strings.HasSuffix(got, "Z.") || len(got) != len("The token expired at 2026-01-01T00:00:00Z.") {
		t.Errorf("expired: %s", a.Raw)
	}
	// Audience is looked at before expiry: one sentence, not two.
	both := r.Exchange(r.Token(map[string]any{"aud": "x", "exp": now - 100, "iat": now - 400}))
	r.Refused(both, 400, "invalid_request", "The token's audience is not ours; ask for https://gw.test.", "aud-mismatch")
	upstream(t, r)
	r.Control()
}

// upstream: what an identity provider answers in error stays inside.
func upstream(t *testing.T, r *rig.Rig) {
	t.Helper()
	r.ISS2.Fail(standin.KeysPath, standin.Fault{Status: http.StatusInternalServerError, Body: []byte("very-secret-upstream-body")})
	token := r.Sign(r.ISS2, standin.JWS{Key: "k1", Alg: "RS256", Payload: jsonOf(t, map[string]any{
		"iss": r.ISS2.Issuer(), "aud": "https://gw.test", "sub": "s", "project": "p", "iat": r.Clock.Now().Unix(), "exp": r.Clock.Now().Unix() + 300,
	})})
	a := r.Exchange(token)
	if a.Status != 503 || a.Text("error_description") != rig.Fixed || strings.Contains(a.Raw, "secret") || strings.Contains(a.Raw, r.ISS2.Issuer()) {
		t.Errorf("upstream in error: %d %s", a.Status, a.Raw)
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		if raw := r.Get(r.AdminURL, path).Raw; strings.Contains(raw, "very-secret") || strings.Contains(raw, "customised") {
			t.Errorf("%s names what is not its to tell", path)
		}
	}
}

// tokensInURLs is LEAK-06. What the program prints to a terminal is tried by
// TestNoSecretOnATerminal, beside the program.
func tokensInURLs(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	token := r.Token(nil)
	for _, query := range []string{"?access_token=", "?subject_token=", "?token=", "?id_token=", "?x=1#access_token=", "?%73ubject_token="} {
		req := request(r, "POST", query+token, rig.Form(token).Encode(), "Content-Type", formMedia, "Referer", "https://gw.test/#"+token)
		told(t, r.Do(req), 400, "invalid_request", "")
	}
	for _, path := range []string{"/?subject_token=", "/keys?access_token=", "/token/", "/.well-known/openid-configuration?t="} {
		a := r.Get(r.URL, path+token)
		hides(t, path, a.Raw, ofToken(token)...)
	}
	hides(t, "the log", r.Log.String(), ofToken(token)...)
	dir := t.TempDir()
	for _, args := range [][]string{
		{"exchange", "--to", "t1", "--token", token},
		{"exchange", "--to", "t1", "--subject-token", token},
		{"exchange", "--to", "t1", "--token=" + token},
		{"exchange", "--to", "t1", token},
		{"whoami", "--token", token},
		{"whoami", token},
		{"exec", "--to", "t1", "--token", token, "--", "true"},
		{"trust", "explain", "--provider", "iss1", "--to", "t1", "--token", token},
	} {
		o := run(t, nil, append(args, "--server", r.URL)...)
		if o.code != 2 {
			t.Errorf("%v: exit %d, want 2\n%s", args[:2], o.code, o.stderr)
		}
	}
	// A file's name that is a token by mistake is not sent anywhere, nor taken.
	if o := run(t, nil, "exchange", "--to", "t1", "--server", r.URL, "--token-file", filepath.Join(dir, "none")); o.code == 0 {
		t.Error("a token file that does not exist gave a credential")
	}
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"whoami", "--token-file", file}, {"exchange", "--to", "t2", "--server", r.URL, "--token-file", file}, {"exchange", "--to", "t2", "--server", r.URL, "--token-file", file, "-o", "json"}} {
		o := run(t, nil, args...)
		hides(t, args[0], o.stdout+o.stderr, ofToken(token)...)
	}
	o := run(t, nil, "exchange", "--to", "t1", "--server", r.URL, "--token-file", file)
	credential := strings.TrimSpace(o.stdout)
	if o.code != 0 || strings.Count(credential, ".") != 2 {
		t.Fatalf("exchange: exit %d\n%s", o.code, o.stderr)
	}
	hides(t, "narration", o.stderr, append(ofToken(token), ofToken(credential)...)...)
	var value map[string]any
	if o := run(t, []string{"CAMBIO_TOKEN=" + r.Token(nil)}, "exchange", "--to", "t1", "--server", r.URL, "-o", "json"); json.Unmarshal([]byte(o.stdout), &value) != nil || value["access_token"] == nil {
		t.Errorf("from the environment: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	r.Control()
}
