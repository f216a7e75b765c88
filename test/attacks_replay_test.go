package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/audit"
	"cambio/standin"
	"cambio/test/rig"
)

// twoGrants lets tr1's workloads have t1 and t2.
func twoGrants() map[string]string {
	return map[string]string{"tr1.yaml": strings.Replace(rig.TR1, "grants: [", "grants: [{to: t2, scopes: [admin], ttl: 15m}, ", 1)}
}

// to shows a token for this target.
func to(r *rig.Rig, target, token string) rig.Answer {
	form := rig.Form(token)
	form.Set("audience", target)
	return r.Post(form)
}

// used are the uses of tokens that the journal says were reserved.
func used(t *testing.T, r *rig.Rig, a rig.Answer) []audit.Use {
	t.Helper()
	var out []audit.Use
	for _, rec := range r.Records(a.Decision) {
		if rec.Replay != nil {
			out = append(out, rec.Replay.Use)
		}
	}
	return out
}

func attackRPL01(t *testing.T) {
	pass := func(what string, a rig.Answer) {
		t.Helper()
		if a.Status != 200 {
			t.Errorf("%s: %d %s", what, a.Status, a.Raw)
		}
	}
	r := rig.New(t, rig.Setup{Trusts: twoGrants()})
	r.Control()
	replayed := func(what string, a rig.Answer) {
		t.Helper()
		deniedSaying(t, r, what, a, alreadyUsed, "replayed")
	}
	t.Run("once", func(t *testing.T) {
		r.Clock.Freeze()
		token := r.Token(nil)
		// Refusals burn nothing.
		for range 3 {
			r.Refused(to(r, "nobody", token), 400, "invalid_target", rig.Fixed, "any")
			form := rig.Form(token)
			form.Set("scope", "write")
			r.Refused(r.Post(form), 400, "invalid_scope", rig.Fixed, "any")
			form = rig.Form(token)
			form.Set("dry_run", "true")
			if a := r.Post(form); a.Status != 200 || a.Body["would_allow"] != true {
				t.Errorf("dry run: %s", a.Raw)
			}
		}
		a := r.Exchange(token)
		pass("first", a)
		exp := time.Unix(int64(claimsOf(t, token)["exp"].(float64)), 0)
		uses := used(t, r, a)
		if len(uses) != 1 || !uses[0].Closed || !uses[0].Until.Equal(exp.Add(90*time.Second)) {
			t.Errorf("uses %+v, want one until %s", uses, exp.Add(90*time.Second))
		}
		replayed("second", r.Exchange(token))
		replayed("for another target", to(r, "t2", token))
		// Another token with the same jti is the same token.
		same := claimsOf(t, token)
		replayed("the same jti", r.Exchange(r.Token(map[string]any{"jti": same["jti"], "run_id": "7"})))
		pass("another jti", r.Exchange(r.Token(nil)))
		for name, jti := range map[string]any{"empty": "", "number": 7, "list": []string{"x"}, "object": map[string]any{}} {
			denied(t, r, "jti "+name, r.Exchange(r.Token(map[string]any{"jti": jti})), "claim-invalid")
		}
	})
	t.Run("without jti", func(t *testing.T) {
		token := r.Token(map[string]any{"jti": nil, "n": "1"})
		pass("first", r.Exchange(token))
		replayed("second", r.Exchange(token))
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		// The same claims under another signature, as with ECDSA or PSS.
		header := `{"kid":"k1","alg":"RS256"}`
		replayed("signed again", r.Exchange(r.Sign(r.ISS1, standin.JWS{Header: []byte(header), Payload: payload, Key: "k1", Alg: "RS256"})))
		for name, twin := range map[string]string{"padded": token + "=", "a newline": token + "\n", "a payload with padding": strings.Replace(token, ".", "=.", 1)} {
			denied(t, r, name, r.Exchange(twin), "malformed")
		}
		pass("other claims", r.Exchange(r.Token(map[string]any{"jti": nil, "n": "2"})))
	})
	t.Run("at once", func(t *testing.T) {
		token := r.Token(nil)
		answers := make([]rig.Answer, 50)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = r.Exchange(token) })
		}
		wg.Wait()
		allowed := 0
		for _, a := range answers {
			if a.Status == 200 {
				allowed++
			} else {
				r.Refused(a, 400, "invalid_request", alreadyUsed, "replayed")
			}
		}
		if allowed != 1 {
			t.Errorf("%d of 50 got a credential", allowed)
		}
		r.Restart()
		replayed("after a restart", r.Exchange(token))
	})
	r.Control()

	t.Run("another provider", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Trusts: ofISS2()})
		pass("iss1", r.Exchange(r.Token(map[string]any{"jti": "the-same"})))
		pass("iss2", r.Exchange(token2(t, r, map[string]any{"jti": "the-same"})))
		deniedSaying(t, r, "iss1 again", r.Exchange(r.Token(map[string]any{"jti": "the-same"})), alreadyUsed, "replayed")
		r.Control()
	})
	t.Run("once-per-grant", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Provider1: "token_use: once-per-grant", Trusts: twoGrants()})
		r.Control()
		token := r.Token(nil)
		pass("t1", to(r, "t1", token))
		deniedSaying(t, r, "t1 again", to(r, "t1", token), alreadyUsed, "replayed")
		pass("t2", to(r, "t2", token))
		deniedSaying(t, r, "t2 again", to(r, "t2", token), alreadyUsed, "replayed")
		r.Restart()
		deniedSaying(t, r, "t1 after a restart", to(r, "t1", token), alreadyUsed, "replayed")
		r.Control()
	})
	t.Run("until-expiry", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Provider1: "token_use: until-expiry", Trusts: twoGrants()})
		r.Control()
		token := r.Token(nil)
		for range 3 {
			pass("t1", to(r, "t1", token))
		}
		r.Move(331 * time.Second)
		a := to(r, "t1", token)
		if a.Status != 400 || !strings.HasPrefix(a.Text("error_description"), "The token expired at ") {
			t.Errorf("after its end: %s", a.Raw)
		}
		r.Control()
	})
	t.Run("a tighter trust", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Provider1: "token_use: until-expiry", Trusts: map[string]string{"tr1.yaml": rig.TR1, "tr2.yaml": strings.Replace(
			strings.Replace(rig.TR1, "name: tr1", "name: tr3\ntoken_use: once", 1), "to: t1", "to: t2", 1)}})
		r.Control()
		token := r.Token(nil)
		pass("t2, once", to(r, "t2", token))
		deniedSaying(t, r, "t2 again", to(r, "t2", token), alreadyUsed, "replayed")
		token = r.Token(nil)
		pass("t1, until it expires", to(r, "t1", token))
		deniedSaying(t, r, "t2, which needs an unused one", to(r, "t2", token), alreadyUsed, "replayed")
		pass("t1 again", to(r, "t1", token))
		r.Control()
	})
	for provider, trusts := range map[string][]string{"once": {"once-per-grant", "until-expiry"}, "once-per-grant": {"until-expiry"}} {
		for _, use := range trusts {
			config := strings.Replace(offline(), "insecure_loopback: true", "insecure_loopback: true, token_use: "+provider, 1)
			loads(t, config, map[string]string{"tr1.yaml": strings.Replace(rig.TR1, "from: iss1", "from: iss1\ntoken_use: "+use, 1)}, "token-use-looser")
		}
	}
}

func attackRPL05(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	remembered := func() string {
		for line := range strings.Lines(r.Get(r.AdminURL, "/metrics").Raw) {
			if strings.HasPrefix(line, "cambio_remembered_tokens ") {
				return strings.TrimSpace(line)
			}
		}
		t.Fatal("no metric says how many tokens are remembered")
		return ""
	}
	before := remembered()
	good := strings.Split(r.Token(nil), ".")
	worthless := func(i int) string {
		payload := b64(jsonOf(t, r.Base(nil)))
		switch i % 4 {
		case 0: // not signed
			return b64([]byte(`{"alg":"none"}`)) + "." + payload + "."
		case 1: // with the signature of another
			return good[0] + "." + payload + "." + good[2]
		case 2: // of nobody
			return good[0] + "." + b64(jsonOf(t, r.Base(map[string]any{"iss": fmt.Sprint("https://evil.test/", i)}))) + "." + good[2]
		default: // proven, and not allowed
			return r.Token(map[string]any{"ref": "refs/heads/x", "sub": "custom"})
		}
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < 800; i += 8 {
				if a := r.Exchange(worthless(i)); a.Status != 400 {
					t.Errorf("%d %s", a.Status, a.Raw)
					return
				}
			}
		})
	}
	wg.Wait()
	if after := remembered(); after != before {
		t.Errorf("%s, before %s", after, before)
	}
	for name, seconds := range map[string]int64{"a year": 365 * 86400, "a day and a second": 86401, "a century": 100 * 365 * 86400} {
		now := r.Clock.Now().Unix()
		denied(t, r, name, r.Exchange(r.Token(map[string]any{"iat": now, "exp": now + seconds})), "token-too-long-lived")
	}
	// The longest that is remembered.
	now := r.Clock.Now().Unix()
	a := r.Exchange(r.Token(map[string]any{"iat": now, "exp": now + 86400}))
	if a.Status != 200 {
		t.Fatal(a.Raw)
	}
	uses := used(t, r, a)
	if limit := time.Unix(now+86400+90, 0); len(uses) != 1 || uses[0].Until.After(limit) {
		t.Errorf("uses %+v, the limit is %s", uses, limit)
	}
	// No line of the journal but the allowed ones holds a use.
	r.Control()
	r.Stop()
	kept := 0
	err := fs.WalkDir(os.DirFS(r.JournalDir()), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".jsonl") {
			return err
		}
		b, err := fs.ReadFile(os.DirFS(r.JournalDir()), path)
		for line := range strings.Lines(string(b)) {
			var rec audit.Record
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				return err
			}
			if rec.Event == audit.ExchangeDenied {
				kept++
			}
			if rec.Replay != nil && rec.Replay.Key != "" && rec.Event != audit.ExchangeAllowed {
				t.Errorf("%s holds a use", line)
			}
		}
		return err
	})
	if err != nil || kept == 0 || kept > 600 {
		t.Errorf("%d refusals in full, %v", kept, err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.Control()
}
