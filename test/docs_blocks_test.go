package test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"cambio/gateway"
	"cambio/trust"
)

// docsConfig has every identity provider and target that the documents name.
const docsConfig = `issuer: https://id.acme.example
identity_providers:
  github: {type: github-actions, audience: "https://id.acme.example"}
  cluster-1: {type: kubernetes, issuer: "https://oidc.acme.example", audience: "https://id.acme.example"}
  google: {type: gcp, audience: "https://id.acme.example"}
  builds:
    type: oidc
    issuer: https://builds.acme.example
    audience: https://id.acme.example
    claims: {project_id: {type: string, anchor: true}, env: {type: string}}
    workload: [project_id, env]
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
  billing-api: {type: jwt, audience: "https://billing.acme.example"}
  aws-prod: {type: aws, account: "111122223333", region: eu-central-1}
  entra: {type: azure, tenant: aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb}
  vault: {type: vault, server: "https://vault.acme.example:8200", audience: "https://vault.acme.example"}
  partner: {type: oauth, token_url: "https://login.partner.example/oauth/token", audience: "https://login.partner.example"}
`

// docsFile stands for any file that a configuration in a document names.
func docsFile(name string) ([]byte, error) {
	if strings.Contains(name, "jwks") {
		return os.ReadFile(filepath.Join(root, "testdata/vectors/keys.json"))
	}
	if strings.Contains(name, "bundle") {
		return os.ReadFile(filepath.Join(root, "testdata/spiffe/bundle.json"))
	}
	if strings.Contains(name, "client-ca") {
		name = "prod-ca.pem" // any authority
	}
	if strings.Contains(name, "password") {
		return []byte("secret"), nil
	}
	return docsAuthority(name)
}

// docsVariable stands for any secret that comes from the environment.
func docsVariable(name string) (string, bool) {
	return "secret", strings.HasPrefix(name, "CAMBIO_") && strings.HasSuffix(name, "_PASSWORD")
}

// TestBlocksAreTrue reads every yaml block of every document as what it is: a
// configuration, a trust document or guardrail, a file of tests, or something of
// somebody else.
func TestBlocksAreTrue(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	kinds := map[string]int{}
	for _, name := range documents(t) {
		if strings.HasPrefix(name, "docs/findings/") {
			continue // half of their documents are bad on purpose; package check holds them to what they draw
		}
		all, _ := blocks(t, name)
		config := configOf(t, name, all)
		together := []trust.Source{}
		for _, b := range all {
			if b.lang == "" {
				t.Errorf("%s:%d: a block says its language; text, where it has none", name, b.line)
			}
			if b.lang != "yaml" {
				continue
			}
			var top map[string]any
			if err := yaml.Unmarshal([]byte(b.text), &top); err != nil {
				t.Errorf("%s:%d: %v", name, b.line, err)
				continue
			}
			switch {
			case top["owner"] != nil:
				kinds["trust"]++
				together = append(together, trust.Source{Name: fmt.Sprintf("%s:%d", name, b.line), Data: []byte(b.text)})
				policy, findings := trust.Compile(gateway.World(config), []trust.Source{{Name: name, Data: []byte(b.text)}}, now)
				for _, f := range findings {
					t.Errorf("%s:%d: %s", name, b.line, f)
				}
				if policy == nil {
					continue
				}
				for _, r := range policy.Test(now) {
					if !r.OK {
						t.Errorf("%s:%d: the test %q fails: %s", name, b.line, r.Name, r.Reason)
					}
				}
			case top["tests"] != nil:
				kinds["tests"]++
				none, _ := trust.Compile(gateway.World(config), nil, now)
				_, findings := none.WithTests([]trust.Source{{Name: name, Data: []byte(b.text)}})
				for _, f := range findings {
					if f.ID != trust.FindingUnknownTrust { // the trust stands elsewhere
						t.Errorf("%s:%d: %s", name, b.line, f)
					}
				}
			case !configures(top):
				kinds["other"]++ // a pipeline, a manifest
			default:
				kinds["configuration"]++
				text := b.text
				if top["issuer"] == nil {
					text += "issuer: https://id.acme.example\n"
				}
				_, findings := gateway.ParseConfig(name, []byte(text), docsVariable, docsFile)
				for _, f := range findings {
					if f.ID != "no-target" && f.ID != "no-identity-provider" { // a block shows a part
						t.Errorf("%s:%d: %s", name, b.line, f)
					}
				}
			}
		}
		// Whoever follows a page puts all of its trusts into one folder.
		if policy, _ := trust.Compile(gateway.World(config), together, now); policy != nil && strings.HasPrefix(name, "docs/how-to/") {
			for _, r := range policy.Test(now) {
				if !r.OK {
					t.Errorf("%s: the test %q fails where the page's trusts are together: %s", name, r.Name, r.Reason)
				}
			}
		}
	}
	if kinds["trust"] < 5 || kinds["configuration"] < 5 || kinds["tests"] < 1 || kinds["other"] < 2 {
		t.Errorf("found only %v", kinds)
	}
}

// configures reports whether a block is a part of cambio.yaml.
func configures(top map[string]any) bool {
	if top["apiVersion"] != nil {
		return false
	}
	for _, key := range []string{
		"issuer", "trust_domain", "listen", "tls", "admin_listen", "trusted_proxies", "trust", "state", "keys", "redis", "journal", "limits", "identity_providers", "targets",
	} {
		if top[key] != nil {
			return true
		}
	}
	return false
}

// configOf is the configuration that the trusts of a document are for: that of all
// documents, with what its own blocks configure.
func configOf(t *testing.T, name string, all []block) gateway.Config {
	t.Helper()
	var whole map[string]any
	if err := yaml.Unmarshal([]byte(docsConfig), &whole); err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		var top map[string]any
		if b.lang != "yaml" || yaml.Unmarshal([]byte(b.text), &top) != nil || !configures(top) {
			continue
		}
		if own, ok := top["tls"].(map[string]any); ok {
			whole["tls"] = own // who ends TLS is a part of what providers are taken
		}
		for _, part := range []string{"identity_providers", "targets"} {
			own, _ := top[part].(map[string]any)
			into, ok := whole[part].(map[string]any)
			if !ok {
				t.Fatalf("%s is no map", part)
			}
			maps.Copy(into, own)
		}
	}
	text, err := yaml.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	config, findings := gateway.ParseConfig(name, text, docsVariable, docsFile)
	if findings.HasErrors() {
		t.Errorf("%s: its configurations together: %s", name, findings)
		config, findings = gateway.ParseConfig(name, []byte(docsConfig), nil, docsFile)
		if findings.HasErrors() {
			t.Fatal(findings)
		}
	}
	return config
}

var (
	markdownLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	markdownHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced          = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors are the fragments of a document's headings, as forges make them.
func anchors(text string) []string {
	var out []string
	for _, m := range markdownHeading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		s := strings.ToLower(strings.ReplaceAll(m[1], "`", ""))
		s = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(s, "")
		out = append(out, strings.ReplaceAll(s, " ", "-"))
	}
	return out
}

func TestLinksResolve(t *testing.T) {
	found := 0
	for _, name := range documents(t) {
		text := document(t, name)
		for _, m := range markdownLink.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			found++
			file, fragment, _ := strings.Cut(m[1], "#")
			to := name
			if file != "" {
				to = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, m[1])
				continue
			}
			if fragment != "" && !slices.Contains(anchors(document(t, to)), fragment) {
				t.Errorf("%s: the link %s: there is no such heading", name, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("found only %d links", found)
	}
}

// TestCommandsExist looks up every command and flag that a document shows.
func TestCommandsExist(t *testing.T) {
	reference := document(t, "docs/reference/cli.md")
	word := regexp.MustCompile(`^[a-z]+$`)
	commands, flags := 0, regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]+)`)
	for _, name := range documents(t) {
		text := document(t, name)
		var shown []string
		for _, m := range regexp.MustCompile("(?m)`cambio ([^`]+)`").FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			shown = append(shown, m[1])
		}
		all, _ := blocks(t, name)
		for _, b := range all {
			if b.lang != "sh" {
				continue
			}
			for _, m := range regexp.MustCompile(`(?m)(?:^|[(|;&]\s*)cambio ([^|\n)]+)`).FindAllStringSubmatch(b.text, -1) {
				shown = append(shown, m[1])
			}
		}
		for _, line := range shown {
			line, _, _ = strings.Cut(line, " -- ")
			line, _, _ = strings.Cut(line, " # ")
			words := strings.Fields(line)
			if !word.MatchString(words[0]) { // `cambio COMMAND`
				continue
			}
			commands++
			one := "## cambio " + words[0]
			two := one
			if len(words) > 1 {
				two += " " + words[1]
			}
			if !strings.Contains(reference, one+"\n") && !strings.Contains(reference, two+"\n") && (len(words) > 1 || !strings.Contains(reference, one+" ")) {
				t.Errorf("%s: there is no command cambio %s", name, line)
			}
			for _, f := range flags.FindAllStringSubmatch(line, -1) {
				if !strings.Contains(reference, f[1]) {
					t.Errorf("%s: cambio %s: there is no flag %s", name, line, f[1])
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("found only %d commands", commands)
	}
}

// TestNamedTestsExist looks for every test that a document names: a promise that
// leans on a test which is gone leans on nothing.
func TestNamedTestsExist(t *testing.T) {
	declared := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, name := range files(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range function.FindAllStringSubmatch(document(t, name), -1) {
			declared[path.Dir(name)+"."+m[1]] = true
		}
	}
	named, reference := 0, regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz|Benchmark)\\w+)`")
	for _, name := range documents(t) {
		for _, m := range reference.FindAllStringSubmatch(document(t, name), -1) {
			named++
			if !declared[m[1]+"."+m[2]] {
				t.Errorf("%s names %s.%s, which does not exist", name, m[1], m[2])
			}
		}
	}
	cases, all := regexp.MustCompile("`([A-Z]{2,4}-\\d\\d)`"), attacks()
	for _, m := range cases.FindAllStringSubmatch(document(t, "docs/security-model.md"), -1) {
		named++
		if all[m[1]] == nil {
			t.Errorf("docs/security-model.md names the case %s, which no test runs", m[1])
		}
	}
	if named < 40 {
		t.Errorf("found only %d names of tests: the security model has more", named)
	}
}
