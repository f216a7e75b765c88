package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/test/rig"
)

// TestBadReloads puts what does not load beside the documents of a running
// gateway, one thing after the other. Each is refused as a whole, the old policy
// stays, and metric, log and journal say so, with the place and what to write.
func TestBadReloads(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{Provider1: celClaims})
	r.Control()
	policy := r.Get(r.AdminURL, "/readyz").Text("policy_sha256")
	bad := filepath.Join(r.Config.Trust, "bad.yaml")
	document := strings.Replace(rig.TR2, "name: tr2", "name: bad", 1)
	condition := func(c string) string { return document + "when:\n  - " + c + "\n" }
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		what string
		text string // of bad.yaml; "": see link
		link string
		at   string // what follows the file's name: line and column, and the finding's id
	}{
		{"an unknown claim", strings.Replace(document, "environment:", "environments:", 1), "", `:5:77: .*\[unknown-claim\]`},
		{"a condition that does not parse", condition(`claims.ref = "x"`), "", `:8:16: .*\[cel-syntax\]`},
		{"a condition of another type", condition(`claims.n == "1"`), "", `:8:\d+: .*\[type-mismatch\]`},
		{"a CEL bomb of loops", condition(`claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, a + b != c)))`), "", `:8:\d+: .*\[cel-too-expensive\]`},
		{"a CEL bomb of depth", condition(strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300)), "", `:8:\d+: .*\[cel-`},
		{"a YAML bomb", laughs(), "", `:\d+:\d+: .*\[yaml-`},
		{"a tree too deep", "unknown: " + strings.Repeat("[", 10_000), "", `:\d+:\d+: .*\[yaml-`},
		{"10 MB", document + strings.Repeat("# a comment that says nothing\n", 10<<20/30), "", `:1:1: .*\[yaml-too-large\]`},
		{"a link out of the folder", "", outside, `:1:1: .*\[document-unreadable\]`},
		{"half of a document", document[:strings.Index(document, "grants:")], "", `:\d+:\d+: .*\[`},
		{"half of a line", document[:strings.Index(document, "admin]")], "", `:\d+:\d+: .*\[yaml-`},
		{"a link to a device", "", "/dev/zero", `:1:1: .*\[document-unreadable\]`},
		{"a name that is taken", rig.TR1, "", ` also is a trust named .*\[duplicate-name\]`},
		{"no text", "\x00\x01\xff", "", `:1:\d+: .*\[yaml-`},
	} {
		from := len(r.Log.String())
		if err := os.Remove(bad); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		var err error
		if c.link != "" {
			err = os.Symlink(c.link, bad)
		} else {
			err = os.WriteFile(bad, []byte(c.text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("cambio_policy_rejected_total %d\n", i+1)
		within(t, promised, c.what, func() bool { return strings.Contains(r.Get(r.AdminURL, "/metrics").Raw, want) })
		log := r.Log.String()[from:]
		place := regexp.MustCompile(`level=ERROR msg="changed trust documents refused; the old policy stays in force".*bad\.yaml` + c.at)
		if !place.MatchString(log) {
			t.Errorf("%s: the log does not say where (%s):\n%.2000s", c.what, c.at, log)
		}
		if strings.Contains(log, "production of app") {
			t.Errorf("%s: the log repeats the document", c.what)
		}
		if got := r.Get(r.AdminURL, "/readyz").Text("policy_sha256"); got != policy {
			t.Errorf("%s: another policy is in force", c.what)
		}
		r.Control()
		rig.Eventually(t, "the record", func() bool { return count(t, r, audit.PolicyRejected) == i+1 })
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	r.Control()
}

// TestHalfWrittenDocument writes a trust slowly. Its first half is a document by
// itself that gives more than the whole: it never comes into force.
func TestHalfWrittenDocument(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{})
	half := strings.NewReplacer("tr1", "tr3", "refs/heads/main", "refs/heads/x").Replace(rig.TR1)
	f, err := os.Create(filepath.Join(r.Config.Trust, "tr3.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	branch := map[string]any{"ref": "refs/heads/x", "sub": "customised"}
	whole := half + "when:\n" + strings.Repeat("  # why\n", 20) + "  - claims.event_name == \"workflow_dispatch\"\n"
	for start := time.Now(); time.Since(start) < 1200*time.Millisecond; {
		// Half of it is there, and more comes every moment.
		if _, err := f.WriteAt([]byte(half), 0); err != nil {
			t.Fatal(err)
		}
		half += "# \n"
		if a := r.Exchange(r.Token(branch)); a.Status == http.StatusOK {
			t.Fatal("half of a document is in force")
		}
		time.Sleep(40 * time.Millisecond)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(whole), 0); err != nil {
		t.Fatal(err)
	}
	within(t, promised, "the whole document", func() bool {
		return r.Exchange(r.Token(map[string]any{"ref": "refs/heads/x", "sub": "customised", "event_name": "workflow_dispatch"})).Status == http.StatusOK
	})
	if a := r.Exchange(r.Token(branch)); a.Status == http.StatusOK {
		t.Error("the condition is not in force")
	}
}
