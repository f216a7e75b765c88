package main

import (
	"errors"
	"os"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/prove"
)

const corpusConfig = `issuer: https://id.acme.example
listen: 127.0.0.1:0
identity_providers:
  github: {type: github-actions, audience: https://id.acme.example}
  cluster: {type: kubernetes, issuer: https://kubernetes.acme.example, audience: https://id.acme.example}
  cloud: {type: gcp, audience: https://id.acme.example}
  pipeline:
    type: oidc
    issuer: https://gitlab.acme.example
    audience: https://id.acme.example
    workload: [project_id]
    claims:
      project_id: {type: string, anchor: true}
      project_path: {type: string}
      ref: {type: string}
      ref_type: {type: string}
      ref_protected: {type: string}
      environment_protected: {type: string}
      pipeline_source: {type: string}
      user_login: {type: string}
      user_email: {type: string}
      user_access_level: {type: string}
      groups: {type: list}
      labels: {type: list}
      attempt: {type: int}
      score: {type: double}
      interactive: {type: bool}
targets:
  registry: {type: jwt, audience: https://registry.acme.example, max_ttl: 1h}
  aws-prod: {type: aws, account: "111122223333", region: eu-central-1}
  aws-dev: {type: aws, account: "111122224444", region: eu-central-1}
trust: ../../testdata/policies
state: ./state
`

func corpus(t *testing.T) (*trust.Policy, *prove.Prover) {
	t.Helper()
	config, findings := gateway.ParseConfig("cambio.yaml", []byte(corpusConfig), func(string) (string, bool) { return "", false },
		func(string) ([]byte, error) { return nil, errors.New("no file") })
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	config.Trust = "../../testdata/policies"
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	policy, findings := gateway.LoadPolicy(config, now)
	if policy == nil {
		t.Fatal(findings)
	}
	pr, err := prove.New(policy, now)
	if err != nil {
		t.Fatal(err)
	}
	return policy, pr
}

// TestCorpusDecided holds that nearly all conditions that people write are inside
// what can be reasoned about: whether each can be true, and whether it can be
// anything else, is decided.
func TestCorpusDecided(t *testing.T) {
	t.Parallel()
	policy, pr := corpus(t)
	all, decided := 0, 0
	count := func(source string, f prove.Fact) {
		all++
		if f.Never != prove.Unsure && f.Always != prove.Unsure {
			decided++
			return
		}
		t.Logf("undecided: %s", source)
	}
	for _, tr := range policy.All() {
		facts := pr.Facts(tr)
		for i, f := range facts.When {
			count(tr.When[i].Source, f)
		}
		if facts.Never == prove.Yes {
			t.Errorf("%s can never match", tr.Name)
		}
	}
	for _, rules := range [][]trust.Rule{policy.AllGuardrails(), policy.Invariants()} {
		for _, r := range rules {
			alone := trust.Trust{Name: "alone", Provider: r.From[0], When: []trust.Condition{r.Condition}, Grants: []trust.WrittenGrant{{}}}
			count(r.Condition.Source, pr.Facts(alone).When[0])
		}
	}
	t.Logf("%d of %d conditions are decided", decided, all)
	if all < 60 {
		t.Errorf("the corpus has %d conditions", all)
	}
	if 10*decided < 9*all {
		t.Errorf("only %d of %d conditions are decided", decided, all)
	}
	if entries, err := os.ReadDir("../../testdata/policies"); err != nil || len(entries) != policy.Trusts()+policy.Guardrails()+len(policy.Invariants()) {
		t.Errorf("the corpus is not what was read: %d files, %v", len(entries), err)
	}
}

// TestCorpusHolds holds that every invariant of the corpus is decided.
func TestCorpusHolds(t *testing.T) {
	t.Parallel()
	_, pr := corpus(t)
	for _, r := range pr.Invariants(t.Context()) {
		if r.Verdict != prove.Holds {
			t.Errorf("%s: %s %+v %v %s", r.Invariant, r.Verdict, r.Example, r.Outside, r.Reason)
		}
	}
}
