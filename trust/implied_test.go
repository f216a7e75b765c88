package trust_test

import (
	"testing"
	"time"

	"cambio/trust"
)

// implied is forge, where a token of another environment than its labelled one is
// refused unless match names the environment.
func implied(condition string) trust.World {
	p := forge()
	p.Implied = map[string]string{"environment": condition}
	p.Journal = []string{"environment", "ref"}
	return trust.World{
		Providers: map[string]trust.Provider{"ci": {Platform: p, TokenUse: trust.Once, Journal: p.Journal}},
		Targets:   map[string]trust.Target{"api": {Type: apiType(), MaxTTL: time.Hour, Audience: "https://api.example"}},
	}
}

// TestImplied: a condition of the platform holds for each trust whose match does
// not pin its claim by equality, and is told as what match would have to say.
func TestImplied(t *testing.T) {
	const condition = `claims.?environment.orValue("safe") == "safe"`
	const head = "name: a\nowner: o@acme.example\npurpose: p\nfrom: ci\ngrants: [{to: api}]\n"
	for name, c := range map[string]struct {
		match, environment string
		want               trust.Reason
	}{
		"absent":           {"", "", ""},
		"as implied":       {"", "safe", ""},
		"another":          {"", "live", trust.ReasonConditionFalse},
		"another, named":   {", environment: live", "live", ""},
		"another, a list":  {", environment: [live, safe]", "live", ""},
		"another, a glob":  {`, environment: {glob: "l*"}`, "live", trust.ReasonConditionFalse},
		"as implied, glob": {`, environment: {glob: "s*"}`, "safe", ""},
	} {
		t.Run(name, func(t *testing.T) {
			policy, findings := trust.Compile(implied(condition), []trust.Source{{
				Name: "a.yaml", Data: []byte(head + `match: {repository_id: "7", repository_owner_id: "8"` + c.match + "}\nwhen: ['claims.ref == \"refs/heads/main\"']\n"),
			}}, now())
			if policy == nil {
				t.Fatal(findings)
			}
			claims := forge().Sample
			if c.environment != "" {
				claims["environment"] = c.environment
			}
			id := trust.Identity{Provider: "ci", Claims: claims}
			if got := policy.Decide(id, trust.Request{Target: "api"}, trust.StopSet{}, now()).Reason; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			said := false
			e := policy.ExplainNear(id, trust.Request{Target: "api"}, trust.StopSet{}, now())
			for _, l := range e.Lines {
				said = said || l.Field == "match.environment" && !l.OK && l.Expected == condition
			}
			if said != (c.want != "") {
				t.Errorf("explained: %t, %v", said, e.Lines)
			}
			view, _ := policy.Trust("a")
			own := 0
			for _, w := range view.When {
				if !w.Implied {
					own++
				}
			}
			if own != 1 {
				t.Errorf("%d conditions of the document's own", own)
			}
		})
	}
}

// TestImpliedRefused: a condition that is none refuses the whole configuration.
func TestImpliedRefused(t *testing.T) {
	for name, condition := range map[string]string{
		"no CEL":          "claims.environment ==",
		"no boolean":      `"x"`,
		"no such claim":   `claims.planet == "mars"`,
		"reads the grant": `grant.to == "api"`,
	} {
		if policy, findings := trust.Compile(implied(condition), nil, now()); policy != nil || !findings.HasErrors() {
			t.Errorf("%s: taken", name)
		}
	}
}
