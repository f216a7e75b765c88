package trust

import "time"

// GlobMatch is globMatch. It and its neighbours let the external tests reach what
// has one right answer for each input.
func GlobMatch(g, s string) bool { return globMatch(g, s) }

// CheckGlob is checkGlob.
func CheckGlob(g string) error { return checkGlob(g) }

// InHours reports whether a window contains a time.
func InHours(window string, at time.Time) (bool, error) {
	h, err := parseHours(window)
	if err != nil {
		return false, err
	}
	return h.contains(at), nil
}

// ParsePointer is parsePointer.
func ParsePointer(p string) ([]string, bool) { return parsePointer(p) }

// PointerOf is pointerOf.
func PointerOf(path []string) string { return pointerOf(path) }
