package gateway_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust/strictyaml"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// TestTrustSchemaIsCurrent compares the committed schemas with what is made;
// UPDATE=1 rewrites them.
func TestTrustSchemaIsCurrent(t *testing.T) {
	examples := exampleConfig(t)
	for file, config := range map[string]*gateway.Config{
		"../docs/reference/trust.schema.json": nil,
		"../examples/trust/trust.schema.json": &examples,
	} {
		want, err := gateway.TrustSchema(config)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(file, want, 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is made (%v): run make golden", file, err)
		}
	}
}

// exampleConfig is the configuration of the examples.
func exampleConfig(t *testing.T) gateway.Config {
	t.Helper()
	src, err := os.ReadFile("../examples/cambio.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, findings := gateway.ParseConfig("../examples/cambio.yaml", src, func(string) (string, bool) { return "", true }, os.ReadFile)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	return config
}

// trustSchema compiles the schema of a configuration, or the one for all.
func trustSchema(t *testing.T, config *gateway.Config) *validator.Schema {
	t.Helper()
	src, err := gateway.TrustSchema(config)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("trust.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("trust.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// instance is a document as editors' YAML readers see it: a date is a text.
func instance(n *strictyaml.Node) any {
	switch n.Kind {
	case strictyaml.Ambiguous:
		return n.Text
	case strictyaml.List:
		out := make([]any, len(n.Items()))
		for i, item := range n.Items() {
			out[i] = instance(item)
		}
		return out
	case strictyaml.Map:
		out := map[string]any{}
		for i, key := range n.Keys() {
			out[key.Text] = instance(n.Items()[i])
		}
		return out
	case strictyaml.Invalid, strictyaml.Null, strictyaml.Bool, strictyaml.Int, strictyaml.Float, strictyaml.String:
	}
	v, _ := n.Value()
	return v
}

// fits validates a document.
func fits(t *testing.T, schema *validator.Schema, src string) error {
	t.Helper()
	root, findings := strictyaml.Parse("x.yaml", []byte(src))
	if findings.HasErrors() {
		t.Fatalf("%v\n%s", findings, src)
	}
	b, err := json.Marshal(instance(root))
	if err != nil {
		t.Fatal(err)
	}
	v, err := validator.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v)
}

// shown are the documents that the repository shows: those of the examples, and
// those in the fenced blocks of its documentation.
func shown(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	document := regexp.MustCompile(`(?m)^(name|guardrail|invariant|trust): [a-z0-9-]+( .*)?$`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path != ".." && strings.HasPrefix(d.Name(), ".") || path == "../docs/findings"): // what is wrong, and why
			return fs.SkipDir
		case filepath.Ext(path) == ".yaml" && (strings.HasPrefix(path, "../examples/trust/") || strings.HasPrefix(path, "../deploy/compose/trust/")):
			content, err := os.ReadFile(path)
			out[path] = string(content)
			return err
		case filepath.Ext(path) == ".md" && (strings.HasPrefix(path, "../docs/") || path == "../README.md"):
			content, err := os.ReadFile(path)
			for _, m := range block.FindAllStringSubmatch(string(content), -1) {
				if document.MatchString(m[1]) && strings.Contains(m[1], "\nowner: ") && !strings.Contains(m[1], "...") {
					out[path+": "+m[1]] = m[1]
				}
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTrustSchemaTakesWhatIsShown: every example and every document of the
// documentation is right to an editor.
func TestTrustSchemaTakesWhatIsShown(t *testing.T) {
	schema := trustSchema(t, nil)
	documents := shown(t)
	if len(documents) < 30 {
		t.Errorf("only %d documents were found", len(documents))
	}
	for name, src := range documents {
		if err := fits(t, schema, src); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const schemaTrust = `name: payments-deploy
owner: payments-team@acme.example
purpose: Deploys payments from main
expires: 2027-03-31
mode: enforce
from: github
match:
  repository_owner_id: "9919"
  repository_id: ["41881900", {glob: "4*"}]
when: ['claims.actor == "mona"']
access: {networks: [10.0.0.0/8], hours: ["Mon-Fri 07:00-19:00 Europe/Zurich"]}
token_use: once
require_nonce: false
hints: true
grants:
  - to: aws-prod
    resource: arn:aws:iam::111122223333:role/payments-deploy
    ttl: 15m
    policy: {Version: "2012-10-17", Statement: []}
    policy_arns: []
    tags: {repository: "${claims.repository}"}
    source_identity: "${claims.actor}"
  - {to: orders-api, scopes: ["orders:read"], claims: {repo: "${claims.repository}", n: 1}}
tests:
  - {name: x, at: 2027-01-01T00:00:00Z, address: 10.0.0.1, claims: {ref: null, run_attempt: "1"}, ask: {to: orders-api, scope: "a b", ttl: 5m, trust: x}, expect: deny, reason: guardrail}
`

const schemaConfig = `issuer: https://id.acme.example
identity_providers:
  github: {type: github-actions, audience: "https://id.acme.example", claims: {admin: {type: bool}, teams: {type: list}}}
  prod: {type: kubernetes, issuer: "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF", audience: "https://id.acme.example"}
targets:
  aws-prod: {type: aws, account: "111122223333", region: eu-central-1}
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
`

// TestTrustSchemaAgrees: the schema takes one of everything, and refuses what can
// be seen in one field; that of a configuration refuses strange names too.
func TestTrustSchemaAgrees(t *testing.T) {
	config, findings := gateway.ParseConfig("cambio.yaml", []byte(schemaConfig), func(string) (string, bool) { return "", false }, os.ReadFile)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	open, narrow := trustSchema(t, nil), trustSchema(t, &config)
	guard := "guardrail: g\nowner: o\npurpose: p\nfrom: [github]\nforbid: 'false'\n"
	invariant := "invariant: g\nowner: o\npurpose: p\nnever: 'false'\n"
	tests := "trust: a\ntests: [{name: x, ask: {to: orders-api}, expect: allow, by: a}]\n"
	for _, c := range []struct {
		src          string
		open, narrow bool // whether it is taken
		change       []string
	}{
		{schemaTrust, true, true, nil},
		{guard, true, true, nil},
		{invariant, true, true, nil},
		{tests, true, true, nil},
		{tests, true, true, []string{"trust: a", "from: github"}},
		{schemaTrust, false, false, []string{"owner:", "ower:"}},
		{schemaTrust, false, false, []string{"from: github\n", ""}},
		{schemaTrust, false, false, []string{"mode: enforce", "mode: off"}},
		{schemaTrust, false, false, []string{"2027-03-31", "soon"}},
		{schemaTrust, false, false, []string{`["41881900", {glob: "4*"}]`, "[]"}},
		{schemaTrust, false, false, []string{`"4*"`, `"4**"`}},
		{schemaTrust, false, false, []string{"{glob:", "{globe:"}},
		{schemaTrust, false, false, []string{"ttl: 15m", "ttl: 15"}},
		{schemaTrust, false, false, []string{"reason: guardrail", "reason: gardrail"}},
		{schemaTrust, false, false, []string{"policy_arns: []", "policy_arn: []"}},
		{schemaTrust, false, false, []string{"10.0.0.0/8", "internal"}},
		{schemaTrust, false, false, []string{"ask: {to: orders-api, ", "ask: {"}},
		{schemaTrust, true, false, []string{"from: github", "from: gitlab"}},
		{schemaTrust, true, false, []string{"- to: aws-prod", "- to: aws-prd"}},
		{schemaTrust, true, false, []string{"repository_id:", "repositry_id:"}},
		{schemaTrust, true, true, []string{"repository_id:", "/repository_id:"}},
		{schemaTrust, true, false, []string{"{ref: null", "{reff: null"}},
		{schemaTrust, true, false, []string{`["41881900", {glob: "4*"}]`, "7001"}},
		{schemaTrust, true, false, []string{`["41881900", {glob: "4*"}]`, `["41881900", 7001]`}},
		{schemaTrust, true, false, []string{`["41881900", {glob: "4*"}]`, "true"}},
		{schemaTrust, true, true, []string{"repository_id:", "ref_type: tag\n  repository_id:"}},
		{schemaTrust, true, true, []string{"repository_id:", "ref_type: [tag, {glob: \"b*\"}]\n  repository_id:"}},
		{schemaTrust, true, false, []string{"repository_id:", "ref_type: tags\n  repository_id:"}},
		{schemaTrust, true, true, []string{"repository_id:", "exp: [1, 2]\n  repository_id:"}},
		{schemaTrust, true, false, []string{"repository_id:", "exp: \"1\"\n  repository_id:"}},
		{schemaTrust, true, false, []string{"repository_id:", "exp: {glob: \"1*\"}\n  repository_id:"}},
		{schemaTrust, true, true, []string{"repository_id:", "admin: true\n  repository_id:"}},
		{schemaTrust, true, false, []string{"repository_id:", "admin: \"true\"\n  repository_id:"}},
		{schemaTrust, true, false, []string{"repository_id:", "teams: a\n  repository_id:"}},
		{schemaTrust, true, true, []string{"{ref: null", "{teams: [a], ref: null"}},
		{schemaTrust, true, false, []string{"    resource: arn:aws:iam::111122223333:role/payments-deploy\n", ""}},
		{schemaTrust, true, false, []string{"{to: orders-api, scopes", "{to: orders-api, tags: {a: b}, scopes"}},
		{schemaTrust, true, true, []string{"from: github", "from: prod", "repository_owner_id", "namespace", "repository_id", "service_account", "{ref: null, run_attempt: \"1\"}", "{pod: null}"}},
		{guard, false, false, []string{"forbid", "forbids"}},
		{guard, false, false, []string{"purpose: p\n", "purpose: p\nmode: shadow\n"}},
		{invariant, false, false, []string{"never: 'false'", "never: 'false'\nalways: 'true'"}},
		{invariant, false, false, []string{"never: 'false'\n", ""}},
		{tests, false, false, []string{"trust: a", "trust: a\nfrom: github"}},
		{tests, false, false, []string{"expect: allow", "expect: maybe"}},
	} {
		src := c.src
		for i := 0; i < len(c.change); i += 2 {
			if !strings.Contains(src, c.change[i]) {
				t.Fatalf("there is no %q", c.change[i])
			}
			src = strings.ReplaceAll(src, c.change[i], c.change[i+1])
		}
		if err := fits(t, open, src); (err == nil) != c.open {
			t.Errorf("%q: %v", c.change, err)
		}
		if err := fits(t, narrow, src); (err == nil) != c.narrow {
			t.Errorf("%q, for the configuration: %v", c.change, err)
		}
	}
}

// TestTrustSchemaOfTheExamples: what compiles for a configuration is right to an
// editor that has the schema of that configuration.
func TestTrustSchemaOfTheExamples(t *testing.T) {
	config := exampleConfig(t)
	schema := trustSchema(t, &config)
	documents, findings := gateway.ReadTrusts(config.Trust)
	if findings.HasErrors() || len(documents) == 0 {
		t.Fatal(findings)
	}
	tests, findings := gateway.ReadTests(config.Trust)
	if findings.HasErrors() || len(tests) == 0 {
		t.Fatal(findings)
	}
	if policy, findings := gateway.LoadPolicy(config, time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)); policy == nil {
		t.Fatal(findings)
	}
	for _, d := range append(documents, tests...) {
		if err := fits(t, schema, string(d.Data)); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
}
