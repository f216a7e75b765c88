package trust

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// providerPolicy is one identity provider with the trusts that are for it.
type providerPolicy struct {
	name       string
	schema     *claimSchema
	env        *celEnv
	anchors    []*claimVar // the most selective first
	pinned     []*claimVar // to be pinned beside an anchor, each of them
	advised    []*claimVar
	guards     []guard
	implied    []implied
	recorded   []*claimVar // what the journal keeps of each proven token
	tokenUse   TokenUse
	tightened  bool // some trust has a tighter token use
	sample     map[string]any
	rules      []*rule
	index      index
	guardrails []*guardrail
}

// guard is a value of a claim that match must name for the token to be taken.
type guard struct {
	claim *claimVar
	value string
}

// implied is a condition that holds unless match pins the claim.
type implied struct {
	claim     *claimVar
	condition *condition
}

func (p *providerPolicy) isAnchor(c *claimVar) bool {
	return slices.ContainsFunc(p.anchors, func(a *claimVar) bool { return a.id == c.id })
}

// anchorOf returns the line that pins the most selective anchor by equality; nil
// also where a claim is open that the platform wants pinned beside it: the same
// role name in another account is somebody else.
func (p *providerPolicy) anchorOf(lines []matchLine) *matchLine {
	for _, c := range p.pinned {
		if pinOf(lines, c) == nil {
			return nil
		}
	}
	for _, a := range p.anchors {
		if line := pinOf(lines, a); line != nil {
			return line
		}
	}
	return nil
}

// pinOf is the line that pins the claim by equality; nil: none does.
func pinOf(lines []matchLine, c *claimVar) *matchLine {
	for i := range lines {
		if lines[i].claim.id == c.id && lines[i].pins() {
			return &lines[i]
		}
	}
	return nil
}

// toPin says which claims match must name: one of the anchors, and all that
// belong beside it.
func (p *providerPolicy) toPin() string {
	names := make([]string, len(p.anchors))
	for i, a := range p.anchors {
		names[i] = a.name
	}
	text := "one of " + strings.Join(names, ", ")
	if len(names) == 1 {
		text = names[0]
	}
	for _, c := range p.pinned {
		text += " and " + c.name
	}
	return text
}

// claimEnvs are environments by the table of claims that they are of. Providers of
// one type have one table between them: a thousand of them would else make a
// thousand environments that say the same.
type claimEnvs map[[2]uintptr]*celEnv

// of is the environment of a provider's claims.
func (e claimEnvs) of(base *cel.Env, p Provider) (*celEnv, error) {
	if len(p.Claims) > 0 {
		return newCELEnv(base, newClaimSchema(p))
	}
	// The same two maps, not equal ones: to compare takes as long as to make.
	table := [2]uintptr{reflect.ValueOf(p.Platform.Claims).Pointer(), reflect.ValueOf(p.Platform.Aliases).Pointer()}
	if env := e[table]; env != nil {
		return env, nil
	}
	env, err := newCELEnv(base, newClaimSchema(p))
	if err == nil {
		e[table] = env
	}
	return env, err
}

// imply is the condition that the platform has unless match names the claim,
// compiled once for all providers that share the environment. Only the making of a
// compiler calls it, one at a time.
func (e *celEnv) imply(claim, source string) (*condition, error) {
	key := claim + "\x00" + source
	if c := e.implied[key]; c != nil {
		return c, nil
	}
	c, problems := e.compile(source)
	if len(problems) > 0 || c.perGrant {
		return nil, fmt.Errorf("the implied condition of %q is none: %v", claim, problems)
	}
	c.implied = claim
	if e.implied == nil {
		e.implied = map[string]*condition{}
	}
	e.implied[key] = c
	return c, nil
}

func newProviderPolicy(env *celEnv, name string, provider Provider) (*providerPolicy, error) {
	p := &providerPolicy{
		name: name, schema: env.schema, env: env, tokenUse: provider.TokenUse, sample: provider.Platform.Sample,
	}
	if p.tokenUse.rank() == 0 {
		return nil, fmt.Errorf("token use %q is none", provider.TokenUse)
	}
	for _, names := range [][]string{provider.Platform.Anchors, provider.Anchors} {
		for _, anchor := range names {
			claim := p.schema.lookup(anchor)
			if claim == nil {
				return nil, fmt.Errorf("the anchor %q is no claim", anchor)
			}
			if !p.isAnchor(claim) {
				p.anchors = append(p.anchors, claim)
			}
		}
	}
	for _, name := range provider.Platform.Pinned {
		claim := p.schema.lookup(name)
		if claim == nil {
			return nil, fmt.Errorf("the claim %q to pin is no claim", name)
		}
		p.pinned = append(p.pinned, claim)
	}
	for _, advised := range provider.Platform.Advised {
		claim := p.schema.lookup(advised)
		if claim == nil {
			return nil, fmt.Errorf("the advised claim %q is no claim", advised)
		}
		p.advised = append(p.advised, claim)
	}
	for _, kept := range provider.Journal {
		claim := p.schema.lookup(kept)
		if claim == nil {
			return nil, fmt.Errorf("the journal's claim %q is no claim", kept)
		}
		if !slices.Contains(p.recorded, claim) {
			p.recorded = append(p.recorded, claim)
		}
	}
	for _, guarded := range slices.Sorted(maps.Keys(provider.Platform.Guarded)) {
		claim := p.schema.lookup(guarded)
		if claim == nil {
			return nil, fmt.Errorf("the guarded claim %q is no claim", guarded)
		}
		for _, value := range provider.Platform.Guarded[guarded] {
			p.guards = append(p.guards, guard{claim: claim, value: value})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(provider.Platform.Implied)) {
		claim := p.schema.lookup(name)
		if claim == nil {
			return nil, fmt.Errorf("the implied condition's claim %q is no claim", name)
		}
		c, err := env.imply(name, provider.Platform.Implied[name])
		if err != nil {
			return nil, err
		}
		p.implied = append(p.implied, implied{claim: claim, condition: c})
	}
	return p, nil
}
