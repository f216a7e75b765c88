package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cambio/standin"
	"cambio/test/rig"
)

// TestHints holds what a caller is told of its denial: which claim, where its
// token proves the anchors of a trust, and nothing in every other case.
func TestHints(t *testing.T) {
	t.Parallel()
	const ref = "The claim ref is not one that the trust takes."
	branch := map[string]any{"ref": "refs/heads/x", "sub": "customised"}
	for name, c := range map[string]struct {
		trusts map[string]string // beside tr1 and tr2
		change map[string]any
		form   url.Values
		reason string
		hint   string
	}{
		"another ref":                   {change: branch, reason: "condition-false", hint: ref},
		"for a dry run":                 {change: branch, form: url.Values{"dry_run": {"true"}}, reason: "condition-false", hint: ref},
		"by a trust's name":             {change: branch, form: url.Values{"trust": {"tr1"}}, reason: "condition-false", hint: ref},
		"by a name that does not exist": {change: branch, form: url.Values{"trust": {"tr99"}}, reason: "no-matching-trust", hint: ref},
		"a claim that is not there": {
			form: url.Values{"audience": {"t2"}}, change: map[string]any{"ref": "refs/heads/x", "sub": "customised"}, reason: "condition-false",
			hint: ref + " The token lacks the claim environment, which the trust asks for.",
		},
		"a pull request": {change: map[string]any{"event_name": "pull_request"}, reason: "event-not-named", hint: "The claim event_name is not one that the trust takes."},
		"another repository": {
			change: map[string]any{"repository_id": "3", "repository": "acme/other", "sub": "customised"}, reason: "condition-false",
		},
		"another owner, the same repository": {change: map[string]any{"repository_owner_id": "9", "sub": "customised"}, reason: "condition-false"},
		"a target that is not granted":       {form: url.Values{"audience": {"t9"}}, reason: "target-not-granted"},
		"more scope":                         {form: url.Values{"scope": {"admin"}}, reason: "scope-not-granted"},
		"a silent trust": {
			trusts: map[string]string{"tr1.yaml": strings.Replace(rig.TR1, "from:", "hints: false\nfrom:", 1)}, change: branch, reason: "condition-false",
		},
		"a trust on trial": {
			trusts: map[string]string{"tr1.yaml": strings.Replace(rig.TR1, "from:", "mode: shadow\nfrom:", 1), "tr2.yaml": ""}, change: branch, reason: "condition-false",
		},
		"a guardrail": {
			trusts: map[string]string{"g.yaml": "guardrail: g\nowner: o\npurpose: p\nforbid: request.to == \"t1\"\n"}, reason: "guardrail",
		},
		"outside of hours and networks": {
			trusts: map[string]string{"tr1.yaml": rig.TR1 + "access: {networks: [203.0.113.0/24], hours: \"Mon 00:00-00:01 Pacific/Kiritimati\"}\n"}, reason: "network-not-allowed",
		},
		"a condition": {
			trusts: map[string]string{"tr1.yaml": rig.TR1 + "when: ['claims.actor == \"s3cret\" && claims.sha != \"\"']\n"}, change: map[string]any{"actor": "mona", "sha": "x"}, reason: "condition-false",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trusts := map[string]string{"tr1.yaml": rig.TR1, "tr2.yaml": rig.TR2}
			for file, text := range c.trusts {
				if trusts[file] = text; text == "" {
					delete(trusts, file)
				}
			}
			r := rig.New(t, rig.Setup{Trusts: trusts})
			form := rig.Form(r.Token(c.change))
			for k, v := range c.form {
				form[k] = v
			}
			hinted(r, r.Post(form), c.reason, c.hint)
			if c.form == nil { // whichever way the token comes
				for _, g := range otherGrants() {
					hinted(r, r.Post(g.form(r.Token(c.change))), c.reason, c.hint)
				}
			}
		})
	}
}

func hinted(r *rig.Rig, a rig.Answer, reason, want string) {
	r.T.Helper()
	code := "invalid_request"
	switch reason {
	case "target-not-granted":
		code = "invalid_target"
	case "scope-not-granted":
		code = "invalid_scope"
	}
	r.Refused(a, http.StatusBadRequest, code, rig.Fixed, reason)
	if got, there := a.Body["error_hint"]; there != (want != "") || there && got != want {
		r.T.Errorf("%s: hint %q, want %q", reason, got, want)
	}
}

// TestNoHintWithoutProof: what nobody signed for, and what was signed and is
// refused for itself, earns no hint, however well its claims fit.
func TestNoHintWithoutProof(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{})
	branch := map[string]any{"ref": "refs/heads/x", "sub": "customised"}
	good := r.Token(branch)
	with := func(name string, value any) string {
		return r.Token(map[string]any{"ref": "refs/heads/x", "sub": "customised", name: value})
	}
	for name, token := range map[string]string{
		"signature-invalid": good[:len(good)-8] + "AAAAAAAA",
		"expired":           with("exp", r.Clock.Now().Unix()-4000),
		"aud-mismatch":      with("aud", "https://elsewhere.test"),
		"issuer-unknown":    with("iss", "https://unknown.test"),
		"claim-invalid":     r.Token(map[string]any{"ref": "refs/heads/main", "repository": "acme/liar"}),
		"alg-not-allowed":   r.Sign(r.ISS1, standin.JWS{Header: []byte(`{"alg":"none","kid":"k1"}`), Payload: []byte(`{"iss":"` + r.ISS1.Issuer() + `","aud":"https://gw.test"}`), Key: "k1", Alg: "RS256"}),
	} {
		if a := r.Exchange(token); a.Status != http.StatusBadRequest || a.Body["error_hint"] != nil {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
}
