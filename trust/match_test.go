package trust_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
)

// globPattern is the same glob as a regular expression, which is slow and known
// to be right.
func globPattern(g string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(g), `\*`, `[^/\x00\r\n]*`) + `$`)
}

func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"refs/tags/v*", "refs/tags/v1"},
		{"refs/tags/v*", "refs/tags/v1/x"},
		{"*", ""},
		{"*a*b", "a/ab"},
		{"a*", "a\n"},
		{"*/*b", "a/a/b"},
		{"*//*b", "///b"},
		{"a*b*c", "abbcc"},
		{"*.x", "a\x00.x"},
		{"x", "x*"},
		{"*ab", "aab"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, g, s string) {
		// A regular expression counts an invalid byte as a character of its own
		// kind; claims are valid UTF-8.
		g, s = strings.ToValidUTF8(g, "x"), strings.ToValidUTF8(s, "x")
		if trust.CheckGlob(g) != nil {
			return
		}
		if got, want := trust.GlobMatch(g, s), globPattern(g).MatchString(s); got != want {
			t.Errorf("glob %q against %q: %v, want %v", g, s, got, want)
		}
	})
}

// TestGlobExhaustively tries every short glob against every short text.
func TestGlobExhaustively(t *testing.T) {
	t.Parallel()
	words := func(letters string, most int) []string {
		all, last := []string{""}, []string{""}
		for range most {
			var next []string
			for _, w := range last {
				for _, c := range letters {
					next = append(next, w+string(c))
				}
			}
			all, last = append(all, next...), next
		}
		return all
	}
	texts := words("ab/", 5)
	for _, g := range words("a*/", 5) {
		if trust.CheckGlob(g) != nil {
			continue
		}
		want := globPattern(g)
		for _, s := range texts {
			if got := trust.GlobMatch(g, s); got != want.MatchString(s) {
				t.Fatalf("glob %q against %q: %v", g, s, got)
			}
		}
	}
}

func TestPointer(t *testing.T) {
	t.Parallel()
	for p, want := range map[string][]string{
		"/a": {"a"}, "/a/b": {"a", "b"}, "/": {""}, "/a~1b/c~0d": {"a/b", "c~d"}, "/~01": {"~1"}, "/a.b/": {"a.b", ""},
		"": nil, "a": nil, "/~": nil, "/~2": nil, "/a~": nil,
	} {
		got, ok := trust.ParsePointer(p)
		if ok != (want != nil) {
			t.Errorf("%q: got %v", p, ok)
			continue
		}
		if diff := cmp.Diff(want, got); ok && diff != "" {
			t.Errorf("%q (-want +got):\n%s", p, diff)
		}
		if ok && trust.PointerOf(got) != p {
			t.Errorf("%q comes back as %q", p, trust.PointerOf(got))
		}
	}
}

func TestMatchValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line  string
		claim string
		value any
		want  bool
	}{
		{"attempt: 1", "attempt", int64(1), true},
		{"attempt: 1", "attempt", "1", false},
		{"attempt: 1", "attempt", 1.0, false},
		{"protected: true", "protected", true, true},
		{"protected: true", "protected", "true", false},
		{"environment: [a, b]", "environment", "b", true},
		{"environment: [a, {glob: \"b*\"}]", "environment", "bc", true},
		{"environment: [a, {glob: \"b*\"}]", "environment", "b/c", false},
		{"environment: {glob: \"*\"}", "environment", "", true},
		{"environment: {glob: \"*\"}", "environment", nil, false},
		{"environment: a", "environment", []any{"a"}, false},
		{"environment: a", "environment", map[string]any{"a": "a"}, false},
	} {
		p := compile(t, edit(t, "  ref: refs/heads/main", "  "+c.line))
		d := p.Decide(token(map[string]any{c.claim: c.value}), trust.Request{Target: "t1"}, trust.StopSet{}, now())
		if d.Allow != c.want {
			t.Errorf("%s with %v: %v (%s)", c.line, c.value, d.Allow, d.Reason)
		}
	}
}
