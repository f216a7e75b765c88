package prove

import (
	"slices"
	"time"

	"cel.dev/cel-go/common/types"

	"cambio/trust"
	"cambio/trust/logic"
)

// of is the state of all situations that the lines of match of a trust allow:
// what they pin is a constant from here on, so that most questions fold to an
// answer.
func (pr *Prover) of(t trust.Trust) *state {
	s := pr.newState(t.Provider)
	s.pins, s.choices, s.there = make(map[string]any, len(t.Match)), map[string][]string{}, map[string]bool{}
	for _, line := range t.Match {
		id := line.Claim.ID()
		for up := id; up != ""; up = parent(up) {
			s.there[up] = true
		}
		if len(line.Want) == 1 && !line.Want[0].Glob {
			s.pin(line.Claim, line.Want[0].Value)
			continue
		}
		if few, ok := fewTexts(line); ok {
			if closed := line.Claim.Claim().Values; len(closed) > 0 {
				few = slices.DeleteFunc(few, func(v string) bool { return !slices.Contains(closed, v) })
			}
			if s.choices[id] = few; len(few) == 0 {
				s.domain = append(s.domain, logic.False()) // values that no token has
			}
		}
	}
	s.workload = s.pinnedWorkload()
	return s
}

func (s *state) pin(c trust.ClaimRef, v any) {
	s.pins[c.ID()] = v
	text, isText := v.(string)
	if closed := c.Claim().Values; isText && len(closed) > 0 && !slices.Contains(closed, text) {
		s.domain = append(s.domain, logic.False()) // a value that no token has
	}
}

func fewTexts(line trust.MatchLine) ([]string, bool) {
	var few []string
	for _, w := range line.Want {
		s, ok := w.Value.(string)
		if !ok || w.Glob || len(line.Want) > maxChoices {
			return nil, false
		}
		few = append(few, s)
	}
	return few, true
}

// pinnedWorkload is the workload id where what match pins decides it.
func (s *state) pinnedWorkload() string {
	if s.table.known.WorkloadID == nil || len(s.pins) == 0 {
		return ""
	}
	claims := map[string]any{}
	for id, v := range s.pins {
		s.table.claims[id].Set(claims, v)
	}
	id, err := s.table.known.WorkloadID(claims)
	if err != nil {
		return "" // a claim that it is made of is open
	}
	return id
}

// seeWorkload says what every workload id of the provider begins with.
func (s *state) seeWorkload() {
	domain := s.pr.policy.World().TrustDomain
	if s.see(workloadVar) && domain != "" {
		s.domain = append(s.domain, logic.In(workloadVar, logic.Prefix("spiffe://"+domain+"/"+s.table.provider+"/")))
	}
}

// standing is where a trust holds, but for conditions that read the grant.
func (s *state) standing(t trust.Trust) logic.Formula {
	matching := s.matching(t)
	if isFalse(matching) {
		return matching // most trusts are told apart by what they pin
	}
	fs := []logic.Formula{matching, s.alive(t), s.from(t.Access)}
	for _, g := range t.Unnamed {
		fs = append(fs, logic.Not(s.one(g.Claim.ID(), []trust.Wanted{{Value: g.Value}})))
	}
	x := s.exchange("", trust.WrittenGrant{}, time.Second)
	for _, c := range t.When {
		if !c.PerGrant {
			fs = append(fs, x.truth(c, t.File).yes)
		}
	}
	return logic.And(fs...)
}

// matching is where all lines of match hold.
func (s *state) matching(t trust.Trust) logic.Formula {
	fs := make([]logic.Formula, 0, len(t.Match))
	for _, line := range t.Match {
		f := s.line(line)
		if isFalse(f) {
			return f
		}
		fs = append(fs, f)
	}
	return logic.And(fs...)
}

func (s *state) alive(t trust.Trust) logic.Formula {
	switch {
	case t.Expires.IsZero():
		return logic.True()
	case !s.now.Before(t.Expires):
		return logic.False()
	}
	s.seeClock()
	return logic.AtMost(timeVar, nanos(t.Expires)-1)
}

func (s *state) from(a trust.Access) logic.Formula {
	f := logic.True()
	if a.Networks != nil {
		f = logic.InNetworks(addressVar, a.Networks)
	}
	if a.Hours != nil {
		s.seeClock()
		f = logic.And(f, within(a.Hours))
	}
	return f
}

// line is where a line of match holds.
func (s *state) line(l trust.MatchLine) logic.Formula { return s.one(l.Claim.ID(), l.Want) }

// one is where a claim has one of these values.
func (s *state) one(id string, want []trust.Wanted) logic.Formula {
	if _, ok := s.table.claims[id]; !ok {
		return logic.False()
	}
	var ways []logic.Formula
	for _, a := range s.read(id) {
		ways = append(ways, logic.And(a.when, wanted(a.term, want)))
	}
	return logic.Or(ways...)
}

func wanted(t term, want []trust.Wanted) logic.Formula {
	langs, ways := make([]logic.Language, 0, len(want)), make([]logic.Formula, 0, 1)
	for _, w := range want {
		switch v := w.Value.(type) {
		case string:
			if w.Glob {
				langs = append(langs, logic.Glob(v))
			} else {
				langs = append(langs, logic.Text(v))
			}
		case int64:
			if n, ok := t.(number); ok {
				eq, _ := numbersEqual(n, types.Int(v))
				ways = append(ways, eq.yes)
			}
			ways = append(ways, boolean(t == term(types.Int(v))))
		case bool:
			ways = append(ways, boolean(t == term(types.Bool(v))))
		}
	}
	switch x := t.(type) {
	case types.String:
		ways = append(ways, boolean(logic.Union(langs...).Contains(string(x))))
	case text:
		ways = append(ways, logic.In(x[0].x, logic.Union(langs...)))
	}
	return logic.Or(ways...)
}

// fits is where the conditions that read the grant hold, and the claims that it
// hands on are there.
func (x *exchange) fits(t trust.Trust) logic.Formula {
	fs := make([]logic.Formula, 0, len(t.When))
	for _, c := range t.When {
		if c.PerGrant {
			fs = append(fs, x.truth(c, t.File).yes)
		}
	}
	return logic.And(fs...)
}

// unforbidden is where no guardrail forbids the grant, and what it hands on of
// the token is there.
func (x *exchange) unforbidden(rules []trust.Rule) logic.Formula {
	fs := make([]logic.Formula, 0, len(rules))
	for _, g := range rules {
		fs = append(fs, x.truth(g.Condition, g.File).no)
	}
	for _, values := range [][]trust.GrantValue{x.grant.Claims, x.grant.Fields} {
		for _, v := range values {
			for _, need := range v.Needs {
				fs = append(fs, x.present(need.ID()))
			}
		}
	}
	return logic.And(fs...)
}

// ttls says whether conditions read the lifetime, whether they only compare it
// with what is written in them, and with what.
type ttls struct {
	read, plain bool
	written     []time.Duration
}

func (pr *Prover) ttls(conditions ...trust.Condition) ttls {
	out := ttls{plain: true}
	for _, c := range conditions {
		t, err := pr.tree(c)
		if err != nil || !t.readsTTL {
			continue
		}
		out.read = true
		out.plain = out.plain && t.plainTTL
		out.written = append(out.written, t.ttls...)
	}
	return out
}

// conditions of a trust and the guardrails that are for it.
func (pr *Prover) conditions(t trust.Trust) []trust.Condition {
	out := append([]trust.Condition(nil), t.When...)
	for _, g := range pr.guardrails[t.Provider] {
		out = append(out, g.Condition)
	}
	return out
}
