package trust_test

import (
	"strings"
	"testing"

	"cambio/trust"
)

// TestConditionsThatDoNotLoad: whatever way a claim or a field is reached, it has
// its type and its name is checked, and no chain of calls makes text without
// bound: five replace() in a row once made gigabytes of one claim.
func TestConditionsThatDoNotLoad(t *testing.T) {
	t.Parallel()
	for condition, id := range map[string]string{
		`claims.?actor.orValue(0) != 1`:                                          trust.FindingTypeMismatch,
		`claims[?"actor"].orValue(0) != 1`:                                       trust.FindingTypeMismatch,
		`claims.?groups.orValue([])[0] == 1`:                                     trust.FindingTypeMismatch,
		`claims["nonexi" + "stent"] != "x"`:                                      trust.FindingUnknownClaim,
		`[claims][0].nope != "x"`:                                                trust.FindingUnknownClaim,
		`{"a": claims}.a.nope != "x"`:                                            trust.FindingUnknownClaim,
		`request["to"] == 1`:                                                     trust.FindingTypeMismatch,
		`request["no-such"] == "t1"`:                                             trust.FindingUnknownName,
		`request.?nosuch.hasValue()`:                                             trust.FindingUnknownName,
		`identity[?"nosuch"].hasValue()`:                                         trust.FindingUnknownName,
		`"%s%s".format([claims.sub]) == ""`:                                      trust.FindingTooExpensive,
		`strings.quote(claims.sub) == ""`:                                        trust.FindingTooExpensive,
		`claims.sub.split("").join(claims.sub) == ""`:                            trust.FindingTooExpensive,
		`claims.sub` + strings.Repeat(`.replace("", "aaaaaaaaaa")`, 5) + `== ""`: trust.FindingTooExpensive,
	} {
		_, findings := trust.Compile(world(), sources(edit(t, "grants:", "when:\n  - |-\n    "+condition+"\ngrants:")), now())
		if len(findings) == 0 || findings[0].ID != id {
			t.Errorf("%s: %v, want %s", condition, findings, id)
			continue
		}
		if f := findings[0]; f.Fix == "" || f.Line == 0 || f.Column == 0 {
			t.Errorf("%s: incomplete: %+v", condition, f)
		}
	}
}

// TestConditionsOverOptionals: an absent claim is none, and one of another type
// than its declared one is no value that a rule could be built on.
func TestConditionsOverOptionals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		condition string
		change    map[string]any
		want      trust.Reason
	}{
		{`claims.?actor.orValue("none") != "eve"`, map[string]any{"actor": "bob"}, ""},
		{`claims.?actor.orValue("none") != "eve"`, map[string]any{"actor": []any{"eve"}}, trust.ReasonCELError},
		{`claims.?environment.orValue("none").replace("n", "m") == "mome"`, nil, ""},
		{`"ops" in claims.?groups.orValue([])`, map[string]any{"groups": []any{"ops"}}, ""},
		{`claims.?groups.orValue([]).exists(g, g == "x")`, map[string]any{"groups": []any{"ops"}}, trust.ReasonConditionFalse},
		{`request["to"] == "t1" && request.?to.orValue("") == "t1"`, nil, ""},
	} {
		p, findings := trust.Compile(world(), sources(edit(t, "grants:", "when:\n  - |-\n    "+c.condition+"\ngrants:")), now())
		if p == nil {
			t.Errorf("%s: does not load: %v", c.condition, findings)
			continue
		}
		if d := p.Decide(token(c.change), trust.Request{Target: "t1"}, trust.StopSet{}, now()); d.Reason != c.want {
			t.Errorf("%s: got %q, want %q", c.condition, d.Reason, c.want)
		}
	}
}
