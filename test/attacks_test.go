package test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v4"
)

// attackIssues are the issues whose work is done: all of their cases must hold.
func attackIssues() []string { return []string{"1", "2", "3", "4"} }

// attackMaps are the tests of the attack cases by their ids, one map a subject.
func attackMaps() []map[string]func(*testing.T) {
	return []map[string]func(*testing.T){
		tokenAttacks(), keyAttacks(), ssrfAttacks(), trustAttacks(),
		cloudAttacks(), platformAttacks(), lintAttacks(),
		formAttacks(), policyAttacks(), httpAttacks(), journalAttacks(), configAttacks(),
	}
}

// attacks are all of them together.
func attacks() map[string]func(*testing.T) {
	all := map[string]func(*testing.T){}
	for _, m := range attackMaps() {
		maps.Copy(all, m)
	}
	return all
}

// TestAttacks runs every attack by its id. Each shows a control request before
// and after, so that a gateway that denies everything does not pass.
func TestAttacks(t *testing.T) {
	all := attacks()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			all[id](t)
		})
	}
}

// attackCase is one item of testdata/attacks.yaml.
type attackCase struct {
	ID       string `yaml:"id"`
	Category string `yaml:"category"`
	Issue    string `yaml:"issue"`
	Tried    string `yaml:"tried"`
}

// TestEveryAttackHasATest compares the list of cases with the tests.
func TestEveryAttackHasATest(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "testdata", "attacks.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []attackCase
	if err := yaml.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	tests := attacks()
	count := 0
	for _, m := range attackMaps() {
		count += len(m)
	}
	if count != len(tests) {
		t.Errorf("%d tests for %d ids: an id has two", count, len(tests))
	}
	known := map[string]bool{}
	for _, c := range cases {
		if c.ID == "" || c.Category == "" || c.Issue == "" || c.Tried == "" || known[c.ID] {
			t.Errorf("case %+v lacks something, or is there twice", c)
		}
		known[c.ID] = true
		if _, ok := tests[c.ID]; !ok && slices.Contains(attackIssues(), c.Issue) {
			t.Errorf("%s has no test: %s", c.ID, c.Tried)
		}
	}
	for id := range tests {
		if !known[id] {
			t.Errorf("the test %s has no case", id)
		}
	}
	if len(cases) < 80 {
		t.Errorf("only %d cases were read", len(cases))
	}
}
