package aws_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/aws"
)

const connectRole = "arn:aws:iam::111122223333:role/payments-deploy"

// connected is a connection whose every text means something to a shell and to
// HCL, as far as configuration and roles let one.
func connected(t *testing.T) *aws.Connection {
	t.Helper()
	c := &aws.Connection{Target: "aws-prod", Issuer: "https://id.acme.example/cambio", Audience: `it's-${x}-%{y}-"\`}
	c.Grant("b", connectRole, []string{"spiffe://id.acme.example/github/9919/2", "spiffe://id.acme.example/github/9919/1"}, []string{"tags"}, true)
	c.Grant("a", connectRole, []string{"spiffe://id.acme.example/github/9919/1"}, []string{"policy", "source_identity"}, false)
	c.Grant("a", "arn:aws:iam::111122223333:role/x/payments+deploy", []string{"spiffe://id.acme.example/github/9919/1"}, nil, false)
	c.Grant("a", "arn:aws-us-gov:iam::444455556666:role/-payments.deploy", []string{"spiffe://id.acme.example/github/9919/1"}, nil, false)
	if problems := c.Finish(); problems != nil {
		t.Fatal(problems)
	}
	return c
}

type policy struct {
	Version   string
	Statement []struct {
		Sid, Effect string
		Principal   map[string]string
		Action      []string
		Condition   map[string]map[string]any
	}
}

func TestConnectionPolicies(t *testing.T) {
	want := map[string][]string{
		connectRole: {"sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity", "sts:TagSession"},
		"arn:aws:iam::111122223333:role/x/payments+deploy":       {"sts:AssumeRoleWithWebIdentity"},
		"arn:aws-us-gov:iam::444455556666:role/-payments.deploy": {"sts:AssumeRoleWithWebIdentity"},
	}
	c := connected(t)
	for _, r := range c.Roles {
		var p policy
		if err := json.Unmarshal(r.Policy, &p); err != nil {
			t.Fatal(err)
		}
		s := p.Statement[0]
		if p.Version != "2012-10-17" || len(p.Statement) != 1 || s.Effect != "Allow" || s.Principal["Federated"] != r.Provider || len(s.Principal) != 1 {
			t.Errorf("%s: %s", r.ARN, r.Policy)
		}
		if diff := cmp.Diff(want[r.ARN], s.Action); diff != "" {
			t.Errorf("%s: %s", r.ARN, diff)
		}
		subjects := []any{}
		for _, sub := range r.Subjects {
			subjects = append(subjects, sub)
		}
		condition := map[string]map[string]any{"StringEquals": {"id.acme.example/cambio:aud": c.Audience, "id.acme.example/cambio:sub": subjects}}
		if diff := cmp.Diff(condition, s.Condition); diff != "" {
			t.Errorf("%s: %s", r.ARN, diff)
		}
	}
	if diff := cmp.Diff([]string{"spiffe://id.acme.example/github/9919/1", "spiffe://id.acme.example/github/9919/2"}, c.Roles[1].Subjects); diff != "" {
		t.Error("each subject once, sorted", diff)
	}
	if got := c.Roles[0].Provider; got != "arn:aws-us-gov:iam::444455556666:oidc-provider/id.acme.example/cambio" {
		t.Error("the provider is of the role's account and partition, not", got)
	}
	if got := c.Session(connectRole, "id"); got != "arn:aws:sts::111122223333:assumed-role/payments-deploy/id" {
		t.Error(got)
	}
	c.Store = true
	if got := c.Session(connectRole, "id"); got != "" {
		t.Error("another store makes up its own ARNs, so none is claimed:", got)
	}
}

func TestConnectionTerraform(t *testing.T) {
	got := connected(t).Terraform()
	for _, want := range []string{
		// ${ and %{ would be expressions, and a quote would end the text.
		`"it's-$${x}-%%{y}-\"\\"`,
		`resource "aws_iam_openid_connect_provider" "cambio_111122223333" {`,
		"  provider       = aws.account_444455556666\n",
		`identifiers = [aws_iam_openid_connect_provider.cambio_444455556666.arn]`,
		// Names that differ only by what an identifier lacks stay apart.
		`data "aws_iam_policy_document" "cambio_payments_deploy" {`,
		`data "aws_iam_policy_document" "cambio_payments_deploy_2" {`,
		`data "aws_iam_policy_document" "cambio__payments_deploy" {`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "StringLike") || strings.Contains(got, "ForAllValues") || strings.Contains(got, "*") {
		t.Errorf("a pattern:\n%s", got)
	}
	if open, closed := strings.Count(got, "{\n"), strings.Count(got, "}\n"); open != closed {
		t.Errorf("%d blocks begin and %d end", open, closed)
	}
	if connected(t).Terraform() != got {
		t.Error("not the same twice")
	}
}

// TestConnectionShadow: each form says which subjects only a trust in mode shadow
// brings, and of no other.
func TestConnectionShadow(t *testing.T) {
	c := connected(t) // b is in mode shadow, a is not, and both bring 1
	const only, both = "spiffe://id.acme.example/github/9919/2", "spiffe://id.acme.example/github/9919/1"
	for _, r := range c.Roles {
		want := []string{}
		if r.ARN == connectRole {
			want = []string{only}
		}
		if diff := cmp.Diff(want, r.ShadowSubjects); diff != "" {
			t.Errorf("%s: %s", r.ARN, diff)
		}
	}
	for form, text := range map[string]string{"terraform": c.Terraform(), "cli": c.CLI(), "text": c.Text()} {
		said := 0
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "in mode shadow only") {
				continue
			}
			said++
			if !strings.Contains(line, only) || strings.Contains(line, both) {
				t.Errorf("%s: %s", form, line)
			}
		}
		if said != 1 {
			t.Errorf("%s says it %d times:\n%s", form, said, text)
		}
	}
	if text := c.JSON(); strings.Count(text, `"shadow_subjects": [`) != 3 || strings.Count(text, `"shadow_subjects": []`) != 2 {
		t.Error(text)
	}
}

func TestConnectionProblems(t *testing.T) {
	subjects := make([]string, 40)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("spiffe://id.acme.example/github/9919/%08d", i)
	}
	for name, c := range map[string]struct {
		arn      string
		subjects []string
		want     string
	}{
		"too large":    {connectRole, subjects, "connect-policy-too-large"},
		"no role":      {"arn:aws:iam::111122223333:user/x", subjects[:1], "connect-role"},
		"every role":   {"arn:aws:iam::111122223333:role/*", subjects[:1], "connect-role"},
		"no resource":  {"", subjects[:1], "connect-role"},
		"nobody at it": {connectRole, nil, "connect-role"},
		"it fits":      {connectRole, subjects[:30], ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &aws.Connection{Target: "aws-prod", Issuer: "https://id.acme.example", Audience: "sts.amazonaws.com"}
			conn.Grant("a", c.arn, c.subjects, nil, false)
			got := ""
			for _, p := range conn.Finish() {
				got = p.ID
			}
			if got != c.want {
				t.Errorf("finding %q, want %q", got, c.want)
			}
		})
	}
}

func TestConnectionWarnings(t *testing.T) {
	for issuer, want := range map[string]int{
		"https://id.acme.example": 0, "https://id.acme.example/x": 0, "http://127.0.0.1:8080": 1, "https://id.acme.example:8443": 1,
	} {
		if got := (&aws.Connection{Issuer: issuer}).Warnings(); len(got) != want {
			t.Errorf("%s: %v", issuer, got)
		}
	}
}
