package tighten

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Options say how much evidence is enough, and what may be added.
type Options struct {
	Decisions int           // at least so many of a trust
	Span      time.Duration // between its first and its last
	// Networks and Hours add access.networks and access.hours where a document has
	// none; those that it has are narrowed in any case.
	Networks, Hours bool
}

const (
	// hoursDecisions and hoursDays are what hours are narrowed by at least: a job
	// that ran five times at nine says nothing about the month's end.
	hoursDecisions = 20
	hoursDays      = 14
)

// Report is what a study comes to.
type Report struct {
	From      time.Time  `json:"from,omitzero"` // of the records
	To        time.Time  `json:"to,omitzero"`
	Proposals []Proposal `json:"proposals"`
	Left      []Left     `json:"left"`   // trusts without a proposal, and why
	Unused    []string   `json:"unused"` // trusts that allowed nothing: candidates for removal
}

// Proposal is a narrower document.
type Proposal struct {
	Trust     string    `json:"trust"`
	File      string    `json:"file"`
	Owner     string    `json:"owner"`
	Decisions int64     `json:"decisions"`
	Days      int       `json:"days"` // on which there were any
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Changes   []Change  `json:"changes"`
	Kept      []string  `json:"kept"` // what could look narrower, and why it stays
	Patch     string    `json:"patch"`
	Document  []byte    `json:"-"` // the whole file
}

// Change is one line of a document.
type Change struct {
	Field    string `json:"field"`
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Evidence string `json:"evidence"`
}

// Left is a trust that stays as it is.
type Left struct {
	Trust string `json:"trust"`
	Why   string `json:"why"`
}

// Propose writes the narrower documents. sources holds the bytes of each file of
// the policy. The workers are done.
func (s *Study) Propose(sources []trust.Source, o Options) Report {
	all, from, to := s.learned()
	r := Report{From: from, To: to, Proposals: []Proposal{}, Left: []Left{}, Unused: []string{}}
	files := map[string][]byte{}
	for _, src := range sources {
		files[src.Name] = src.Data
	}
	for _, name := range slices.Sorted(maps.Keys(s.trusts)) {
		k := all[name]
		if k == nil {
			r.Unused = append(r.Unused, name)
			continue
		}
		if why := k.enough(o); why != "" {
			r.Left = append(r.Left, Left{name, why})
			continue
		}
		p, why := s.propose(s.trusts[name], k, files[s.trusts[name].trust.File], o)
		if why != "" {
			r.Left = append(r.Left, Left{name, why})
			continue
		}
		r.Proposals = append(r.Proposals, p)
	}
	return r
}

// enough says what evidence is missing.
func (s *seen) enough(o Options) string {
	over := s.span.last.Sub(s.span.first)
	switch {
	case s.undecided > 0:
		return fmt.Sprintf("%d of its decisions cannot be judged again: %s not recorded", s.undecided, strings.Join(slices.Sorted(maps.Keys(s.hinges)), ", "))
	case s.span.count == 0:
		return fmt.Sprintf("the document denies all %d decisions that it allowed then", s.gone)
	case s.span.count < int64(o.Decisions):
		return fmt.Sprintf("%d decisions, fewer than %d: too little to learn from", s.span.count, o.Decisions)
	case over < o.Span:
		return fmt.Sprintf("all %d decisions within %s, less than %s: too little to learn from", s.span.count, strictyaml.Duration(over.Truncate(time.Hour)), strictyaml.Duration(o.Span))
	}
	return ""
}

// drafting is one proposal as it is written.
type drafting struct {
	*Proposal
	t       trust.Trust
	k       *seen
	e       *editor
	o       Options
	policy  *trust.Policy
	watched []trust.ClaimRef
}

func (s *Study) propose(subject *subject, k *seen, source []byte, o Options) (Proposal, string) {
	t := subject.trust
	p := Proposal{
		Trust: t.Name, File: t.File, Owner: t.Owner, Decisions: k.span.count, Days: len(k.days), From: k.span.first, To: k.span.last,
		Changes: []Change{}, Kept: []string{},
	}
	e, err := newEditor(t.File, source)
	if err != nil {
		return p, "its document is written in a way that is not edited: " + err.Error()
	}
	d := &drafting{Proposal: &p, t: t, k: k, e: e, o: o, policy: s.policy, watched: subject.watched}
	for _, step := range []func() error{d.match, d.pins, d.access, d.grants} {
		if err := step(); err != nil {
			return p, err.Error()
		}
	}
	if len(p.Changes) == 0 {
		why := "nothing to narrow"
		if len(p.Kept) > 0 {
			why += ": " + strings.Join(p.Kept, "; ")
		}
		return p, why
	}
	if p.Document, err = e.bytes(); err != nil {
		return p, err.Error()
	}
	// An edit that does not load, or says something else than it should, is none.
	if _, findings := trust.Compile(s.policy.World(), []trust.Source{{Name: t.File, Data: p.Document}}, k.span.last); findings.HasErrors() {
		return p, errByHand.Error()
	}
	p.Patch = unified(strings.TrimPrefix(t.File, "/"), source, p.Document)
	return p, ""
}

// change notes an edit with its evidence, unless the document's form is one that
// is left alone.
func (d *drafting) change(c Change, err error) error {
	switch {
	case errors.Is(err, errByHand):
		d.keep("%s: %s, by hand: the document is written in a way that is not edited (%s)", c.Field, cmp.Or(c.To, "remove "+c.From), c.Evidence)
		return nil
	case err != nil:
		return err
	}
	d.Changes = append(d.Changes, c)
	return nil
}

func (d *drafting) keep(format string, args ...any) {
	d.Kept = append(d.Kept, fmt.Sprintf(format, args...))
}

func (d *drafting) over() string {
	return "in " + count(int(d.Decisions), "decision") + " on " + count(d.Days, "day")
}

// match narrows lists and globs to the values that were seen.
func (d *drafting) match() error {
	for _, l := range d.t.Match {
		field := "match." + l.Name
		v := d.k.claims[l.Claim.ID()]
		if len(l.Want) == 1 && !l.Want[0].Glob {
			continue
		}
		switch {
		case d.implies(l.Claim) && !l.Pins():
			d.keep("%s: to name its values would say that what the platform refuses unless it is meant, is meant", field)
			continue
		case v.unknown > 0:
			d.keep("%s: the journal does not keep the claim", field)
			continue
		case v.crowded:
			d.keep("%s: more than %d values", field, maxValues)
			continue
		}
		node := d.e.root.Get("match").Get(l.Name)
		var nodes []*strictyaml.Node
		if nodes = []*strictyaml.Node{node}; node.Kind == strictyaml.List {
			nodes = node.Items()
		}
		if len(nodes) != len(l.Want) {
			return errByHand
		}
		to := make([][]string, len(l.Want))
		var gone, came []string
		for i, values := range fit(l.Want, v.by) {
			w := l.Want[i]
			switch {
			case len(values) == 0:
				gone = append(gone, wanted(w))
			case !w.Glob:
				to[i] = []string{keep}
			case len(values) > maxListed || !settled(values, d.k.span):
				to[i] = []string{keep}
				d.keep("%s: %s took %d values, and new ones until %s", field, wanted(w), len(values), newest(values).UTC().Format(time.DateOnly))
			default:
				gone = append(gone, wanted(w))
				for _, value := range sortedValues(values) {
					to[i] = append(to[i], yamlText(value))
				}
				came = append(came, to[i]...)
			}
		}
		if len(gone) == 0 {
			continue
		}
		c := Change{
			Field: field, From: strings.Join(gone, ", "), To: strings.Join(came, ", "),
			Evidence: fmt.Sprintf("%s %s; the newest was first seen on %s", count(len(v.by), "value"), d.over(), newest(v.by).UTC().Format(time.DateOnly)),
		}
		mark := len(d.e.edits)
		var err error
		switch {
		case node.Kind == strictyaml.List:
			err = d.e.items(node, to)
		case len(to[0]) == 1:
			err = d.e.value(node, to[0][0])
		default:
			err = d.e.value(node, "["+strings.Join(to[0], ", ")+"]")
		}
		if err != nil {
			d.e.edits = d.e.edits[:mark]
		}
		if err := d.change(c, err); err != nil {
			return err
		}
	}
	return nil
}

// implies reports whether the platform has a condition that is gone once match pins
// the claim by equality: the document would be wider for it, not narrower.
func (d *drafting) implies(c trust.ClaimRef) bool {
	for name := range d.policy.World().Providers[d.t.Provider].Platform.Implied {
		if implied, ok := d.policy.Claim(d.t.Provider, name); ok && implied.ID() == c.ID() {
			return true
		}
	}
	return false
}

func wanted(w trust.Wanted) string {
	if w.Glob {
		return "{glob: " + yamlText(w.Value) + "}"
	}
	return yamlText(w.Value)
}

func newest(by map[any]*span) time.Time {
	var at time.Time
	for _, s := range by {
		if s.first.After(at) {
			at = s.first
		}
	}
	return at
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// pins adds the claims that were always the same, of those that say who the
// workload is, or which a reviewer looks for.
func (d *drafting) pins() error {
	for _, c := range d.watched {
		if slices.ContainsFunc(d.t.Match, func(l trust.MatchLine) bool { return l.Claim.ID() == c.ID() }) || d.implies(c) {
			continue
		}
		v := d.k.claims[c.ID()]
		if v == nil || v.unknown+v.without > 0 || v.crowded || len(v.by) != 1 {
			continue
		}
		value := sortedValues(v.by)[0]
		if value == "" {
			continue // an empty text is what a platform without that claim sends for all
		}
		change := Change{Field: "match." + c.Shown(), To: yamlText(value), Evidence: "the only value " + d.over()}
		if err := d.change(change, d.e.add(d.e.root.Get("match"), yamlText(c.Shown()), change.To)); err != nil {
			return err
		}
	}
	return nil
}
