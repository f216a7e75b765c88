package providers_test

import (
	"strings"
	"testing"

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
