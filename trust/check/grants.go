package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// longTTL is the longest that a credential may live in silence. Above it, most of
// its life is after the work; a thief has that long.
const longTTL = time.Hour

// grants looks at what a trust gives.
func (l *linter) grants(r *report, f *facts) {
	for i, g := range f.Grants {
		field := fmt.Sprintf("grants[%d]", i)
		if production(g) {
			l.hosted(r, f, g, field)
			if !l.gated(f) {
				r.say("production-without-gate", g.At, field, "grants production, and neither an environment nor a protected ref stands before it",
					"match "+strings.Join(f.provider.Platform.Gates, " or "))
			}
		}
		if g.TTL > max(longTTL, g.MinTTL) { // what the target issues at least, nobody can shorten
			at := g.TTLAt
			if at.Line == 0 {
				at = g.At
			}
			r.say("ttl-long", at, field+".ttl", "the credential lives "+strictyaml.Duration(g.TTL).String()+", most of it after the work is done",
				"write 1h or less; a workload that runs longer asks again")
		}
		l.subject(r, f, g, field)
		l.values(r, f, g, field)
	}
}

// producesUngated reports whether the trust grants production with nothing before
// it, which is said of the grant.
func (l *linter) producesUngated(f *facts) bool {
	return slices.ContainsFunc(f.Grants, production) && !l.gated(f)
}

// production reports whether the name of a grant's target or resource says so.
func production(g trust.WrittenGrant) bool {
	return named(g, "prod", "production", "prd", "live")
}

// harmless reports whether nothing that a grant gives can hurt: all scopes read,
// or the name says that it is for trying things out.
func harmless(g trust.WrittenGrant) bool {
	if production(g) {
		return false
	}
	reads := func(scope string) bool {
		return slices.ContainsFunc(words(scope), func(w string) bool { return slices.Contains([]string{"read", "list", "get", "view", "pull"}, w) })
	}
	if len(g.Scopes) > 0 && !slices.ContainsFunc(g.Scopes, func(s string) bool { return !reads(s) }) {
		return true
	}
	return named(g, "preview", "previews", "review", "dev", "development", "test", "tests", "testing", "sandbox", "staging", "stage", "plan", "readonly", "ci")
}

func named(g trust.WrittenGrant, which ...string) bool {
	return slices.ContainsFunc(append(words(g.Target), words(g.Resource)...), func(w string) bool { return slices.Contains(which, w) })
}

// words are the words of a name, in lower case: they end at what is no letter and
// no digit, and where a capital begins the next one.
func words(name string) []string {
	var out []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			out = append(out, strings.ToLower(word.String()))
			word.Reset()
		}
	}
	lower := false
	for _, c := range name {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) || unicode.IsUpper(c) && lower {
			end()
		}
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			word.WriteRune(c)
		}
		lower = unicode.IsLower(c)
	}
	end()
	return out
}

// gated reports whether an approval or a protected place stands before a trust. A
// platform without such claims has nothing to ask for.
func (l *linter) gated(f *facts) bool {
	gates := f.provider.Platform.Gates
	return len(gates) == 0 || slices.ContainsFunc(gates, func(name string) bool {
		c, ok := l.claim(f, name)
		if !ok {
			return false
		}
		if _, pinned := f.pinned[c.ID()]; pinned {
			return !f.one(c.ID(), "false", false)
		}
		return f.constrained(c.ID()) && !c.Claim().Chosen
	})
}

// hosted looks for production on machines of one's own, where the job before may
// have left something running.
func (l *linter) hosted(r *report, f *facts, g trust.WrittenGrant, field string) {
	for name, value := range f.provider.Platform.Hosted {
		c, ok := l.claim(f, name)
		switch {
		case !ok || f.one(c.ID(), value):
		case f.constrained(c.ID()):
			r.as(strictyaml.Info, "self-hosted-runner", g.At, field, "grants production to machines of one's own", "see that each job gets a fresh one")
		default:
			r.say("self-hosted-runner", g.At, field, "grants production to any machine, also to one where an earlier job left something behind", fmt.Sprintf("match %s: %s", name, value))
		}
	}
}

// subject finds a sub that the target will not take.
func (l *linter) subject(r *report, f *facts, g trust.WrittenGrant, field string) {
	target := l.world.Targets[g.Target]
	limit := target.Type.MaxSubject
	if limit == 0 {
		return
	}
	for _, s := range l.subjects(f, target) {
		if len(s) > limit {
			r.say("subject-too-long", g.At, field, fmt.Sprintf("sub would be %s, of %d bytes; the target takes %d", s, len(s), limit),
				"set subject: trust for the target, or a shorter name")
			return
		}
	}
}

// maxSubjects is how many subjects of one trust are looked at: a list in match may
// be long, and its lines are alike.
const maxSubjects = 200

// subjects are the subs by which a target may come to know a trust: one for all of
// it, or one for each workload that match names. A workload that match leaves open
// is not among them.
func (l *linter) subjects(f *facts, target trust.Target) []string {
	if target.Settings["subject"] == "trust" {
		return []string{"spiffe://" + l.world.TrustDomain + "/trust/" + f.Name}
	}
	if f.provider.WorkloadID == nil {
		return nil
	}
	combinations := []map[string]any{{}}
	for _, c := range l.identities[f.Provider] {
		var longer []map[string]any
		for _, before := range combinations {
			for _, v := range f.pinned[c.ID()] {
				claims := maps.Clone(before)
				claims[c.ID()] = v
				if longer = append(longer, claims); len(longer) > maxSubjects {
					break
				}
			}
		}
		combinations = longer
	}
	var out []string
	for _, values := range combinations {
		claims := map[string]any{}
		for id, v := range values {
			if c, ok := l.claim(f, id); ok {
				c.Set(claims, v)
			}
		}
		if id, err := f.provider.WorkloadID(claims); err == nil {
			out = append(out, id)
		}
	}
	return out
}

// values hands the target's own check a grant with the claims of a usual token: a
// value that it would refuse then, it refuses at each exchange.
func (l *linter) values(r *report, f *facts, g trust.WrittenGrant, field string) {
	target := l.world.Targets[g.Target]
	if target.Type.Misfit == nil || !slices.ContainsFunc(g.Fields, func(v trust.GrantValue) bool { return len(v.Needs) > 0 }) {
		return
	}
	filled := trust.Grant{Target: g.Target, Resource: g.Resource, Scopes: g.Scopes, TTL: g.TTL, Extra: map[string]any{}}
	for _, v := range g.Fields {
		name, part, isPart := strings.Cut(v.Name, ".")
		text := v.Value
		for _, c := range v.Needs {
			value, _ := c.Get(f.provider.Platform.Sample)
			if pinned := f.pinned[c.ID()]; len(pinned) > 0 {
				value = pinned[0]
			}
			text = strings.ReplaceAll(text, "${claims."+c.Name()+"}", fmt.Sprint(value))
			if c.Claim().Chosen && !l.pins(f, c.ID()) {
				r.say("value-chosen", g.At, field+"."+v.Name, "whoever starts the workload chooses "+c.Name()+", and the target refuses what is too long or holds other characters", "use an id")
			}
		}
		switch target.Type.Fields[name].Type {
		case trust.TemplateField:
			filled.Extra[name] = text
		case trust.TemplatesField:
			if !isPart {
				continue
			}
			parts, ok := filled.Extra[name].(map[string]string)
			if !ok {
				parts = map[string]string{}
				filled.Extra[name] = parts
			}
			parts[part] = text
		case trust.StringField, trust.StringsField, trust.DurationField, trust.ClaimsField, trust.DocumentField:
		}
	}
	if where, problem := target.Type.Misfit(filled); problem != "" {
		r.say("value-unfit", g.At, field+"."+where, "with a usual token the target would refuse it: "+problem, "use another claim")
	}
}
