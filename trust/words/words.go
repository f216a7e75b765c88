// Package words says in words what trust documents say, for those who ask what a
// policy gives and what a change of it does.
//
// All of its sentences are one line of printable text, whatever a document holds:
// what is not plain is quoted as Go quotes it.
package words

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// maxListed is how many values of one list a sentence names: nobody reads more.
const maxListed = 12

// Workloads says whose tokens a trust is for, such as
// "github with repository_id 41881900 and ref refs/heads/main".
func Workloads(t trust.Trust) string {
	lines := make([]string, 0, len(t.Match))
	for _, l := range t.Match {
		if idOf(t, l) != nil {
			continue // said beside the id that it is the name of
		}
		lines = append(lines, Line(l)+nameOf(t, l))
	}
	if len(lines) == 0 {
		return t.Provider
	}
	return t.Provider + " with " + list(lines, "and")
}

// idOf is the line of the immutable id of what the line's claim names, where both
// pin one value: the two are said together.
func idOf(t trust.Trust, name trust.MatchLine) *trust.MatchLine {
	by := name.Claim.Claim().PinnedBy
	if by == "" || !single(name) {
		return nil
	}
	for i, l := range t.Match {
		if l.Claim.Name() == by && single(l) {
			return &t.Match[i]
		}
	}
	return nil
}

// nameOf says the name that goes with the id, in brackets, or nothing.
func nameOf(t trust.Trust, id trust.MatchLine) string {
	for _, l := range t.Match {
		if pinned := idOf(t, l); pinned != nil && pinned.Claim.ID() == id.Claim.ID() {
			return " (" + Line(l) + ")"
		}
	}
	return ""
}

func single(l trust.MatchLine) bool { return len(l.Want) == 1 && l.Pins() }

// Line says one line of match: "ref refs/heads/main or like refs/tags/v*".
func Line(l trust.MatchLine) string {
	values := make([]string, len(l.Want))
	for i, w := range l.Want {
		values[i] = value(w.Value)
		if w.Glob {
			values[i] = "like " + Plain(fmt.Sprint(w.Value), "*")
		}
	}
	return Plain(l.Name, "") + " " + list(values, "or")
}

// value says the value of a claim. Text that could be mistaken is quoted, such as
// a star that is no glob.
func value(v any) string {
	switch v := v.(type) {
	case string:
		return Plain(v, "")
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = value(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return One(fmt.Sprint(v))
}

// Plain is the text itself where it is made of letters, digits and what names are
// made of, and quoted where not. more are characters that are plain here.
func Plain(s, more string) string {
	const punctuation = "._:/@+-=%"
	for _, r := range s {
		plain := r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune(punctuation, r) || strings.ContainsRune(more, r)
		if !plain {
			return cut(strconv.QuoteToGraphic(s))
		}
	}
	if s == "" {
		return `""`
	}
	return cut(s)
}

// One is a text as one line of printable characters. An escape sequence of a
// terminal in a document must not act on the screen of whoever reads about it.
func One(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return cut(strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s))
}

func cut(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// Condition says a condition as the document does.
func Condition(source string) string { return One(source) }

// Networks says from where.
func Networks(ps []netip.Prefix) string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return list(texts, "or")
}

// Hours says when.
func Hours(hs []trust.Hours) string {
	texts := make([]string, len(hs))
	for i, h := range hs {
		texts[i] = One(h.Text)
	}
	return list(texts, "or")
}

// Terms are what else must hold before a trust gives anything, each in words.
func Terms(t trust.Trust) []string {
	var out []string
	for _, c := range t.When {
		out = append(out, "needs "+Condition(c.Source))
	}
	if t.Access.Networks != nil {
		out = append(out, "only from "+Networks(t.Access.Networks))
	}
	if t.Access.Hours != nil {
		out = append(out, "only "+Hours(t.Access.Hours))
	}
	if !t.Expires.IsZero() {
		out = append(out, "until "+End(t.Expires))
	}
	if t.Nonce {
		out = append(out, "with a nonce of ours")
	}
	return out
}

// Grant says what a grant gives: "aws-prod arn:... for up to 15m".
func Grant(g trust.WrittenGrant) string {
	s := Destination(g)
	if len(g.Scopes) > 0 {
		s += " (" + Scopes(g.Scopes) + ")"
	}
	return s + " for up to " + Lifetime(g.TTL)
}

// Destination says where a grant leads: the target, and the resource at it.
func Destination(g trust.WrittenGrant) string {
	if g.Resource == "" {
		return g.Target
	}
	return g.Target + " " + Plain(g.Resource, "")
}

// Grants says all of them.
func Grants(gs []trust.WrittenGrant) string {
	texts := make([]string, len(gs))
	for i, g := range gs {
		texts[i] = Grant(g)
	}
	return list(texts, "and")
}

// Scopes says scopes.
func Scopes(scopes []string) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = Plain(s, "*,;!")
	}
	noun := "scope "
	if len(scopes) != 1 {
		noun = "scopes "
	}
	return noun + list(texts, "and")
}

// Lifetime says how long, with the largest unit that divides it.
func Lifetime(d time.Duration) string { return strictyaml.Duration(d).String() }

// End says the last day of a trust, of which expires is the first instant after.
func End(expires time.Time) string {
	expires = expires.UTC()
	if expires.Truncate(24 * time.Hour).Equal(expires) {
		return expires.Add(-time.Nanosecond).Format("2006-01-02")
	}
	return expires.Format(time.RFC3339)
}

// TokenUse says how often a token serves.
func TokenUse(u trust.TokenUse) string {
	switch u {
	case trust.Once:
		return "once"
	case trust.OncePerGrant:
		return "once for each target and resource"
	case trust.UntilExpiry:
		return "until it expires"
	}
	return "never"
}

// Where says which document a trust is.
func Where(name, file string) string { return "trust " + name + ", " + Plain(file, " ") }

// Token says the claims of a token, in the order of their names.
func Token(claims map[string]any) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		if nested, ok := claims[name].(map[string]any); ok {
			for _, member := range slices.Sorted(maps.Keys(nested)) {
				texts = append(texts, Plain(name, "")+"/"+Plain(member, "")+" "+value(nested[member]))
			}
			continue
		}
		texts = append(texts, Plain(name, "")+" "+value(claims[name]))
	}
	return strings.Join(texts, ", ")
}

// list joins texts as a sentence does.
func list(texts []string, word string) string {
	if len(texts) > maxListed {
		more := fmt.Sprintf("%d more", len(texts)-maxListed)
		texts = append(slices.Clone(texts[:maxListed]), more)
	}
	switch n := len(texts); n {
	case 0:
		return ""
	case 1:
		return texts[0]
	default:
		return strings.Join(texts[:n-1], ", ") + " " + word + " " + texts[n-1]
	}
}
