package trust

import (
	"cmp"
	"slices"
	"strings"

	"cambio/trust/strictyaml"
)

// TestFileSuffix ends the names of the files that hold tests and no document.
// They never are part of a policy: to change a test changes no decision.
const TestFileSuffix = "_test.yaml"

// testFile holds tests that stand beside the documents.
type testFile struct {
	name     string
	rule     *rule // whose match the claims begin with; nil: the platform's sample alone
	provider *providerPolicy
	tests    []testCase
}

// WithTests is the policy with the tests of these files, which [Policy.Test] then
// runs after those of the documents. Decisions and hash stay the same. All that is
// wrong with all files is reported at once; with an error there is no policy.
func (p *Policy) WithTests(files []Source) (*Policy, strictyaml.Findings) {
	files = slices.SortedFunc(slices.Values(files), func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	c := p.testCompiler()
	tested := *p
	tested.testFiles = make([]testFile, 0, len(files))
	var findings strictyaml.Findings
	for _, file := range files {
		root, problems := strictyaml.Inspect(file.Name, file.Data)
		r := &reader{c: c}
		r.Add(problems...)
		switch {
		case root == nil:
		case root.Kind != strictyaml.Map:
			r.WrongType(root, "a map")
		default:
			t := r.testFile(p, root)
			t.name = file.Name
			r.Words(root)
			tested.testFiles = append(tested.testFiles, t)
		}
		findings = append(findings, r.Findings()...)
	}
	if findings.HasErrors() {
		return nil, findings.Sorted()
	}
	return &tested, findings.Sorted()
}

// testCompiler knows what the reader of a test asks for.
func (p *Policy) testCompiler() *compiler {
	c := &compiler{world: p.world, providers: p.providers, texts: map[string]string{}}
	for name := range p.providers {
		c.providerNames = append(c.providerNames, name)
	}
	for name := range p.world.Targets {
		c.targetNames = append(c.targetNames, name)
	}
	slices.Sort(c.providerNames)
	slices.Sort(c.targetNames)
	return c
}

func (r *reader) testFile(p *Policy, root *strictyaml.Node) testFile {
	r.allow(root, Fields(TestFilePart)...)
	var t testFile
	of, from := root.Get("trust"), root.Get("from")
	switch {
	case of == nil && from == nil:
		r.Missing(root, "trust", "write trust: and the name of the trust that is tested, or from: and that of an identity provider")
	case of != nil && from != nil:
		r.Error(from, FindingInvalid, "trust stands here too, and says which identity provider", "leave one of them out")
	case of != nil:
		if name := r.text(of, maxText); name != "" {
			t.rule = p.byName[name]
			if t.rule == nil {
				r.Error(of, FindingUnknownTrust, "no trust is named "+of.Show(), strictyaml.DidYouMean(name, p.Names()))
			} else {
				t.provider = t.rule.provider
			}
		}
	default:
		if name := r.text(from, maxText); name != "" {
			t.provider = p.providers[name]
			if t.provider == nil {
				r.Error(from, FindingUnknownProvider, "no identity provider is named "+from.Show(), strictyaml.DidYouMean(name, r.c.providerNames))
			}
		}
	}
	tests := root.Get("tests")
	if tests == nil {
		r.Missing(root, "tests", "write tests: and a list of them")
		return t
	}
	for _, item := range r.list(tests, maxFileTests) {
		if test, ok := r.test(item, t.provider); ok {
			t.tests = append(t.tests, test)
		}
	}
	return t
}

// onlyTests reports whether a document is a file of tests, by what it holds.
func onlyTests(root *strictyaml.Node) bool {
	has := func(name string) bool { return root.Get(name) != nil }
	return has("tests") && !slices.ContainsFunc([]string{"name", "match", "grants", "guardrail", "invariant"}, has)
}

// IsTestFile reports whether a file of the documents' folder holds tests, by its
// name.
func IsTestFile(name string) bool { return strings.HasSuffix(name, TestFileSuffix) }
