package prove

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/logic"
)

// Example is a situation that the policy itself has confirmed.
type Example struct {
	Trust    string `json:"trust"`
	Provider string `json:"provider"`
	// Claims are the few that matter; with what every token of the provider has
	// beside them they are enough for the same decision.
	Claims  map[string]any `json:"claims"`
	Request trust.Request  `json:"-"`
	At      time.Time      `json:"at"`
	// Identity is what a whole token with these claims would prove.
	Identity trust.Identity `json:"-"`
	// Grant is what is issued.
	Grant trust.Grant `json:"-"`
}

// MarshalJSON writes an example as a person would ask about it: the claims of a
// file for explain, and its flags.
func (e Example) MarshalJSON() ([]byte, error) {
	type shown Example
	out := struct {
		shown
		To       string   `json:"to"`
		Resource string   `json:"resource,omitempty"`
		Scopes   []string `json:"scopes,omitempty"`
		Named    string   `json:"trust_parameter,omitempty"`
		TTL      string   `json:"ttl,omitempty"`
		Address  string   `json:"address,omitempty"`
	}{shown: shown(e), To: e.Request.Target, Resource: e.Request.Resource, Scopes: e.Request.Scopes, Named: e.Request.Trust}
	if e.Request.TTL > 0 {
		out.TTL = e.Request.TTL.String()
	}
	if e.Request.Address.IsValid() {
		out.Address = e.Request.Address.String()
	}
	return json.Marshal(out)
}

// situation is one token, one request and one instant.
type situation struct {
	claims   map[string]any
	audience string
	request  trust.Request
	at       time.Time
	iat, exp *int64 // in seconds; nil: of a token that was issued just now
	// fractions are the nanoseconds that a model has more than iat and exp.
	fractions [2]int64
}

func second(n int64) *int64 { return &n }

// whole are the ways to make whole seconds of a model's times, which is all that
// a token has.
func (c situation) whole() []situation {
	out := []situation{c}
	for i, fraction := range c.fractions {
		if fraction == 0 {
			continue
		}
		for _, d := range slices.Clone(out) {
			if i == 0 {
				d.iat = second(*d.iat + 1)
			} else {
				d.exp = second(*d.exp + 1)
			}
			out = append(out, d)
		}
	}
	return out
}

// identity is what the token would prove. It is false where the verifier would
// refuse it, because a claim that the workload id is made of is missing.
func (s *state) identity(c situation, nonce bool) (trust.Identity, bool) {
	claims := cloneMap(c.claims)
	iat := c.at.Unix()
	if c.iat != nil {
		iat = *c.iat
	}
	exp := max(iat, c.at.Unix()) + 300
	if c.exp != nil {
		exp = *c.exp
	}
	claims["iat"], claims["exp"] = iat, exp
	for alias, pointer := range s.table.known.Platform.Aliases {
		if ref, ok := s.table.claims[pointer]; ok {
			if v, has := ref.Get(claims); has {
				claims[alias] = v
			}
		}
	}
	text := func(name string) string { v, _ := claims[name].(string); return v }
	id := trust.Identity{
		Provider: s.table.provider, Subject: text("sub"), Issuer: text("iss"), Audience: c.audience, TokenID: text("jti"),
		IssuedAt: time.Unix(iat, 0).UTC(), ExpiresAt: time.Unix(exp, 0).UTC(), Claims: claims, Nonce: nonce,
	}
	if make := s.table.known.WorkloadID; make != nil {
		var err error
		if id.Workload, err = make(claims); err != nil {
			return id, false
		}
	}
	return id, true
}

// sample is what examples start from: the platform's own, and what else every
// token has.
func (t *table) sample() map[string]any {
	claims := cloneMap(t.known.Platform.Sample)
	for alias := range t.known.Platform.Aliases {
		delete(claims, alias)
	}
	for _, id := range t.ids {
		ref := t.claims[id]
		if _, has := ref.Get(claims); !has && t.present[id] {
			ref.Set(claims, usual(ref))
		}
	}
	return claims
}

// usual is some value of a claim.
func usual(c trust.ClaimRef) any {
	switch c.Claim().Type {
	case trust.StringClaim:
		if len(c.Claim().Values) > 0 {
			return c.Claim().Values[0]
		}
		return "x"
	case trust.BoolClaim:
		return true
	case trust.IntClaim:
		return int64(1)
	case trust.DoubleClaim:
		return 1.0
	case trust.ListClaim:
		return []any{}
	case trust.MapClaim:
		return map[string]any{}
	}
	return nil
}

// plain is the situation that the lines of match of a trust allow and that is
// the sample in all else.
func (s *state) plain(t trust.Trust) situation {
	c := situation{claims: s.table.sample(), at: s.now.UTC().Truncate(time.Second)}
	if c.at.Before(s.now) {
		c.at = s.now.UTC()
	}
	c.audience = "audience"
	switch aud := c.claims["aud"].(type) {
	case string:
		c.audience = aud
	case []any:
		if len(aud) > 0 {
			c.audience, _ = aud[0].(string)
		}
	}
	for _, line := range t.Match {
		if v, ok := line.Claim.Get(c.claims); ok && accepts(line, v) {
			continue
		}
		w := line.Want[0]
		if text, isText := w.Value.(string); isText && w.Glob {
			line.Claim.Set(c.claims, strings.ReplaceAll(text, "*", "x"))
		} else {
			line.Claim.Set(c.claims, w.Value)
		}
	}
	return c
}

// accepts reports whether a line of match takes the value.
func accepts(line trust.MatchLine, v any) bool {
	return slices.ContainsFunc(line.Want, func(w trust.Wanted) bool {
		text, isText := v.(string)
		pattern, _ := w.Value.(string)
		return !w.Glob && w.Value == v || w.Glob && isText && logic.Glob(pattern).Contains(text)
	})
}

// apply puts the values of a model into a situation.
func (s *state) apply(c situation, m logic.Model, asker string, g trust.WrittenGrant) situation {
	c.claims = cloneMap(c.claims)
	absent := map[string]bool{}
	for _, x := range slices.Sorted(maps.Keys(m)) {
		name := string(x)
		switch {
		case x == timeVar:
			n, _ := m[x].(int64)
			c.at = time.Unix(0, n).UTC()
		case x == addressVar:
			c.request.Address, _ = m[x].(netip.Addr)
		case x == audienceVar:
			c.audience, _ = m[x].(string)
		case x == ttlVar(asker):
			n, _ := m[x].(int64)
			if ttl := time.Duration(n).Truncate(time.Second); ttl < g.TTL {
				c.request.TTL = ttl
			}
		case strings.HasPrefix(name, "has "):
			if has, _ := m[x].(bool); !has {
				absent[name[len("has "):]] = true
			} else if ref, ok := s.table.claims[name[len("has "):]]; ok {
				if _, has := ref.Get(c.claims); !has {
					ref.Set(c.claims, usual(ref))
				}
			}
		case strings.HasPrefix(name, "claim "):
			s.put(&c, name[len("claim "):], m[x])
		}
	}
	s.members(&c, m)
	for id := range absent {
		remove(c.claims, id)
	}
	c.request.Scopes = asked(asker, g.Scopes, m)
	return c
}

func (s *state) put(c *situation, id string, v any) {
	seconds := func() int64 { n, _ := v.(int64); return n / int64(time.Second) }
	fraction := func() int64 { n, _ := v.(int64); return n % int64(time.Second) }
	ref, ok := s.table.claims[id]
	switch {
	case id == "/iat":
		c.iat, c.fractions[0] = second(seconds()), fraction()
	case id == "/exp":
		c.exp, c.fractions[1] = second(seconds()), fraction()
	case !ok:
	case id == "/nbf":
		ref.Set(c.claims, seconds())
	default:
		if list, ok := v.([]string); ok {
			all := make([]any, len(list))
			for i, s := range list {
				all[i] = s
			}
			v = all
		}
		ref.Set(c.claims, v)
	}
}

// members puts values of undeclared members of map claims; their type is a part
// of the model.
func (s *state) members(c *situation, m logic.Model) {
	for x := range s.seen {
		id, ok := strings.CutPrefix(string(x), "has ")
		if !ok || parent(id) == "" {
			continue
		}
		if _, declared := s.table.claims[id]; declared {
			continue
		}
		if has, _ := m[x].(bool); !has {
			continue
		}
		base := string(claimOf(id))
		is := func(kind string) bool { v, _ := m[logic.Var(base+" is "+kind)].(bool); return v }
		value := func(kind string, otherwise any) any {
			if v, ok := m[logic.Var(base+" "+kind)]; ok {
				return v
			}
			return otherwise
		}
		switch {
		case is("text"):
			set(c.claims, id, value("text", "x"))
		case is("integer"):
			set(c.claims, id, value("integer", int64(1)))
		case is("boolean"):
			set(c.claims, id, value("boolean", false))
		case is("double"):
			set(c.claims, id, value("double", 0.5))
		default:
			set(c.claims, id, nil)
		}
	}
}

// asked are the scopes of a model; nil for all of them.
func asked(asker string, granted []string, m logic.Model) []string {
	var out []string
	for _, scope := range granted {
		if v, ok := m[scopeVar(asker, scope)]; !ok || v == true {
			out = append(out, scope)
		}
	}
	if len(out) == len(granted) {
		return nil
	}
	return out
}

// this holds of the model alone.
func this(m logic.Model) logic.Formula {
	var fs []logic.Formula
	for x, v := range m {
		switch v := v.(type) {
		case bool:
			f := logic.Bool(x)
			if !v {
				f = logic.Not(f)
			}
			fs = append(fs, f)
		case string:
			fs = append(fs, logic.In(x, logic.Text(v)))
		case int64:
			fs = append(fs, logic.Equals(x, v))
		case float64:
			fs = append(fs, logic.EqualsReal(x, v))
		case netip.Addr:
			if v.IsValid() {
				fs = append(fs, logic.AddressIs(x, v))
			} else {
				fs = append(fs, logic.Not(logic.AddressKnown(x)))
			}
		case []string:
			fs = append(fs, logic.SizeAtMost(x, int64(len(v))))
			for _, s := range v {
				fs = append(fs, logic.Some(x, logic.Text(s)))
			}
		}
	}
	return logic.And(fs...)
}

func compareOutside(a, b Outside) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column),
		cmp.Compare(a.Expression, b.Expression))
}
