package diff

import "cambio/trust"

// answer is what came of one question over all tokens: an example, or that there
// is none, or why neither is known.
type answer struct {
	none    bool
	example *Example
	why     string
}

// weigh replaces what the words of an item say of its effect by what a proof says:
// a condition that was written anew may mean the same, and what a trust lost
// another one may give.
func (d *differ) weigh(item *Item, p pair, was, is bool) {
	handling, grows, shrinks := None, false, false
	for _, l := range item.Lines {
		switch {
		case l.handling:
			handling = handling.and(l.Effect)
		default:
			grows = grows || l.Effect.MayGrow()
			shrinks = shrinks || l.Effect == Shrinks || l.Effect == Both
		}
	}
	if handling == Undecided {
		item.Why = "what a target makes of this, it alone knows"
	}
	effect := None
	if grows && is {
		effect = effect.and(d.side(item, &item.Gained, p.after, d.after, d.before, Grows))
	}
	if shrinks && was {
		effect = effect.and(d.side(item, &item.Lost, p.before, d.before, d.after, Shrinks))
	}
	if effect == None && (grows || shrinks) && item.Why == "" {
		item.Why = "what is allowed stays the same"
	}
	item.Effect = effect.and(handling)
}

// side asks whether a trust allows something that the other policy does not.
func (d *differ) side(item *Item, example **Example, t *trust.Trust, of, in *side, effect Effect) Effect {
	undecided := false
	for i := range t.Grants {
		a := d.beyond(of, in, t, i)
		switch {
		case a.example != nil:
			*example = a.example
			return effect
		case !a.none:
			undecided, item.Why = true, a.why
		}
	}
	if undecided {
		return Undecided
	}
	return None
}

// weighGuardrail looks for what a guardrail that changed newly forbids, and for
// what it no longer does.
func (d *differ) weighGuardrail(item *Item, p rulePair) {
	effect := None
	if p.before != nil {
		effect = effect.and(d.forbids(item, &item.Gained, *p.before, d.after, d.before, Grows))
	}
	if p.after != nil {
		effect = effect.and(d.forbids(item, &item.Lost, *p.after, d.before, d.after, Shrinks))
	}
	item.Effect = effect
}

// forbids asks whether a guardrail of one policy forbids what the other allows. The
// first example is enough.
func (d *differ) forbids(item *Item, example **Example, r trust.Rule, of, in *side, effect Effect) Effect {
	return Undecided
}

func (d *differ) beyond(of, in *side, t *trust.Trust, grant int) answer {
	return answer{why: "there is no prover"}
}
