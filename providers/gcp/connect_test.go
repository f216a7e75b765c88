package gcp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/gcp"
	"cambio/trust"
)

const (
	one = "spiffe://id.acme.example/github/9919/1"
	two = "spiffe://id.acme.example/github/9919/2"
)

// connected has each thing that a grant can give.
func connected(t *testing.T) *gcp.Connection {
	t.Helper()
	c := &gcp.Connection{Target: "gcp-prod", Issuer: "https://id.acme.example", Provider: provider}
	as := func(account string, extra map[string]any) trust.Grant {
		g := grant(extra)
		g.Resource = "gcp:" + account
		return g
	}
	c.Grant("shadow", as(deployer, nil), []string{two, one}, true)
	c.Grant("payments", as(deployer, nil), []string{one}, false)
	c.Grant("payments", as("reports@prod.acme.com.iam.gserviceaccount.com", map[string]any{"boundary": good()["boundary"]["boundary"]}), []string{one}, false)
	c.Grant("orders", as(deployer, map[string]any{"database": `{"engine":"postgres","host":"10.1.2.3"}`}), []string{one}, false)
	c.Grant("chain", as("final@acme-prod.iam.gserviceaccount.com", map[string]any{"delegates": []string{between, "acme-prod@appspot.gserviceaccount.com"}}), []string{one}, false)
	c.Grant("direct", trust.Grant{}, []string{two}, false)
	if problems := c.Finish(); problems != nil {
		t.Fatal(problems)
	}
	return c
}

func forms(c *gcp.Connection) map[string]string {
	return map[string]string{"connect.txt": c.Text(), "connect.tf": c.Terraform(), "connect.sh": c.CLI(), "connect.json": c.JSON()}
}

// TestConnectionGolden holds each form against what was reviewed; UPDATE=1 writes it
// anew.
func TestConnectionGolden(t *testing.T) {
	for name, got := range forms(connected(t)) {
		path := filepath.Join("testdata", name)
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if again := forms(connected(t))[name]; again != got {
			t.Errorf("%s: not the same twice", name)
		}
	}
}

// TestConnectionAdmits holds every form to what may be in it: equality, and no
// member that is more than one workload.
func TestConnectionAdmits(t *testing.T) {
	c := connected(t)
	for name, text := range forms(c) {
		for _, broad := range []string{"principalSet", "/*", "startsWith", "matches(", "serviceAccountAdmin", "roles/owner", "allUsers"} {
			if strings.Contains(text, broad) {
				t.Errorf("%s holds %s", name, broad)
			}
		}
	}
	if want := "assertion.sub in ['" + one + "', '" + two + "']"; c.Condition != want {
		t.Errorf("condition %s, want %s", c.Condition, want)
	}
	if diff := cmp.Diff([]string{"https:" + provider}, c.AllowedAudiences); diff != "" {
		t.Error(diff)
	}
	var members []string
	for _, b := range c.Bindings {
		members = append(members, b.Account+" "+b.Role+" "+strings.TrimPrefix(b.Member, pool))
	}
	if diff := cmp.Diff([]string{
		"acme-prod@appspot.gserviceaccount.com roles/iam.serviceAccountTokenCreator serviceAccount:" + between,
		deployer + " roles/iam.workloadIdentityUser " + one,
		deployer + " roles/iam.workloadIdentityUser " + two,
		"final@acme-prod.iam.gserviceaccount.com roles/iam.serviceAccountTokenCreator serviceAccount:acme-prod@appspot.gserviceaccount.com",
		between + " roles/iam.serviceAccountTokenCreator " + one,
		"reports@prod.acme.com.iam.gserviceaccount.com roles/iam.workloadIdentityUser " + one,
	}, members); diff != "" {
		t.Error(diff)
	}
	// Who comes by a trust in mode shadow alone is marked, there and nowhere else.
	for _, b := range append(c.Bindings, c.Direct...) {
		if b.Shadow != (b.Account == deployer && b.Member == pool+two) || len(b.Trusts) == 0 {
			t.Errorf("%+v", b)
		}
	}
	for name, text := range forms(c) {
		if n := strings.Count(text, "in mode shadow only") + strings.Count(text, `"shadow": true`); n != 1 {
			t.Errorf("%s says it %d times", name, n)
		}
	}
	tf := c.Terraform()
	if open, closed := strings.Count(tf, "{\n"), strings.Count(tf, "}\n"); open != closed {
		t.Errorf("%d blocks begin and %d end", open, closed)
	}
	if n := strings.Count(tf, `resource "google_service_account_iam_member" "`); n != len(c.Bindings) {
		t.Errorf("%d members for %d bindings", n, len(c.Bindings))
	}
	if !strings.Contains(tf, "projects/acme.com:prod/serviceAccounts/reports@prod.acme.com.iam") || !strings.Contains(tf, `"projects/-/serviceAccounts/acme-prod@appspot`) {
		t.Error("a service account is in the wrong project:\n" + tf)
	}
	var document map[string]any
	if err := json.Unmarshal([]byte(c.JSON()), &document); err != nil || document["attribute_condition"] != c.Condition {
		t.Error(err)
	}
}

func TestConnectionProblems(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("spiffe://id.acme.example/github/9919/%08d", i)
	}
	for name, c := range map[string]struct {
		provider string
		subjects []string
		want     string
	}{
		"fits":                   {provider, many[:60], ""},
		"a condition too long":   {provider, many, "connect-policy-too-large"},
		"127 bytes":              {provider, []string{"spiffe://id.acme.example/" + strings.Repeat("a", 102)}, ""},
		"128 bytes":              {provider, []string{"spiffe://id.acme.example/" + strings.Repeat("a", 103)}, "connect-subject"},
		"a quote":                {provider, []string{"spiffe://id.acme.example/a' || 'a' == 'a"}, "connect-subject"},
		"no provider of a pool":  {"https://sts.amazonaws.com", []string{one}, "gcp-audience"},
		"a pool in another form": {provider + "/", []string{one}, "gcp-audience"},
	} {
		conn := &gcp.Connection{Target: "gcp-prod", Issuer: "https://id.acme.example", Provider: c.provider}
		conn.Grant("a", grant(nil), c.subjects, false)
		got := ""
		for _, p := range conn.Finish() {
			got = p.ID
		}
		if got != c.want {
			t.Errorf("%s: finding %q, want %q", name, got, c.want)
		}
	}
	for issuer, want := range map[string]int{"https://id.acme.example": 0, "http://127.0.0.1:8080": 1} {
		if got := (&gcp.Connection{Issuer: issuer}).Warnings(); len(got) != want {
			t.Errorf("%s: %v", issuer, got)
		}
	}
}
