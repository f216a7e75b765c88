package gateway_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const gcpProvider = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/gateway"

// TestConfigOfGoogle starts from a good target and breaks one field.
func TestConfigOfGoogle(t *testing.T) {
	const jwt = "type: jwt\n    audience: https://orders.acme.example\n    max_ttl: 30m"
	good := "type: gcp\n    audience: " + gcpProvider
	c, fs := parse(edit(t, jwt, good))
	if len(fs) > 0 {
		t.Fatal(fs)
	}
	if got := c.Targets["orders-api"]; got.Subject != "workload" || time.Duration(got.MaxTTL) != time.Hour || got.Endpoint != nil {
		t.Errorf("defaults: %+v", got)
	}
	for name, x := range map[string]struct {
		target string
		want   string // the finding; "" for none
		warns  bool
	}{
		"half a day":            {good + "\n    max_ttl: 12h", "", false},
		"longer":                {good + "\n    max_ttl: 13h", "max-ttl", false},
		"by trust":              {good + "\n    subject: trust", "", false},
		"by nobody":             {good + "\n    subject: sub", "target-subject", false},
		"no audience":           {"type: gcp", "required", false},
		"a project's id":        {strings.Replace(good, "123456789012", "acme-prod", 1), "gcp-audience", false},
		"with a scheme":         {strings.Replace(good, "//iam", "https://iam", 1), "gcp-audience", false},
		"a workforce pool":      {"type: gcp\n    audience: //iam.googleapis.com/locations/global/workforcePools/p/providers/x", "gcp-audience", false},
		"Google's own provider": {strings.Replace(good, "providers/gateway", "providers/gcp-gateway", 1), "gcp-audience", false},
		"loopback":              {good + "\n    endpoint: http://127.0.0.1:9000", "", false},
		"http":                  {good + "\n    endpoint: http://sts.acme.example", "gcp-endpoint", false},
		"Google's":              {good + "\n    endpoint: https://sts-acme.p.googleapis.com", "", false},
		"somebody's":            {good + "\n    endpoint: https://sts.acme.example", "target-audience-shared", true},
		"a lookalike":           {good + "\n    endpoint: https://sts.evilgoogleapis.com", "target-audience-shared", true},
		"a CA for Google":       {good + "\n    ca_file: ca.pem", "gcp-endpoint", false},
		"an account":            {good + "\n    account: \"111122223333\"", "unknown-field", false},
	} {
		_, fs := parse(edit(t, jwt, x.target))
		got := ""
		for _, f := range fs {
			got = f.ID
			if (f.Severity == strictyaml.Warning) != x.warns {
				t.Errorf("%s: %s", name, f)
			}
		}
		if got != x.want || len(fs) > 1 {
			t.Errorf("%s: %v, want %s", name, fs, x.want)
		}
	}
	// A jwt target with the audience of our assertion would hand it out.
	_, fs = parse(edit(t, jwt, "type: jwt\n    audience: https:"+gcpProvider))
	if !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool { return f.ID == "audience-reserved" }) {
		t.Errorf("a jwt target has the audience of Google: %v", fs)
	}
}

// TestConnectGoogle goes from configuration and documents to what is printed.
func TestConnectGoogle(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	connect := func(target, match, grant string) (*gateway.Connection, strictyaml.Findings) {
		t.Helper()
		c, fs := gateway.ParseConfig("cambio.yaml", []byte("issuer: https://id.acme.example\nidentity_providers:\n  github: {type: github-actions, audience: \"https://id.acme.example\"}\ntargets:\n  gcp-prod: {type: gcp, audience: \""+gcpProvider+"\""+target+"}\n"), nil, nil)
		if fs.HasErrors() {
			t.Fatal(fs)
		}
		policy, fs := trust.Compile(gateway.World(c), []trust.Source{{Name: "a.yaml", Data: []byte("name: payments\nowner: a@acme.example\npurpose: deploys\nfrom: github\nmatch: {" + match + "}\ngrants: [{to: gcp-prod, " + grant + "}]\n")}}, now)
		if policy == nil {
			t.Fatal(fs)
		}
		got, fs, err := gateway.Connect(c, policy, "gcp-prod", now)
		if errors.Is(err, gateway.ErrNotConnected) {
			t.Fatal(err)
		}
		return got, fs
	}
	const match, account = `repository_owner_id: "9919", repository_id: "41881900"`, `resource: "gcp:deploy@acme-prod.iam.gserviceaccount.com"`
	got, fs := connect("", match, account)
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	for _, name := range []string{"text", "terraform", "cli", "json"} {
		text, ok := got.Form(name)
		if !ok || !strings.Contains(text, "subject/spiffe://id.acme.example/github/9919/41881900") || !strings.Contains(text, "https://id.acme.example") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	if text, _ := got.Form("cli"); !strings.Contains(text, "roles/iam.workloadIdentityUser") {
		t.Error(text)
	}
	got, fs = connect(", subject: trust", match, "ttl: \"5m\"")
	if text, _ := got.Form("text"); fs.HasErrors() || !strings.Contains(text, "/subject/spiffe://id.acme.example/trust/payments") || strings.Contains(text, "Service account ") {
		t.Errorf("direct: %v\n%s", fs, text)
	}
	if len(got.Resources) != 1 || got.Resources[0] != "" {
		t.Errorf("resources %q", got.Resources)
	}
	long := `repository_owner_id: "` + strings.Repeat("1", 60) + `", repository_id: "` + strings.Repeat("2", 60) + `"`
	if got, fs := connect("", long, account); got != nil || !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool {
		return f.ID == "connect-subject" && strings.Contains(f.Fix, "subject: trust")
	}) {
		t.Errorf("a sub above 127 bytes: %v", fs)
	}
	if _, fs := connect(", subject: trust", long, account); fs.HasErrors() {
		t.Errorf("by trust it is short: %v", fs)
	}
}

// TestImportForGoogle: what was let in to a pool becomes a grant that the pool's
// target has.
func TestImportForGoogle(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c, fs := gateway.ParseConfig("cambio.yaml", []byte("issuer: https://id.acme.example\nidentity_providers:\n  github: {type: github-actions, audience: \"https://id.acme.example\"}\ntargets:\n  gcp-prod: {type: gcp, audience: \""+gcpProvider+"\"}\n"), nil, nil)
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	const pool = "projects/123456789012/locations/global/workloadIdentityPools/ci"
	source := gateway.ImportSource{
		Kind: "gcp", File: "provider.json",
		Data:     []byte(`{"name": "` + pool + `/providers/github", "state": "ACTIVE", "attributeMapping": {"google.subject": "assertion.sub", "attribute.repository_id": "assertion.repository_id"}, "attributeCondition": "assertion.repository_owner_id == '9919'", "oidc": {"issuerUri": "https://token.actions.githubusercontent.com"}}`),
		Bindings: []byte(`{"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": ["principalSet://iam.googleapis.com/` + pool + `/attribute.repository_id/41881900"]}]}`),
	}
	labels := gateway.Labels{Owner: "a@acme.example", From: "github", To: "gcp-prod"}
	if got, fs := gateway.Import(&c, source, labels, now); got != nil || !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool { return f.ID == "import-role" }) {
		t.Errorf("the policy is of nobody knows which account: %v", fs)
	}
	labels.Resource = "gcp:deploy@acme-prod.iam.gserviceaccount.com"
	got, fs := gateway.Import(&c, source, labels, now)
	if fs.HasErrors() || len(got) != 1 || !strings.Contains(string(got[0].Document), "resource: \""+labels.Resource+"\"") {
		t.Errorf("%v\n%s", fs, got[0].Document)
	}
	labels.Resource = "deploy@acme-prod.iam.gserviceaccount.com"
	if got, fs := gateway.Import(&c, source, labels, now); got != nil || !fs.HasErrors() {
		t.Error("an address without gcp: is no resource of the target")
	}
	labels.Resource, source.Bindings = "", nil
	got, fs = gateway.Import(&c, source, labels, now)
	if fs.HasErrors() || len(got) != 1 || !strings.Contains(string(got[0].Document), "ttl: \"5m\"") {
		t.Errorf("direct access: %v\n%s", fs, got[0].Document)
	}
}
