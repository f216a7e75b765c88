package trust

import (
	"math"
	"sort"
	"strconv"
	"strings"
)

// claimVar is one claim that documents may name: where it lies in a token and
// of which type it is.
type claimVar struct {
	name   string   // as the platform's table or its alias writes it
	id     string   // the canonical JSON pointer; two names of one claim share it
	path   []string // the pointer, taken apart
	typ    ClaimType
	values []string // the closed set, where there is one
	table  Claim    // as the table has it
	shown  string   // its name in the journal and to callers: an alias, else name
}

// claimSchema is what one identity provider's tokens may claim.
type claimSchema struct {
	byName map[string]*claimVar // names, aliases and pointers
	byID   map[string]*claimVar
	names  []string // all of byName but generated pointers, sorted, for suggestions
}

// registeredClaims are those of RFC 7519 that the verifier checks in every
// token, whatever the platform's table says. `aud` is left out: it is a string
// or a list, and identity.audience is the one that was accepted.
func registeredClaims() map[string]Claim {
	return map[string]Claim{
		"iss": {Type: StringClaim, Always: true},
		"sub": {Type: StringClaim, Always: true},
		"jti": {Type: StringClaim},
		"exp": {Type: IntClaim, Always: true},
		"iat": {Type: IntClaim, Always: true},
		"nbf": {Type: IntClaim},
	}
}

func newClaimSchema(p Provider) *claimSchema {
	s := &claimSchema{byName: map[string]*claimVar{}, byID: map[string]*claimVar{}}
	aliased := map[string]bool{}
	for alias := range p.Platform.Aliases {
		aliased[alias] = true
	}
	for _, table := range []map[string]Claim{p.Platform.Claims, p.Claims, registeredClaims()} {
		for name, c := range table {
			if aliased[name] || c.Type == "" {
				continue
			}
			s.add(name, claimPath(name), c)
		}
	}
	for alias, pointer := range p.Platform.Aliases {
		path := claimPath(pointer)
		v := s.byID[pointerOf(path)]
		if v == nil {
			c, ok := p.Platform.Claims[alias]
			if !ok {
				continue
			}
			v = s.add(pointer, path, c)
		}
		if v.shown == v.name || alias < v.shown {
			v.shown = alias // the first of several, so that a record has one spelling
		}
		// An alias always means the nested claim. A token that brings a flat
		// claim of the same name would otherwise choose its own namespace.
		s.byName[alias] = v
		s.names = append(s.names, alias)
	}
	sort.Strings(s.names)
	return s
}

func (s *claimSchema) add(name string, path []string, c Claim) *claimVar {
	id := pointerOf(path)
	if v, ok := s.byID[id]; ok {
		return v
	}
	v := &claimVar{name: name, id: id, path: path, typ: c.Type, values: c.Values, table: c, shown: name}
	s.byID[id] = v
	s.byName[name] = v
	s.byName[id] = v
	s.names = append(s.names, name)
	return v
}

// lookup resolves a name, an alias or a JSON pointer of a document.
func (s *claimSchema) lookup(name string) *claimVar {
	if v, ok := s.byName[name]; ok {
		return v
	}
	if strings.HasPrefix(name, "/") {
		if path, ok := parsePointer(name); ok {
			return s.byID[pointerOf(path)]
		}
	}
	return nil
}

// lookupPath resolves a path of a condition. open reports that the path leads
// to, or lies below, something whose members the table does not list.
func (s *claimSchema) lookupPath(path []string) (v *claimVar, open bool) {
	if len(path) == 1 {
		if v, ok := s.byName[path[0]]; ok && !strings.HasPrefix(path[0], "/") {
			return v, false
		}
	}
	id := pointerOf(path)
	if v, ok := s.byID[id]; ok {
		return v, false
	}
	for i := len(path) - 1; i > 0; i-- {
		if v, ok := s.byID[pointerOf(path[:i])]; ok {
			return nil, v.typ == MapClaim
		}
	}
	for other := range s.byID {
		if strings.HasPrefix(other, id+"/") {
			return nil, true
		}
	}
	return nil, false
}

// intersect keeps the claims that both have with the same type.
func (s *claimSchema) intersect(o *claimSchema) *claimSchema {
	r := &claimSchema{byName: map[string]*claimVar{}, byID: map[string]*claimVar{}}
	for name, v := range s.byName {
		w, ok := o.byName[name]
		if !ok || v.id != w.id || v.typ != w.typ {
			continue
		}
		r.byName[name] = v
		r.byID[v.id] = v
	}
	for _, name := range s.names {
		if _, ok := r.byName[name]; ok {
			r.names = append(r.names, name)
		}
	}
	return r
}

// find returns the claim's value. The boolean is false when the token lacks it.
func (v *claimVar) find(claims map[string]any) (any, bool) {
	x, ok := claims[v.path[0]]
	for _, member := range v.path[1:] {
		if !ok {
			return nil, false
		}
		m, isMap := x.(map[string]any)
		if !isMap {
			return nil, false
		}
		x, ok = m[member]
	}
	return x, ok
}

// typed returns the value as the declared type has it. It is false for null and
// for any other type: a claim that changes its type must not slip through a
// condition such as `claims.x != "y"`.
func (v *claimVar) typed(x any) (any, bool) {
	switch v.typ {
	case StringClaim:
		_, ok := x.(string)
		return x, ok
	case BoolClaim:
		_, ok := x.(bool)
		return x, ok
	case IntClaim:
		_, ok := x.(int64)
		return x, ok
	case DoubleClaim:
		switch n := x.(type) {
		case float64:
			return n, !math.IsNaN(n)
		case int64: // JSON writes the double 1.0 as 1
			return float64(n), true
		}
	case ListClaim:
		list, ok := x.([]any)
		for _, item := range list {
			if _, isString := item.(string); !isString {
				return nil, false
			}
		}
		return x, ok
	case MapClaim:
		_, ok := x.(map[string]any)
		return x, ok
	}
	return nil, false
}

// claimPath takes a table's name apart: a JSON pointer when it begins with a
// slash, else one flat name.
func claimPath(name string) []string {
	if strings.HasPrefix(name, "/") {
		if path, ok := parsePointer(name); ok {
			return path
		}
	}
	return []string{name}
}

// parsePointer takes a JSON pointer apart (RFC 6901 sections 3 and 4). The
// pointer to the whole document, and a tilde that escapes nothing, are refused.
func parsePointer(p string) ([]string, bool) {
	if !strings.HasPrefix(p, "/") {
		return nil, false
	}
	path := strings.Split(p[1:], "/")
	for i, member := range path {
		if !strings.Contains(member, "~") {
			continue
		}
		var b strings.Builder
		for j := 0; j < len(member); j++ {
			if member[j] != '~' {
				b.WriteByte(member[j])
				continue
			}
			j++
			switch {
			case j < len(member) && member[j] == '0':
				b.WriteByte('~')
			case j < len(member) && member[j] == '1':
				b.WriteByte('/')
			default:
				return nil, false
			}
		}
		path[i] = b.String()
	}
	return path, true
}

// pointerOf writes a path as its one JSON pointer.
func pointerOf(path []string) string {
	var b strings.Builder
	for _, member := range path {
		b.WriteByte('/')
		for i := 0; i < len(member); i++ {
			switch member[i] {
			case '~':
				b.WriteString("~0")
			case '/':
				b.WriteString("~1")
			default:
				b.WriteByte(member[i])
			}
		}
	}
	return b.String()
}

// showPath writes a path as a condition would: claims.a["b.c"].
func showPath(path []string) string {
	var b strings.Builder
	b.WriteString("claims")
	for _, member := range path {
		if isIdentifier(member) {
			b.WriteString("." + member)
		} else {
			b.WriteString("[" + strconv.Quote(member) + "]")
		}
	}
	return b.String()
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
