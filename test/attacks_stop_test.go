package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/test/redisrig"
	"cambio/test/rig"
)

// shared starts a gateway that remembers in Redis, and lets pass the time for
// which a Redis that it has never seen before is not relied on.
func shared(t *testing.T, redis string, s rig.Setup) *rig.Rig {
	t.Helper()
	s.Server += "\nredis: " + redis
	r := rig.New(t, s)
	r.Settle()
	aged(r)
	return r
}

// aged moves the clock until a memory of Redis that began now covers the tokens
// of then: by the clock skew of their provider.
func aged(replicas ...*rig.Rig) {
	replicas[0].Clock.Move(32 * time.Second)
	for _, r := range replicas {
		r.Settle()
	}
}

// replicas are two gateways with one Redis and one folder of keys.
func replicas(t *testing.T, s rig.Setup) (a, b *rig.Rig) {
	t.Helper()
	master := redisrig.Start(t, redisrig.Options{Password: "secret"})
	master.Replica(redisrig.Options{}) // what it has acknowledged need not stand for 2 s
	redis := `{addrs: ["` + master.Addr() + `"], password: secret}`
	s.Server += "\nkeys: " + filepath.Join(t.TempDir(), "keys")
	a = shared(t, redis, s)
	s.Peer = a
	s.Server += "\nredis: " + redis
	b = rig.New(t, s)
	b.Settle()
	return a, b
}

// stopBy runs the command that stops something, with the configuration of r, and
// returns the stop's id.
func stopBy(t *testing.T, r *rig.Rig, kind, what string) string {
	t.Helper()
	o := run(t, nil, "stop", "add", kind, what, "--reason", "taken over", "--config", filepath.Join(r.Dir, "cambio.yaml"), "-o", "json")
	var answer struct{ Stop struct{ ID string } }
	if err := json.Unmarshal([]byte(o.stdout), &answer); err != nil || o.code != 0 || answer.Stop.ID == "" {
		t.Fatalf("stop add: exit %d: %v\n%s%s", o.code, err, o.stdout, o.stderr)
	}
	return answer.Stop.ID
}

func liftBy(t *testing.T, r *rig.Rig, id string) {
	t.Helper()
	if o := run(t, nil, "stop", "lift", id, "--config", filepath.Join(r.Dir, "cambio.yaml")); o.code != 0 {
		t.Fatalf("stop lift: exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
}

// stoppedKinds are what can be stopped of the usual exchange, with the code of
// the refusal.
func stoppedKinds() [][3]string {
	return [][3]string{
		{"workload", cloudWorkload, "invalid_request"}, {"trust", "tr1", "invalid_request"}, {"provider", "iss1", "invalid_request"}, {"target", "t1", "invalid_target"},
	}
}

// sharedKind is something to stop, and an exchange that ends by it.
type sharedKind struct {
	kind, what, code string
	ask              func(*rig.Rig) rig.Answer
}

// sharedKinds are those, in rounds: no stop of a round ends another's exchange.
func sharedKinds(t *testing.T) [][]sharedKind {
	t.Helper()
	usual := func(r *rig.Rig) rig.Answer { return r.Exchange(r.Token(nil)) }
	return [][]sharedKind{
		{
			{"workload", "spiffe://gw.test/iss2/job-1", "invalid_request", func(r *rig.Rig) rig.Answer { return r.Exchange(token2(t, r, nil)) }},
			{"trust", "tr1", "invalid_request", usual},
			{"target", "t2", "invalid_target", func(r *rig.Rig) rig.Answer { return to(r, "t2", r.Token(nil)) }},
		},
		{{"provider", "iss1", "invalid_request", usual}},
	}
}

func allowedAt(t *testing.T, gateways ...*rig.Rig) {
	t.Helper()
	for _, r := range gateways {
		within(t, promised, "the end of a stop", func() bool { return r.Exchange(r.Token(nil)).Status == 200 })
	}
}

// attackKEY06: what was stopped, has expired or was taken away gives nothing.
func attackKEY06(t *testing.T) {
	t.Run("stopped on every replica", func(t *testing.T) {
		trusts := ofISS2()
		trusts["tr2.yaml"] = strings.NewReplacer("tr1", "tr4", "to: t1", "to: t2").Replace(rig.TR1)
		a, b := replicas(t, rig.Setup{Trusts: trusts})
		a.Control()
		b.Control()
		if keys := a.Get(a.URL, "/keys").Raw; keys != b.Get(b.URL, "/keys").Raw || len(keys) < 100 {
			t.Error("the replicas publish different keys")
		}
		both := []*rig.Rig{a, b}
		for round, kinds := range sharedKinds(t) {
			var ids []string
			for _, k := range kinds {
				ids = append(ids, stopBy(t, both[round%2], k.kind, k.what))
			}
			for _, k := range kinds {
				for _, r := range both {
					var answer rig.Answer
					within(t, promised, "the stop of a "+k.kind, func() bool { answer = k.ask(r); return answer.Status != 200 })
					r.Refused(answer, 400, k.code, rig.Fixed, "stopped")
				}
			}
			for _, id := range ids {
				liftBy(t, both[(round+1)%2], id)
			}
			for _, k := range kinds {
				for _, r := range both {
					within(t, promised, "the end of the stop of a "+k.kind, func() bool { return k.ask(r).Status == 200 })
				}
			}
		}
		// With nobody there to ask: the command writes the store itself.
		a.Stop()
		b.Stop()
		kind := stoppedKinds()[0]
		id := stopBy(t, a, kind[0], kind[1])
		for _, r := range []*rig.Rig{a, b} {
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			r.Settle()
			r.Deny(r.Exchange(r.Token(nil)), "stopped")
		}
		liftBy(t, a, id)
		allowedAt(t, a, b)
	})
	t.Run("stopped while the API is down", func(t *testing.T) {
		r := rig.New(t, rig.Setup{})
		r.Control()
		for _, kind := range stoppedKinds() {
			r.Stop()
			id := stopBy(t, r, kind[0], kind[1])
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			r.Refused(r.Exchange(r.Token(nil)), 400, kind[2], rig.Fixed, "stopped")
			r.Stop()
			liftBy(t, r, id)
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			r.Control()
		}
	})
	t.Run("expired", func(t *testing.T) {
		day := time.Now().UTC().Add(24 * time.Hour).Format(time.DateOnly)
		trusts := twoGrants()
		trusts["tr1.yaml"] = rig.TR1
		trusts["tr2.yaml"] = strings.NewReplacer("name: tr1\n", "name: tr3\nexpires: "+day+"\n", "to: t1", "to: t2").Replace(rig.TR1)
		r := rig.New(t, rig.Setup{Trusts: trusts})
		r.Control()
		if a := to(r, "t2", r.Token(nil)); a.Status != 200 {
			t.Fatalf("before it expires: %s", a.Raw)
		}
		r.Move(48 * time.Hour)
		// Another trust knows this identity, so that it is the target that is refused.
		r.Refused(to(r, "t2", r.Token(nil)), 400, "invalid_target", rig.Fixed, "trust-expired", "target-not-granted")
		named := form(r, "audience", "t2")
		named.Set("trust", "tr3")
		r.Refused(r.Post(named), 400, "invalid_target", rig.Fixed, "trust-expired", "no-matching-trust")
		r.Control()
	})
	t.Run("expired, the only one", func(t *testing.T) {
		day := time.Now().UTC().Add(24 * time.Hour).Format(time.DateOnly)
		trusts := ofISS2()
		trusts["tr1.yaml"] = strings.Replace(rig.TR1, "name: tr1\n", "name: tr1\nexpires: "+day+"\n", 1)
		delete(trusts, "tr2.yaml")
		r := rig.New(t, rig.Setup{Trusts: trusts})
		r.Control()
		r.Move(48 * time.Hour)
		r.Deny(r.Exchange(r.Token(nil)), "trust-expired")
		if a := r.Exchange(token2(t, r, nil)); a.Status != 200 {
			t.Errorf("the control request got %d %s", a.Status, a.Raw)
		}
	})
	t.Run("deleted", deletedDocument)
	t.Run("removed", removedTarget)
}

// deletedDocument: a trust ends within 5 s of its document.
func deletedDocument(t *testing.T) {
	trusts := ofISS2()
	delete(trusts, "tr2.yaml")
	r := rig.New(t, rig.Setup{Trusts: trusts})
	r.Control()
	file := filepath.Join(r.Config.Trust, "tr1.yaml")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	var a rig.Answer
	within(t, promised, "the deletion", func() bool { a = r.Exchange(r.Token(nil)); return a.Status != 200 })
	r.Deny(a, "no-matching-trust")
	if err := os.WriteFile(file, []byte(strings.Replace(rig.TR1, "tr1", "tr4", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, promised, "another trust", func() bool { return r.Exchange(r.Token(nil)).Status == 200 })
	// By its name it stays away, though another fits.
	a = r.Post(form(r, "trust", "tr1"))
	r.Refused(a, 400, a.Text("error"), rig.Fixed, "no-matching-trust")
	r.Control()
}

// removedTarget: what the configuration no longer has is what never was there.
func removedTarget(t *testing.T) {
	r := rig.New(t, rig.Setup{Trusts: twoGrants()})
	r.Control()
	token := r.Token(nil)
	if a := to(r, "t2", r.Token(nil)); a.Status != 200 {
		t.Fatal(a.Raw)
	}
	config := strings.Replace(r.ConfigText(), `  t2: {type: jwt, audience: "api://t2", max_ttl: 1h}`, "", 1)
	loads(t, config, twoGrants(), "unknown-target") // the document goes with it
	r.Stop()
	again := rig.New(t, rig.Setup{Dir: r.Dir, Peer: r, Config: config, Trusts: map[string]string{"tr1.yaml": rig.TR1}})
	again.Control()
	for _, target := range []string{"t2", "t3", "aws-prod", "https://gw.test"} {
		again.Refused(to(again, target, token), 400, "invalid_target", rig.Fixed, "target-not-granted")
	}
	if a := again.Exchange(token); a.Status != 200 {
		t.Errorf("a refusal used the token up: %s", a.Raw)
	}
	again.Control()
}
