package backtest

import (
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

// Kind is what became of a recorded decision.
type Kind string

// The kinds.
const (
	Kept      Kind = "kept"           // allowed then and now
	Narrowed  Kind = "narrowed"       // allowed for a shorter time, or with fewer scopes
	Ambiguous Kind = "ambiguous"      // refused now unless the caller names the trust; the record does not say if it did
	Lost      Kind = "allow-to-deny"  //
	Gained    Kind = "deny-to-allow"  //
	Denied    Kind = "denied"         // refused then and now
	Undecided Kind = "undecided"      // the outcome depends on what is not recorded
	Unproven  Kind = "token"          // the token was refused before the policy was asked, or its claims are not kept
	Elsewhere Kind = "not-the-policy" // refused for what no policy decides: a stop, a second use, an outage
	OnTrial   Kind = "shadow"         // what a trust in mode shadow would have done; its request has a record of its own
)

// Outcome is what the policy makes of one record.
type Outcome struct {
	Kind     Kind
	Decision trust.Decision
	Hinges   []string // of an Undecided: the claims that it depends on, or what else is not known
	Moved    bool     // allowed by another trust than then
	Line     string   // of a Lost: the line that refuses now, such as match.ref
	Why      string   // the same in words, with a value of the token
	NewTTL   time.Duration
	Dropped  []string // scopes, of a Narrowed
}

// Options say what a journal does not.
type Options struct {
	// Issuers and Audiences are those of each identity provider; an audience only
	// where there is one alone.
	Issuers, Audiences map[string]string
	// Alike are hashes of older documents of a trust which differ from the one of the
	// policy in nothing that a record may lack.
	Alike map[string][]string
}

// Judge judges records by one policy. It is safe for concurrent use.
type Judge struct {
	policy  *trust.Policy
	options Options
	always  map[string][]string // by provider: claims that each record of the journal's list has
	current map[string]trust.Trust
}

// NewJudge returns a judge by this policy.
func NewJudge(p *trust.Policy, o Options) *Judge {
	j := &Judge{policy: p, options: o, always: map[string][]string{}, current: map[string]trust.Trust{}}
	for name, provider := range p.World().Providers {
		for _, claim := range provider.Journal {
			if ref, ok := p.Claim(name, claim); ok && ref.Claim().Always {
				j.always[name] = append(j.always[name], ref.Shown())
			}
		}
	}
	for _, t := range p.All() {
		j.current[t.Name] = t
	}
	return j
}

// Judge judges one record again, at its own time.
func (j *Judge) Judge(r *Record) Outcome {
	switch {
	case r.Shadow:
		return Outcome{Kind: OnTrial}
	case !byPolicy(r.Reason):
		if r.Claims == nil {
			return Outcome{Kind: Unproven}
		}
		return Outcome{Kind: Elsewhere}
	case r.Claims == nil:
		return Outcome{Kind: Unproven}
	}
	a := j.again(r)
	d, hinges := a.decide(a.ask)
	if len(a.cut) > 0 {
		hinges = a.cut
	}
	if r.PolicySHA256 == j.policy.SHA256() {
		hinges = nil // this very policy decided then, with all claims at hand
		if d.Allow != r.Allowed {
			d = trust.Decision{Allow: r.Allowed, Reason: r.Reason, Trust: r.Trust, Shadow: d.Shadow, Grant: trust.Grant{Target: r.Target, Resource: r.Resource, Scopes: r.Scopes, TTL: r.TTL}}
		}
	}
	switch {
	case len(hinges) > 0:
		return Outcome{Kind: Undecided, Decision: d, Hinges: hinges}
	case d.Allow && !r.Allowed:
		return Outcome{Kind: Gained, Decision: d}
	case d.Allow:
		return a.kept(d)
	case !r.Allowed:
		return Outcome{Kind: Denied, Decision: d}
	}
	return a.lost(d)
}

// again is one record as a question to the policy.
type again struct {
	j     *Judge
	r     *Record
	id    trust.Identity
	ask   trust.Request
	known trust.Partly
	cut   []string // parameters that the journal cut
}

func (j *Judge) again(r *Record) *again {
	a := &again{j: j, r: r}
	listed := len(j.always[r.Provider]) > 0
	for _, name := range j.always[r.Provider] {
		if _, ok := r.Claims[name]; !ok {
			listed = false // written by another list: what it lacks says nothing
			break
		}
	}
	claims, told := j.policy.Restored(r.Provider, r.Claims, listed)
	extra := map[string]bool{}
	for name, value := range r.Claims {
		if !whole(value) {
			if ref, ok := j.policy.Claim(r.Provider, name); ok {
				extra[ref.ID()] = false
				ref.Set(claims, nil)
			}
		}
	}
	add := func(name, value string) string {
		if value == "" || len(value) > maxWhole {
			return ""
		}
		if ref, ok := j.policy.Claim(r.Provider, name); ok {
			extra[ref.ID()] = true
			ref.Set(claims, value)
		}
		return value
	}
	a.id = trust.Identity{
		Provider: r.Provider, Workload: r.Workload, Claims: claims,
		Subject: add("sub", r.Subject), Issuer: add("iss", j.options.Issuers[r.Provider]), Audience: j.options.Audiences[r.Provider],
		IssuedAt: instant(claims["iat"]), ExpiresAt: instant(claims["exp"]), Nonce: r.Nonce,
	}
	if len(r.Workload) > maxWhole {
		a.id.Workload = ""
	}
	a.known = trust.Partly{Nonce: r.NonceKnown, Claim: func(c trust.ClaimRef) bool {
		if is, ok := extra[c.ID()]; ok {
			return is
		}
		return told(c)
	}}
	if t, ok := j.current[r.Trust]; ok && r.Allowed && r.TrustSHA256 != "" &&
		(t.SHA256 == r.TrustSHA256 || slices.Contains(j.options.Alike[r.Trust], r.TrustSHA256)) {
		a.known.Held = r.Trust
	}
	a.ask = trust.Request{Target: r.Target, Resource: r.Resource, Scopes: r.Scopes, TTL: r.TTL, Address: r.Address}
	// A cut list of scopes ends in a part of one, or lacks some: they are one text there.
	for name, value := range map[string]string{"target": r.Target, "resource": r.Resource, "scope": strings.Join(r.Scopes, " ")} {
		if len(value) > maxWhole {
			a.cut = append(a.cut, name)
		}
	}
	slices.Sort(a.cut)
	return a
}

// instant is a NumericDate; zero for anything else.
func instant(v any) time.Time {
	if seconds, ok := v.(int64); ok {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

func (a *again) decide(ask trust.Request) (trust.Decision, []string) {
	return a.j.policy.DecidePartly(a.id, ask, a.known, a.r.Time)
}

func (a *again) kept(d trust.Decision) Outcome {
	o := Outcome{Kind: Kept, Decision: d, Moved: d.Trust != a.r.Trust}
	if a.r.TTL > 0 && d.Grant.TTL < a.r.TTL {
		o.Kind, o.NewTTL = Narrowed, d.Grant.TTL
	}
	return o
}

// lost looks twice at what was allowed and is denied: the record has the scopes
// that were given, whether they were asked for or left out, and does not say
// whether a trust was named.
func (a *again) lost(d trust.Decision) Outcome {
	ask := a.ask
	switch d.Reason { //nolint:exhaustive // nothing else can be asked otherwise
	case trust.ReasonAmbiguousTrust:
		ask.Trust = a.r.Trust
		named, hinges := a.decide(ask)
		switch {
		case len(hinges) > 0:
			return Outcome{Kind: Undecided, Decision: d, Hinges: hinges}
		case named.Allow:
			return Outcome{Kind: Ambiguous, Decision: d}
		}
	case trust.ReasonScopeNotGranted:
		ask.Scopes = nil
		if fewer, hinges := a.decide(ask); len(hinges) == 0 && fewer.Allow {
			o := a.kept(fewer)
			o.Kind, o.Dropped = Narrowed, slices.DeleteFunc(slices.Clone(a.r.Scopes), func(s string) bool { return slices.Contains(fewer.Grant.Scopes, s) })
			return o
		}
	}
	line, why := a.failing(d)
	return Outcome{Kind: Lost, Decision: d, Line: line, Why: why}
}

// failing is the line that refuses: of the trust that allowed then, where the
// policy still has it.
func (a *again) failing(d trust.Decision) (line, why string) {
	switch d.Reason { //nolint:exhaustive // the lines of a trust say the rest
	case trust.ReasonGuardrail:
		return "guardrail " + d.Detail, ""
	case trust.ReasonAmbiguousTrust:
		return "ambiguous", "several trusts fit"
	}
	ask := a.ask
	if t, ok := a.j.current[a.r.Trust]; ok {
		if t.Provider != a.r.Provider {
			return "from", "the trust is for " + t.Provider + " now"
		}
		if t.Shadow {
			return "mode", "the trust is in mode shadow now"
		}
		ask.Trust = t.Name
	} else if a.r.Trust != "" {
		return "trust", "the trust is gone"
	}
	lines := a.lines(ask)
	for _, l := range lines {
		if !l.OK {
			return l.Field, "expected " + l.Expected + ", found " + l.Actual
		}
	}
	return string(d.Reason), d.Detail
}

// lines are those of the explanation, but for lines about claims that are not
// known.
func (a *again) lines(ask trust.Request) []trust.Line {
	e := a.j.policy.Explain(a.id, ask, trust.StopSet{}, a.r.Time)
	return slices.DeleteFunc(slices.Concat(e.Lines, e.Guardrails), func(l trust.Line) bool {
		if len(l.Field) <= len("match.") || l.Field[:len("match.")] != "match." {
			return false
		}
		ref, ok := a.j.policy.Claim(a.r.Provider, l.Field[len("match."):])
		return ok && !a.known.Claim(ref)
	})
}

// Token is the identity as the record tells of it, and which claims are known.
func (j *Judge) Token(r *Record) (id trust.Identity, known func(trust.ClaimRef) bool) {
	a := j.again(r)
	return a.id, a.known.Claim
}
