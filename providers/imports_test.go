package providers_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"github.com/google/go-cmp/cmp"

	"cambio/providers"
	"cambio/trust"
)

const (
	poolName   = "projects/123456789012/locations/global/workloadIdentityPools/ci"
	githubIss  = "https://token.actions.githubusercontent.com"
	clusterIss = "https://container.googleapis.com/v1/projects/acme/locations/europe-west1/clusters/main"
	ownIss     = "https://ci.acme.example"
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

// sourceCase is a source, what is said of it, and what the documents pin.
type sourceCase struct {
	name     string
	source   providers.ImportSource
	platform string
	findings []string
	pins     []map[string][]any
	// may and mayNot are claims, for the first document.
	may, mayNot []map[string]any
}

func paymentsClaims() []byte {
	return []byte(`{"repository": "acme/payments", "repository_id": "41881900", "repository_owner_id": "9919"}`)
}

func (c sourceCase) run(t *testing.T) {
	t.Helper()
	c.source.File = "source"
	im := providers.ReadImport(c.source, importWorld())
	if diff := cmp.Diff(c.findings, ids(im.Findings)); diff != "" {
		t.Errorf("%s\n%s", diff, im.Findings)
	}
	var pins []map[string][]any
	for i, d := range im.Drafts {
		policy := compiled(t, d.Draft, c.platform)
		pins = append(pins, policy.Granted("aws-prod")[0].Pins)
		if i > 0 {
			continue
		}
		for want, all := range map[bool][]map[string]any{true: c.may, false: c.mayNot} {
			for _, claims := range all {
				id := trust.Identity{Provider: c.platform, Workload: "w", Subject: "s", Claims: claims}
				if got := policy.Decide(id, trust.Request{Target: "aws-prod"}, trust.StopSet{}, draftTime()); got.Allow != want {
					t.Errorf("allowed is %v (%s) for %v", got.Allow, got.Reason, claims)
				}
			}
		}
	}
	if diff := cmp.Diff(c.pins, pins); diff != "" {
		t.Error(diff)
	}
}

// claimsOf are claims of a job of the repository that paymentsClaims names, with
// these changes; nil takes one away.
func claimsOf(changes map[string]any) map[string]any {
	out := githubClaims()
	for name, v := range changes {
		out[name] = v
		if v == nil {
			delete(out, name)
		}
	}
	return out
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

func TestImportAzure(t *testing.T) {
	credential := func(issuer, subject, expression string) []byte {
		c := map[string]any{
			"audiences": []string{"api://AzureADTokenExchange"}, "id": "x", "issuer": issuer, "name": "deploy", "resourceGroup": "rg", "subject": nil, "systemData": nil,
			"type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
		}
		if subject != "" {
			c["subject"] = subject
		}
		if expression != "" {
			c["claimsMatchingExpression"] = map[string]any{"languageVersion": 1, "value": expression}
		}
		b, _ := json.Marshal(c) //nolint:errchkjson // texts
		return b
	}
	const said = "info import-audience"
	main := []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/ref": {"refs/heads/main"}}}
	for _, c := range []sourceCase{
		{
			name: "a branch", source: providers.ImportSource{Data: credential(githubIss, "repo:acme/payments:ref:refs/heads/main", ""), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said}, pins: main,
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"environment": "prod"})},
		},
		{
			name:     "a pattern and ids",
			source:   providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] matches 'repo:acme/payments:ref:refs/heads/*' and claims['repository_id'] eq '41881900' and claims['repository_owner_id'] eq '9919'")},
			findings: []string{said, "warning import-narrower"}, pins: []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}}},
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"ref": "refs/heads/a/b"})},
		},
		{
			name: "a workflow", source: providers.ImportSource{Data: credential(githubIss, "", "claims['job_workflow_ref'] eq 'acme/ci/.github/workflows/x.yml@refs/heads/main'")},
			findings: []string{"error import-no-anchor", said},
		},
		{
			name: "a service account", platform: "kubernetes", source: providers.ImportSource{Data: credential("https://eastus.oic.prod-aks.azure.com/tenant/id/", "system:serviceaccount:pay:api", "")},
			findings: []string{said}, pins: []map[string][]any{{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api"}}},
		},
		{
			name: "a star that is none", source: providers.ImportSource{Data: credential(githubIss, "repo:acme/payments:*", "")},
			findings: []string{"error import-pattern", said},
		},
		{name: "one character", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] matches 'repo:acme@9919/payments@41881900:ref:refs/heads/?'")}, findings: []string{"error import-pattern", said}},
		{name: "or", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] eq 'a' or claims['sub'] eq 'b'")}, findings: []string{"error import-condition"}},
		{name: "a quote", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] eq 'a''b'")}, findings: []string{"error import-condition"}},
		{name: "an escape", source: providers.ImportSource{Data: credential(githubIss, "", `claims['sub'] matches 'a\*'`)}, findings: []string{"error import-condition"}},
		{name: "and nothing", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] eq 'a' and ")}, findings: []string{"error import-condition"}},
		{name: "another case", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] EQ 'a'")}, findings: []string{"error import-condition"}},
		{name: "both", source: providers.ImportSource{Data: credential(githubIss, "a", "claims['sub'] eq 'a'")}, findings: []string{"error import-syntax"}},
		{name: "neither", source: providers.ImportSource{Data: credential(githubIss, "", "")}, findings: []string{"error import-syntax"}},
		{name: "another language", source: providers.ImportSource{Data: []byte(strings.Replace(string(credential(githubIss, "", "x")), `"languageVersion":1`, `"languageVersion":2`, 1))}, findings: []string{"error import-syntax"}},
		{name: "no issuer", source: providers.ImportSource{Data: []byte(`{"subject": "x", "audiences": ["a"]}`)}, findings: []string{"error import-syntax"}},
		{name: "no JSON", source: providers.ImportSource{Data: []byte(`x`)}, findings: []string{"error import-syntax"}},
		{name: "too large", source: providers.ImportSource{Data: []byte(strings.Repeat(" ", 1<<20))}, findings: []string{"error import-syntax"}},
		{name: "an element", source: providers.ImportSource{Data: []byte(strings.Replace(string(credential(githubIss, "x", "")), `"name"`, `"deny": 1, "name"`, 1))}, findings: []string{"error import-subject", "error import-syntax", said}},
	} {
		c.source.Kind = "azure"
		if c.platform == "" {
			c.platform = "github-actions"
		}
		t.Run(c.name, c.run)
	}
}

func TestImportOctoSTS(t *testing.T) {
	const (
		said    = "info import-audience"
		granted = "warning import-permissions"
	)
	ids := map[string][]any{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}}
	with := func(claim string, values ...any) []map[string][]any {
		out := maps.Clone(ids)
		out[claim] = values
		return []map[string][]any{out}
	}
	policy := func(lines ...string) []byte {
		return []byte("issuer: " + githubIss + "\n" + strings.Join(lines, "\n") + "\n")
	}
	for _, c := range []sourceCase{
		{
			name:     "a branch",
			source:   providers.ImportSource{Data: policy("subject: repo:acme/payments:ref:refs/heads/main", "permissions: {contents: read, issues: write}", "audience: x")},
			findings: []string{said, granted}, pins: with("/ref", "refs/heads/main"),
		},
		{
			name: "a list of branches", source: providers.ImportSource{Data: policy("subject_pattern: 'repo:acme/payments:ref:refs/heads/(main|next)'")},
			pins: with("/ref", "refs/heads/main", "refs/heads/next"),
		},
		{
			name: "a list that was half open", source: providers.ImportSource{Data: policy("subject_pattern: 'repo:acme/payments:ref:refs/heads/main|repo:acme/payments:ref:refs/heads/next'")},
			findings: []string{"warning import-narrower"}, pins: with("/ref", "refs/heads/main", "refs/heads/next"),
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"ref": "refs/heads/main-evil"})},
		},
		{
			name: "branches", source: providers.ImportSource{Data: policy("subject_pattern: ^repo:acme/payments:ref:refs/heads/.*$")},
			findings: []string{"warning import-narrower"}, pins: []map[string][]any{ids},
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"ref": "refs/heads/a/b"}), claimsOf(map[string]any{"ref": "refs/tags/a"})},
		},
		{
			name: "a class", source: providers.ImportSource{Data: policy("subject_pattern: 'repo:acme/payments:ref:refs/tags/v[0-9]+'")},
			findings: []string{"warning import-narrower"}, pins: []map[string][]any{ids},
			may:    []map[string]any{claimsOf(map[string]any{"ref": "refs/tags/v12", "sub": "repo:acme/payments:ref:refs/tags/v12"})},
			mayNot: []map[string]any{claimsOf(map[string]any{"ref": "refs/tags/vx", "sub": "repo:acme/payments:ref:refs/tags/vx"})},
		},
		{
			name: "claims", source: providers.ImportSource{Data: policy("subject: repo:acme/payments:environment:prod", "claim_pattern:", "  job_workflow_ref: 'acme/ci/.github/workflows/[^/]+@refs/heads/main'", "  event_name: push|schedule")},
			findings: []string{"warning import-narrower"}, pins: []map[string][]any{{
				"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/environment": {"prod"}, "/event_name": {"push", "schedule"},
			}},
			may:    []map[string]any{claimsOf(map[string]any{"environment": "prod", "job_workflow_ref": "acme/ci/.github/workflows/x.yml@refs/heads/main"})},
			mayNot: []map[string]any{claimsOf(map[string]any{"environment": "prod", "job_workflow_ref": "acme/ci/.github/workflows/x/y.yml@refs/heads/main"}), claimsOf(map[string]any{"environment": "prod"})},
		},
		{
			name: "an issuer's pattern that is one", source: providers.ImportSource{Data: []byte("issuer_pattern: https://token\\.actions\\.githubusercontent\\.com\nsubject: repo:acme/payments:ref:refs/heads/main\nrepositories: [a, b]\n")},
			findings: []string{granted}, pins: with("/ref", "refs/heads/main"),
		},
		{
			name: "an issuer's pattern", source: providers.ImportSource{Issuer: githubIss, Data: []byte("issuer_pattern: https://token.actions.githubusercontent.com\nsubject: repo:acme/payments:ref:refs/heads/main\n")},
			findings: []string{"warning import-narrower"}, pins: with("/ref", "refs/heads/main"),
		},
		{name: "an issuer's pattern without an issuer", source: providers.ImportSource{Data: []byte("issuer_pattern: https://.*\nsubject: x\n")}, findings: []string{"error import-issuer"}},
		{name: "an issuer that the pattern has not", source: providers.ImportSource{Issuer: "https://evil.example", Data: []byte("issuer_pattern: https://acme.*\nsubject: x\n")}, findings: []string{"error import-issuer"}},
		{name: "another issuer", source: providers.ImportSource{Issuer: "https://evil.example", Data: policy("subject: x")}, findings: []string{"error import-issuer"}},
		{name: "any repository", source: providers.ImportSource{Data: policy("subject_pattern: 'repo:.*:ref:refs/heads/main'")}, findings: []string{"error import-no-anchor"}},
		{name: "any account that begins so", source: providers.ImportSource{Data: policy("subject_pattern: 'repo:acme.*'")}, findings: []string{"error import-no-anchor"}},
		{name: "a folded case", source: providers.ImportSource{Data: policy("subject_pattern: '(?i)repo:acme/payments:ref:x'")}, findings: []string{"error import-no-anchor"}},
		{name: "too many alternatives", source: providers.ImportSource{Data: policy("subject_pattern: '" + strings.Repeat("(a|b)", 7) + "'")}, findings: []string{"error import-pattern"}},
		{name: "out of its group", source: providers.ImportSource{Data: policy("subject_pattern: 'a)|(b'")}, findings: []string{"error import-syntax"}},
		{name: "both", source: providers.ImportSource{Data: policy("subject: a", "subject_pattern: b")}, findings: []string{"error import-syntax"}},
		{name: "neither", source: providers.ImportSource{Data: policy("audience: a")}, findings: []string{"error import-syntax"}},
		{name: "an element", source: providers.ImportSource{Data: policy("subject: a", "Subject: b")}, findings: []string{"error import-syntax"}},
		{name: "a number", source: providers.ImportSource{Data: policy("subject: 1")}, findings: []string{"error import-syntax"}},
		{name: "a claim's number", source: providers.ImportSource{Data: policy("subject: a", "claim_pattern: {x: 1}")}, findings: []string{"error import-syntax"}},
		{name: "claims that are none", source: providers.ImportSource{Data: policy("subject: a", "claim_pattern: [x]")}, findings: []string{"error import-syntax"}},
		{name: "a path", source: providers.ImportSource{Data: policy("subject: a", "claim_pattern: {/x/y: z}")}, findings: []string{"error import-condition"}},
		{name: "no YAML", source: providers.ImportSource{Data: []byte("{")}, findings: []string{"error import-syntax"}},
		{name: "too large", source: providers.ImportSource{Data: []byte(strings.Repeat("# x\n", 1<<20))}, findings: []string{"error import-syntax"}},
	} {
		c.source.Kind, c.platform = "octo-sts", "github-actions"
		c.source.Claims = [][]byte{paymentsClaims()}
		t.Run(c.name, c.run)
	}
}

func TestImportVault(t *testing.T) {
	role := func(members string) []byte {
		return []byte(`{"request_id": "x", "data": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["https://vault.acme.example"], "token_policies": ["deploy"], "token_ttl": 3600, ` + members + `}}`)
	}
	const (
		said    = "info import-audience"
		granted = "warning import-permissions"
	)
	owned := []map[string][]any{{"/repository_owner_id": {"9919"}}}
	for _, c := range []sourceCase{
		{
			name: "ids and a list", source: providers.ImportSource{Data: role(`"bound_claims": {"repository_id": "41881900", "repository_owner_id": ["9919"], "ref": ["refs/heads/main", "refs/heads/next"]}, "bound_claims_type": "string"`)},
			findings: []string{said, "info import-narrower", granted}, pins: []map[string][]any{{"/repository_id": {"41881900"}, "/repository_owner_id": {"9919"}, "/ref": {"refs/heads/main", "refs/heads/next"}}},
		},
		{
			name: "a glob", source: providers.ImportSource{Data: role(`"bound_claims": {"sub": "repo:acme/payments:ref:refs/heads/*"}, "bound_claims_type": "glob"`), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, "warning import-narrower", granted}, pins: []map[string][]any{{"/repository_id": {"41881900"}, "/repository_owner_id": {"9919"}}},
		},
		{
			name: "a subject", source: providers.ImportSource{Data: role(`"bound_subject": "repo:acme/payments:ref:refs/heads/main", "bound_claims": null, "bound_claims_type": "string"`), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, granted}, pins: []map[string][]any{{"/repository_id": {"41881900"}, "/repository_owner_id": {"9919"}, "/ref": {"refs/heads/main"}}},
		},
		{
			name: "a claim that it is named by", source: providers.ImportSource{Data: role(`"user_claim_json_pointer": true, "groups_claim": "environment", "bound_claims": {"repository_owner_id": "9919"}`)},
			findings: []string{said, "info import-narrower", granted}, pins: owned,
			may: []map[string]any{claimsOf(map[string]any{"environment": "prod"})}, mayNot: []map[string]any{claimsOf(nil)},
		},
		{
			name: "a number and a boolean", platform: "oidc", source: providers.ImportSource{Issuer: ownIss, Data: role(`"bound_claims": {"project": "p1", "iat": 5, "exp": [1, 2]}`)},
			findings: []string{"warning import-audience", granted}, pins: []map[string][]any{{"/project": {"p1"}}},
			may:    []map[string]any{{"sub": "s", "project": "p1", "iat": int64(5), "exp": int64(2)}},
			mayNot: []map[string]any{{"sub": "s", "project": "p1", "iat": int64(6), "exp": int64(2)}, {"sub": "s", "project": "p1", "iat": "5", "exp": int64(2)}},
		},
		{
			name: "a namespace", platform: "kubernetes", source: providers.ImportSource{Issuer: clusterIss, Data: role(`"bound_claims": {"/kubernetes.io/namespace": "pay", "/kubernetes.io/serviceaccount/name": "api"}`)},
			findings: []string{said, granted}, pins: []map[string][]any{{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api"}}},
		},
		{
			name: "uses", source: providers.ImportSource{Data: role(`"token_num_uses": 1, "bound_claims": {"repository_owner_id": "9919"}`)},
			findings: []string{said, "info import-narrower", granted}, pins: owned,
		},
		{name: "a question mark", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": "a?"}, "bound_claims_type": "glob"`)}, findings: []string{"error import-pattern", granted}},
		{name: "several types", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": ["a", true]}`)}, findings: []string{"error import-condition", granted}},
		{name: "an object", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": {"a": 1}}`)}, findings: []string{"error import-condition", granted}},
		{name: "nothing that fits", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": []}`)}, findings: []string{"error import-nothing", granted}},
		{name: "two subjects", source: providers.ImportSource{Data: role(`"bound_subject": "a", "bound_claims": {"sub": "b"}`)}, findings: []string{"error import-nothing", granted}},
		{name: "another type of claims", source: providers.ImportSource{Data: role(`"bound_claims_type": "regex"`)}, findings: []string{"error import-syntax", granted}},
		{name: "claims that are none", source: providers.ImportSource{Data: role(`"bound_claims": 1`)}, findings: []string{"error import-syntax", granted}},
		{name: "networks that are none", source: providers.ImportSource{Data: role(`"token_bound_cidrs": ["x"]`)}, findings: []string{"error import-condition", granted}},
		{name: "networks of numbers", source: providers.ImportSource{Data: role(`"token_bound_cidrs": [1]`)}, findings: []string{"error import-syntax", granted}},
		{name: "a fresh login", source: providers.ImportSource{Data: role(`"max_age": 5`)}, findings: []string{"error import-condition", granted}},
		{name: "nobody in particular", source: providers.ImportSource{Data: role(`"max_age": 0`)}, findings: []string{"error import-no-anchor", said, granted}},
		{name: "an element", source: providers.ImportSource{Data: role(`"cel_program": "x", "bound_claims": {"repository_owner_id": "9919"}`)}, findings: []string{"error import-syntax", said, "info import-narrower", granted}},
		{name: "for people", source: providers.ImportSource{Data: []byte(`{"role_type": "oidc"}`)}, findings: []string{"error import-syntax"}},
		{name: "no JSON", source: providers.ImportSource{Data: []byte(`x`)}, findings: []string{"error import-syntax"}},
		{name: "too large", source: providers.ImportSource{Data: []byte(strings.Repeat(" ", 1<<20))}, findings: []string{"error import-syntax"}},
	} {
		c.source.Kind = "vault"
		if c.source.Issuer == "" {
			c.source.Issuer = githubIss
		}
		if c.platform == "" {
			c.platform = "github-actions"
		}
		t.Run(c.name, c.run)
	}
	im := providers.ReadImport(providers.ImportSource{Kind: "vault", Data: role(`"bound_claims": {"repository_owner_id": "9919"}`)}, importWorld())
	if diff := cmp.Diff([]string{"error import-issuer", granted}, ids(im.Findings)); diff != "" {
		t.Error(diff)
	}
}

// TestImportCarriesNetworksAndLifetimes: left out, a credential would live longer
// than a token of today, or be good from anywhere.
func TestImportCarriesNetworksAndLifetimes(t *testing.T) {
	const role = `{"role_type": "jwt", "bound_claims": {"repository_owner_id": "9919"}, "token_bound_cidrs": ["10.1.2.3/8", "192.0.2.1", "2001:db8::1/32"], "token_ttl": 3600, "token_max_ttl": 300}`
	im := providers.ReadImport(providers.ImportSource{Kind: "vault", Issuer: githubIss, Data: []byte(role)}, importWorld())
	if len(im.Drafts) != 1 {
		t.Fatal(im.Findings)
	}
	d := im.Drafts[0].Draft
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"}, d.Networks); diff != "" || d.TTL != "5m" {
		t.Errorf("ttl %s\n%s", d.TTL, diff)
	}
	d.TTL = "15m" // an AWS account's least
	compiled(t, d, "github-actions")
	for seconds, want := range map[string]string{"600": "10m", "601": "601s", "900": "", "7200": "", "0": "", "9223372036854775807": ""} {
		file := `{"role_type": "jwt", "bound_claims": {"repository_owner_id": "9919"}, "token_ttl": ` + seconds + `}`
		im := providers.ReadImport(providers.ImportSource{Kind: "vault", Issuer: githubIss, Data: []byte(file)}, importWorld())
		if len(im.Drafts) != 1 || im.Drafts[0].TTL != want || im.Lived == "" {
			t.Errorf("%s seconds: %+v", seconds, im)
		}
	}
}

// FuzzImport: whatever a file holds, there are errors, or documents that load.
func FuzzImport(f *testing.F) {
	f.Add("aws", rolePolicy(`{"StringLike": {"token.actions.githubusercontent.com:sub": ["repo:acme@9919/pay*:ref:refs/heads/*", "repo:acme@9919/x@1:environment:\"\n"]}}`), "")
	f.Add("aws", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Federated": "accounts.google.com"}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"accounts.google.com:sub": "113000000000000000001"}}}}`, "")
	f.Add("gcp", `{"name": "`+poolName+`/providers/x", "attributeMapping": {"google.subject": "assertion.sub", "attribute.r": "assertion['repository_id']"}, "attributeCondition": "assertion.repository_owner_id in ['9919', \"1\"] && attribute.r == '5'", "oidc": {"issuerUri": "`+githubIss+`"}}`, bindings(of("principalSet", "attribute.r/5")))
	f.Add("azure", `{"audiences": ["a"], "issuer": "`+githubIss+`", "claimsMatchingExpression": {"languageVersion": 1, "value": "claims['sub'] matches 'repo:acme@9919/x@1:ref:*' and claims['ref'] eq 'x'"}}`, "")
	f.Add("octo-sts", "issuer: "+githubIss+"\nsubject_pattern: 'repo:acme@9919/x@1:(ref:a|environment:b.*)'\nclaim_pattern: {actor: '[a-z]+'}\n", "")
	f.Add("vault", `{"data": {"role_type": "jwt", "user_claim": "actor", "bound_claims_type": "glob", "bound_claims": {"repository_owner_id": ["9919"], "ref": "refs/*"}, "token_bound_cidrs": ["10.0.0.0/8"], "token_ttl": 900}}`, "")
	f.Fuzz(func(t *testing.T, kind, file, bound string) {
		source := providers.ImportSource{Kind: kind, File: "file", Data: []byte(file), Issuer: githubIss}
		if bound != "" {
			source.Bindings = []byte(bound)
		}
		im := providers.ReadImport(source, importWorld())
		if im.Findings.HasErrors() {
			return
		}
		if len(im.Drafts) == 0 {
			t.Fatal("neither a document nor an error")
		}
		for _, d := range im.Drafts {
			d.Owner, d.From, d.To, d.Resource = "o", providers.PlatformOf(d.Issuer), "aws-prod", roleARN
			if d.TTL != "" {
				d.TTL = "15m"
			}
			doc, err := d.YAML()
			if err != nil || d.From == "oidc" {
				continue // said by whoever writes it
			}
			// A condition on what a platform's tokens lack, or have of another type,
			// is an error of the document's own.
			_, findings := trust.Compile(draftWorld(), []trust.Source{{Name: "d.yaml", Data: doc}}, draftTime())
			for _, f := range findings {
				if f.Severity == "error" && !strings.HasPrefix(f.Field, "when") && f.ID != trust.FindingUnknownClaim {
					t.Errorf("%s\n%s", findings, doc)
				}
			}
		}
	})
}

// FuzzOctoSTSNeverWidens holds a document to the policy that it was made of: it
// lets in no subject and no claim that the whole regular expression does not
// match.
func FuzzOctoSTSNeverWidens(f *testing.F) {
	for _, pattern := range []string{"main|next", "a.*", "(a|b)+", "[a-c]x?", "^a$", "(?i)A", "a/[^/]+", `\Qa*\E`, ".", "(?m)^a$", "a{2,3}", "", "a|", "(^a|b$)c?"} {
		f.Add(pattern, "a")
		f.Add(pattern, "a/b")
	}
	f.Fuzz(func(t *testing.T, pattern, value string) {
		quoted, err := json.Marshal(pattern)
		if err != nil || !utf8.ValidString(pattern) {
			return // JSON repairs what is no text
		}
		policy := "issuer: " + ownIss + "\nsubject_pattern: " + string(quoted) + "\nclaim_pattern: {project: p1, azp: " + string(quoted) + "}\n"
		im := providers.ReadImport(providers.ImportSource{Kind: "octo-sts", Data: []byte(policy)}, importWorld())
		for _, d := range im.Drafts {
			d.Owner, d.From, d.To, d.Resource, d.Shadow = "o", "oidc", "aws-prod", roleARN, false
			doc, err := d.YAML()
			if err != nil {
				continue
			}
			compiledPolicy, _ := trust.Compile(draftWorld(), []trust.Source{{Name: "d.yaml", Data: doc}}, draftTime())
			if compiledPolicy == nil {
				continue
			}
			whole := regexp.MustCompile("^(?:" + pattern + ")$")
			for _, claims := range []map[string]any{{"sub": value, "azp": value, "project": "p1"}, {"sub": value, "project": "p1"}} {
				id := trust.Identity{Provider: "oidc", Workload: "w", Subject: value, Claims: claims}
				_, has := claims["azp"]
				if compiledPolicy.Decide(id, trust.Request{Target: "aws-prod"}, trust.StopSet{}, draftTime()).Allow && (!has || !whole.MatchString(value)) {
					t.Errorf("%q lets in %q:\n%s", pattern, value, doc)
				}
			}
		}
	})
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
