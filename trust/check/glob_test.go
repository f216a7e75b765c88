package check_test

import (
	"strings"
	"testing"

	"cambio/trust/check"
)

func TestGlobsMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"*", "", true},
		{"refs/*", "refs/tags/*", false}, // a star stops at a slash
		{"refs/*/v1", "refs/tags/*", true},
		{"refs/heads/*", "refs/tags/*", false},
		{"*-prod", "eu-*", true},
		{"a*c", "ab*", true},
		{"a*c", "b*c", false},
		{"*a*", "*b*", true},
		{"a/*/b", "a/x*", false},
		{"**", "x", true},
	} {
		if got := check.GlobsMeet(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
		if got := check.GlobsMeet(c.b, c.a); got != c.want {
			t.Errorf("%s and %s: %v", c.b, c.a, got)
		}
	}
}

func TestGlobWithin(t *testing.T) {
	for _, c := range []struct {
		inner, outer string
		want         bool
	}{
		{"refs/tags/v*", "refs/tags/*", true},
		{"refs/tags/v1.*", "refs/tags/v*", true},
		{"refs/tags/*", "refs/tags/v*", false},
		{"refs/*", "refs/*", true},
		{"refs/tags/a/*", "refs/tags/*", false},
	} {
		if got := check.GlobWithin(c.inner, c.outer); got != c.want {
			t.Errorf("%s within %s: %v", c.inner, c.outer, got)
		}
	}
}

// slow says by trying whether a glob takes a text.
func slow(glob, text string) bool {
	if glob == "" {
		return text == ""
	}
	if glob[0] != '*' {
		return text != "" && text[0] == glob[0] && slow(glob[1:], text[1:])
	}
	for i := 0; ; i++ {
		if slow(glob[1:], text[i:]) {
			return true
		}
		if i == len(text) || text[i] == '/' {
			return false
		}
	}
}

// FuzzGlobs: what both globs take makes them meet, and what a glob takes another
// that it lies within takes too.
func FuzzGlobs(f *testing.F) {
	f.Add("a*c", "ab*", "abc")
	f.Add("refs/*", "refs/tags/*", "refs/tags/v1")
	f.Add("*/*", "a/*", "a/")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		if len(a) > 16 || len(b) > 16 || len(text) > 16 || strings.Contains(text, "*") {
			return
		}
		inA, inB := slow(a, text), slow(b, text)
		if got := check.GlobFits(a, text); got != inA {
			t.Fatalf("%q takes %q: %v", a, text, got)
		}
		if inA && inB && !check.GlobsMeet(a, b) {
			t.Fatalf("%q and %q meet in %q", a, b, text)
		}
		if inA && !inB && check.GlobWithin(a, b) {
			t.Fatalf("%q is not within %q: %q", a, b, text)
		}
	})
}

func TestPatterns(t *testing.T) {
	for pattern, want := range map[string]bool{
		"acme.io": true, "acme[.]io": false, `acme\.io`: false, "acme.*": false, "a.+b": false, "a(.)b": true, "(?s)a.b": true, "a.{3}": false, "a|.": true, "(": false,
	} {
		if got := check.BareDot(pattern); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
	for pattern, want := range map[string][2]bool{
		".*main": {true, false}, "acme/.*": {false, true}, "^.*x.*$": {true, true}, "main": {}, ".*": {}, "(.*main)": {true, false},
	} {
		before, after, _, _ := check.Ends(pattern)
		if before != want[0] || after != want[1] {
			t.Errorf("%s: %v %v", pattern, before, after)
		}
	}
}

// FuzzPatterns: no pattern ends the linter.
func FuzzPatterns(f *testing.F) {
	f.Add("^(?:a.b)$")
	f.Add("((((")
	f.Add("(?i).*")
	f.Fuzz(func(_ *testing.T, pattern string) {
		check.BareDot(pattern)
		check.Ends(pattern)
	})
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"aws-prod": "aws prod", "arn:aws:iam::1:role/OrdersProd": "arn aws iam 1 role orders prod", "PROD": "prod", "product": "product", "": "",
	} {
		if got := strings.Join(check.Words(name), " "); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
