package trust

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// edit finds the smallest edit of a trust that would allow the request: it mends
// each line that fails in a copy of the rule, and judges the request again with
// the copy in the rule's place. Where that is not allowed there is no edit, and
// the text says why.
//
// An edit is a proposal to people. It says what the trust would have to take, not
// that it should: who made the token may have made it to be shown here.
func (j *judging) edit(p *Policy, t *rule, stops StopSet) ([]Change, string) {
	if j.req.Trust != "" && j.req.Trust != t.name {
		return nil, "the request asks for another trust by name"
	}
	e := editing{j: j, policy: p, rule: *t}
	e.rule.match, e.rule.named = slices.Clone(t.match), slices.Clone(t.named)
	e.rule.when, e.rule.grants = slices.Clone(t.when), slices.Clone(t.grants)
	if j.onTrial(t) {
		e.rule.shadow = false
		e.change("mode", "put it in force", "mode: enforce")
	}
	// What one change opens, such as a grant, may show another line that fails.
	for range 3 {
		tr := &trace{}
		o := j.judge(&e.rule, tr)
		tr.grants(&e.rule, j, o)
		if !tr.whole() {
			return nil, "not all that it reads was recorded"
		}
		if tr.failed() == 0 {
			break
		}
		before := len(e.changes)
		for i := range slices.Backward(tr.lines) { // from the end: a change may take a line out
			if tr.lines[i].OK {
				continue
			}
			if problem := e.mend(tr.about[i]); problem != "" {
				return nil, problem
			}
		}
		slices.Reverse(e.changes[before:])
	}
	if j.provider.anchorOf(e.rule.match) == nil {
		return nil, "it would pin no anchor any more"
	}
	e.rule.anchorKey = j.provider.anchorOf(e.rule.match)
	if problem := e.verify(t, stops); problem != "" {
		return nil, problem
	}
	return e.changes, ""
}

// editing is one rule while it is changed.
type editing struct {
	j       *judging
	policy  *Policy
	rule    rule
	changes []Change
}

func (e *editing) change(field, do, write string) {
	e.changes = append(e.changes, Change{Field: field, Do: do, Write: write})
}

// verify judges the request with the edited rule in the place of its own; "" says
// that it is allowed.
func (e *editing) verify(instead *rule, stops StopSet) string {
	j := newJudging(e.j.provider, e.j.id, e.j.req, e.j.now)
	j.vars.unknown = e.j.vars.unknown
	j.provider.index.each(j.id.Claims, func(t *rule) {
		if t != instead {
			j.consider(t)
		}
	})
	j.consider(&e.rule)
	d := Decision{Reason: ReasonNoMatchingTrust}
	j.settle(e.policy, &d)
	if j.candidates == 1 {
		j.permit(&d, stops)
	}
	if d.Allow {
		return ""
	}
	if j.vars.unknown != nil && j.candidates == 1 {
		for _, g := range j.provider.guardrails {
			if _, reason := j.forbidden(g); reason == notRecorded {
				return "whether the guardrail " + g.name + " forbids it rests on what was not recorded"
			}
		}
	}
	return standing(d)
}

// standing says what denies a request that no line of a trust denies.
func standing(d Decision) string {
	switch d.Reason { //nolint:exhaustive // the rest is what a line of a trust says
	case ReasonGuardrail:
		return "the guardrail " + d.Detail + " forbids it"
	case ReasonStopped:
		return "a stop of the " + d.Detail + " is in force"
	case ReasonAmbiguousTrust:
		return "more than one grant fits; the caller names one with resource or trust"
	case ReasonClaimMissing:
		return "the grant hands on a claim that the token lacks: " + d.Detail
	case ReasonNonceRequired:
		return "it wants a token that carries a nonce of ours"
	case ReasonGrantUnfit:
		return "the target would refuse what the grant hands on: " + plain(d.Detail)
	}
	return string(d.Reason)
}

// mend changes what one failing line is about, or says why nothing can.
func (e *editing) mend(about subject) string {
	switch about.kind {
	case matchKind:
		return e.mendMatch(about)
	case eventKind:
		return e.mendEvent(about)
	case networkKind:
		return e.mendNetwork()
	case hoursKind:
		return e.mendHours()
	case whenKind:
		return e.mendWhen(about.at)
	case expiryKind:
		day := e.j.now.UTC().Truncate(24 * time.Hour)
		e.rule.expires = day.Add(24 * time.Hour)
		e.change("expires", "let it live on, for as long as it is needed", "expires: "+day.Format(time.DateOnly))
	case grantsKind:
		return e.mendGrants()
	}
	return ""
}

func (e *editing) mendMatch(about subject) string {
	line := e.rule.match[about.at]
	field := "match." + line.name
	if about.lacks {
		e.rule.match = slices.Delete(e.rule.match, about.at, about.at+1)
		e.name()
		e.change(field, "take the line out, if the token need not have the claim", "")
		return ""
	}
	x, _ := line.claim.find(e.j.id.Claims)
	value, ok := line.claim.typed(x)
	text, isText := value.(string)
	switch value.(type) {
	case string, int64, bool:
	default:
		ok = false
	}
	switch {
	case !ok:
		return "the token's " + line.claim.shown + " is of another type than documents can write"
	case isText && (text == "" || len(text) > maxText || !writable(text)):
		return "the token's " + line.claim.shown + " is empty, too long, or of characters that no document may hold"
	case isText && len(line.claim.values) > 0 && !slices.Contains(line.claim.values, text):
		return "the token's " + line.claim.shown + " is none that the platform is known to send"
	case len(line.want) >= maxItems:
		return field + " has as many values as a line may have"
	}
	line.want = append(slices.Clip(line.want), pattern{value: value})
	e.rule.match[about.at] = line
	e.name()
	do := "take this value too"
	if e.j.provider.isAnchor(line.claim) {
		do += ", and so another workload's tokens"
	}
	e.change(field, do, line.write())
	return ""
}

// mendEvent names the guarded value that the token has.
func (e *editing) mendEvent(about subject) string {
	g := e.j.provider.guards[about.at]
	at := slices.IndexFunc(e.rule.match, func(l matchLine) bool { return l.claim == g.claim })
	if at < 0 {
		at = len(e.rule.match)
		e.rule.match = append(e.rule.match, matchLine{claim: g.claim, name: g.claim.name})
	}
	line := e.rule.match[at]
	line.want = append(slices.Clip(line.want), pattern{value: g.value})
	e.rule.match[at] = line
	e.name()
	e.change("match."+line.name, "say that it is meant; a trust of its own for it is safer, as it may run the code of anyone", line.write())
	return ""
}

// name finds out anew which guarded values match names.
func (e *editing) name() {
	for i := range e.rule.named {
		g := &e.j.provider.guards[i]
		e.rule.named[i] = slices.ContainsFunc(e.rule.match, func(l matchLine) bool { return l.claim == g.claim && l.names(g.value) })
	}
}

func (e *editing) mendNetwork() string {
	addr := e.j.req.Address
	if !addr.IsValid() || addr.Zone() != "" {
		return "the caller's address is not known"
	}
	addr = addr.Unmap()
	changed := *e.rule.access
	changed.networks = append(slices.Clip(changed.networks), netip.PrefixFrom(addr, addr.BitLen()))
	e.rule.access = &changed
	texts := make([]string, len(changed.networks))
	for i, n := range changed.networks {
		texts[i] = n.String()
	}
	e.change("access.networks", "take calls from this address too", "access:\n  networks: "+flow(texts))
	return ""
}

// mendHours adds the hour that it is.
func (e *editing) mendHours() string {
	zone := e.rule.access.hours[0].zone
	local := e.j.now.In(zone)
	window, err := parseHours(fmt.Sprintf("%s %02d:00-%02d:00 %s", local.Format("Mon"), local.Hour(), local.Hour()+1, zone))
	if err != nil {
		return "the hour cannot be written"
	}
	changed := *e.rule.access
	changed.hours = append(slices.Clip(changed.hours), window)
	e.rule.access = &changed
	texts := make([]string, len(changed.hours))
	for i := range changed.hours {
		texts[i] = changed.hours[i].text
	}
	e.change("access.hours", "open this hour too", "access:\n  hours: "+flow(texts))
	return ""
}

func (e *editing) mendWhen(at int) string {
	c := e.rule.when[at]
	if c.implied != "" {
		return "the platform's tokens are refused so unless match names " + c.implied + " with its value, which says that it is meant"
	}
	field := "when[" + strconv.Itoa(at) + "]"
	if wider := e.widened(c); wider != nil {
		e.rule.when[at] = wider
		// The item alone: a list under `when:` would be pasted over the whole list, and
		// the other conditions would be gone.
		e.change(field, "widen it; this item takes its place", "- '"+strings.ReplaceAll(wider.source, "'", "''")+"'")
		return ""
	}
	e.rule.when = slices.Delete(e.rule.when, at, at+1)
	e.rule.perGrant = slices.ContainsFunc(e.rule.when, func(c *condition) bool { return c.perGrant })
	e.change(field, "rewrite it so that it holds for this token; all else does", "")
	return ""
}

// mendGrants adds what was asked for: scopes to the grant that has the target and
// the resource, else a grant.
func (e *editing) mendGrants() string {
	req := e.j.req
	target, ok := e.policy.world.Targets[req.Target]
	if !ok {
		return "the configuration has no such target"
	}
	for _, s := range req.Scopes {
		if !validScope(s) {
			return "a scope that is asked for is malformed"
		}
	}
	for i := range e.rule.grants {
		if e.j.closeness(&e.rule.grants[i]) != otherScope {
			continue
		}
		g := e.rule.grants[i]
		g.scopes = slices.Clip(g.scopes)
		for _, s := range req.Scopes {
			if !slices.Contains(g.scopes, s) {
				g.scopes = append(g.scopes, s)
			}
		}
		if len(g.scopes) > maxScopes {
			return "a grant cannot have as many scopes"
		}
		if _, takes := target.Type.Fields["scopes"]; !takes {
			return "the target knows no scopes"
		}
		e.rule.grants[i] = g
		// The line alone: a grant without its policy and tags would give more.
		e.change("grants["+strconv.Itoa(i)+"].scopes", "give these scopes at "+req.Target, "scopes: "+flow(g.scopes))
		return ""
	}
	g := grantRule{
		target: req.Target, resource: req.Resource, scopes: req.Scopes, minTTL: target.Type.MinTTL, misfit: target.Type.Misfit,
		ttl: (&reader{}).ttl(nil, target),
	}
	fields := target.Type.Fields
	_, takesResource := fields["resource"]
	_, takesScopes := fields["scopes"]
	switch pattern := fields["resource"].Pattern; {
	case len(e.rule.grants) >= maxGrants:
		return "it has as many grants as a trust may have"
	case g.resource != "" && !takesResource:
		return "the target knows no resources"
	case g.resource != "" && (len(g.resource) > maxResource || !writable(g.resource) || pattern != nil && !pattern.MatchString(g.resource)):
		return "the resource that is asked for is nothing that the target gives"
	case len(g.scopes) > 0 && !takesScopes:
		return "the target knows no scopes"
	}
	for name, f := range fields {
		if f.Required && (name != "resource" || g.resource == "") {
			return "a grant at " + req.Target + " needs " + name + ", which was not asked for"
		}
	}
	e.rule.grants = append(e.rule.grants, g)
	e.change("grants", "add this grant", g.write())
	return ""
}

// write is the line as YAML.
func (l *matchLine) write() string {
	items := make([]string, len(l.want))
	for i, w := range l.want {
		switch text, isText := w.value.(string); {
		case w.glob:
			items[i] = "{glob: " + strconv.Quote(text) + "}"
		case isText:
			items[i] = strconv.Quote(text)
		default:
			items[i] = fmt.Sprint(w.value)
		}
	}
	name := l.name
	if !isIdentifier(name) {
		name = strconv.Quote(name)
	}
	if len(items) == 1 {
		return "match:\n  " + name + ": " + items[0]
	}
	return "match:\n  " + name + ": [" + strings.Join(items, ", ") + "]"
}

func (g *grantRule) write() string {
	text := "- to: " + g.target
	if g.resource != "" {
		text += "\n  resource: " + strconv.Quote(g.resource)
	}
	if len(g.scopes) > 0 {
		text += "\n  scopes: " + flow(g.scopes)
	}
	return text
}

// flow writes texts as a list in YAML. What strconv.Quote escapes, YAML reads.
func flow(texts []string) string {
	quoted := make([]string, len(texts))
	for i, s := range texts {
		quoted[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// writable reports a text that a document may hold and a terminal shows as it is:
// whoever made the token chose it.
func writable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == '\u3164' })
}
