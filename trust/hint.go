package trust

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxHinting is how many trusts are looked at for one hint, and maxHintScan how
	// many are passed over: an organisation may pin its own id in all of its trusts,
	// and a refusal must not cost what a hundred thousand of them do.
	maxHinting  = 32
	maxHintScan = 4096
	// maxHintNames is how many claims one sentence names, and maxHint the longest
	// hint in bytes: whoever declares claims may name them at length.
	maxHintNames = 4
	maxHint      = 512
)

// Hint is what the caller itself may read about its denial: which of its claims
// failed, by name. "" says that there is nothing to tell.
//
// It is for a token that proves the anchors of a trust, each that its match pins,
// and so is one of the tenant that the trust is for; of such trusts the nearest
// counts: one that grants the target before one that does not, then the one with
// the fewest lines that fail. The caller has proven id, and d is its decision.
//
// What an attacker could make of it, branch by branch:
//   - Policy of others: a token that does not prove the anchors gets nothing, and
//     takes the time that the decision took. One that does is of the tenant, and
//     learns of the tenant's own trusts.
//   - Values: never told. A caller that may have many tokens signed learns for each whether it was the
//     right one, which trying them tells anyway. `hints: false` ends it; the time
//     then is the same, and so is the answer of a trust that does not exist.
//   - Conditions: what a condition asks, and of which claims, is the policy's own
//     text, as is from where and when; where only they fail, the answer is that of
//     every other refusal.
//   - Names of trusts: never told, and the trust that the caller asked for by name
//     plays no part, so that a name that exists hints no more than one that does not.
//   - Guardrails, stops, expiry, trusts on trial: an identity that a trust matches
//     gets no hint, so that a hint never says that one of these stood in the way.
func (p *Policy) Hint(id Identity, req Request, d Decision, now time.Time) string {
	if p == nil || d.Allow || d.Blame != BlameIdentity {
		return ""
	}
	if req.Trust != "" {
		req.Trust = ""
		d = p.Decide(id, req, StopSet{}, now)
	}
	switch d.Reason { //nolint:exhaustive // the rest is not for the caller
	case ReasonConditionFalse, ReasonEventNotNamed:
	default:
		return ""
	}
	provider := p.providers[id.Provider]
	if provider == nil {
		return ""
	}
	j := newJudging(provider, &id, &req, now)
	t, tr := j.hinting()
	if t == nil || t.silent {
		return ""
	}
	return tr.hint()
}

// hinting returns the trust that a hint would be about, with how its lines came
// out; nil where the token proves the anchors of none.
func (j *judging) hinting() (nearest *rule, its *trace) {
	looked, passed := 0, 0
	grants := false // what was asked for, by nearest
	j.provider.index.holders(j.id.Claims, func(t *rule) bool {
		if passed++; passed > maxHintScan {
			return false
		}
		target := t.grantsAt(j.req.Target)
		if t.shadow || !t.expires.IsZero() && !j.now.Before(t.expires) || nearest != nil && grants && !target || !j.proves(t) {
			return true
		}
		looked++
		tr := &trace{}
		j.judge(t, tr)
		if failed := tr.failed(); failed > 0 && (nearest == nil || target && !grants || failed < its.failed()) {
			nearest, its, grants = t, tr, target
		}
		return looked < maxHinting
	})
	return nearest, its
}

// proves reports whether the token has each anchor that the trust pins, and the
// trust pins one.
func (j *judging) proves(t *rule) bool {
	pinned := false
	for i := range t.match {
		line := &t.match[i]
		if !j.provider.isAnchor(line.claim) || !line.pins() {
			continue
		}
		if !line.holds(j.id.Claims) {
			return false
		}
		pinned = true
	}
	return pinned
}

func (t *rule) grantsAt(target string) bool {
	for i := range t.grants {
		if t.grants[i].target == target {
			return true
		}
	}
	return false
}

// hint says which claims of match failed, by name.
func (tr *trace) hint() string {
	var wrong, lacking []string
	for i, line := range tr.lines {
		about := tr.about[i]
		if line.OK || about.kind != matchKind && about.kind != eventKind {
			continue
		}
		names := &wrong
		if about.lacks {
			names = &lacking
		}
		if !slices.Contains(*names, about.claim.shown) {
			*names = append(*names, about.claim.shown)
		}
	}
	var out []string
	if len(wrong) > 0 {
		out = append(out, naming("The claim ", " is not one that the trust takes.", "The claims ", " are not ones that the trust takes.", wrong))
	}
	if len(lacking) > 0 {
		out = append(out, naming("The token lacks the claim ", ", which the trust asks for.", "The token lacks the claims ", ", which the trust asks for.", lacking))
	}
	text := strings.Join(out, " ")
	if len(text) > maxHint || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return "" // names that were declared at a length, or in a form, that no answer should carry
	}
	return text
}

// naming puts names between the words for one of them, or for several.
func naming(one, oneEnd, many, manyEnd string, names []string) string {
	if len(names) == 1 {
		return one + names[0] + oneEnd
	}
	if len(names) > maxHintNames {
		return many + strings.Join(names[:maxHintNames], ", ") + " and others" + manyEnd
	}
	last := len(names) - 1
	return many + strings.Join(names[:last], ", ") + " and " + names[last] + manyEnd
}
