package trust

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cel.dev/cel-go/cel"

	"cambio/trust/strictyaml"
)

// Source is one file of the folder of documents.
type Source struct {
	Name string // shown in findings
	Data []byte
}

// Policy is a whole folder of documents, compiled against one configuration. It
// is immutable and safe for concurrent use. The zero value denies everything.
type Policy struct {
	sha        string
	providers  map[string]*providerPolicy
	rules      []*rule // sorted by name
	byName     map[string]*rule
	guardrails []*guardrail // sorted by name
	invariants []*invariant // sorted by name
	world      World
	testFiles  []testFile // sorted by name; see WithTests
	enforced   *rule      // judged as if its mode were enforce, by its own tests; else nil
}

// SHA256 is the hash, in hex, of the documents with their names, of the
// providers and of the targets: all that a decision is taken by.
func (p *Policy) SHA256() string { return p.sha }

// Trusts is the number of trusts, those in mode shadow included.
func (p *Policy) Trusts() int { return len(p.rules) }

// Names are the names of the trusts, sorted, those in mode shadow included.
func (p *Policy) Names() []string {
	names := make([]string, len(p.rules))
	for i, r := range p.rules {
		names[i] = r.name
	}
	return names
}

// Guardrails is the number of guardrails.
func (p *Policy) Guardrails() int { return len(p.guardrails) }

// compiler is shared by the workers of one [Compile]; what they change is
// behind its locks.
type compiler struct {
	world         World
	now           time.Time
	base          *cel.Env
	anyClaims     *celEnv // finds what is wrong with a condition whatever the claims are
	providers     map[string]*providerPolicy
	providerNames []string
	targetNames   []string

	conditions sync.Map // conditionKey to *compiledOnce
	mu         sync.Mutex
	guardEnvs  map[string]*celEnv
	texts      map[string]string
}

type conditionKey struct {
	env    *celEnv
	source string
}

type compiledOnce struct {
	once      sync.Once
	condition *condition
	problems  []celProblem
}

// condition compiles each distinct source of an environment once: thousands of
// trusts share a few conditions.
func (c *compiler) condition(env *celEnv, source string) (*condition, []celProblem) {
	key := conditionKey{env, source}
	found, ok := c.conditions.Load(key)
	if !ok {
		key.source = strings.Clone(source) // not to keep the whole file
		found, _ = c.conditions.LoadOrStore(key, &compiledOnce{})
	}
	entry, _ := found.(*compiledOnce)
	entry.once.Do(func() { entry.condition, entry.problems = env.compile(key.source) })
	return entry.condition, entry.problems
}

// maxInterned bounds the texts worth sharing: long ones are seldom alike.
const maxInterned = 128

// intern returns one copy of each text, so that equal values in 100,000
// documents are kept once, and no document's source is kept for them.
func (c *compiler) intern(s string) string {
	if len(s) > maxInterned {
		return strings.Clone(s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.texts[s]; ok {
		return known
	}
	s = strings.Clone(s)
	c.texts[s] = s
	return s
}

// guardEnv is the environment of a guardrail: the claims that all its providers
// have with one type, or that all providers have where it names none.
func (c *compiler) guardEnv(from []string) (*celEnv, error) {
	if from == nil {
		from = c.providerNames
	}
	key := strings.Join(from, " ")
	c.mu.Lock()
	defer c.mu.Unlock()
	if env, ok := c.guardEnvs[key]; ok {
		return env, nil
	}
	schema := &claimSchema{}
	for i, name := range from {
		if i == 0 {
			schema = c.providers[name].schema
		} else {
			schema = schema.intersect(c.providers[name].schema)
		}
	}
	env, err := newCELEnv(c.base, schema)
	if err != nil {
		return nil, err
	}
	c.guardEnvs[key] = env
	return env, nil
}

// document is one file that was read.
type document struct {
	rule      *rule
	guardrail *guardrail
	invariant *invariant
	findings  strictyaml.Findings
}

// Compile reads all documents against the configuration and returns one policy.
// now serves warnings alone. With an error among the findings there is no
// policy; all that is wrong with all files is reported at once. The findings are
// sorted by file and place.
func Compile(world World, files []Source, now time.Time) (*Policy, strictyaml.Findings) {
	files = slices.SortedFunc(slices.Values(files), func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	c, err := newCompiler(world, now)
	if err != nil {
		return nil, strictyaml.Findings{{ID: FindingInternal, Severity: strictyaml.Error, Message: err.Error()}}
	}
	documents := make([]document, len(files))
	c.readAll(files, documents)

	p := &Policy{providers: c.providers, byName: make(map[string]*rule, len(files)), world: world}
	var findings strictyaml.Findings
	guardNames, invariantNames := map[string]*guardrail{}, map[string]*invariant{}
	for i := range documents {
		d := &documents[i]
		findings = append(findings, d.findings...)
		switch {
		case d.rule != nil:
			t := d.rule
			if other := p.byName[t.name]; other != nil && t.name != "" {
				findings = append(findings, duplicate(t.file, t.nameAt, "trust", t.name, other.file))
			} else if t.name != "" {
				p.byName[t.name] = t
			}
			p.rules = append(p.rules, t)
		case d.guardrail != nil:
			g := d.guardrail
			if other := guardNames[g.name]; other != nil && g.name != "" {
				findings = append(findings, duplicate(g.file, g.nameAt, "guardrail", g.name, other.file))
			} else if g.name != "" {
				guardNames[g.name] = g
			}
			p.guardrails = append(p.guardrails, g)
		case d.invariant != nil:
			v := d.invariant
			if other := invariantNames[v.name]; other != nil && v.name != "" {
				findings = append(findings, duplicate(v.file, v.nameAt, "invariant", v.name, other.file))
			} else if v.name != "" {
				invariantNames[v.name] = v
			}
			p.invariants = append(p.invariants, v)
		}
	}
	if findings.HasErrors() {
		return nil, findings.Sorted()
	}
	if p.sha, err = policyHash(world, files); err != nil {
		return nil, strictyaml.Findings{{ID: FindingInternal, Severity: strictyaml.Error, Message: err.Error()}}
	}
	p.link()
	return p, findings.Sorted()
}

func duplicate(file string, at Place, kind, name, other string) strictyaml.Finding {
	return strictyaml.Finding{
		ID: FindingDuplicateName, Severity: strictyaml.Error, File: file, Line: at.Line, Column: at.Column,
		Message: fmt.Sprintf("%s also is a %s named %q", other, kind, name), Fix: "give one of them another name",
	}
}

func newCompiler(world World, now time.Time) (*compiler, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, fmt.Errorf("build the CEL environment: %w", err)
	}
	c := &compiler{
		world: world, now: now, base: base,
		anyClaims:     &celEnv{env: base, schema: &claimSchema{}, open: true},
		providers:     make(map[string]*providerPolicy, len(world.Providers)),
		providerNames: slices.Sorted(maps.Keys(world.Providers)),
		targetNames:   slices.Sorted(maps.Keys(world.Targets)),
		guardEnvs:     map[string]*celEnv{},
		texts:         map[string]string{},
	}
	envs := claimEnvs{}
	for name, provider := range world.Providers {
		env, err := envs.of(base, provider)
		if err == nil {
			c.providers[name], err = newProviderPolicy(env, name, provider)
		}
		if err != nil {
			return nil, fmt.Errorf("identity provider %s: %w", name, err)
		}
	}
	for name, target := range world.Targets {
		if err := checkTarget(target.Type); err != nil {
			return nil, fmt.Errorf("target %s: %w", name, err)
		}
	}
	return c, nil
}

// checkTarget refuses a target type that asks for what the judge does not do:
// a field that narrows otherwise than it says would grant too much.
func checkTarget(t TargetType) error {
	known := map[string]Field{
		"resource": {Type: StringField, Narrows: Equal},
		"scopes":   {Type: StringsField, Narrows: Subset},
		"ttl":      {Type: DurationField, Narrows: Max},
		"claims":   {Type: ClaimsField, Narrows: Opaque},
	}
	for name, f := range t.Fields {
		want, ok := known[name]
		if !ok && f.Narrows == Opaque && slices.Contains([]FieldType{TemplateField, TemplatesField, StringField, StringsField, DocumentField}, f.Type) {
			continue // handed on as it is
		}
		if !ok || f.Type != want.Type || f.Narrows != want.Narrows {
			return fmt.Errorf("type %s: the field %q of type %q that narrows by %q is not known", t.Name, name, f.Type, f.Narrows)
		}
	}
	return nil
}

// readAll reads the files on all processors.
func (c *compiler) readAll(files []Source, into []document) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				into[i] = c.read(files[i])
			}
		})
	}
	wg.Wait()
}

func (c *compiler) read(file Source) document {
	root, findings := strictyaml.Inspect(file.Name, file.Data)
	if root == nil {
		return document{findings: findings}
	}
	if root.Kind != strictyaml.Map {
		r := &reader{c: c}
		r.Add(findings...)
		r.WrongType(root, "a map")
		return document{findings: r.Findings()}
	}
	r := &reader{c: c}
	r.Add(findings...)
	d := document{}
	switch {
	case root.Get("invariant") != nil:
		d.invariant = r.invariant(root)
		d.invariant.file, d.invariant.sha = file.Name, sha256.Sum256(file.Data)
	case root.Get("guardrail") != nil:
		d.guardrail = r.guardrail(root)
		d.guardrail.file, d.guardrail.sha = file.Name, sha256.Sum256(file.Data)
	case onlyTests(root):
		r.Error(root, FindingTestFileName, "these are tests and no trust, and the name of the file does not say so",
			"name it *"+TestFileSuffix)
	default:
		d.rule = r.trust(root)
		d.rule.file, d.rule.sha = file.Name, sha256.Sum256(file.Data)
		d.rule.compact(c)
	}
	r.Words(root)
	d.findings = r.Findings()
	return d
}

// compact lets go of the document's source: a string of a node would keep all
// of the file.
func (t *rule) compact(c *compiler) {
	t.name, t.owner, t.purpose = strings.Clone(t.name), c.intern(t.owner), strings.Clone(t.purpose)
	t.match, t.grants, t.when = slices.Clip(t.match), slices.Clip(t.grants), slices.Clip(t.when)
	if t.provider != nil {
		t.anchorKey = t.provider.anchorOf(t.match)
	}
}

// link builds what lookups need, once there is no error.
func (p *Policy) link() {
	byName := func(a, b *rule) int { return cmp.Compare(a.name, b.name) }
	slices.SortFunc(p.rules, byName)
	slices.SortFunc(p.guardrails, func(a, b *guardrail) int { return cmp.Compare(a.name, b.name) })
	slices.SortFunc(p.invariants, func(a, b *invariant) int { return cmp.Compare(a.name, b.name) })
	for _, t := range p.rules {
		t.provider.rules = append(t.provider.rules, t)
		if !t.shadow && t.tokenUse != "" && t.tokenUse.Tighter(t.provider.tokenUse) {
			t.provider.tightened = true
		}
	}
	for name, provider := range p.providers {
		provider.index = newIndex(provider.anchors, provider.rules)
		for _, g := range p.guardrails {
			if g.from == nil || slices.Contains(g.from, name) {
				provider.guardrails = append(provider.guardrails, g)
			}
		}
	}
}

// policyHash is over the documents' hashes, in their own order, and over the
// configuration that gives the documents their meaning. File names stay out:
// replicas whose folders lie elsewhere have the same policy.
func policyHash(world World, files []Source) (string, error) {
	config, err := json.Marshal(world)
	if err != nil {
		return "", fmt.Errorf("hash the configuration: %w", err)
	}
	var all bytes.Buffer
	hashes := make([]string, len(files))
	for i, f := range files {
		hashes[i] = fmt.Sprintf("%x", sha256.Sum256(f.Data))
	}
	slices.Sort(hashes)
	for _, h := range hashes {
		fmt.Fprintf(&all, "document %s\n", h)
	}
	fmt.Fprintf(&all, "configuration %x\n", sha256.Sum256(config))
	sum := sha256.Sum256(all.Bytes())
	return hex.EncodeToString(sum[:]), nil
}
