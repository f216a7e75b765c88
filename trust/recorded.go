package trust

// Recorded are the claims of a proven token that the journal keeps: those that
// the provider lists in [Provider.Journal] and the token has, by the names that
// records have ([ClaimRef.Shown]). The values are the identity's own. nil where
// there are none.
func (p *Policy) Recorded(id *Identity) map[string]any {
	if p == nil {
		return nil
	}
	provider := p.providers[id.Provider]
	if provider == nil || len(provider.recorded) == 0 {
		return nil
	}
	kept := make(map[string]any, len(provider.recorded)+evidenceBeside)
	for _, claim := range provider.recorded {
		if x, ok := claim.find(id.Claims); ok {
			kept[claim.shown] = x
		}
	}
	return kept
}

// evidenceBeside is room for the claims of match that are not listed, so that the
// map of an allowed exchange does not grow.
const evidenceBeside = 4

// Restored are the claims of a token as a record tells of them: each where it
// lies in the token, and under its alias too. Claims that the provider's tokens
// no longer have by that name are left out.
//
// known reports whether the record tells of a claim: what it lists, and what the
// token had not. listed says that the record was written by the provider's list,
// and not for the evidence of an allowed decision alone.
func (p *Policy) Restored(provider string, recorded map[string]any, listed bool) (claims map[string]any, known func(ClaimRef) bool) {
	claims = map[string]any{}
	told := map[string]bool{}
	from := p.providers[provider]
	if from == nil {
		return claims, func(ClaimRef) bool { return false }
	}
	if listed {
		for _, claim := range from.recorded {
			told[claim.id] = true
		}
	}
	for name, x := range recorded {
		claim := from.schema.lookup(name)
		if claim == nil {
			continue
		}
		told[claim.id] = true
		claim.set(claims, x)
	}
	for alias := range p.world.Providers[provider].Platform.Aliases { // as the verifier does
		if claim := from.schema.lookup(alias); claim != nil {
			if x, ok := claim.find(claims); ok {
				claims[alias] = x
			}
		}
	}
	return claims, func(c ClaimRef) bool { return told[c.v.id] }
}
