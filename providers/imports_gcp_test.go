package providers_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"cambio/providers"
	"cambio/trust"
)

// poolProvider is what gcloud prints of a provider with this condition.
func poolProvider(t *testing.T, issuer, condition string, mapping map[string]string) string {
	t.Helper()
	all := map[string]string{
		"google.subject": "assertion.sub", "attribute.repository": "assertion.repository", "attribute.owner_id": "assertion['repository_owner_id']",
	}
	if issuer != githubIss {
		all = map[string]string{"google.subject": "assertion.sub"}
	}
	maps.Copy(all, mapping)
	b, err := json.Marshal(map[string]any{
		"name": poolName + "/providers/github", "state": "ACTIVE", "displayName": "CI",
		"attributeMapping": all, "attributeCondition": condition,
		"oidc": map[string]any{"issuerUri": issuer, "allowedAudiences": []string{"https://gcp.acme.example"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func bindings(members ...string) string {
	b, _ := json.Marshal(map[string]any{ //nolint:errchkjson // texts
		"etag": "BwY", "version": 1,
		"bindings": []any{map[string]any{"role": "roles/iam.workloadIdentityUser", "members": members}},
	})
	return string(b)
}

func of(kind, rest string) string {
	return kind + "://iam.googleapis.com/" + poolName + "/" + rest
}

func TestImportGoogle(t *testing.T) {
	provider := func(condition string, mapping ...string) []byte {
		more := map[string]string{}
		for i := 0; i < len(mapping); i += 2 {
			more[mapping[i]] = mapping[i+1]
		}
		return []byte(poolProvider(t, githubIss, condition, more))
	}
	const unbound, said, narrower = "warning import-bindings", "info import-audience", "info import-narrower"
	owned := []map[string][]any{{"/repository_owner_id": {"9919"}}}
	for _, c := range []sourceCase{
		{
			name: "an account's id", source: providers.ImportSource{Data: provider("assertion.repository_owner_id == '9919'")},
			findings: []string{said, narrower, unbound}, pins: owned,
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"repository_owner_id": "1", "sub": "x"})},
		},
		{
			name: "through the mapping, and the other way round", source: providers.ImportSource{Data: provider(`"9919" == attribute.owner_id && assertion["ref"] in ['refs/heads/main', 'refs/heads/next'] && true`)},
			findings: []string{said, narrower, unbound}, pins: []map[string][]any{{"/repository_owner_id": {"9919"}, "/ref": {"refs/heads/main", "refs/heads/next"}}},
		},
		{
			name: "a name, whose ids are known", source: providers.ImportSource{Data: provider("assertion.repository == 'acme/payments' && assertion.repository_owner == 'acme' && assertion.ref.startsWith('refs/heads/')"), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, narrower, unbound, "warning import-narrower"}, pins: []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}}},
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"ref": "refs/tags/v1"})},
		},
		{
			name: "one of two", source: providers.ImportSource{Data: provider("assertion.repository_owner_id == '9919' || assertion.repository_owner_id in ['1']")},
			findings: []string{said, narrower, unbound}, pins: []map[string][]any{{"/repository_owner_id": {"9919", "1"}}},
		},
		{
			name: "what meets both", source: providers.ImportSource{Data: provider("assertion.repository_owner_id in ['1', '9919'] && assertion.repository_owner_id in ['9919', '2']")},
			findings: []string{said, narrower, unbound}, pins: owned,
		},
		{
			name: "what nothing meets", source: providers.ImportSource{Data: provider("assertion.ref == 'a' && assertion.ref == 'b'")},
			findings: []string{"error import-nothing"},
		},
		{
			name: "a subject", source: providers.ImportSource{Data: provider("assertion.sub == 'repo:acme/payments:ref:refs/heads/main'"), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, unbound}, pins: []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/ref": {"refs/heads/main"}}},
		},
		{
			name: "a name, whose ids are not known", source: providers.ImportSource{Data: provider("assertion.repository == 'acme/payments'")},
			findings: []string{"error import-ids-missing", said, unbound},
		},
		{
			name: "an account's name", source: providers.ImportSource{Data: provider("assertion.repository_owner == 'acme'"), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, narrower, "warning import-bindings", "warning import-broad"}, pins: owned,
		},
		{
			name: "no condition", source: providers.ImportSource{Data: provider("")},
			findings: []string{"error import-no-anchor", said, unbound},
		},
		{
			name: "the members of an account", source: providers.ImportSource{
				Data:     provider("assertion.repository_owner_id == '9919'"),
				Bindings: []byte(bindings(of("principalSet", "attribute.repository/acme/payments"), "user:a@acme.example", "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/other/*")),
			},
			findings: []string{said, "info import-narrower", "info import-not-web-identity"}, pins: []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository": {"acme/payments"}}},
		},
		{
			name: "members by several attributes", source: providers.ImportSource{
				Data: provider("assertion.repository_owner_id == '9919'"), Claims: [][]byte{paymentsClaims()},
				Bindings: []byte(bindings(of("principalSet", "attribute.repository/acme/payments"), of("principal", "subject/repo:acme/payments:environment:prod"))),
			},
			findings: []string{said, narrower}, pins: []map[string][]any{
				{"/repository_owner_id": {"9919"}, "/repository": {"acme/payments"}},
				{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/environment": {"prod"}},
			},
		},
		{
			name: "the whole pool", source: providers.ImportSource{Data: provider("assertion.repository_owner_id == '9919'"), Bindings: []byte(bindings(of("principalSet", "*")))},
			findings: []string{said, narrower, "warning import-broad"}, pins: owned,
		},
		{
			name: "members of another pool alone", source: providers.ImportSource{Data: provider("assertion.repository_owner_id == '9919'"), Bindings: []byte(bindings("user:a@acme.example"))},
			findings: []string{"error import-nothing", "info import-not-web-identity"},
		},
		{
			name: "a group", source: providers.ImportSource{Data: provider(""), Bindings: []byte(bindings(of("principalSet", "group/x")))},
			findings: []string{"error import-principal"},
		},
		{
			name: "an attribute that is made", source: providers.ImportSource{
				Data:     provider("", "attribute.full", "assertion.repository + assertion.ref"),
				Bindings: []byte(bindings(of("principalSet", "attribute.full/x"))),
			},
			findings: []string{"error import-mapping", "warning import-mapping"},
		},
		{
			name: "a binding with a condition", source: providers.ImportSource{
				Data:     provider("assertion.repository_owner_id == '9919'"),
				Bindings: []byte(`{"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": ["` + of("principalSet", "*") + `"], "condition": {"expression": "request.time < x"}}, {"role": "roles/viewer", "members": ["allUsers"]}]}`),
			},
			findings: []string{"error import-condition", "info import-permissions"},
		},
		{
			// A mapping of a claim that is missing fails: such a token is refused.
			name: "a mapping that needs a claim", source: providers.ImportSource{Data: provider("assertion.repository_owner_id == '9919'", "attribute.environment", "assertion.environment")},
			findings: []string{said, narrower, unbound}, pins: owned,
			may: []map[string]any{claimsOf(map[string]any{"environment": "x"})}, mayNot: []map[string]any{claimsOf(nil)},
		},
		{
			name: "a namespace of a cluster", platform: "kubernetes",
			source:   providers.ImportSource{Data: []byte(poolProvider(t, clusterIss, `assertion['kubernetes.io']['namespace'] == 'pay' && assertion['kubernetes.io'].serviceaccount.name in ['api', 'web']`, nil))},
			findings: []string{said, unbound}, pins: []map[string][]any{{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api", "web"}}},
		},
		{
			name: "all of a namespace", platform: "kubernetes",
			source:   providers.ImportSource{Data: []byte(poolProvider(t, clusterIss, `assertion['kubernetes.io'].namespace in ['pay', 'web']`, nil))},
			findings: []string{said, unbound, "warning import-broad"}, pins: []map[string][]any{{"/kubernetes.io/namespace": {"pay", "web"}}},
		},
		{
			name: "claims of an own issuer", platform: "oidc",
			source:   providers.ImportSource{Data: []byte(poolProvider(t, ownIss, `assertion.project == 'p1'`, nil))},
			findings: []string{"warning import-audience", unbound}, pins: []map[string][]any{{"/project": {"p1"}}},
		},
	} {
		c.source.Kind = "gcp"
		if c.platform == "" {
			c.platform = "github-actions"
		}
		t.Run(c.name, c.run)
	}
}

func TestImportGoogleRefuses(t *testing.T) {
	for _, condition := range []string{
		"assertion.repository_owner_id == '9919' || assertion.ref == 'refs/heads/main'", "assertion.ref != 'x'", "!(assertion.ref == 'x')", "assertion.ref.matches('x')",
		"assertion.ref.endsWith('x/')", "has(assertion.environment)", "assertion.repository_id == 1", "assertion.repository_owner_id in attribute.x", "'x' in assertion.groups",
		"assertion.repository.startsWith('acme')", "assertion.ref.startsWith('a*/')", "assertion.ref.startsWith('')", "startsWith(assertion.ref, 'x/')", "assertion.ref == assertion.sha",
		"attribute.unknown == 'x'", "google.groups == 'x'", "assertion == 'x'", "assertion.ref in []", "false", "assertion.x", "x", "assertion.ref.extract('{x}') == 'x'",
		"assertion.ref == 'x' ? true : false", "[1].all(x, x == 1)", strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), "assertion.ref == '" + strings.Repeat("x", 5000) + "'", "assertion.ref ==",
	} {
		im := providers.ReadImport(providers.ImportSource{Kind: "gcp", Data: []byte(poolProvider(t, githubIss, condition, nil))}, importWorld())
		if !slices.Contains(ids(im.Findings), "error import-condition") || im.Drafts != nil {
			t.Errorf("%.80s: %v, %d documents", condition, ids(im.Findings), len(im.Drafts))
		}
	}
	good := poolProvider(t, githubIss, "assertion.repository_owner_id == '9919'", nil)
	for want, files := range map[string][]string{
		"error import-syntax":    {"", "{", "[]", `{"name": "x"}`, strings.Replace(good, `"state"`, `"state": "x", "state"`, 1), strings.Replace(good, `"state"`, `"allow"`, 1), strings.Replace(good, `"assertion.repository_owner_id == '9919'"`, "1", 1), good + strings.Repeat(" ", 2<<20)},
		"error import-nothing":   {strings.Replace(good, `"ACTIVE"`, `"DELETED"`, 1), strings.Replace(good, `"state"`, `"disabled": true, "state"`, 1)},
		"error import-principal": {strings.Replace(good, `"oidc"`, `"aws": {"accountId": "1"}, "oidc"`, 1)},
		"error import-issuer":    {strings.Replace(good, `"issuerUri"`, `"other"`, 1), strings.Replace(good, "https://token", "http://token", 1)},
		"warning import-keys":    {strings.Replace(good, `"allowedAudiences"`, `"jwksJson": "{}", "allowedAudiences"`, 1)},
	} {
		for _, file := range files {
			im := providers.ReadImport(providers.ImportSource{Kind: "gcp", Data: []byte(file)}, importWorld())
			if !slices.Contains(ids(im.Findings), want) {
				t.Errorf("%.80s: %v, not %s", file, ids(im.Findings), want)
			}
		}
	}
	for _, file := range []string{"[]", `{"bindings": [{"role": "r"}]}`, `{"bindings": {}}`} {
		im := providers.ReadImport(providers.ImportSource{Kind: "gcp", Data: []byte(good), Bindings: []byte(file)}, importWorld())
		if !slices.Contains(ids(im.Findings), "error import-syntax") {
			t.Errorf("%s: %v", file, ids(im.Findings))
		}
	}
}

// FuzzPoolNeverWidens holds a document to the condition that it was made of, as
// CEL evaluates it over the same claims.
func FuzzPoolNeverWidens(f *testing.F) {
	for _, condition := range []string{
		"assertion.azp == 'a'", "assertion.azp in ['a', 'b'] && assertion.sub == 'b'", "assertion.azp == 'a' || assertion.azp == 'b'", "assertion['azp'].startsWith('a/')",
		"attribute.client == 'a'", "google.subject in ['a']", "assertion.azp == 'a' && assertion.azp.startsWith('a/')", "'a' == assertion.azp && true", "!(assertion.azp == 'a')", "assertion.azp != 'a'",
	} {
		f.Add(condition, "a", "b")
		f.Add(condition, "a/b", "a")
	}
	env, err := cel.NewEnv(cel.Variable("assertion", cel.DynType), cel.Variable("attribute", cel.DynType), cel.Variable("google", cel.DynType))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, condition, azp, sub string) {
		tree, problems := env.Compile(condition)
		if !utf8.ValidString(condition) || problems.Err() != nil {
			return // what JSON would repair, or parentheses would close
		}
		file := poolProvider(t, ownIss, "("+condition+") && assertion.project == 'p1'", map[string]string{"attribute.client": "assertion.azp"})
		im := providers.ReadImport(providers.ImportSource{Kind: "gcp", Data: []byte(file)}, importWorld())
		for _, d := range im.Drafts {
			d.Owner, d.From, d.To, d.Resource, d.Shadow = "o", "oidc", "aws-prod", roleARN, false
			doc, err := d.YAML()
			if err != nil {
				continue
			}
			imported, _ := trust.Compile(draftWorld(), []trust.Source{{Name: "d.yaml", Data: doc}}, draftTime())
			if imported == nil {
				continue
			}
			program, err := env.Program(tree)
			if err != nil {
				t.Fatal(err)
			}
			claims := map[string]any{"sub": sub, "azp": azp, "project": "p1"}
			id := trust.Identity{Provider: "oidc", Workload: "w", Subject: sub, Claims: claims}
			if !imported.Decide(id, trust.Request{Target: "aws-prod"}, trust.StopSet{}, draftTime()).Allow {
				continue
			}
			out, _, err := program.Eval(map[string]any{"assertion": claims, "attribute": map[string]any{"client": azp}, "google": map[string]any{"subject": sub}})
			if err != nil || out.Value() != true {
				t.Errorf("%q keeps out azp %q and sub %q (%v), which are let in by\n%s", condition, azp, sub, err, doc)
			}
		}
	})
}
