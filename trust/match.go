package trust

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is one value that a line of match accepts: a string, int64 or bool to
// be equal to, or a glob.
type pattern struct {
	value any
	glob  bool
}

// matches compares without coercion: "1" is not 1, and byte for byte: GitHub's
// names fold case, git's refs do not, so neither is folded here.
func (p pattern) matches(x any) bool {
	if !p.glob {
		// The value is a string, int64 or bool, so that a list or map in x has
		// another dynamic type and the comparison cannot panic.
		return p.value == x
	}
	s, isText := x.(string)
	g, _ := p.value.(string)
	return isText && globMatch(g, s)
}

// matchLine is one line of match: the claim has one of these values.
type matchLine struct {
	claim *claimVar
	name  string // as the document writes it
	want  []pattern
	at    Place
}

func (l *matchLine) holds(claims map[string]any) bool {
	x, ok := l.claim.find(claims)
	if !ok {
		return false
	}
	if _, ok := l.claim.typed(x); !ok {
		return false
	}
	for _, p := range l.want {
		if p.matches(x) {
			return true
		}
	}
	return false
}

// pins reports that the line is an equality: no item is a glob, and none is the
// empty string, which is what a platform without that id would send for all.
func (l *matchLine) pins() bool {
	for _, p := range l.want {
		if p.glob || p.value == "" {
			return false
		}
	}
	return len(l.want) > 0
}

// names reports that the line lists this value by equality.
func (l *matchLine) names(value string) bool {
	for _, p := range l.want {
		if !p.glob && p.value == value {
			return true
		}
	}
	return false
}

// maxGlob is the longest glob in bytes; a claim's text is at most 4 KiB.
const maxGlob = 1024

var (
	errGlobEmpty = errors.New("the glob is empty")
	errGlobLong  = fmt.Errorf("the glob is longer than %d bytes", maxGlob)
	errGlobStars = errors.New("`**` is not offered: `*` stops at a slash")
	errGlobChar  = errors.New("only `*` is special in a glob; `?`, `[`, `{` and `\\` are refused, so that nothing looks special and is not")
)

func checkGlob(g string) error {
	switch {
	case g == "":
		return errGlobEmpty
	case len(g) > maxGlob:
		return errGlobLong
	case strings.Contains(g, "**"):
		return errGlobStars
	case strings.ContainsAny(g, `?[{\`):
		return errGlobChar
	}
	return nil
}

// globMatch reports whether the whole of s matches g. `*` is zero or more bytes
// except slash, NUL, CR and LF.
//
// Going back to the last star only is enough although a star stops at a slash:
// what stands between two stars is matched as far left as it can be, and where
// it holds a stopping byte it has one place only.
func globMatch(g, s string) bool {
	i, j := 0, 0
	star, mark := -1, 0 // the last star, and where what follows it is tried in s
	for j < len(s) {
		switch {
		case i < len(g) && g[i] == '*':
			star, mark = i, j
			i++
		case i < len(g) && g[i] == s[j]:
			i++
			j++
		case star >= 0 && !stopsStar(s[mark]):
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(g) && g[i] == '*' {
		i++
	}
	return i == len(g)
}

func stopsStar(c byte) bool { return c == '/' || c == 0 || c == '\r' || c == '\n' }
