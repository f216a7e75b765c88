package trust

import "time"

// GlobMatch, CheckGlob, InHours and ParsePointer let the external tests reach
// what has one right answer for each input.
func GlobMatch(g, s string) bool { return globMatch(g, s) }

func CheckGlob(g string) error { return checkGlob(g) }

func InHours(window string, at time.Time) (bool, error) {
	h, err := parseHours(window)
	if err != nil {
		return false, err
	}
	return h.contains(at), nil
}

func ParsePointer(p string) ([]string, bool) { return parsePointer(p) }

func PointerOf(path []string) string { return pointerOf(path) }
