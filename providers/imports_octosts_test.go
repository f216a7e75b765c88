package providers_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"cambio/providers"
	"cambio/trust"
)

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
