package providers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/providers"
	"cambio/providers/aws"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const roleARN = "arn:aws:iam::111122223333:role/payments-deploy"

func draftTime() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// draftWorld has an identity provider of each platform, and an AWS account.
func draftWorld() trust.World {
	w := trust.World{Providers: map[string]trust.Provider{}, Targets: map[string]trust.Target{
		"aws-prod": {Type: aws.TargetType("111122223333", ""), MaxTTL: time.Hour},
	}}
	for name, platform := range providers.Platforms() {
		p := trust.Provider{Platform: platform.Platform, TokenUse: platform.TokenUse}
		if name == "oidc" {
			p.Claims, p.Anchors = map[string]trust.Claim{"project": {Type: trust.StringClaim}, "azp": {Type: trust.StringClaim}}, []string{"project"}
		}
		w.Providers[name] = p
	}
	return w
}

// compiled is the policy of one draft, without any finding, its tests passed.
func compiled(t *testing.T, d providers.Draft, platform string) *trust.Policy {
	t.Helper()
	d.Owner, d.From, d.To, d.Resource = "team@acme.example", platform, "aws-prod", roleARN
	doc, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	policy, findings := trust.Compile(draftWorld(), []trust.Source{{Name: "draft.yaml", Data: doc}}, draftTime())
	for _, f := range findings {
		if f.ID != trust.FindingSharedIdentity {
			t.Errorf("%s\n%s", f, doc)
		}
	}
	if policy == nil {
		t.FailNow()
	}
	for _, r := range policy.Test(draftTime()) {
		if !r.OK {
			t.Errorf("the test %q fails: %s\n%s", r.Name, r.Because, doc)
		}
	}
	return policy
}

func githubClaims() map[string]any {
	return map[string]any{
		"sub":        "repo:acme@9919/payments@41881900:ref:refs/heads/main",
		"repository": "acme/payments", "repository_id": "41881900", "repository_owner": "acme", "repository_owner_id": "9919",
		"ref": "refs/heads/main", "event_name": "push",
	}
}

func podClaims() map[string]any {
	return map[string]any{
		"sub": "system:serviceaccount:payments:api",
		"kubernetes.io": map[string]any{
			"namespace": "payments", "serviceaccount": map[string]any{"name": "api", "uid": "0f9e8d7c"},
		},
	}
}

func googleClaims() map[string]any {
	return map[string]any{"sub": "113000000000000000001", "email": "build@acme.iam.gserviceaccount.com", "email_verified": true}
}

func encode(t *testing.T, claims map[string]any) []byte {
	t.Helper()
	if claims == nil {
		return nil
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDrafts(t *testing.T) {
	without := func(claims map[string]any, names ...string) map[string]any {
		for _, n := range names {
			delete(claims, n)
		}
		return claims
	}
	with := func(claims map[string]any, name string, value any) map[string]any {
		claims[name] = value
		return claims
	}
	github := map[string][]any{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/ref": {"refs/heads/main"}}
	for _, c := range []struct {
		name, platform, workload string
		claims                   map[string]any
		pins                     map[string][]any // nil: refused
	}{
		{"a job", "github-actions", "acme/payments", githubClaims(), github},
		{"names fold case", "github-actions", "Acme/Payments", githubClaims(), github},
		{"what the API says", "github-actions", "acme/payments", without(githubClaims(), "sub", "repository_owner", "event_name"), github},
		{"a tag", "github-actions", "acme/payments", without(with(githubClaims(), "ref", "refs/tags/v1"), "sub"), map[string][]any{
			"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/ref": {"refs/tags/v1"},
		}},
		{"an environment", "github-actions", "acme/payments", with(githubClaims(), "environment", `pro "d": {x}`), map[string][]any{
			"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/ref": {"refs/heads/main"}, "/environment": {`pro "d": {x}`},
		}},
		{"another repository", "github-actions", "acme/orders", githubClaims(), nil},
		{"no claims", "github-actions", "acme/payments", map[string]any{}, nil},
		{"no repository", "github-actions", "acme/payments", without(githubClaims(), "repository"), nil},
		{"no id", "github-actions", "acme/payments", without(githubClaims(), "repository_id"), nil},
		{"an id that is a number", "github-actions", "acme/payments", with(githubClaims(), "repository_id", 41881900), nil},
		{"an id that is none", "github-actions", "acme/payments", with(githubClaims(), "repository_id", "*"), nil},
		{"no ref", "github-actions", "acme/payments", without(githubClaims(), "ref"), nil},
		{"a pull request", "github-actions", "acme/payments", with(githubClaims(), "event_name", "pull_request_target"), nil},
		{"the ref of one", "github-actions", "acme/payments", with(githubClaims(), "ref", "refs/pull/1/merge"), nil},
		{"two readings", "github-actions", "acme/payments", with(githubClaims(), "sub", "repo:acme@1/payments@2:ref:refs/heads/main"), nil},
		{"a line in a ref", "github-actions", "acme/payments", with(githubClaims(), "ref", "refs/heads/x\nmode: enforce"), nil},
		{"a colour in an environment", "github-actions", "acme/payments", with(githubClaims(), "environment", "\x1b[31m"), nil},
		{"no repository's name", "github-actions", "acme/payments;rm", githubClaims(), nil},

		{"a pod's account", "kubernetes", "payments/api", nil, map[string][]any{
			"/kubernetes.io/namespace": {"payments"}, "/kubernetes.io/serviceaccount/name": {"api"},
		}},
		{"with its uid", "kubernetes", "payments/api", podClaims(), map[string][]any{
			"/kubernetes.io/namespace": {"payments"}, "/kubernetes.io/serviceaccount/name": {"api"}, "/kubernetes.io/serviceaccount/uid": {"0f9e8d7c"},
		}},
		{"another account", "kubernetes", "payments/web", podClaims(), nil},
		{"no account", "kubernetes", "payments", nil, nil},
		{"a name that is none", "kubernetes", "payments/*", nil, nil},
		{"claims that disagree", "kubernetes", "payments/web", with(podClaims(), "sub", "system:serviceaccount:payments:web"), nil},

		{"a number", "gcp", "113000000000000000001", nil, map[string][]any{"/sub": {"113000000000000000001"}}},
		{"an address and claims", "gcp", "build@acme.iam.gserviceaccount.com", googleClaims(), map[string][]any{"/sub": {"113000000000000000001"}}},
		{"an address alone", "gcp", "build@acme.iam.gserviceaccount.com", nil, nil},
		{"the address of another", "gcp", "other@acme.iam.gserviceaccount.com", googleClaims(), nil},
		{"the number of another", "gcp", "113000000000000000002", googleClaims(), nil},
		{"not verified", "gcp", "build@acme.iam.gserviceaccount.com", with(googleClaims(), "email_verified", false), nil},
		{"a person's number", "gcp", "build@acme.iam.gserviceaccount.com", with(googleClaims(), "sub", "1\n2"), nil},
		{"nothing", "gcp", "", nil, nil},
	} {
		t.Run(c.platform+" "+c.name, func(t *testing.T) {
			d, err := providers.Drafts(c.platform, c.workload, encode(t, c.claims))
			if err == nil && c.pins == nil {
				_, err = d.YAML()
			}
			if c.pins == nil {
				if err == nil {
					t.Errorf("drafted all the same: %+v", d)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.pins, compiled(t, d, c.platform).Granted("aws-prod")[0].Pins); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := providers.Drafts("github-actions", "acme/payments", []byte(`{"ref":"a","ref":"b"}`)); err == nil {
		t.Error("a claim with two values has no meaning")
	}
}

// FuzzDrafts: whatever a token claims, a draft is refused, or is one document
// that pins the numbers of the claims and nothing else.
func FuzzDrafts(f *testing.F) {
	f.Add("41881900", "refs/heads/main", "prod")
	f.Add("1", "refs/heads/\"\nmode: enforce\n", "x")
	f.Add("1: 2", "refs/heads/# x", "{glob: \"*\"}")
	f.Fuzz(func(t *testing.T, id, ref, environment string) {
		claims := githubClaims()
		delete(claims, "sub")
		claims["repository_id"], claims["ref"], claims["environment"] = id, ref, environment
		d, err := providers.Drafts("github-actions", "acme/payments", encode(t, claims))
		if err != nil {
			return
		}
		d.Owner, d.From, d.To, d.Resource = "team@acme.example", "github-actions", "aws-prod", roleARN
		doc, err := d.YAML()
		if err != nil {
			return
		}
		policy, findings := trust.Compile(draftWorld(), []trust.Source{{Name: "draft.yaml", Data: doc}}, draftTime())
		if policy == nil {
			t.Fatalf("%s\n%s", findings, doc)
		}
		want := map[string][]any{"/repository_owner_id": {"9919"}, "/repository_id": {id}, "/ref": {ref}, "/environment": {environment}}
		got := policy.Granted("aws-prod")
		if diff := cmp.Diff(want, got[0].Pins); diff != "" || len(got) != 1 || got[0].Shadow {
			t.Errorf("%s\n%s", diff, doc)
		}
	})
}

const githubIssuer = "token.actions.githubusercontent.com"

// rolePolicy is a trust policy of GitHub's provider with this condition.
func rolePolicy(condition string) string {
	return fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow",
		"Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/%s"}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": %s}]}`, githubIssuer, condition)
}

// importWorld is a configuration whose issuer kc.acme.example alone has azp.
func importWorld() providers.ImportWorld {
	return providers.ImportWorld{Platform: providers.PlatformOf, Declares: func(issuer, claim string) bool {
		return issuer == "https://kc.acme.example" && claim == "azp"
	}}
}

func imported(t *testing.T, policy string, known ...map[string]any) ([]providers.Imported, []string) {
	t.Helper()
	var claims [][]byte
	for _, k := range known {
		claims = append(claims, encode(t, k))
	}
	im := providers.ReadImport(providers.ImportSource{Kind: "aws", File: "role.json", Data: []byte(policy), Claims: claims}, importWorld())
	return im.Drafts, ids(im.Findings)
}

// ids are the findings as "severity id", sorted, each once.
func ids(findings strictyaml.Findings) []string {
	var out []string
	for _, f := range findings {
		out = append(out, string(f.Severity)+" "+f.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestImportGitHub(t *testing.T) {
	payments := map[string]any{"repository": "acme/payments", "repository_id": "41881900", "repository_owner_id": "9919"}
	orders := map[string]any{"repository": "acme/orders", "repository_id": "5", "repository_owner_id": "9919"}
	sub := func(operator string, values ...string) string {
		condition := map[string]map[string]any{"StringEquals": {githubIssuer + ":aud": "sts.amazonaws.com"}}
		if condition[operator] == nil {
			condition[operator] = map[string]any{}
		}
		condition[operator][githubIssuer+":sub"] = values
		b, _ := json.Marshal(condition) //nolint:errchkjson // texts
		return rolePolicy(string(b))
	}
	// may and mayNot are claims beside the ids of the first repository.
	job := func(more ...string) map[string]any {
		claims := map[string]any{"repository_owner_id": "9919", "repository_id": "41881900", "repository": "acme/payments", "event_name": "push"}
		for i := 0; i < len(more); i += 2 {
			claims[more[i]] = more[i+1]
		}
		return claims
	}
	main, prod := job("ref", "refs/heads/main"), job("ref", "refs/heads/main", "environment", "prod")
	pull := job("ref", "refs/pull/1/merge", "event_name", "pull_request")
	for _, c := range []struct {
		name     string
		policy   string
		known    []map[string]any
		findings []string
		may      []map[string]any
		mayNot   []map[string]any
		docs     int
	}{
		{
			name: "a branch, with the ids in sub", policy: sub("StringLike", "repo:acme@9919/payments@41881900:ref:refs/heads/main"), docs: 1,
			may: []map[string]any{main}, mayNot: []map[string]any{prod, pull, job("ref", "refs/heads/x"), job("ref", "refs/heads/main", "repository_id", "5")},
		},
		{
			name: "a branch, with the ids in claims", policy: sub("StringEquals", "repo:Acme/Payments:ref:refs/heads/main"), known: []map[string]any{orders, payments}, docs: 1,
			may: []map[string]any{main}, mayNot: []map[string]any{prod},
		},
		{
			name: "branches and a glob", policy: sub("StringLike", "repo:acme/payments:ref:refs/heads/main", "repo:acme/payments:ref:refs/heads/release/*"), known: []map[string]any{payments}, docs: 1,
			findings: []string{"warning import-narrower"},
			may:      []map[string]any{main, job("ref", "refs/heads/release/1")}, mayNot: []map[string]any{job("ref", "refs/heads/release/1/2")},
		},
		{
			name: "an environment with a colon", policy: sub("StringEquals", "repo:acme/payments:environment:eu%3Aprod"), known: []map[string]any{payments}, docs: 1,
			findings: []string{"info import-narrower"},
			may:      []map[string]any{job("environment", "eu:prod", "ref", "refs/heads/x")}, mayNot: []map[string]any{main, prod},
		},
		{
			name: "pull requests", policy: sub("StringEquals", "repo:acme/payments:pull_request"), known: []map[string]any{payments}, docs: 1,
			findings: []string{"warning import-broad"},
			may:      []map[string]any{pull}, mayNot: []map[string]any{main, job("event_name", "pull_request_target"), job("event_name", "pull_request", "environment", "prod")},
		},
		{
			name: "anything of a repository", policy: sub("StringLike", "repo:acme/payments:*"), known: []map[string]any{payments}, docs: 1,
			findings: []string{"info import-narrower", "warning import-broad"},
			may:      []map[string]any{main, prod}, mayNot: []map[string]any{pull, job("ref", "refs/heads/main", "repository_id", "5")},
		},
		{
			name: "anything of an owner", policy: sub("StringLike", "repo:acme/*"), known: []map[string]any{orders}, docs: 1,
			findings: []string{"info import-narrower", "warning import-broad"},
			may:      []map[string]any{main, job("repository_id", "5")}, mayNot: []map[string]any{job("repository_owner_id", "1")},
		},
		{
			name: "names that begin so", policy: sub("StringLike", "repo:acme@9919/pay*:ref:refs/heads/main"), docs: 1,
			findings: []string{"warning import-broad"},
			may:      []map[string]any{main, job("ref", "refs/heads/main", "repository", "acme/payroll", "repository_id", "6")},
			mayNot:   []map[string]any{job("ref", "refs/heads/main", "repository", "evil/pay")},
		},
		{
			name: "a name that lacks its colon", policy: sub("StringLike", "repo:acme@9919/payments*"), docs: 1,
			findings: []string{"info import-narrower", "warning import-broad"},
			may:      []map[string]any{main, job("repository", "acme/payments-evil", "repository_id", "6")},
		},
		{
			name: "tolerant of ids", policy: sub("StringLike", "repo:acme@*/payments@*:ref:refs/heads/main"), known: []map[string]any{payments}, docs: 1,
			may: []map[string]any{main}, mayNot: []map[string]any{prod},
		},
		{
			name: "two repositories", policy: sub("StringEquals", "repo:acme/payments:ref:refs/heads/main", "repo:acme/orders:environment:prod"), known: []map[string]any{payments, orders}, docs: 2,
			findings: []string{"info import-narrower"},
			may:      []map[string]any{main, job("repository_id", "5", "environment", "prod")}, mayNot: []map[string]any{prod, job("repository_id", "5", "ref", "refs/heads/main")},
		},
		{
			name: "claims of their own", docs: 1,
			policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%[1]s:repository_id": "41881900", "%[1]s:repository_owner_id": "9919", "%[1]s:ref": ["refs/heads/main"]}}`, githubIssuer)),
			// No sub, so that the kind of job is open, and the ref is not.
			may: []map[string]any{main, prod}, mayNot: []map[string]any{job("ref", "refs/heads/x")}, findings: []string{"info import-narrower"},
		},
		{
			name: "a workflow beside sub", docs: 1,
			policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%[1]s:sub": "repo:acme@9919/payments@41881900:ref:refs/heads/main", "%[1]s:job_workflow_ref": "acme/w/.github/workflows/x.yml@refs/heads/main"}}`, githubIssuer)),
			may:    []map[string]any{job("ref", "refs/heads/main", "job_workflow_ref", "acme/w/.github/workflows/x.yml@refs/heads/main")}, mayNot: []map[string]any{main},
		},
		{name: "the ids are not known", policy: sub("StringEquals", "repo:acme/payments:ref:refs/heads/main"), known: []map[string]any{orders}, findings: []string{"error import-ids-missing"}},
		{name: "the owner is not known", policy: sub("StringLike", "repo:acme/*"), findings: []string{"error import-ids-missing", "warning import-broad"}},
		{name: "ids that disagree", policy: sub("StringEquals", "repo:acme@9919/payments@7:ref:refs/heads/main"), known: []map[string]any{payments}, findings: []string{"error import-ids-missing"}},
		{name: "owners that disagree", policy: sub("StringLike", "repo:acme@7/*"), known: []map[string]any{payments}, findings: []string{"error import-ids-missing", "warning import-broad"}},
		{name: "claims that are none", policy: sub("StringEquals", "repo:acme@9919/payments@7:ref:refs/heads/main"), known: []map[string]any{{"repository": "x"}}, findings: []string{"error import-ids-missing"}},
		{name: "the audience alone", policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%s:aud": "sts.amazonaws.com"}}`, githubIssuer)), findings: []string{"error import-no-anchor"}},
		{name: "no condition", policy: strings.Replace(rolePolicy("1"), `, "Condition": 1`, "", 1), findings: []string{"error import-no-anchor"}},
		{name: "a star", policy: sub("StringLike", "*"), findings: []string{"error import-no-anchor"}},
		{name: "every repository", policy: sub("StringLike", "repo:*"), findings: []string{"error import-no-anchor"}},
		{name: "every account", policy: sub("StringLike", "repo:*/payments:ref:refs/heads/main"), findings: []string{"error import-no-anchor"}},
		{name: "accounts that begin so", policy: sub("StringLike", "repo:acme*"), findings: []string{"error import-no-anchor"}},
		{name: "the end alone", policy: sub("StringLike", "*:ref:refs/heads/main"), findings: []string{"error import-no-anchor"}},
		{name: "a star that never matched", policy: sub("StringEquals", "repo:acme/payments:*"), known: []map[string]any{payments}, findings: []string{"error import-pattern"}},
		{name: "a question mark", policy: sub("StringLike", "repo:acme/payments:ref:refs/heads/v?"), known: []map[string]any{payments}, findings: []string{"error import-pattern"}},
		{name: "a question mark in a name", policy: sub("StringLike", "repo:acme@9919/payment?:*"), findings: []string{"error import-pattern", "warning import-broad"}},
		{name: "the kind is open", policy: sub("StringLike", "repo:acme@9919/payments@41881900:r*"), findings: []string{"error import-subject"}},
		{name: "a subject of their own", policy: sub("StringLike", "repository_owner:acme:repo:x"), findings: []string{"error import-subject"}},
		{name: "no subject at all", policy: sub("StringEquals", "repo:acme@9919/payments@41881900"), findings: []string{"error import-subject"}},
		{name: "an environment that nobody can read", policy: sub("StringEquals", "repo:acme@9919/payments@41881900:environment:\u202e"), findings: []string{"error import-pattern"}},
		{
			name: "two conditions on one claim", findings: []string{"error import-condition"},
			policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%[1]s:sub": "repo:acme@9919/payments@41881900:ref:refs/heads/main"}, "StringLike": {"%[1]s:sub": "repo:acme@9919/*"}}`, githubIssuer)),
		},
		{
			name: "sub and ref", findings: []string{"error import-condition"},
			policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%[1]s:sub": "repo:acme@9919/payments@41881900:ref:refs/heads/main", "%[1]s:ref": "refs/heads/x"}}`, githubIssuer)),
		},
		{
			name: "a claim that is none", findings: []string{"error import-condition"},
			policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%[1]s:sub": "repo:acme@9919/payments@41881900:ref:refs/heads/main", "%[1]s:colour": "blue"}}`, githubIssuer)),
		},
		{
			name: "an address", findings: []string{"error import-condition"},
			policy: rolePolicy(fmt.Sprintf(`{"StringEquals": {"%[1]s:sub": "repo:acme@9919/payments@41881900:ref:refs/heads/main"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}`, githubIssuer)),
		},
		{
			name: "a variable", findings: []string{"error import-condition"},
			policy: rolePolicy(fmt.Sprintf(`{"StringLike": {"%[1]s:sub": "repo:acme@9919/${aws:username}:*"}}`, githubIssuer)),
		},
		{
			name: "a token without the claim", docs: 1, findings: []string{"warning import-missing-claim"},
			policy: rolePolicy(fmt.Sprintf(`{"ForAllValues:StringEqualsIfExists": {"%[1]s:SUB": "repo:acme@9919/payments@41881900:ref:refs/heads/main"}}`, githubIssuer)),
			may:    []map[string]any{main},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			drafts, findings := imported(t, c.policy, c.known...)
			if diff := cmp.Diff(c.findings, findings); diff != "" {
				t.Error(diff)
			}
			if len(drafts) != c.docs {
				t.Fatalf("%d documents, want %d", len(drafts), c.docs)
			}
			var policies []*trust.Policy
			for _, d := range drafts {
				if d.Issuer != "https://"+githubIssuer {
					t.Errorf("issuer %s", d.Issuer)
				}
				policies = append(policies, compiled(t, d.Draft, "github-actions"))
			}
			allowed := func(claims map[string]any) bool {
				return slices.ContainsFunc(policies, func(p *trust.Policy) bool {
					id := trust.Identity{Provider: "github-actions", Workload: "w", Subject: "s", Claims: maps.Clone(claims)}
					return p.Decide(id, trust.Request{Target: "aws-prod"}, trust.StopSet{}, draftTime()).Allow
				})
			}
			for _, claims := range c.may {
				if !allowed(claims) {
					t.Errorf("let in before, and not now: %v", claims)
				}
			}
			for _, claims := range c.mayNot {
				if allowed(claims) {
					t.Errorf("let in now: %v", claims)
				}
			}
		})
	}
}

func TestImportOthers(t *testing.T) {
	statement := func(provider, condition string) string {
		return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Federated": "` + provider + `"}, "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"], "Condition": ` + condition + `}}`
	}
	const (
		host = "oidc.eks.eu-central-1.amazonaws.com/id/ABC"
		eks  = "arn:aws:iam::111122223333:oidc-provider/" + host
		own  = "arn:aws:iam::111122223333:oidc-provider/ci.acme.example"

		keycloak = "arn:aws:iam::111122223333:oidc-provider/kc.acme.example"
	)
	for _, c := range []struct {
		name, policy, platform string
		findings               []string
		pins                   []map[string][]any
	}{
		{"an account of a cluster", statement(eks, `{"StringEquals": {"`+host+`:sub": ["system:serviceaccount:pay:api", "system:serviceaccount:pay:web", "system:serviceaccount:pay:api"], "`+host+`:aud": "sts.amazonaws.com"}}`), "kubernetes", nil, []map[string][]any{
			{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api", "web"}},
		}},
		{"two namespaces", statement(eks, `{"StringEquals": {"`+host+`:sub": ["system:serviceaccount:pay:api", "system:serviceaccount:web:api"]}}`), "kubernetes", nil, []map[string][]any{
			{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api"}},
			{"/kubernetes.io/namespace": {"web"}, "/kubernetes.io/serviceaccount/name": {"api"}},
		}},
		{"a namespace", statement(eks, `{"StringLike": {"`+host+`:sub": "system:serviceaccount:pay:*"}}`), "kubernetes", []string{"warning import-broad"}, []map[string][]any{
			{"/kubernetes.io/namespace": {"pay"}},
		}},
		{"accounts that begin so", statement(eks, `{"StringLike": {"`+host+`:sub": "system:serviceaccount:pay:api-*"}}`), "kubernetes", []string{"warning import-broad"}, []map[string][]any{
			{"/kubernetes.io/namespace": {"pay"}},
		}},
		{"every namespace", statement(eks, `{"StringLike": {"`+host+`:sub": "system:serviceaccount:*:api"}}`), "kubernetes", []string{"error import-no-anchor"}, nil},
		{"every account", statement(eks, `{"StringLike": {"`+host+`:sub": "system:*"}}`), "kubernetes", []string{"error import-no-anchor"}, nil},
		{"the audience of a cluster", statement(eks, `{"StringEquals": {"`+host+`:aud": "sts.amazonaws.com"}}`), "kubernetes", []string{"error import-no-anchor"}, nil},
		{"a node", statement(eks, `{"StringEquals": {"`+host+`:sub": "system:node:x"}}`), "kubernetes", []string{"error import-subject"}, nil},
		{"one character", statement(eks, `{"StringLike": {"`+host+`:sub": "system:serviceaccount:pay:ap?"}}`), "kubernetes", []string{"error import-pattern"}, nil},
		{"another claim of a cluster", statement(eks, `{"StringEquals": {"`+host+`:sub": "system:serviceaccount:pay:api", "`+host+`:pod": "x"}}`), "kubernetes", []string{"error import-condition"}, nil},

		{"a Google account", statement("accounts.google.com", `{"StringEquals": {"accounts.google.com:sub": "113000000000000000001", "accounts.google.com:oaud": "x", "accounts.google.com:aud": "113000000000000000001"}}`), "gcp", nil, []map[string][]any{
			{"/sub": {"113000000000000000001"}, "/azp": {"113000000000000000001"}},
		}},
		{"any Google account", statement("accounts.google.com", `{"StringEquals": {"accounts.google.com:aud": "x"}}`), "gcp", []string{"error import-no-anchor"}, nil},
		{"Google accounts that begin so", statement("accounts.google.com", `{"StringLike": {"accounts.google.com:sub": "113*"}}`), "gcp", []string{"error import-subject"}, nil},
		{"a Google address", statement("accounts.google.com", `{"StringEquals": {"accounts.google.com:sub": "113000000000000000001", "accounts.google.com:email": "x"}}`), "gcp", []string{"error import-condition"}, nil},

		{"claims of another issuer", statement(own, `{"StringEquals": {"ci.acme.example:project": "p1"}, "StringLike": {"ci.acme.example:sub": "p1-*"}}`), "oidc", []string{"warning import-narrower"}, []map[string][]any{
			{"/project": {"p1"}},
		}},
		// AWS compares aud with azp, where a token has one: which client.
		{"the client of an issuer", statement(keycloak, `{"StringEquals": {"kc.acme.example:project": "p1", "kc.acme.example:aud": "deployer"}}`), "oidc", []string{"info import-audience"}, []map[string][]any{
			{"/project": {"p1"}, "/azp": {"deployer"}},
		}},
		{"clients of an issuer", statement(keycloak, `{"StringEquals": {"kc.acme.example:project": "p1"}, "ForAnyValue:StringEquals": {"kc.acme.example:AUD": ["a", "b"]}}`), "oidc", []string{"info import-audience"}, []map[string][]any{
			{"/project": {"p1"}, "/azp": {"a", "b"}},
		}},
		{"a client twice", statement(keycloak, `{"StringEquals": {"kc.acme.example:project": "p1", "kc.acme.example:aud": "a", "kc.acme.example:azp": "a"}}`), "oidc", []string{"error import-condition"}, nil},
		{"a client that no claim says", statement(own, `{"StringEquals": {"ci.acme.example:project": "p1", "ci.acme.example:aud": "deployer"}}`), "oidc", []string{"warning import-audience"}, []map[string][]any{
			{"/project": {"p1"}},
		}},
		{"the audience of another issuer", statement(own, `{"StringEquals": {"ci.acme.example:aud": "x"}}`), "oidc", []string{"error import-no-anchor"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			drafts, findings := imported(t, c.policy)
			if diff := cmp.Diff(c.findings, findings); diff != "" {
				t.Error(diff)
			}
			var pins []map[string][]any
			for _, d := range drafts {
				pins = append(pins, compiled(t, d.Draft, c.platform).Granted("aws-prod")[0].Pins)
			}
			if diff := cmp.Diff(c.pins, pins); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImportRefusesPolicies(t *testing.T) {
	good := rolePolicy(fmt.Sprintf(`{"StringEquals": {"%s:sub": "repo:acme@9919/payments@41881900:ref:refs/heads/main"}}`, githubIssuer))
	edit := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	const other = `{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}`
	for _, c := range []struct {
		name, policy string
		findings     []string
		docs         int
	}{
		{"nothing wrong", good, nil, 1},
		{"what get-role prints", `{"Role": {"Arn": "` + roleARN + `", "AssumeRolePolicyDocument": ` + good + `}}`, nil, 1},
		{"beside people", edit(`"Statement": [`, `"Statement": [`+other+`,`), []string{"info import-not-web-identity"}, 1},
		{"people alone", `{"Version": "2012-10-17", "Statement": [` + other + `]}`, []string{"error import-nothing", "info import-not-web-identity"}, 0},
		{"another action too", edit(`"sts:AssumeRoleWithWebIdentity"`, `["sts:AssumeRoleWithWebIdentity", "sts:AssumeRole"]`), []string{"info import-not-web-identity"}, 1},
		{"another action", edit(`"sts:AssumeRoleWithWebIdentity"`, `"sts:TagSession"`), []string{"error import-nothing", "info import-not-web-identity"}, 0},
		{"an action without capitals", edit(`"sts:AssumeRoleWithWebIdentity"`, `["STS:assumerolewithwebidentity", "sts:tagsession"]`), nil, 1},
		{"all of STS", edit(`"sts:AssumeRoleWithWebIdentity"`, `"sts:*"`), []string{"warning import-action"}, 1},
		{"everything", edit(`"sts:AssumeRoleWithWebIdentity"`, `"*"`), []string{"warning import-action"}, 1},
		{"actions that begin so", edit(`"sts:AssumeRoleWithWebIdentity"`, `["sts:TagSession", "sts:assumerole*"]`), []string{"warning import-action"}, 1},
		{"actions that end so", edit(`"sts:AssumeRoleWithWebIdentity"`, `"sts:*With?ebIdentity"`), []string{"warning import-action"}, 1},
		{"a wildcard for another", edit(`"sts:AssumeRoleWithWebIdentity"`, `["sts:AssumeRoleWithS*", "sts:AssumeRoleWithWebIdentity?", "sts:*WithWeb"]`), []string{"error import-nothing", "info import-not-web-identity"}, 0},
		{"it denies", edit(`"Allow"`, `"Deny"`), []string{"error import-deny"}, 0},
		{"no effect", edit(`"Allow"`, `"allow"`), []string{"error import-syntax"}, 0},
		{"everybody", edit(`{"Federated": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}`, `"*"`), []string{"error import-principal"}, 0},
		{"every provider", edit(`"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"`, `"*"`), []string{"error import-principal"}, 0},
		{"people in it", edit(`{"Federated"`, `{"AWS": "*", "Federated"`), []string{"error import-principal"}, 0},
		{"SAML", edit("oidc-provider", "saml-provider"), []string{"error import-principal"}, 0},
		{"an element", edit(`"Action"`, `"NotAction": "x", "Action"`), []string{"error import-syntax"}, 0},
		{"a repeated name", edit(`"Sid": "x"`, `"Sid": "x", "Sid": "y"`), []string{"error import-syntax"}, 0},
		{"another version", edit("2012-10-17", "2030-01-01"), []string{"error import-syntax"}, 0},
		{"no policy", `{"a": 1}`, []string{"error import-syntax"}, 0},
		{"no JSON", `name: x`, []string{"error import-syntax"}, 0},
		{"too large", good + strings.Repeat(" ", 64<<10), []string{"error import-syntax"}, 0},
		{"a condition that is none", edit(`"StringEquals"`, `"StringNotEquals"`), []string{"error import-condition"}, 0},
		{"values that are none", edit(`"repo:acme@9919/payments@41881900:ref:refs/heads/main"`, `[1]`), []string{"error import-syntax"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			drafts, findings := imported(t, c.policy)
			if diff := cmp.Diff(c.findings, findings); diff != "" || len(drafts) != c.docs {
				t.Errorf("%d documents\n%s", len(drafts), diff)
			}
		})
	}
	document := `{"Role": {"Arn": "` + roleARN + `", "AssumeRolePolicyDocument": ` + good + `}}`
	if role := providers.ReadImport(providers.ImportSource{Kind: "aws", Data: []byte(document)}, importWorld()).Resource; role != roleARN {
		t.Errorf("role %s", role)
	}
}
