package test

import (
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/standin"
	"cambio/test/rig"
)

// lintAttacks are the cases that `trust check` must tell of.
func lintAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){"NHI-01": attackNHI01, "NHI-02": attackNHI02}
}

// warned fails the test unless the documents load and `trust check` warns of each
// finding.
func warned(t *testing.T, config string, documents map[string]string, findings ...string) {
	t.Helper()
	code, all := checked(t, config, documents)
	if code != 0 {
		t.Errorf("exit %d for what loads:\n%s", code, all)
	}
	for _, id := range findings {
		if !holdsWarning(all, id) {
			t.Errorf("no warning [%s] in:\n%s", id, all)
		}
	}
}

func holdsWarning(all, id string) bool {
	for line := range strings.Lines(all) {
		if strings.Contains(line, ": warning: ") && strings.HasSuffix(strings.TrimSpace(line), "["+id+"]") {
			return true
		}
	}
	return false
}

// checked runs `trust check` on documents.
func checked(t *testing.T, config string, documents map[string]string, args ...string) (code int, all string) {
	t.Helper()
	dir := t.TempDir()
	(&rig.Rig{T: t, Dir: dir}).WriteTrusts(documents)
	if err := os.WriteFile(filepath.Join(dir, "cambio.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := runCambio(t, dir, append([]string{"trust", "check"}, args...)...)
	return code, stdout + stderr
}

// TestAttacksAreWarnedOf is what the other cases say of `trust check`: a document
// that loads, and is most likely not meant so.
func TestAttacksAreWarnedOf(t *testing.T) {
	const pins = `match: {repository_id: "2", repository_owner_id: "1"}` + "\n"
	google := strings.Replace(offline(), "targets:", "  google: {type: gcp, audience: \"https://gw.test\"}\ntargets:", 1)
	mail := map[string]string{"g.yaml": "name: g\nowner: t1-team@acme.test\npurpose: a service account reads t1\nfrom: google\nmatch: {sub: \"113\"}\n" +
		"when: ['claims.email.endsWith(\"@acme.iam.gserviceaccount.com\")']\ngrants: [{to: t1, scopes: [read], ttl: 15m}]\n"}
	for _, tt := range []struct {
		name, config, finding string
		documents             map[string]string
	}{
		{"GH-02 a prefix that ends inside a name", offline(), "prefix-without-delimiter", tr1Saying(pins + `when: ['claims.sub.startsWith("repo:octo-org/app")']`)},
		{"GLT-01 a part of the subject", offline(), "substring-match", tr1Saying(pins + `when: ['claims.sub.contains("group/app")']`)},
		{"CLD-04 an address that can be had again", google, "mutable-claim", mail},
		{"CEL-02 a condition that is true by itself", offline(), "tautology", tr1Saying(pins + `when: ['claims.actor == "x" || true']`)},
		{"CEL-03 a dot that is any character", offline(), "regex-dot", tr1Saying(pins + `when: ['claims.sub.matches("repo:acme.io/app:.*")']`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			warned(t, tt.config, tt.documents, tt.finding)
		})
	}
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		code, all := checked(t, offline(), map[string]string{"tr1.yaml": rig.TR1})
		for line := range strings.Lines(all) {
			if strings.Contains(line, "tr1.yaml:") {
				t.Errorf("a right document is not silent: %s", line)
			}
		}
		if code != 0 {
			t.Errorf("exit %d for a right document:\n%s", code, all)
		}
	})
}

// attackNHI01: two repositories share one role through a trust in their owner. It
// is warned of, and who acted stays visible.
func attackNHI01(t *testing.T) {
	shared := func(grants ...string) map[string]string {
		docs := deploys(grants...)
		docs["deploy.yaml"] = strings.Replace(docs["deploy.yaml"], `repository_id: "2", `, "", 1)
		return docs
	}
	broad := strings.Replace(rig.TR1, `repository_id: "2", `, "", 1)
	warned(t, offline(), map[string]string{"tr1.yaml": broad}, "shared-identity")

	c := openCloud(t, 1, rig.Setup{
		Targets: cloudTarget,
		Trusts:  shared(roleFor(`ttl: 15m, tags: {repository: "${claims.repository_id}"}, source_identity: "repo-${claims.repository_id}"`)),
	})
	const other = "spiffe://gw.test/iss1/1/3"
	c.role(awsRole, cloudWorkload, c.sts[0])
	c.control()
	seen := map[string]map[string]any{}
	for _, repository := range []string{"2", "3"} {
		if repository == "3" {
			c.role(awsRole, other, c.sts[0])
		}
		sub := "repo:acme@1/app@" + repository + ":ref:refs/heads/main"
		a := c.assume(c.Token(map[string]any{"repository_id": repository, "sub": sub, "jti": jobID()}))
		if a.Status != 200 {
			t.Fatalf("%s: %d %s", repository, a.Status, a.Raw)
		}
		assertion := claimsOf(t, last(t, c.sts[0]).Form.Get("WebIdentityToken"))
		workload := ""
		for _, r := range c.Records(a.Text("decision_id")) {
			if r.Event == audit.ExchangeAllowed {
				workload = r.Workload
			}
		}
		if workload == "" || workload != assertion["sub"] {
			t.Errorf("the record names %q, and the assertion %v", workload, assertion["sub"])
		}
		seen[workload] = map[string]any{"tags": assertion["https://aws.amazon.com/tags"], "source": assertion["https://aws.amazon.com/source_identity"]}
	}
	if len(seen) != 2 {
		t.Errorf("two repositories were %d workloads: %v", len(seen), seen)
	}
	if a, b := seen[cloudWorkload], seen[other]; a["source"] != "repo-2" || b["source"] != "repo-3" {
		t.Errorf("AWS cannot tell them apart: %v, %v", a, b)
	}
	c.role(awsRole, cloudWorkload, c.sts[0])
	c.control()
}

// attackNHI02: documents of what is gone. Nothing is disabled by itself; what is
// not answered for does not load, and the rest is told of.
func attackNHI02(t *testing.T) {
	changed := func(old, new string) map[string]string {
		return map[string]string{"tr1.yaml": strings.Replace(rig.TR1, old, new, 1)}
	}
	for finding, documents := range map[string]map[string]string{
		"owner-missing":    changed("owner: t1-team@acme.test\n", ""),
		"unknown-target":   changed("to: t1", "to: gone"),
		"unknown-provider": changed("from: iss1", "from: gone"),
	} {
		loads(t, offline(), documents, finding)
		serveRefuses(t, offline(), documents, finding, "tr1.yaml")
	}
	expired := changed("from: iss1", "expires: 2020-01-31\nfrom: iss1")
	warned(t, offline(), expired, "expired")

	t.Run("expired", func(t *testing.T) {
		docs := map[string]string{"tr1.yaml": rig.TR1, "old.yaml": strings.NewReplacer("name: tr1", "name: old", "from: iss1", "expires: 2020-01-31\nfrom: iss1", `repository_id: "2"`, `repository_id: "9"`).Replace(rig.TR1)}
		r := rig.New(t, rig.Setup{Trusts: docs})
		r.Control()
		denied(t, r, "an expired trust", r.Exchange(r.Token(map[string]any{"repository_id": "9", "sub": "repo:acme@1/app@9:ref:refs/heads/main"})), "trust-expired")
		r.Control()
	})
	t.Run("unused", nhi02Unused)
	t.Run("keys replaced", nhi02Keys)
}

// nhi02Keys: a key set without any known key is taken as any other, as a provider
// that lost its keys would publish one; the log warns, for it may be someone else's.
func nhi02Keys(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	next := standin.Key{KID: "next", Private: private}
	other, err := standin.New(standin.Config{Now: r.Clock.Now, Rand: rand.Reader, Keys: []standin.Key{next}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r.ISS1.AddKey(next)
	r.ISS1.Fail(standin.KeysPath, standin.Fault{Body: other.JWKS()})
	r.Move(31 * time.Second) // one fetch each half minute
	token := r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: "next", Alg: "RS256"})
	if a := r.Exchange(token); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	if !strings.Contains(r.Log.String(), "holds none of its known keys") {
		t.Errorf("the log does not warn of a wholly new key set:\n%s", r.Log)
	}
	denied(t, r, "a token of a key that is gone", r.Exchange(r.Token(nil)), "kid-unknown")
	r.ISS1.Heal(standin.KeysPath)
	r.Move(31 * time.Second)
	r.Control()
}

// nhi02Unused: a trust that allowed nothing for 90 days is found in the journal,
// and goes on to allow.
func nhi02Unused(t *testing.T) {
	docs := map[string]string{"tr1.yaml": rig.TR1, "idle.yaml": strings.NewReplacer("name: tr1", "name: idle", `repository_id: "2"`, `repository_id: "9"`).Replace(rig.TR1)}
	r := rig.New(t, rig.Setup{Trusts: docs})
	idle := func() rig.Answer {
		return r.Exchange(r.Token(map[string]any{"repository_id": "9", "sub": "repo:acme@1/app@9:ref:refs/heads/main"}))
	}
	if a := idle(); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	r.Control()
	r.Move(91 * 24 * time.Hour)
	r.Control()
	r.Stop()
	documents := maps.Clone(docs)
	at := r.Clock.Now().Format(time.RFC3339)
	code, all := checked(t, offline(), documents, "--journal", r.JournalDir(), "--at", at)
	if code != 0 || !holdsWarning(all, "unused") {
		t.Errorf("exit %d, and no finding [unused]:\n%s", code, all)
	}
	for line := range strings.Lines(all) {
		if strings.Contains(line, "[unused]") && strings.Contains(line, "tr1.yaml") {
			t.Errorf("a trust that is used is called unused: %s", line)
		}
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if a := idle(); a.Status != 200 {
		t.Errorf("what is unused was switched off: %d %s", a.Status, a.Raw)
	}
}
