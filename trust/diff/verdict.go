package diff

import (
	"maps"
	"slices"

	"cambio/trust"
	"cambio/trust/prove"
	"cambio/trust/words"
)

// weigh replaces what the words of an item say of its effect by what a proof says:
// a condition that was written anew may mean the same, and what a trust lost
// another one may give.
func (d *differ) weigh(item *Item, p pair, was, is bool) {
	handling, effect := None, None
	grows, shrinks := false, false
	for i := range item.Lines {
		l := &item.Lines[i]
		switch {
		case l.handling:
			handling = handling.and(l.Effect)
			continue
		case l.about != nil && l.Effect == Grows:
			l.proven(d.side(item, &item.Gained, *l.about, d.after, d.before, Grows))
		case l.about != nil:
			l.proven(d.side(item, &item.Lost, *l.about, d.before, d.after, Shrinks))
		}
		grows = grows || l.Effect.MayGrow()
		shrinks = shrinks || l.Effect == Shrinks || l.Effect == Both
		if l.about != nil {
			effect = effect.and(l.Effect)
		}
	}
	// Lines that only hold together are asked about together. A guardrail that
	// changed says what it does to trusts that did not; of the others it is asked
	// here, whatever their lines say.
	guarded := d.guarded[p.provider()] && !p.unchanged()
	if (grows || guarded) && is && !effect.MayGrow() {
		effect = effect.and(d.side(item, &item.Gained, *p.after, d.after, d.before, Grows))
	}
	if (shrinks || guarded) && was && item.Lost == nil {
		effect = effect.and(d.side(item, &item.Lost, *p.before, d.before, d.after, Shrinks))
	}
	if guarded && (item.Gained != nil && !grows || item.Lost != nil && !shrinks) {
		item.Lines = append(item.Lines, tilde("guardrails changed, and decide some of its requests otherwise", effect))
	}
	switch {
	case handling == Undecided:
		item.Why = "what a target makes of its own fields and of claims, it alone knows"
	case effect == None && handling == None && !slices.ContainsFunc(item.Lines, func(l Line) bool { return l.Sign != Equal }):
		item.Why = ""
	case effect == None && handling == None:
		item.Why = "all tokens are decided as before"
	}
	item.Effect = effect.and(handling)
}

// proven says what the proof said.
func (l *Line) proven(effect Effect) {
	if l.Effect = effect; effect == None {
		l.Sign, l.Text = Equal, l.still
	}
}

// side asks whether a trust allows something that the other policy does not.
func (d *differ) side(item *Item, example **prove.Example, t trust.Trust, of, in *side, effect Effect) Effect {
	decided := true
	for _, g := range t.Grants {
		if err := d.ctx.Err(); err != nil {
			item.Why = "not decided: " + err.Error()
			return Undecided
		}
		c := of.prover.Covered(in.prover, t, g)
		switch c.Answer {
		case prove.No:
			if *example == nil {
				*example = c.Example
			}
			return effect
		case prove.Unsure:
			decided, item.Why = false, because(c.Outside, c.Reason)
		case prove.Yes:
			if other := in.otherwise(t, g); other != "" {
				decided, item.Why = false, "trust "+other+" gives the same otherwise: with another token use, nonce, claims or fields of the target"
			}
		}
	}
	if !decided {
		return Undecided
	}
	return None
}

// because says what an unsure answer rests on.
func because(outside []prove.Outside, reason string) string {
	if len(outside) == 0 {
		return "not decided: " + words.One(reason)
	}
	return "not decided: nothing is proven of " + words.One(outside[0].Expression)
}

// access is what trusts have in common that could give the same.
type access struct{ provider, target, resource string }

// otherwise is a trust of the policy that leads to the same place, and does not
// hand out the same on the same terms; "" where there is none. A proof compares
// who gets there, and no more: a second trust without the first one's session
// policy would pass for no change.
func (s *side) otherwise(t trust.Trust, g trust.WrittenGrant) string {
	for _, i := range s.leading[access{t.Provider, g.Target, g.Resource}] {
		other := s.trusts[i]
		og := grantOf(other, g)
		if other.Name == t.Name || other.Shadow || og == nil {
			continue // what changed of this very trust has its own lines
		}
		if other.TokenUse != t.TokenUse || other.Nonce != t.Nonce || !sameValues(og.Claims, g.Claims) || !sameValues(og.Fields, g.Fields) {
			return other.Name
		}
	}
	return ""
}

func sameValues(a, b []trust.GrantValue) bool {
	return slices.EqualFunc(a, b, func(x, y trust.GrantValue) bool { return x.Name == y.Name && x.Value == y.Value })
}

// weighGuardrail looks for what a guardrail that changed newly forbids, and for
// what it no longer does.
func (d *differ) weighGuardrail(item *Item, p rulePair) {
	item.Effect = None
	if p.before != nil {
		item.Effect = item.Effect.and(d.forbids(item, &item.Gained, *p.before, d.after, d.before, Grows))
	}
	if p.after != nil {
		item.Effect = item.Effect.and(d.forbids(item, &item.Lost, *p.after, d.before, d.after, Shrinks))
	}
	if item.Effect == None {
		item.Why = "what trusts allow that did not change is decided as before"
	}
}

// forbids asks whether a guardrail of one policy forbids what the other allows.
// The first example is enough. Trusts that changed say it themselves.
func (d *differ) forbids(item *Item, example **prove.Example, r trust.Rule, of, in *side, effect Effect) Effect {
	decided := true
	for i := range of.trusts {
		t := of.trusts[i]
		if !slices.Contains(r.From, t.Provider) || !d.active(t) || d.ctx.Err() != nil || !(pair{&t, in.byName[t.Name]}).unchanged() {
			continue
		}
		for _, g := range t.Grants {
			c := of.prover.Covered(in.prover, t, g)
			switch c.Answer {
			case prove.No:
				by := in.policy.Decide(c.Example.Identity, c.Example.Request, trust.StopSet{}, c.Example.At)
				if by.Reason == trust.ReasonGuardrail && by.Detail == r.Name {
					*example = c.Example
					return effect
				}
				decided, item.Why = false, "not decided: other guardrails changed too"
			case prove.Unsure:
				decided, item.Why = false, because(c.Outside, c.Reason)
			case prove.Yes:
			}
		}
	}
	if err := d.ctx.Err(); err != nil {
		decided, item.Why = false, "not decided: "+err.Error()
	}
	if !decided {
		return Undecided
	}
	return None
}

// leads puts the trusts of one place together.
func leads(trusts []trust.Trust) map[access][]int {
	m := map[access][]int{}
	for i, t := range trusts {
		for _, g := range t.Grants {
			k := access{t.Provider, g.Target, g.Resource}
			m[k] = append(m[k], i)
		}
	}
	return m
}

// targets are the names of the targets that a trust leads to, sorted.
func targets(t trust.Trust) []string {
	m := map[string]bool{}
	for _, g := range t.Grants {
		m[g.Target] = true
	}
	return slices.Sorted(maps.Keys(m))
}
