package check

import "strings"

// globsMeet reports whether a glob and a text, or two globs, have a value in
// common. A star is any run without a slash.
func globsMeet(a, b string, bothGlobs bool) bool {
	star := func(s string, i int, glob bool) bool { return glob && i < len(s) && s[i] == '*' }
	// reach[j] says that the first i bytes of a and the first j of b can be met.
	reach := make([]bool, len(b)+1)
	next := make([]bool, len(b)+1)
	for i := 0; i <= len(a); i++ {
		if i == 0 {
			reach[0] = true
		}
		for j := 0; j <= len(b); j++ {
			if !reach[j] {
				continue
			}
			aStar, bStar := star(a, i, true), star(b, j, bothGlobs)
			if aStar {
				next[j] = true // it stands for nothing more
				if j < len(b) && (bStar || b[j] != '/') {
					reach[j+1] = true // it takes this byte, or what the other star takes
				}
			}
			if bStar {
				reach[j+1] = true
				if i < len(a) && (aStar || a[i] != '/') {
					next[j] = true
				}
			}
			if !aStar && !bStar && i < len(a) && j < len(b) && a[i] == b[j] {
				next[j+1] = true
			}
		}
		if i < len(a) {
			reach, next = next, reach
			clear(next)
		}
	}
	return reach[len(b)]
}

// globWithin reports whether every value of one glob is one of the other. It may
// say no where it is: then the two are told apart by nothing worse than silence.
func globWithin(inner, outer string) bool {
	if inner == outer {
		return true
	}
	before, after, ok := strings.Cut(outer, "*")
	if !ok || strings.Contains(after, "*") {
		return false
	}
	middle, ok := strings.CutPrefix(inner, before)
	if !ok || len(middle) < len(after) {
		return false
	}
	middle, ok = strings.CutSuffix(middle, after)
	return ok && !strings.Contains(middle, "/")
}
