package providertest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cambio/exchange"
	"cambio/trust"
)

// Verifier is one way to prove an identity, to be held to the contract. It is for
// the ways that are not tokens of the generic kind, whose own tests are in
// providers/oidc.
type Verifier struct {
	// Set is the verifier at work, with the provider that Good is of.
	Set exchange.Verifier
	// Good is what a workload shows that is to be believed. It must be good as often
	// as it is asked about.
	Good exchange.Subject
	// Broken are subjects with one thing wrong each, by what that is.
	Broken map[string]Broken
	// Secrets are texts that no error may hold: canaries, put into the subjects.
	// Their tokens are looked for anyway.
	Secrets []string
	// Check looks at what Good proves. May be nil.
	Check func(tb testing.TB, proof exchange.Proof)
}

// Broken is what a workload shows that must be refused.
type Broken struct {
	Subject exchange.Subject
	Reason  trust.Reason
	// Code is that of the refusal. Default: invalid_request.
	Code exchange.Code
}

// Run holds the verifier to the contract.
func (v Verifier) Run(t *testing.T) {
	t.Run("good", v.good)
	for name, b := range v.Broken {
		t.Run("broken: "+name, func(t *testing.T) { v.broken(t, b) })
	}
	// What shows nothing at all, and what shows one kind under the name of another.
	for name, s := range map[string]exchange.Subject{
		"nothing":        {Type: v.Good.Type},
		"noise":          {Type: v.Good.Type, Token: "\x00\xff{}[]:,..\n"},
		"too large":      {Type: v.Good.Type, Token: strings.Repeat("a", exchange.MaxToken+1)},
		"another type":   {Type: other(v.Good.Type), Token: v.Good.Token},
		"an unknown one": {Type: "urn:example:token-type:unknown", Token: v.Good.Token, Certificates: v.Good.Certificates},
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := v.Set.Verify(t.Context(), s)
			e := refusal(t, err)
			v.unproven(t, s, proof, e)
		})
	}
	t.Run("good again", v.good) // what was refused in between left nothing behind
	t.Run("hung up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if proof, err := v.Set.Verify(ctx, v.Good); err != nil {
			v.unproven(t, v.Good, proof, refusal(t, err)) // it may refuse, or not care
		}
	})
}

// other is a kind of subject that kind is not.
func other(kind exchange.SubjectType) exchange.SubjectType {
	if kind == exchange.SubjectAWS {
		return exchange.SubjectMTLS
	}
	return exchange.SubjectAWS
}

// good: the proof is whole, and the same each time.
func (v Verifier) good(t *testing.T) {
	first, err := v.Set.Verify(t.Context(), v.Good)
	if err != nil {
		t.Fatal(err)
	}
	for what, missing := range map[string]bool{
		"provider": first.Provider == "", "workload": !strings.HasPrefix(first.Workload, "spiffe://"), "subject": first.Subject == "",
		"issuer": first.Issuer == "", "replay key": len(first.ReplayKey) != 43, "claims": len(first.Claims) == 0,
		"iat": first.IssuedAt.IsZero(), "exp": first.ExpiresAt.IsZero(), "times in order": !first.IssuedAt.Before(first.ExpiresAt),
		"clock skew": first.ClockSkew <= 0,
	} {
		if missing {
			t.Errorf("the proof lacks: %s", what)
		}
	}
	if b, err := base64.RawURLEncoding.DecodeString(first.ReplayKey); err != nil || len(b) != 32 {
		t.Errorf("the replay key %q is no base64url SHA-256", first.ReplayKey)
	}
	for name, value := range first.Claims {
		if problem := misfit(value); problem != "" {
			t.Errorf("claim %s: %s", name, problem)
		}
	}
	if shown := fmt.Sprint(first.Claims, first.Workload, first.Subject, first.ReplayKey); v.shows(v.Good, shown) {
		t.Error("the proof shows a secret")
	}
	again, err := v.Set.Verify(t.Context(), v.Good)
	if err != nil {
		t.Fatal(err)
	}
	if again.ReplayKey != first.ReplayKey || again.Workload != first.Workload || again.Provider != first.Provider {
		t.Error("one subject proves two things")
	}
	if v.Check != nil {
		v.Check(t, first)
	}
}

// misfit says why a value is none that claims may have, see [trust.Identity].
func misfit(v any) string {
	switch v := v.(type) {
	case nil, string, bool, int64, float64:
		return ""
	case []any:
		for _, item := range v {
			if problem := misfit(item); problem != "" {
				return problem
			}
		}
		return ""
	case map[string]any:
		for _, item := range v {
			if problem := misfit(item); problem != "" {
				return problem
			}
		}
		return ""
	}
	return fmt.Sprintf("a %T, which no condition can read", v)
}

// broken: refused for that reason, and nothing is proven by it.
func (v Verifier) broken(t *testing.T, b Broken) {
	proof, err := v.Set.Verify(t.Context(), b.Subject)
	e := refusal(t, err)
	if e.Reason != b.Reason {
		t.Errorf("refused as %s (%v), want %s", e.Reason, e.Err, b.Reason)
	}
	want := b.Code
	if want == "" {
		want = exchange.InvalidRequest
	}
	if e.Code != want {
		t.Errorf("refused with %s, want %s", e.Code, want)
	}
	if e.Code == exchange.Unavailable && e.RetryAfter <= 0 {
		t.Error("nobody is told when to come again")
	}
	v.unproven(t, b.Subject, proof, e)
}

// unproven: with an error there is no use to reserve, and no secret in any of its
// texts.
func (v Verifier) unproven(t *testing.T, s exchange.Subject, proof exchange.Proof, e *exchange.Error) {
	t.Helper()
	texts := []string{e.Error(), e.Tell, e.Hint}
	for err := error(e); err != nil; err = errors.Unwrap(err) {
		texts = append(texts, err.Error(), fmt.Sprintf("%+v", err))
	}
	texts = append(texts, proof.Workload, proof.Subject)
	for _, text := range texts {
		if v.shows(s, text) {
			t.Errorf("a secret stands in %q", text)
		}
		if strings.ContainsAny(text, "\n\r\x1b\x00") {
			t.Errorf("%q has lines of its own", text)
		}
	}
	if len(e.Tell) > 0 && proof.Provider == "" {
		t.Errorf("a caller whose provider is unknown is told %q", e.Tell)
	}
}

// shows reports whether text holds a secret, or a part of the token that nobody
// could guess.
func (v Verifier) shows(s exchange.Subject, text string) bool {
	for _, secret := range v.Secrets {
		if secret != "" && strings.Contains(text, secret) {
			return true
		}
	}
	return len(s.Token) > 64 && strings.Contains(text, s.Token[len(s.Token)-32:])
}
