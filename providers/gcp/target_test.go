package gcp_test

import (
	"strings"
	"testing"
	"time"

	"cambio/exchange/exchangetest"
	"cambio/providers/gcp"
	"cambio/trust"
)

// good are grants that load, each with what its fields are called.
func good() map[string]map[string]any {
	return map[string]map[string]any{
		"delegates":         {"delegates": []string{between}},
		"id_token_audience": {"id_token_audience": "https://orders.a.run.app"},
		"boundary":          {"boundary": `{"accessBoundaryRules":[{"availablePermissions":["inRole:roles/storage.objectViewer"],"availableResource":"//storage.googleapis.com/projects/_/buckets/acme-reports"}]}`},
		"database":          {"database": `{"engine":"mysql","host":"db.acme.example","port":3307,"user":"deploy"}`},
	}
}

func grant(extra map[string]any) trust.Grant {
	g := trust.Grant{Resource: "gcp:" + deployer, TTL: time.Hour, Extra: map[string]any{}}
	for name, v := range extra {
		g.Extra[name] = v
	}
	return g
}

func misfit(g trust.Grant) string {
	field, problem := gcp.TargetType().Misfit(g)
	if problem == "" && field != "" {
		return "a field without a problem"
	}
	return field
}

// TestMisfit starts from what fits and breaks one thing.
func TestMisfit(t *testing.T) {
	t.Parallel()
	for name, extra := range good() {
		if field := misfit(grant(extra)); field != "" {
			t.Errorf("%s: a good grant is unfit in %s", name, field)
		}
		direct := grant(extra)
		direct.Resource = ""
		if field := misfit(direct); field != name {
			t.Errorf("%s without a service account is unfit in %q", name, field)
		}
	}
	rule := good()["boundary"]["boundary"].(string)
	for name, c := range map[string]struct {
		want   string
		change func(*trust.Grant)
	}{
		"direct, at most":       {"", func(g *trust.Grant) { g.Resource, g.TTL = "", 5*time.Minute }},
		"direct, longer":        {"ttl", func(g *trust.Grant) { g.Resource, g.TTL = "", 5*time.Minute+time.Second }},
		"half a day":            {"", func(g *trust.Grant) { g.TTL = 12 * time.Hour }},
		"longer":                {"ttl", func(g *trust.Grant) { g.TTL = 12*time.Hour + time.Second }},
		"no account":            {"resource", func(g *trust.Grant) { g.Resource = "gcp:someone@acme.example" }},
		"a number":              {"resource", func(g *trust.Grant) { g.Resource = "gcp:113000000000000000001" }},
		"another cloud's":       {"resource", func(g *trust.Grant) { g.Resource = "arn:aws:iam::111122223333:role/x" }},
		"a path":                {"resource", func(g *trust.Grant) { g.Resource = "gcp:a/../b@p.iam.gserviceaccount.com" }},
		"a method":              {"resource", func(g *trust.Grant) { g.Resource = "gcp:a@p.iam.gserviceaccount.com:signJwt" }},
		"a lookalike":           {"resource", func(g *trust.Grant) { g.Resource = "gcp:a@p.iam.evilgserviceaccount.com" }},
		"App Engine's":          {"", func(g *trust.Grant) { g.Resource = "gcp:acme-prod@appspot.gserviceaccount.com" }},
		"Compute Engine's":      {"", func(g *trust.Grant) { g.Resource = "gcp:123456789012-compute@developer.gserviceaccount.com" }},
		"of a domain's project": {"", func(g *trust.Grant) { g.Resource = "gcp:a@prod.acme.com.iam.gserviceaccount.com" }},
		"unknown":               {"policy", func(g *trust.Grant) { g.Extra["policy"] = "{}" }},
		"delegates, a text":     {"delegates", func(g *trust.Grant) { g.Extra["delegates"] = between }},
		"delegates, no account": {"delegates", func(g *trust.Grant) { g.Extra["delegates"] = []string{"projects/-/serviceAccounts/" + between} }},
		"delegates, itself":     {"delegates", func(g *trust.Grant) { g.Extra["delegates"] = []string{deployer} }},
		"delegates, twice":      {"delegates", func(g *trust.Grant) { g.Extra["delegates"] = []string{between, between} }},
		"delegates, too many":   {"delegates", func(g *trust.Grant) { g.Extra["delegates"] = make([]string, 9) }},
		"ID token, short":       {"ttl", func(g *trust.Grant) { g.Extra["id_token_audience"], g.TTL = "https://a", 15*time.Minute }},
		"ID token, long":        {"ttl", func(g *trust.Grant) { g.Extra["id_token_audience"], g.TTL = "https://a", 2*time.Hour }},
		"ID token, scopes":      {"scopes", func(g *trust.Grant) { g.Extra["id_token_audience"], g.Scopes = "https://a", []string{platform} }},
		"ID token, a space":     {"id_token_audience", func(g *trust.Grant) { g.Extra["id_token_audience"] = "https://a b" }},
		"ID token, a star":      {"id_token_audience", func(g *trust.Grant) { g.Extra["id_token_audience"] = "https://*.run.app" }},
		"ID token, a list":      {"id_token_audience", func(g *trust.Grant) { g.Extra["id_token_audience"] = []string{"https://a"} }},
		"two things":            {"resource", func(g *trust.Grant) { g.Extra["id_token_audience"], g.Extra["boundary"] = "https://a", rule }},
		"boundary, no rules":    {"boundary", func(g *trust.Grant) { g.Extra["boundary"] = `{"accessBoundaryRules":[]}` }},
		"boundary, wrapped":     {"boundary", func(g *trust.Grant) { g.Extra["boundary"] = `{"accessBoundary":` + rule + `}` }},
		"boundary, not a bucket": {"boundary", func(g *trust.Grant) {
			g.Extra["boundary"] = strings.Replace(rule, "storage.googleapis", "bigquery.googleapis", 1)
		}},
		"boundary, any bucket": {"boundary", func(g *trust.Grant) { g.Extra["boundary"] = strings.Replace(rule, "acme-reports", "*", 1) }},
		"boundary, a permission": {"boundary", func(g *trust.Grant) {
			g.Extra["boundary"] = strings.Replace(rule, "inRole:roles/storage.objectViewer", "storage.objects.get", 1)
		}},
		"boundary, misspelt": {"boundary", func(g *trust.Grant) {
			g.Extra["boundary"] = strings.Replace(rule, `{"availableP`, `{"availabilitycondition":{"expression":"false"},"availableP`, 1)
		}},
		"boundary, no expression": {"boundary", func(g *trust.Grant) {
			g.Extra["boundary"] = strings.Replace(rule, `{"availableP`, `{"availabilityCondition":{"title":"x"},"availableP`, 1)
		}},
		"boundary, no CEL": {"boundary", func(g *trust.Grant) {
			g.Extra["boundary"] = strings.Replace(rule, `{"availableP`, `{"availabilityCondition":{"expression":"a =="},"availableP`, 1)
		}},
		"boundary, eleven": {"boundary", func(g *trust.Grant) {
			g.Extra["boundary"] = `{"accessBoundaryRules":[` + strings.Repeat(rule[24:len(rule)-2]+",", 10) + rule[24:]
		}},
		"database, an engine":    {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"oracle","host":"a"}` }},
		"database, no host":      {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql"}` }},
		"database, a URL":        {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql","host":"mysql://a"}` }},
		"database, a zone":       {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql","host":"fe80::1%$(id)"}` }},
		"database, a port":       {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql","host":"a","port":65536}` }},
		"database, a text port":  {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql","host":"a","port":"3306"}` }},
		"database, another user": {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql","host":"a","user":"root"}` }},
		"database, postgres user": {"", func(g *trust.Grant) {
			g.Extra["database"] = `{"engine":"postgres","host":"::1","user":"deploy@acme-prod.iam"}`
		}},
		"database, mysql's user": {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"postgres","host":"::1","user":"deploy"}` }},
		"database, a member":     {"database", func(g *trust.Grant) { g.Extra["database"] = `{"engine":"mysql","host":"a","name":"orders"}` }},
		"database, scopes": {"scopes", func(g *trust.Grant) {
			g.Extra["database"], g.Scopes = `{"engine":"mysql","host":"a"}`, []string{platform}
		}},
		"database, a long user": {"database", func(g *trust.Grant) {
			g.Resource = "gcp:" + strings.Repeat("a", 33) + "@p.iam.gserviceaccount.com"
			g.Extra["database"] = `{"engine":"mysql","host":"a"}`
		}},
	} {
		g := grant(nil)
		c.change(&g)
		if field := misfit(g); field != c.want {
			t.Errorf("%s: unfit in %q, want %q", name, field, c.want)
		}
	}
}

// TestNarrowed: what a caller asks is what is ordered, and what Google cannot
// shorten is refused instead of being issued longer.
func TestNarrowed(t *testing.T) {
	t.Parallel()
	g := google(t)
	as := `resource: "gcp:` + deployer + `", ttl: 1h, `
	a := ask(as + `scopes: ["https://www.googleapis.com/auth/devstorage.read_only", "` + platform + `"]`)
	a.Request.Ask = trust.Request{Scopes: []string{"https://www.googleapis.com/auth/devstorage.read_only"}, TTL: time.Minute}
	got, err := minter(t, g.URL()).Mint(t.Context(), exchangetest.Order(t, a))
	if err != nil {
		t.Fatal(err)
	}
	issued, _ := g.Token(got.Value.Reveal())
	if len(issued.Scopes) != 1 || !issued.Expires.Equal(exchangetest.Now().Add(time.Minute)) {
		t.Errorf("%+v", issued)
	}
	id := ask(as + `id_token_audience: "https://orders.a.run.app"`)
	id.Request.Ask = trust.Request{TTL: time.Minute}
	if _, err := exchangetest.Try(t, id); err == nil {
		t.Error("an ID token of a minute is ordered; Google's live an hour")
	}
}

// FuzzGrant: no own field of a grant breaks the reader, and what it takes it can
// write again.
func FuzzGrant(f *testing.F) {
	for _, extra := range good() {
		for name, v := range extra {
			if text, ok := v.(string); ok {
				f.Add(name, text)
			}
		}
	}
	f.Add("boundary", `{"accessBoundaryRules":[{}]}`)
	f.Add("database", `{"engine":"postgres","host":"`+strings.Repeat("a.", 200)+`"}`)
	f.Fuzz(func(t *testing.T, name, text string) {
		g := grant(map[string]any{name: text})
		field, problem := gcp.TargetType().Misfit(g)
		if (field == "") != (problem == "") {
			t.Errorf("%q: %q", field, problem)
		}
		if strings.ContainsAny(field, "\n\r") {
			t.Errorf("a field %q", field)
		}
	})
}
