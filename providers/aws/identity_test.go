package aws_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"cambio/providers/aws"
	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// TestAccounts is CLD-02: a role is one of an account, never of a name alone
// (CVE-2025-11621, CVE-2025-59048).
func TestAccounts(t *testing.T) {
	t.Parallel()
	for name, platform := range map[string]oidc.Platform{"aws": aws.Platform(), "aws-caller-identity": aws.CallerPlatform()} {
		world := trust.World{
			Providers: map[string]trust.Provider{"aws": {Platform: platform.Platform, TokenUse: platform.TokenUse}},
			Targets:   map[string]trust.Target{"api": {Type: trust.TargetType{Name: "jwt", MaxTTL: 3600e9, Fields: map[string]trust.Field{}}, MaxTTL: 3600e9}},
		}
		compile := func(match string) (*trust.Policy, strictyaml.Findings) {
			return trust.Compile(world, []trust.Source{{Name: "deploy.yaml", Data: []byte(
				"name: deploy\nowner: team@acme.test\npurpose: deploys\nfrom: aws\nmatch: {" + match + "}\ngrants: [{to: api}]\n",
			)}}, start())
		}
		anchored := `sub: "arn:aws:iam::111122223333:role/payments-deploy"`
		broad := []string{
			`account: "111122223333"`, anchored, `sub: {glob: "*:role/deployer"}`, `account: "111122223333", sub: {glob: "arn:aws:iam::*:role/deployer"}`,
			`account: {glob: "1111*"}, ` + anchored,
		}
		if name == "aws-caller-identity" {
			broad = append(broad, `role: deployer`, `unique_id: AROA2EXAMPLE2EXAMPLE2`, `account: "111122223333", session: deployer`, `account: "111122223333", role: {glob: "deploy*"}`)
		}
		for _, match := range broad {
			policy, findings := compile(match)
			if policy != nil || !slices.ContainsFunc(findings, func(f strictyaml.Finding) bool { return f.ID == "trust-too-broad" }) {
				t.Errorf("%s: %s loads: %v", name, match, findings)
			}
		}
		good := `account: "111122223333", ` + anchored
		if name == "aws-caller-identity" {
			good = `account: "111122223333", role: payments-deploy`
		}
		policy, findings := compile(good)
		if policy == nil {
			t.Fatalf("%s: %v", name, findings)
		}
		// The same name in another account, as a token of it or AWS's answer has it.
		for account, want := range map[string]trust.Reason{"111122223333": "", "999999999999": trust.ReasonConditionFalse} {
			claims := maps.Clone(platform.Sample)
			claims["account"] = account
			claims["sub"] = "arn:aws:iam::" + account + ":role/payments-deploy"
			if inner, ok := claims["https://sts.amazonaws.com/"].(map[string]any); ok {
				inner = maps.Clone(inner)
				inner["aws_account"] = account
				claims["https://sts.amazonaws.com/"] = inner
			}
			if err := platform.Check(claims); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			d := policy.Decide(trust.Identity{Provider: "aws", Workload: "spiffe://gw.test/aws/x", Claims: claims}, trust.Request{Target: "api"}, trust.StopSet{}, start())
			if d.Reason != want {
				t.Errorf("%s: account %s: %s, want %q", name, account, d.Reason, want)
			}
		}
	}
}

// What repeats itself must agree.
func TestChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		platform oidc.Platform
		claim    string
		value    any
		good     bool
	}{
		{aws.Platform(), "sub", "arn:aws:iam::111122223333:role/ci/deep/payments-deploy", true},
		{aws.Platform(), "sub", "arn:aws:iam::111122223333:user/deployer", true},
		{aws.Platform(), "sub", "arn:aws:iam::999999999999:role/payments-deploy", false},
		{aws.Platform(), "sub", "arn:aws:sts::111122223333:assumed-role/payments-deploy/x", false},
		{aws.Platform(), "sub", "arn:aws:iam::111122223333:root", false},
		{aws.Platform(), "sub", "arn:evil:iam::111122223333:role/a", false},
		{aws.Platform(), "sub", "arn:aws:iam::111122223333:role/" + strings.Repeat("a", 601), false},
		{aws.Platform(), "sub", int64(1), false},
		{aws.Platform(), "account", "999999999999", false},
		{aws.Platform(), "account", nil, false},
		{aws.CallerPlatform(), "sub", "arn:aws:iam::999999999999:role/payments-deploy", false},
		{aws.CallerPlatform(), "role", "other", false},
		{aws.CallerPlatform(), "partition", "aws-cn", false},
		{aws.CallerPlatform(), "session", "other", true},
	} {
		claims := maps.Clone(c.platform.Sample)
		claims[c.claim] = c.value
		if c.value == nil {
			delete(claims, c.claim)
		}
		if err := c.platform.Check(claims); (err == nil) != c.good {
			t.Errorf("%s: %s %v: %v", c.platform.Name, c.claim, c.value, err)
		}
	}
}

// What the workload chooses is marked, so that a condition on it is a finding.
func TestChosenClaims(t *testing.T) {
	t.Parallel()
	outbound, callers := aws.Platform(), aws.CallerPlatform()
	for claim, chosen := range map[string]bool{
		outbound.Aliases["request_tags"]: true, outbound.Aliases["principal_tags"]: false, outbound.Aliases["account"]: false,
	} {
		if outbound.Claims[claim].Chosen != chosen {
			t.Errorf("%s: chosen %t", claim, !chosen)
		}
	}
	if !callers.Claims["session"].Chosen || slices.Contains(callers.Anchors, "session") || slices.Contains(callers.Journal, "session") {
		t.Error("the session's name is taken for something")
	}
	for _, s := range callers.Workload {
		if s.Claim == "session" {
			t.Error("the workload id holds the session's name")
		}
	}
}

func TestOutboundIssuers(t *testing.T) {
	t.Parallel()
	form := aws.Platform().IssuerForm
	for issuer, want := range map[string]bool{
		"https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws":  true,
		"https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws/": false,
		"https://a.b.tokens.sts.global.api.aws":                                   false,
		"https://x.tokens.sts.global.api.aws.evil.example":                        false,
		"https://sts.amazonaws.com":                                               false,
	} {
		if form.MatchString(issuer) != want {
			t.Errorf("%s: want %t", issuer, want)
		}
	}
}
