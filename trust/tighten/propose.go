package tighten

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
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
	return fmt.Sprintf("in %d decisions on %d days", d.Decisions, d.Days)
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
		if slices.ContainsFunc(d.t.Match, func(l trust.MatchLine) bool { return l.Claim.ID() == c.ID() }) {
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

// access narrows networks and hours, or adds them where that is asked for.
func (d *drafting) access() error {
	node := d.e.root.Get("access")
	var lines []string
	if d.t.Access.Networks != nil {
		if err := d.narrowNetworks(node.Get("networks")); err != nil {
			return err
		}
	} else if d.o.Networks {
		if text, c := d.newNetworks(); text != "" {
			if node != nil {
				if err := d.change(c, d.e.add(node, "networks", text)); err != nil {
					return err
				}
			} else {
				lines = append(lines, "  networks: "+text+"\n")
				d.Changes = append(d.Changes, c)
			}
		}
	}
	if d.t.Access.Hours != nil {
		if err := d.narrowHours(node.Get("hours")); err != nil {
			return err
		}
	} else if d.o.Hours {
		if text, c := d.newHours(); text != "" {
			if node != nil {
				if err := d.change(c, d.e.add(node, "hours", text)); err != nil {
					return err
				}
			} else {
				lines = append(lines, "  hours: "+text+"\n")
				d.Changes = append(d.Changes, c)
			}
		}
	}
	if lines == nil {
		return nil
	}
	return d.e.before("grants", "access:\n"+strings.Join(lines, ""))
}

func (d *drafting) narrowNetworks(node *strictyaml.Node) error {
	if d.k.crowded {
		d.keep("access.networks: more than %d addresses", maxAddresses)
		return nil
	}
	if node.Kind != strictyaml.List || len(node.Items()) != len(d.t.Access.Networks) {
		return errByHand
	}
	to := make([][]string, len(d.t.Access.Networks))
	changed, open := false, false
	for i, p := range d.t.Access.Networks {
		to[i] = []string{keep}
		inside := map[netip.Addr]*span{}
		for a, s := range d.k.addresses {
			if p.Contains(a) {
				inside[a] = s
			}
		}
		if len(inside) == 0 {
			to[i], changed = nil, true
			continue
		}
		narrow := networks(inside, d.k.span)
		if narrow == nil {
			open = true
			continue
		}
		if len(narrow) == 1 && narrow[0] == p {
			continue
		}
		to[i], changed = nil, true
		for _, n := range narrow {
			to[i] = append(to[i], networkText(n))
		}
	}
	if open {
		d.keep("access.networks: the second half of the time brought addresses from elsewhere")
	}
	if !changed {
		return nil
	}
	c := Change{Field: "access.networks", From: joined(d.t.Access.Networks), To: shownItems(to, d.t.Access.Networks), Evidence: count(len(d.k.addresses), "caller") + " " + d.over()}
	return d.change(c, d.e.items(node, to))
}

func networkText(p netip.Prefix) string {
	if p.Addr().Is4() {
		return p.String()
	}
	return `"` + p.String() + `"`
}

func joined(prefixes []netip.Prefix) string {
	out := make([]string, len(prefixes))
	for i, p := range prefixes {
		out[i] = networkText(p)
	}
	return strings.Join(out, ", ")
}

func shownItems(to [][]string, was []netip.Prefix) string {
	var out []string
	for i, texts := range to {
		for _, text := range texts {
			if text == keep {
				text = networkText(was[i])
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

// widest4 and widest6 are the widest prefixes that are worth adding: wider ones hold
// networks of others.
const (
	widest4 = 8
	widest6 = 32
)

func (d *drafting) newNetworks() (string, Change) {
	if d.k.unknown > 0 || d.k.crowded || len(d.k.addresses) == 0 {
		d.keep("access.networks: not all callers are known")
		return "", Change{}
	}
	found := networks(d.k.addresses, d.k.span)
	wide := func(p netip.Prefix) bool {
		return p.Addr().Is4() && p.Bits() < widest4 || p.Addr().Is6() && p.Bits() < widest6
	}
	if found == nil || slices.ContainsFunc(found, wide) {
		d.keep("access.networks: callers come from everywhere, or from new places until the end")
		return "", Change{}
	}
	return "[" + joined(found) + "]", Change{Field: "access.networks", To: joined(found), Evidence: count(len(d.k.addresses), "caller") + " " + d.over()}
}

func (d *drafting) hoursKnown() bool {
	return d.Decisions >= hoursDecisions && d.Days >= hoursDays
}

func (d *drafting) narrowHours(node *strictyaml.Node) error {
	if !d.hoursKnown() {
		d.keep("access.hours: narrowed from %d decisions on %d days on", hoursDecisions, hoursDays)
		return nil
	}
	to := make([][]string, len(d.t.Access.Hours))
	var was, now []string
	for i, h := range d.t.Access.Hours {
		to[i] = []string{keep}
		k := d.k.hours[h.Zone.String()]
		narrow, ok := narrowHours(h, k, d.k.span)
		if narrow.Days == h.Days && narrow.Start == h.Start && narrow.End == h.End || !ok && used(h, k) {
			continue
		}
		was = append(was, h.Text)
		if to[i] = nil; ok {
			to[i] = []string{`"` + hoursText(narrow) + `"`}
			now = append(now, hoursText(narrow))
		}
	}
	if was == nil {
		return nil
	}
	c := Change{Field: "access.hours", From: strings.Join(was, ", "), To: strings.Join(now, ", "), Evidence: "all " + d.over()}
	if node.Kind == strictyaml.List {
		return d.change(c, d.e.items(node, to))
	}
	return d.change(c, d.e.value(node, to[0][0]))
}

func used(h trust.Hours, k *week) bool {
	for day := range k.hours {
		for hour, cell := range k.hours[day] {
			if cell != nil && h.Days[day] && hour*60+60 > h.Start && hour*60 < h.End {
				return true
			}
		}
	}
	return false
}

func (d *drafting) newHours() (string, Change) {
	always := trust.Hours{Zone: time.UTC, Days: [7]bool{true, true, true, true, true, true, true}, End: 24 * 60}
	narrow, ok := narrowHours(always, d.k.hours[time.UTC.String()], d.k.span)
	switch {
	case !d.hoursKnown():
		d.keep("access.hours: added from %d decisions on %d days on", hoursDecisions, hoursDays)
		return "", Change{}
	case !ok || narrow.Days == always.Days && narrow.Start == 0 && narrow.End == always.End:
		d.keep("access.hours: at all hours, or at new ones until the end")
		return "", Change{}
	}
	return `"` + hoursText(narrow) + `"`, Change{Field: "access.hours", To: hoursText(narrow), Evidence: "all " + d.over()}
}

// grants takes away what was never given, and shortens what lives longer than
// anybody asked for.
func (d *drafting) grants() error {
	list := d.e.root.Get("grants")
	if list == nil || len(list.Items()) != len(d.t.Grants) {
		return errByHand
	}
	to := make([][]string, len(d.t.Grants))
	dropped := false
	for i, g := range d.t.Grants {
		field := fmt.Sprintf("grants[%d]", i)
		given := d.k.grants[[2]string{g.Target, g.Resource}]
		if given == nil {
			dropped = true
			c := Change{Field: field, From: strings.TrimSpace("to " + g.Target + " " + g.Resource), Evidence: "never given " + d.over()}
			d.Changes = append(d.Changes, c)
			continue
		}
		to[i] = []string{keep}
	}
	if dropped {
		if d.e.flow(list) {
			// Brackets are written anew as a whole, and nothing inside can be changed
			// beside that.
			return d.e.items(list, to)
		}
		if err := d.e.items(list, to); err != nil {
			return err
		}
	}
	for i, g := range d.t.Grants {
		if to[i] == nil {
			continue
		}
		if err := d.grant(i, g, list.Items()[i], d.k.grants[[2]string{g.Target, g.Resource}]); err != nil {
			return err
		}
	}
	return nil
}

func (d *drafting) grant(i int, g trust.TrustGrant, node *strictyaml.Node, given *given) error {
	over := fmt.Sprintf("of %d decisions", given.count)
	if ttl := given.ttl; ttl >= max(g.MinTTL, time.Second) && ttl < g.TTL {
		text := strictyaml.Duration(ttl).String()
		c := Change{Field: fmt.Sprintf("grants[%d].ttl", i), From: strictyaml.Duration(g.TTL).String(), To: text, Evidence: "the longest " + over}
		var err error
		if at := node.Get("ttl"); at != nil {
			err = d.e.value(at, text)
		} else {
			err = d.e.add(node, "ttl", text)
		}
		if err := d.change(c, err); err != nil {
			return err
		}
	}
	list := node.Get("scopes")
	if list == nil || len(list.Items()) != len(g.Scopes) || len(given.scopes) == 0 {
		return nil
	}
	to := make([][]string, len(g.Scopes))
	var gone []string
	for k, scope := range g.Scopes {
		if given.scopes[scope] == nil {
			gone = append(gone, scope)
			continue
		}
		to[k] = []string{keep}
	}
	if gone == nil || len(gone) == len(g.Scopes) {
		return nil
	}
	c := Change{Field: fmt.Sprintf("grants[%d].scopes", i), From: strings.Join(gone, ", "), Evidence: "never given in any " + over}
	return d.change(c, d.e.items(list, to))
}
