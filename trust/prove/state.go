package prove

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"cambio/trust"
	"cambio/trust/logic"
)

// The variables that are no claims.
const (
	timeVar     logic.Var = "time" // of the request, in nanoseconds since 1970
	addressVar  logic.Var = "address"
	audienceVar logic.Var = "audience"
	workloadVar logic.Var = "workload"
)

func hasVar(id string) logic.Var  { return logic.Var("has " + id) }
func claimOf(id string) logic.Var { return logic.Var("claim " + id) }

// maxSkew is the most that the clocks of a token's issuer and ours may differ by
// in any configuration.
const maxSkew = 5 * time.Minute

// maxChoices is how many values of one claim are told apart as constants; beyond
// that the claim is a variable with a set of values.
const maxChoices = 6

// state is all situations that one question is about: the tokens of one identity
// provider and the instants from now on. It is used by one goroutine.
type state struct {
	pr       *Prover
	table    *table
	now      time.Time
	pins     map[string]any      // claims, by id, that have one value
	choices  map[string][]string // claims that have one of a few
	there    map[string]bool     // claims that match names: the token has them
	domain   []logic.Formula     // what holds of the variables that were read
	seen     map[logic.Var]bool
	outside  map[logic.Var]Outside
	fresh    int
	workload string // where the pins decide it
}

func (pr *Prover) newState(provider string) *state {
	return &state{
		pr: pr, table: pr.tables[provider], now: pr.now,
		seen: map[logic.Var]bool{}, outside: map[logic.Var]Outside{},
	}
}

// table is what tokens of one identity provider may claim.
type table struct {
	provider string
	claims   map[string]trust.ClaimRef // by id
	ids      []string                  // sorted
	present  map[string]bool           // in every token, also as the parent of such a claim
	filled   map[string]bool           // texts that are not empty: the verifier refuses such a token
	known    trust.Provider
}

func newTable(p *trust.Policy, provider string) *table {
	t := &table{provider: provider, claims: map[string]trust.ClaimRef{}, present: map[string]bool{}, known: p.World().Providers[provider]}
	for _, c := range p.Claims(provider) {
		t.claims[c.ID()] = c
		t.ids = append(t.ids, c.ID())
		if !c.Claim().Always {
			continue
		}
		t.always(c.ID())
	}
	t.forWorkload()
	return t
}

// always notes that every token has a claim.
func (t *table) always(id string) {
	for ; id != ""; id = parent(id) {
		t.present[id] = true
	}
}

// forWorkload finds the claims without which there is no workload id, by asking for
// one without each: a token that lacks one is refused before anything is judged.
func (t *table) forWorkload() {
	t.filled = map[string]bool{"/sub": true, "/jti": true}
	workload := t.known.WorkloadID
	claims := map[string]any{}
	for _, ref := range t.claims {
		if ref.Claim().Type == trust.StringClaim {
			ref.Set(claims, "x")
		}
	}
	refused := func() bool { _, err := workload(claims); return err != nil }
	if workload == nil || refused() {
		return
	}
	for id, ref := range t.claims {
		if ref.Claim().Type != trust.StringClaim {
			continue
		}
		if ref.Set(claims, nil); refused() {
			t.always(id)
		}
		if ref.Set(claims, ""); refused() {
			t.filled[id] = true
		}
		ref.Set(claims, "x")
	}
}

// parent is the pointer to what holds a member, "" for a top-level claim.
func parent(id string) string { return id[:strings.LastIndexByte(id, '/')] }

// present says where the token has the claim, or what holds claims.
func (s *state) present(id string) logic.Formula {
	if s.table.present[id] {
		return logic.True()
	}
	if s.there[id] {
		return logic.True()
	}
	x := hasVar(id)
	if s.see(x) {
		if up := parent(id); up != "" {
			s.domain = append(s.domain, logic.Implies(logic.Bool(x), s.present(up)))
		}
	}
	return logic.Bool(x)
}

// see reports whether the variable is met for the first time.
func (s *state) see(x logic.Var) bool {
	if s.seen[x] {
		return false
	}
	s.seen[x] = true
	return true
}

// read is the value of a declared claim; an error where the token lacks it.
func (s *state) read(id string) value {
	ref, ok := s.table.claims[id]
	if !ok {
		return value{} // no token has it
	}
	if pinned, ok := s.pins[id]; ok {
		return only(types.DefaultTypeAdapter.NativeToValue(pinned))
	}
	has, x := s.present(id), claimOf(id)
	claim := ref.Claim()
	switch claim.Type {
	case trust.StringClaim:
		return s.readText(id, has, x, claim)
	case trust.BoolClaim:
		return truth{logic.Bool(x), logic.Not(logic.Bool(x))}.where(has).value()
	case trust.IntClaim:
		if id == "/iat" || id == "/exp" || id == "/nbf" {
			s.seeTimes(id)
			return value(nil).add(has, number{x: x, unit: int64(time.Second)})
		}
		return value(nil).add(has, number{x: x, unit: 1})
	case trust.DoubleClaim:
		return value(nil).add(has, real{x})
	case trust.ListClaim:
		return value(nil).add(has, texts{x: x, keep: logic.Any(), whole: true})
	case trust.MapClaim:
		return value(nil).add(has, members{id})
	}
	return value{}
}

func (s *state) readText(id string, has logic.Formula, x logic.Var, claim trust.Claim) value {
	few := s.choices[id]
	if few == nil && len(claim.Values) > 0 {
		if s.see(x) {
			s.domain = append(s.domain, logic.Implies(has, logic.In(x, logic.Texts(claim.Values...))))
		}
		few = claim.Values
	}
	if s.table.filled[id] && s.see(x) {
		s.domain = append(s.domain, logic.In(x, logic.Lengths(1, -1))) // an empty one is refused before anything is judged
	}
	if len(few) == 0 || len(few) > maxChoices {
		return value(nil).add(has, textOf(x))
	}
	var v value
	for _, text := range few {
		v = v.add(logic.And(has, logic.In(x, logic.Text(text))), types.String(text))
	}
	return v
}

// seeTimes says what the times of a token that is taken have to do with the time
// of the request. They are instants in nanoseconds, so that all times can be
// compared; what they are more exact than a token is undone when the example is
// made.
func (s *state) seeTimes(id string) {
	x := claimOf(id)
	if !s.see(x) {
		return
	}
	s.seeClock()
	s.domain = append(s.domain, logic.Not(logic.AtMost(x, -1))) // nor is one before 1970 taken
	switch id {
	case "/iat", "/nbf":
		s.domain = append(s.domain, logic.Difference(x, timeVar, int64(maxSkew)))
	case "/exp":
		s.domain = append(s.domain, logic.Difference(timeVar, x, int64(maxSkew)))
	}
}

func (s *state) seeClock() {
	if s.see(timeVar) {
		s.domain = append(s.domain, logic.Not(logic.AtMost(timeVar, nanos(s.now)-1)))
	}
}

// nanos is an instant, as far as 64 bits go: from 1678 to 2262.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1679:
		return math.MinInt64 / 2
	case t.Year() > 2261:
		return math.MaxInt64 - int64(maxSkew)
	}
	return t.UnixNano()
}

// where is what holds of all variables that were read.
func (s *state) where() logic.Formula { return logic.And(s.domain...) }

// exchange is what one grant of one trust makes of a situation: the variables
// request and grant.
type exchange struct {
	*state
	grant trust.WrittenGrant
	// asker tells who asks: what is asked for by one has nothing to do with what is
	// by another.
	asker string
	// ttl is what is issued; 0: anything that can be asked for.
	ttl time.Duration
	// asks are the scopes that can be asked for: by default those of the grant.
	// Where nothing is asked for (all), the grant gives each of its scopes.
	asks []string
	all  bool
	key  string // tells exchanges of one state apart
}

// exchange is that of a grant whose caller asks for anything that it can get.
func (s *state) exchange(asker string, g trust.WrittenGrant, ttl time.Duration) *exchange {
	x := &exchange{state: s, grant: g, asker: asker, ttl: ttl, asks: g.Scopes}
	x.key = fmt.Sprintf("%s %s %s %v %d", asker, g.Target, g.Resource, g.Scopes, ttl)
	return x
}

// ttlVar is what is issued, in nanoseconds.
func ttlVar(asker string) logic.Var { return logic.Var("ttl " + asker) }

// scopeVar is whether a scope is asked for.
func scopeVar(asker, scope string) logic.Var { return logic.Var("scope " + asker + " " + scope) }

// lifetime is the effective ttl.
func (x *exchange) lifetime() value {
	if x.ttl > 0 {
		return only(types.Duration{Duration: x.ttl})
	}
	ttl := ttlVar(x.asker)
	if x.see(ttl) {
		x.domain = append(x.domain, logic.Not(logic.AtMost(ttl, int64(shortest(x.grant))-1)), logic.AtMost(ttl, int64(x.grant.TTL)))
	}
	return only(number{kind: duration, x: ttl, unit: 1})
}

// shortest is the shortest lifetime that can be asked for.
func shortest(g trust.WrittenGrant) time.Duration { return min(g.TTL, max(time.Second, g.MinTTL)) }

// scopes are those that are asked for: all where none is, which is why one at
// least is there.
func (x *exchange) scopes() value {
	out := make(items, len(x.asks))
	some := make([]logic.Formula, len(x.asks))
	for i, name := range x.asks {
		some[i] = logic.True()
		if !x.all {
			some[i] = logic.Bool(scopeVar(x.asker, name))
		}
		out[i] = item{some[i], only(types.String(name))}
	}
	if len(some) > 0 && x.see(logic.Var("scopes "+x.asker)) {
		x.domain = append(x.domain, logic.Or(some...))
	}
	return only(out)
}

// extra is an extra claim of the grant: a constant, or made of claims.
func (x *exchange) extra(name string) (value, bool) {
	i := slices.IndexFunc(x.grant.Claims, func(v trust.GrantValue) bool { return v.Name == name })
	if i < 0 {
		return value{}, false
	}
	g := x.grant.Claims[i]
	if len(g.Needs) == 0 {
		switch g.Value {
		case "true", "false":
			return only(opaque{}), true // a text or a boolean: the model does not say
		}
		if strings.Trim(g.Value, "-0123456789") == "" {
			return only(opaque{}), true
		}
		return only(types.String(g.Value)), true
	}
	out := only(types.String(""))
	rest := g.Value
	for i, need := range g.Needs {
		before, after, _ := strings.Cut(rest, "${claims.")
		_, after, _ = strings.Cut(after, "}")
		v := x.read(need.ID())
		if i == 0 && before == "" && after == "" {
			return v, true // alone it keeps its type
		}
		out = concat(concat(out, only(types.String(before))), v)
		rest = after
	}
	return concat(out, only(types.String(rest))), true
}
