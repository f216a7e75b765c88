// Package check is the linter of trust documents: it finds what is allowed by the
// rules and most likely not meant. It judges documents that compiled; what does
// not compile is an error already. It knows no platform: what claims mean, which
// of them are names, who chooses them, is data of [trust.Platform].
//
// A right policy is silent at warning level. What is a matter of taste is info.
package check

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Options is what a policy does not know about itself.
type Options struct {
	Now time.Time
	// Config is shown as the file of findings about the configuration.
	Config string
	// LastUsed is when each trust last allowed an exchange, and Since the time of
	// the journal's first record. A nil map is no journal: nothing is said of use.
	LastUsed map[string]time.Time
	Since    time.Time
}

// Run is all that there is to say about a policy beyond what its compilation
// said, sorted by file and place. It is deterministic, and works on all
// processors.
func Run(p *trust.Policy, o Options) strictyaml.Findings {
	l := newLinter(p, o)
	trusts := p.All()
	l.facts = make([]*facts, len(trusts))
	each := make([]strictyaml.Findings, len(trusts))
	parallel(len(trusts), func(i int) {
		l.facts[i] = l.read(trusts[i])
		r := &report{file: trusts[i].File, severity: l.severity}
		l.trust(r, l.facts[i])
		each[i] = r.findings
	})
	all := slices.Concat(each...)
	all = append(all, l.guardrails()...)
	together, undecided := l.fleet()
	all = append(all, together...)
	all = append(all, l.proven(undecided)...)
	all = append(all, l.unused()...)
	return sorted(all)
}

// sorted puts findings in order and keeps one of each id at each place: a file of
// a thousand like values has one thing to say. What nobody uses has no place of its
// own, and is told apart by its name.
func sorted(all strictyaml.Findings) strictyaml.Findings {
	slices.SortStableFunc(all, func(a, b strictyaml.Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.ID, b.ID), cmp.Compare(rank(a.Severity), rank(b.Severity)))
	})
	return slices.CompactFunc(all, func(a, b strictyaml.Finding) bool {
		same := a.ID == b.ID && a.File == b.File && a.Line == b.Line && a.Column == b.Column
		return same && (a.Field == b.Field || a.ID != "unused-provider" && a.ID != "unused-target")
	})
}

// rank orders severities, the worst first.
func rank(s strictyaml.Severity) int {
	return slices.Index([]strictyaml.Severity{strictyaml.Error, strictyaml.Warning, strictyaml.Info}, s)
}

// linter is one run. Its caches are filled before the workers start, or locked.
type linter struct {
	policy     *trust.Policy
	world      trust.World
	options    Options
	severities map[string]strictyaml.Severity
	identities map[string][]trust.ClaimRef // by provider: what its workload ids are made of
	conditions sync.Map                    // source in its environment to *conditionOnce
	facts      []*facts                    // in the order of the policy's trusts
}

func newLinter(p *trust.Policy, o Options) *linter {
	l := &linter{policy: p, world: p.World(), options: o, severities: map[string]strictyaml.Severity{}, identities: map[string][]trust.ClaimRef{}}
	for _, r := range rules() {
		l.severities[r.ID] = r.Severity
	}
	for name, provider := range l.world.Providers {
		l.identities[name] = identityClaims(p, name, provider)
	}
	return l
}

// severity is the usual one of a finding.
func (l *linter) severity(id string) strictyaml.Severity { return l.severities[id] }

// report collects the findings of one document.
type report struct {
	file     string
	severity func(id string) strictyaml.Severity
	findings strictyaml.Findings
}

// say adds a finding with its usual severity.
func (r *report) say(id string, at trust.Place, field, message, fix string) {
	r.as(r.severity(id), id, at, field, message, fix)
}

// as adds a finding with another severity than its usual one.
func (r *report) as(s strictyaml.Severity, id string, at trust.Place, field, message, fix string) {
	if at.Line == 0 {
		at = trust.Place{Line: 1, Column: 1}
	}
	r.findings = append(r.findings, strictyaml.Finding{
		ID: id, Severity: s, File: r.file, Line: at.Line, Column: at.Column, Field: field, Message: message, Fix: fix,
	})
}

// trust is what there is to say about one trust by itself.
func (l *linter) trust(r *report, f *facts) {
	l.matchLines(r, f)
	l.conditionsOf(r, f)
	l.names(r, f)
	l.identity(r, f)
	l.outsiders(r, f)
	l.grants(r, f)
	l.runPhase(r, f)
	if lint := f.provider.Platform.Lint; lint != nil {
		for _, m := range lint(f.Trust) {
			r.say(m.ID, m.At, m.Field, m.Message, m.Fix)
		}
	}
}

// parallel calls f for 0 to n-1 on all processors.
func parallel(n int, f func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
