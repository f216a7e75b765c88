package draft

import (
	"maps"
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
	// Audiences are what its tokens are for today, where that is not said by a
	// condition like any other.
	Audiences []string
	When      []Condition // must hold too
	Present   [][]string  // paths of claims that must be there, whatever they hold
	Networks  []string    // the prefixes that callers come from; none: from anywhere
	TTL       string      // how long a credential lives where that is less than a grant's default
	// Scopes, Repositories and Policies are of the grant, where its target has them.
	Scopes, Repositories, Policies []string
}

// Narrow lets a line hold beside those that are there. Two of one claim become
// the values that meet both; it is false, with an error noted, where that is none
// or cannot be said.
func (n *Notes) Narrow(f *Foreign, l Line) bool {
	i := slices.IndexFunc(f.Claims, func(have Line) bool { return have.Claim == l.Claim })
	if i < 0 {
		f.Claims = append(slices.Clone(f.Claims), l)
		return true
	}
	var both []Value
	for _, a := range f.Claims[i].Values {
		for _, b := range l.Values {
			v, ok := meet(a, b)
			if !ok {
				n.Error(f.Where, "import-condition", "two patterns of "+Show(l.Claim)+" cannot be carried over: "+Show(a.Text)+" and "+Show(b.Text), "write what meets both")
				return false
			}
			if v.Text != "" && !slices.Contains(both, v) {
				both = append(both, v)
			}
		}
	}
	if len(both) == 0 {
		n.Error(f.Where, "import-nothing", "no value of "+Show(l.Claim)+" meets every condition on it: nobody is let in", "mend the conditions")
		return false
	}
	f.Claims = slices.Clone(f.Claims)
	f.Claims[i].Values = both
	return true
}

// meet is the one that both let in, the zero value for none; it is false for two
// patterns that differ.
func meet(a, b Value) (Value, bool) {
	switch {
	case a == b:
		return a, true
	case !a.pattern() && b.lets(a.Text):
		return Value{Text: a.Text}, true
	case !b.pattern() && a.lets(b.Text):
		return Value{Text: b.Text}, true
	}
	return Value{}, !a.pattern() || !b.pattern()
}

func (v Value) pattern() bool { return v.Glob && strings.ContainsAny(v.Text, "*?") }

func (v Value) lets(text string) bool {
	return v.Text == text || v.pattern() && Covers(v.Text, text)
}

// Covers reports whether a pattern, where * is any text and ? one character,
// matches all of a text. It goes back to the last * alone, so that no pattern
// takes long.
func Covers(pattern, text string) bool {
	i, star, from := 0, -1, 0
	for j := 0; j < len(text); {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, from = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == text[j]):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
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

// Only refuses a member that is not known: it may narrow what is trusted.
func (n *Notes) Only(where string, object map[string]any, names ...string) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(names, name) {
			n.Error(where, "import-syntax", "the element "+Show(name)+" cannot be carried over", "write the document by hand")
		}
	}
}

// Texts reads a text or a list of them; nil for anything else, and for none.
func Texts(v any) []string {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Literals are values that are equal to these texts.
func Literals(texts []string) []Value {
	out := make([]Value, len(texts))
	for i, t := range texts {
		out[i] = Value{Text: t}
	}
	return out
}

// Pointer is the name of a claim, which for a nested one is its JSON pointer
// (RFC 6901).
func Pointer(path []string) string {
	if len(path) == 1 && !strings.HasPrefix(path[0], "/") {
		return path[0]
	}
	var b strings.Builder
	for _, name := range path {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return b.String()
}

// Path takes a claim's name apart, see [Pointer].
func Path(claim string) []string {
	if !strings.HasPrefix(claim, "/") {
		return []string{claim}
	}
	path := strings.Split(claim[1:], "/")
	for i, name := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
	}
	return path
}

// CELClaim is the expression of a claim.
func CELClaim(path []string) string {
	var b strings.Builder
	b.WriteString("claims")
	for _, name := range path {
		b.WriteString("[" + CEL(name) + "]")
	}
	return b.String()
}

// CELPresent is the condition that a claim is there.
func CELPresent(path []string) string {
	last := len(path) - 1
	return CEL(path[last]) + " in " + CELClaim(path[:last])
}
