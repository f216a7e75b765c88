package logic_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cambio/trust/logic"
)

// both checks that a language and its complement agree on s, by asking and by
// automata.
func both(t *testing.T, l logic.Language, s string, want bool) {
	t.Helper()
	if !utf8.ValidString(s) || len(s) > 200 {
		return
	}
	if l.Contains(s) != want {
		t.Errorf("Contains(%q) is %v", s, !want)
	}
	// A pattern, because a list of texts would be looked at without automata.
	only := regexpOf(t, regexp.QuoteMeta(s))
	for _, test := range []struct {
		l    logic.Language
		want bool
	}{{l, want}, {logic.Complement(l), !want}} {
		_, status := solve(t, logic.And(in("x", test.l), in("x", only)))
		if (status == logic.Satisfiable) != test.want || status == logic.Unknown {
			t.Errorf("%q: status %d, want %v", s, status, test.want)
		}
		found, complete := logic.Words(1, test.l, only)
		if !complete || s != "" && slices.Contains(found, s) != test.want {
			t.Errorf("%q: the automata find %q, want %v", s, found, test.want)
		}
	}
}

func FuzzRegexp(f *testing.F) {
	for _, seed := range [][2]string{
		{`refs/tags/v[0-9]+`, "refs/tags/v12"},
		{`(?i)straße|k`, "\u212a"},
		{`a|b.*c`, "bc"},
		{`(?s)a.b`, "a\nb"},
		{`(?m)^a$\n^b$`, "a\nb"},
		{`\bfoo\b.*`, "foo bar"},
		{`\Bx`, "x"},
		{`[^a-c]{2,3}`, "def"},
		{`(a*)*b?`, "aab"},
		{`\pL+\d`, "ä1"},
		{`^$`, ""},
		{`a$b`, "ab"},
		{`x*\z`, "xx"},
		{`(|a)+`, "a"},
		{`(?ms)a$.*`, "ab"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 40 {
			return
		}
		l, err := logic.Regexp(pattern)
		_, alone := regexp.Compile(pattern)
		whole, wrapped := regexp.Compile(`\A(?:` + pattern + `)\z`)
		if (err == nil) != (alone == nil && wrapped == nil) {
			t.Fatalf("error %v, want %v or %v", err, alone, wrapped)
		}
		if err != nil {
			return
		}
		both(t, l, s, whole.MatchString(s))
		for _, lower := range []bool{true, false} {
			both(t, logic.MapASCII(l, lower), s, whole.MatchString(mapASCII(s, lower)))
		}
		found, _ := logic.Words(3, l)
		for i, w := range found {
			if !whole.MatchString(w) || slices.Contains(found[:i], w) {
				t.Errorf("%q of %q is no new word of %q", w, found, pattern)
			}
		}
	})
}

func mapASCII(s string, lower bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case lower && 'A' <= r && r <= 'Z':
			return r + 32
		case !lower && 'a' <= r && r <= 'z':
			return r - 32
		}
		return r
	}, s)
}

// globs is the plainest matcher there is.
func globs(g, s string) bool {
	if g == "" {
		return s == ""
	}
	if g[0] == '*' {
		return globs(g[1:], s) || s != "" && !strings.ContainsAny(s[:1], "/\x00\r\n") && globs(g, s[1:])
	}
	return s != "" && s[0] == g[0] && globs(g[1:], s[1:])
}

func FuzzGlob(f *testing.F) {
	f.Add("refs/heads/*", "refs/heads/main")
	f.Add("*a*b*", "xaybz")
	f.Add("*/*", "a/b/c")
	f.Add("a*.", "a\n.")
	f.Add("é*", "éa")
	f.Add("plain", "plain")
	f.Fuzz(func(t *testing.T, g, s string) {
		if len(g) > 12 || len(s) > 24 || !utf8.ValidString(g) {
			return
		}
		l := logic.Glob(g)
		both(t, l, s, globs(g, s))
		both(t, logic.MapASCII(l, true), s, globs(g, mapASCII(s, true)))
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("main", "dev", "refs/heads/main")
	f.Add("", "a", "")
	f.Add("a", "aa", "aaa")
	f.Add("main", "dev", "mAin")
	f.Add("MAIN", "d", "main")
	f.Fuzz(func(t *testing.T, a, b, s string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) || len(a)+len(b) > 60 {
			return
		}
		both(t, logic.Texts(a, b), s, s == a || s == b)
		both(t, logic.Prefix(a), s, strings.HasPrefix(s, a))
		both(t, logic.Suffix(a), s, strings.HasSuffix(s, a))
		both(t, logic.Containing(a), s, strings.Contains(s, a))
		n := utf8.RuneCountInString(s)
		both(t, logic.Lengths(len(a), len(b)), s, len(a) <= n && n <= len(b))
		both(t, logic.Lengths(len(a), -1), s, len(a) <= n)
		both(t, logic.Union(logic.Text(a), logic.Suffix(b)), s, s == a || strings.HasSuffix(s, b))
		both(t, logic.Intersect(logic.Prefix(a), logic.Suffix(b)), s, strings.HasPrefix(s, a) && strings.HasSuffix(s, b))
		both(t, logic.MapASCII(logic.Texts(a, b), true), s, mapASCII(s, true) == a || mapASCII(s, true) == b)
		both(t, logic.MapASCII(logic.MapASCII(logic.Texts(a, b), true), false), s,
			mapASCII(mapASCII(s, false), true) == a || mapASCII(mapASCII(s, false), true) == b)
	})
}

func TestRegexpRefuses(t *testing.T) {
	for _, p := range []string{"(", "a)|(b", "a{1001}", `\1`, "(?=a)", strings.Repeat("a", 5000)} {
		if _, err := logic.Regexp(p); err == nil {
			t.Errorf("%.20q is accepted", p)
		}
	}
}

// A witness is shown to people.
func TestReadable(t *testing.T) {
	for name, test := range map[string]struct {
		f    formula
		want string
	}{
		"anything but one":   {not(in("x", logic.Text("main"))), "x"},
		"anything but x":     {not(in("x", logic.Text("x"))), "y"},
		"a glob":             {in("x", logic.Glob("refs/tags/v*")), "refs/tags/vx"},
		"a prefix":           {in("x", logic.Prefix("refs/")), "refs/x"},
		"a pattern":          {in("x", regexpOf(t, `v[0-9]+\.[0-9]+`)), "v0.0"},
		"a word, not empty":  {in("x", regexpOf(t, `[a-z]*`)), "x"},
		"rather than empty":  {in("x", regexpOf(t, `(\x00\x00)?`)), "\x00\x00"},
		"nothing but empty":  {and(in("x", regexpOf(t, `a?`)), not(in("x", logic.Text("a")))), ""},
		"not a letter":       {in("x", regexpOf(t, `[^a-zA-Z0-9]`)), "-"},
		"of another script":  {in("x", regexpOf(t, `\p{Greek}`)), "Ͱ"},
		"of two, with slash": {and(in("x", logic.Prefix("a")), not(in("x", logic.Glob("a*")))), "a/"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := solve(t, test.f)
			if diff := cmp.Diff(model{"x": test.want}, m); diff != "" {
				t.Error(diff)
			}
		})
	}
}
