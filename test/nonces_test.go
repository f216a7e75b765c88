package test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

// fetchNonce asks for a nonce; "" names no provider.
func fetchNonce(t *testing.T, r *rig.Rig, provider string) string {
	t.Helper()
	form := url.Values{}
	if provider != "" {
		form.Set("provider", provider)
	}
	a := r.Do(postTo(r, "/nonce", form))
	n := a.Text("nonce")
	if a.Status != 200 || len(a.Body) != 2 || !strings.HasPrefix(n, "cn1.") || len(n) > 256 || a.Body["expires_in"] != 300.0 || a.Header.Get("Cache-Control") != "no-store" || a.Decision == "" {
		t.Fatalf("POST /nonce: %d %s %v", a.Status, a.Raw, a.Header)
	}
	return n
}

// inAudience and inClaim are the claims by which a token carries a nonce.
func inAudience(n string) map[string]any { return map[string]any{"aud": "https://gw.test?nonce=" + n} }

func inClaim(n string) map[string]any { return map[string]any{"nonce": n} }

// noncesWanted are the usual trusts; t2 wants a nonce.
func noncesWanted() map[string]string {
	trusts := ofISS2()
	trusts["tr2.yaml"] = strings.NewReplacer("name: tr1\n", "name: tr4\nrequire_nonce: true\n", "to: t1", "to: t2").Replace(rig.TR1)
	return trusts
}

func TestNonces(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{Trusts: noncesWanted()})
	r.Control()
	pass := func(what string, a rig.Answer) {
		t.Helper()
		if a.Status != 200 {
			t.Errorf("%s: %d %s", what, a.Status, a.Raw)
		}
	}
	r.Deny(to(r, "t2", r.Token(nil)), "nonce-required")
	r.Deny(to(r, "t2", r.Token(map[string]any{"nonce": "of the platform"})), "nonce-required")
	pass("a nonce of somebody else's, where none is wanted", r.Exchange(r.Token(map[string]any{"nonce": "of the platform"})))

	for name, carried := range map[string]func(string) map[string]any{"audience": inAudience, "claim": inClaim} {
		for _, provider := range []string{"iss1", ""} {
			n := fetchNonce(t, r, provider)
			token := r.Token(carried(n))
			// Refused for another reason, neither is used up.
			r.Refused(to(r, "nobody", token), 400, "invalid_target", rig.Fixed, "target-not-granted")
			pass(name, to(r, "t2", token))
			deniedSaying(t, r, name+", the token again", to(r, "t2", token), alreadyUsed, "replayed")
			for _, again := range []func(string) map[string]any{inAudience, inClaim} {
				deniedSaying(t, r, name+", used twice", to(r, "t2", r.Token(again(n))), alreadyUsed, "replayed")
				deniedSaying(t, r, name+", used twice where none is wanted", r.Exchange(r.Token(again(n))), alreadyUsed, "replayed")
			}
		}
	}
	n := fetchNonce(t, r, "iss1")
	both := inClaim(n)
	both["aud"] = inAudience(n)["aud"]
	pass("the same nonce in both", to(r, "t2", r.Token(both)))

	// Of another provider, of another gateway, changed, too long, two of them.
	stranger := rig.New(t, rig.Setup{Peer: r})
	fresh := fetchNonce(t, r, "iss1")
	two := inClaim(fetchNonce(t, r, "iss1"))
	two["aud"] = inAudience(fresh)["aud"]
	for name, claims := range map[string]map[string]any{
		"another provider's":   inClaim(fetchNonce(t, r, "iss2")),
		"another gateway's":    inAudience(fetchNonce(t, stranger, "iss1")),
		"a provider that none": inClaim(fetchNonce(t, r, "iss9")),
		"shortened":            inClaim(fresh[:len(fresh)-1]),
		"padded":               inClaim(fresh + "="),
		"with a line break":    inClaim(fresh + "\n"),
		"made up":              inAudience("cn1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
		"empty":                inAudience("cn1."),
		"too long":             inClaim("cn1." + strings.Repeat("A", 300)),
		"two":                  two,
	} {
		denied(t, r, name+" nonce", to(r, "t2", r.Token(claims)), "nonce-invalid")
		denied(t, r, name+" nonce, where none is wanted", r.Exchange(r.Token(claims)), "nonce-invalid")
	}
	pass("the one that was tried in vain", to(r, "t2", r.Token(inAudience(fresh))))
	bound := fetchNonce(t, r, "iss2")
	pass("the other provider's own", r.Exchange(token2(t, r, inClaim(bound))))

	// Five minutes, and no longer.
	r.Clock.Freeze()
	r.Settle()
	n, late := fetchNonce(t, r, "iss1"), fetchNonce(t, r, "iss1")
	r.Move(299 * time.Second)
	pass("just in time", to(r, "t2", r.Token(inAudience(n))))
	r.Move(2 * time.Second)
	denied(t, r, "an old nonce", to(r, "t2", r.Token(inAudience(late))), "nonce-invalid")

	// What is used stays used when the gateway starts anew.
	n, unused := fetchNonce(t, r, "iss1"), fetchNonce(t, r, "iss1")
	pass("before a restart", to(r, "t2", r.Token(inClaim(n))))
	r.Restart()
	deniedSaying(t, r, "used before the restart", to(r, "t2", r.Token(inClaim(n))), alreadyUsed, "replayed")
	pass("handed out before the restart", to(r, "t2", r.Token(inClaim(unused))))
	r.Control()
}

// TestNonceIsFreed: where the cloud says that it issued nothing, the nonce is
// good for the token again.
func TestNonceIsFreed(t *testing.T) {
	t.Parallel()
	trusts := deploys(roleFor("ttl: 30m"))
	trusts["deploy.yaml"] = strings.Replace(trusts["deploy.yaml"], "from: iss1", "from: iss1\nrequire_nonce: true", 1)
	c := openCloud(t, 1, rig.Setup{Targets: cloudTarget, Trusts: trusts})
	c.Control()
	n := fetchNonce(t, c.Rig, "iss1")
	token := c.Token(inAudience(n))
	c.sts[0].Fail(standin.STSFault{Code: "AccessDenied"})
	c.Unavailable(c.assume(token), "mint-failed")
	c.sts[0].Heal()
	if a := c.assume(token); a.Status != 200 {
		t.Errorf("the token again: %d %s", a.Status, a.Raw)
	}
	c.Refused(c.assume(c.Token(inAudience(n))), 400, "invalid_request", alreadyUsed, "replayed")
	c.Deny(c.assume(c.Token(nil)), "nonce-required")
	c.Control()
}

// TestNoncesOfReplicas: what one replica hands out is used at another, once.
func TestNoncesOfReplicas(t *testing.T) {
	t.Parallel()
	a, b := replicas(t, rig.Setup{Trusts: noncesWanted()})
	a.Control()
	b.Control()
	for _, carried := range []func(string) map[string]any{inAudience, inClaim} {
		n := fetchNonce(t, a, "iss1")
		token := b.Token(carried(n))
		if answer := to(b, "t2", token); answer.Status != 200 {
			t.Errorf("at another replica: %d %s", answer.Status, answer.Raw)
		}
		for _, r := range []*rig.Rig{a, b} {
			deniedSaying(t, r, "the token again", to(r, "t2", token), alreadyUsed, "replayed")
			deniedSaying(t, r, "the nonce again", to(r, "t2", r.Token(carried(n))), alreadyUsed, "replayed")
		}
	}
	n := fetchNonce(t, b, "iss1")
	b.Restart()
	b.Settle()
	if answer := to(b, "t2", b.Token(inClaim(n))); answer.Status != 200 {
		t.Errorf("after a restart: %d %s", answer.Status, answer.Raw)
	}
	deniedSaying(t, a, "the nonce at the first again", to(a, "t2", a.Token(inClaim(n))), alreadyUsed, "replayed")
	a.Control()
	b.Control()
}
