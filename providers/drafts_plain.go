package providers

import (
	"fmt"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/providers/oidc"
)

// plainDraft is a draft for a platform without names of its own for workloads: by
// the claims of one token it pins what tells the workload from every other one, and
// what somebody's approval stands behind.
func plainDraft(p oidc.Platform, workload string, claims map[string]any) (Draft, error) {
	if err := draft.Check(workload); err != nil {
		return Draft{}, fmt.Errorf("the workload's name: %w", err)
	}
	if claims == nil {
		return Draft{}, fmt.Errorf("the ids of a workload of %s stand in its token alone", p.Facts.Title)
	}
	d := Draft{
		Head: []string{
			"The workload " + workload + " of " + p.Facts.Title + ". Review each line before you merge it.",
			"Names that can be changed and taken by somebody else are not pinned.",
		},
		Name: draft.Name(workload), Purpose: "The workload " + workload,
	}
	text := func(claim string) string {
		path := claim
		if pointer, ok := p.Aliases[claim]; ok {
			path = pointer
		}
		v, _ := oidc.Lookup(claims, path)
		s, _ := v.(string)
		return s
	}
	pin := func(claim, comment string) bool {
		value := text(claim)
		said := slices.ContainsFunc(d.Match, func(l draft.Line) bool {
			return l.Claim == claim || l.Claim == p.Aliases[claim] || p.Aliases[l.Claim] == claim
		})
		if value == "" || said {
			return value != ""
		}
		d.Match = append(d.Match, draft.Line{Claim: claim, Values: []draft.Value{{Text: value}}, Comment: comment})
		return true
	}
	for _, claim := range p.Pinned {
		if !pin(claim, "") {
			return Draft{}, fmt.Errorf("the claims lack %s", claim)
		}
	}
	// What one workload is made of comes before other anchors: a certificate's name
	// stays when its key is renewed.
	for _, s := range p.Workload {
		if s.Claim != "" {
			pin(flat(p, s.Claim), "")
		}
	}
	anchored := func(l draft.Line) bool { return slices.Contains(p.Anchors, l.Claim) }
	if !slices.ContainsFunc(d.Match, anchored) && !slices.ContainsFunc(p.Anchors, func(claim string) bool { return pin(claim, "") }) {
		return Draft{}, fmt.Errorf("the claims lack %s", strings.Join(p.Anchors, " and "))
	}
	anchor := d.Match[slices.IndexFunc(d.Match, anchored)]
	for _, claim := range p.Advised {
		pin(claim, "")
	}
	for _, claim := range p.Gates {
		comment := "what somebody may approve, or protects"
		if p.Claims[claim].Chosen {
			comment = "narrows, and protects only where something else says who may choose it"
		}
		pin(claim, comment)
	}
	d.Tests = []draft.Test{
		{Name: "what is meant may", Allow: true},
		{Name: "another workload may not", Claims: []draft.Claim{{Name: anchor.Claim, Value: anchor.Values[0].Text + "x"}}},
	}
	return d, nil
}

// Drafted are the types of identity providers that a trust can be drafted for by
// the claims of a token alone, sorted: all whose anchors are known, but for those
// that have names of their own for workloads.
func Drafted() []string {
	var out []string
	all := Platforms()
	for _, name := range PlatformNames() {
		named := name == "github-actions" || name == "kubernetes" || name == "gcp"
		if p := all[name]; !named && !p.Generic && len(p.Anchors) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// flat is a claim's alias, where it has one: documents read better by it.
func flat(p oidc.Platform, claim string) string {
	found := claim
	for alias, pointer := range p.Aliases {
		if pointer == claim && (found == claim || alias < found) {
			found = alias
		}
	}
	return found
}
