package diff

import (
	"fmt"
	"maps"
	"slices"

	"cambio/trust"
	"cambio/trust/words"
)

// Setting is a setting of the configuration that differs between the two sides
// and that documents do not see, such as where an identity provider's keys are.
type Setting struct {
	Kind Kind   // KindProvider or KindTarget
	Name string // of the identity provider or the target
	// Field is its name in the configuration; Before and After are its values as
	// text, "" where it is not set.
	Field         string
	Before, After string
}

// world compares the identity providers and targets. What follows from a change
// for one trust, such as another lifetime, is said there.
func (d *differ) world() []Item {
	before, after := d.before.policy.World(), d.after.policy.World()
	items := newItems(KindProvider, before.Providers, after.Providers)
	items = append(items, newItems(KindTarget, before.Targets, after.Targets)...)
	at := map[Kind]map[string]*Item{KindProvider: {}, KindTarget: {}}
	for _, s := range d.settings {
		item := at[s.Kind][s.Name]
		if item == nil {
			item = &Item{Kind: s.Kind, Name: s.Name, Effect: Undecided, Why: d.concerned(s.Kind, s.Name)}
			at[s.Kind][s.Name] = item
		}
		item.Lines = append(item.Lines, tilde(s.text(), Undecided))
	}
	for _, byName := range at {
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			items = append(items, *byName[name])
		}
	}
	return items
}

// newItems are those that only one configuration has. By itself neither gives
// anything: the trusts that name it do.
func newItems[T any](kind Kind, before, after map[string]T) []Item {
	var items []Item
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			items = append(items, Item{Kind: kind, Name: name, Effect: None, Lines: []Line{equal("is new in the configuration")}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			items = append(items, Item{Kind: kind, Name: name, Effect: None, Lines: []Line{equal("is gone from the configuration")}})
		}
	}
	return items
}

func (s Setting) text() string {
	was, is := words.Plain(s.Before, " ,[]"), words.Plain(s.After, " ,[]")
	switch {
	case s.Before == "":
		return words.One(s.Field) + " is now " + is
	case s.After == "":
		return words.One(s.Field) + " is no longer set; it was " + was
	}
	return words.One(s.Field) + " is " + is + " instead of " + was
}

// concerned says how many trusts hang on it.
func (d *differ) concerned(kind Kind, name string) string {
	n := 0
	for _, t := range d.after.trusts {
		if kind == KindProvider && t.Provider == name ||
			kind == KindTarget && slices.ContainsFunc(t.Grants, func(g trust.WrittenGrant) bool { return g.Target == name }) {
			n++
		}
	}
	if n == 1 {
		return "1 trust hangs on it"
	}
	return fmt.Sprintf("%d trusts hang on it", n)
}
