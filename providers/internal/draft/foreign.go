package draft

import (
	"slices"
	"strings"
)

// Foreign is what another system lets in: an identity of this issuer whose claims
// all hold. A Value with Glob set is that system's pattern, where `*` is anything
// and `?` any one character, a slash among both.
type Foreign struct {
	Where  string // for findings, such as Statement[0]
	Issuer string // https://...
	Claims []Line // at least one value each; no claim twice
}

// Take removes a claim's line and returns its values, nil where there is none.
func (f *Foreign) Take(claim string) []Value {
	i := slices.IndexFunc(f.Claims, func(l Line) bool { return l.Claim == claim })
	if i < 0 {
		return nil
	}
	values := f.Claims[i].Values
	f.Claims = slices.Delete(slices.Clone(f.Claims), i, i+1)
	return values
}

// Carry turns a foreign value into one of ours that matches no more. It is false,
// with an error noted, where there is none.
func (n *Notes) Carry(where, claim string, v Value) (Value, bool) {
	if Check(v.Text) != nil {
		n.Error(where, "import-pattern", claim+" "+Show(v.Text)+" holds characters that a document does not", "write it by hand")
		return Value{}, false
	}
	if !v.Glob || !strings.ContainsAny(v.Text, "*?") {
		return Value{Text: v.Text}, true
	}
	if strings.ContainsAny(v.Text, `?[{\`) {
		n.Error(where, "import-pattern", claim+" "+Show(v.Text)+" has a pattern that globs do not have", "list the values that are meant")
		return Value{}, false
	}
	text := v.Text
	for strings.Contains(text, "**") {
		text = strings.ReplaceAll(text, "**", "*")
	}
	n.Warn(where, "import-narrower", claim+" "+Show(v.Text)+": the star matched slashes too; in a document it stops at one", "add one glob for each depth that is meant")
	return Value{Text: text, Glob: true}, true
}

// CarryAll carries a list of values, all or none.
func (n *Notes) CarryAll(where, claim string, values []Value) ([]Value, bool) {
	whole := true
	out := make([]Value, 0, len(values))
	for _, v := range values {
		carried, ok := n.Carry(where, claim, v)
		whole = whole && ok
		out = append(out, carried)
	}
	return out, whole
}

// CarryRest carries the claims that are left, under the names that known takes
// them for. One that known does not take is an error: to leave a condition out
// would let more in.
func (n *Notes) CarryRest(f Foreign, known func(string) bool) ([]Line, bool) {
	whole := true
	var out []Line
	for _, l := range f.Claims {
		if !known(l.Claim) {
			n.Error(f.Where, "import-condition", "the condition on "+Show(l.Claim)+" cannot be carried over", "write the document by hand")
			whole = false
			continue
		}
		values, ok := n.CarryAll(f.Where, l.Claim, l.Values)
		whole = whole && ok
		out = append(out, Line{Claim: l.Claim, Values: values})
	}
	return out, whole
}
