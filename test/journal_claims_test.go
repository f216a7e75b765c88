package test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cambio/audit"
	"cambio/providers"
	"cambio/test/rig"
)

// TestJournalClaimsAreDocumented compares the table of claims with the catalogue.
func TestJournalClaimsAreDocumented(t *testing.T) {
	t.Parallel()
	documented := rows(t, section(document(t, "docs/reference/journal.md"), "Claims"))
	platforms := providers.Platforms()
	sameNames(t, "docs/reference/journal.md", keysOf(documented), slices.Sorted(maps.Keys(platforms)))
	for name, platform := range platforms {
		var listed []string
		for _, m := range quoted.FindAllStringSubmatch(documented[name][0], -1) {
			listed = append(listed, m[1])
		}
		sameNames(t, name, listed, platform.Journal)
	}
}

// personal are the names of claims that tell about a person; event_name does not.
var personal = regexp.MustCompile(`(?i)actor|e-?mail$|^(.*_)?(given|family|nick|middle)?_?name$|head_ref|user|login|picture|phone|message|^workflow$`)

// things are claims with the name of something that is no person.
var things = regexp.MustCompile(`(?:account|app|cluster|machine|org|organization|pipeline|project|workspace)_name$|/instance_name$|^event_name$`)

// TestPlatformsListNobody holds that no platform lists a claim that tells about a
// person. Names of machines and accounts are none.
func TestPlatformsListNobody(t *testing.T) {
	t.Parallel()
	for name, platform := range providers.Platforms() {
		for _, claim := range platform.Journal {
			_, last, _ := strings.Cut(claim, "/kubernetes.io/node/") // a machine's name is its id
			if personal.MatchString(claim) && last == "" && !things.MatchString(claim) {
				t.Errorf("%s: %s", name, claim)
			}
		}
	}
}

// TestNobodyIsInTheJournal shows tokens that are full of personal text, allowed,
// denied and asked about, and looks for it in all that the gateway tells.
func TestNobodyIsInTheJournal(t *testing.T) {
	t.Parallel()
	const canary = "mona-lisa-octocat"
	people := map[string]any{
		"actor": canary, "actor_id": canary + "-1", "triggering_actor": canary, "head_ref": canary + "/try", "workflow": "by " + canary,
		"email": canary + "@acme.test", "head_commit": map[string]any{"message": "by " + canary}, "name": canary, "preferred_username": canary,
		"picture": "https://acme.test/" + canary,
	}
	run := func(t *testing.T, extra string) (told string, claims map[string]any) {
		t.Helper()
		r := rig.New(t, rig.Setup{Server: extra})
		asked := rig.Form(r.Token(people))
		asked.Set("dry_run", "true")
		r.Post(asked)
		r.Exchange(r.Token(people))
		denied := maps.Clone(people)
		denied["ref"], denied["sub"] = "refs/heads/x", "customised"
		a := r.Exchange(r.Token(denied))
		r.Deny(a, "condition-false")
		for _, record := range r.Records(a.Decision) {
			if record.Event == audit.ExchangeDenied {
				claims = record.Claims
			}
		}
		r.Stop()
		return r.Log.String() + r.Checkpoints.String() + stateText(t, r), claims
	}
	t.Run("listed", func(t *testing.T) {
		t.Parallel()
		told, claims := run(t, "")
		if strings.Contains(told, canary) {
			t.Errorf("told: %s", around(told, canary))
		}
		if claims["ref"] != "refs/heads/x" || claims["repository_id"] == nil {
			t.Errorf("the refusal keeps %v", claims)
		}
	})
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		_, claims := run(t, "journal: {claims: all}")
		if claims["actor"] != canary || claims["ref"] != "refs/heads/x" {
			t.Errorf("the refusal keeps %v", claims)
		}
		if claims["name"] != nil {
			t.Error("a claim that the table does not have is kept")
		}
	})
	t.Run("decision", func(t *testing.T) {
		t.Parallel()
		told, claims := run(t, "journal: {claims: decision}")
		if len(claims) != 0 || strings.Contains(told, canary) {
			t.Errorf("the refusal keeps %v", claims)
		}
	})
}
