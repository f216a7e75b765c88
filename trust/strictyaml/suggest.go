package strictyaml

import (
	"slices"
	"strings"
)

// Suggest is the option that word was most likely meant to be, or "". Case,
// hyphens and underscores count little; at most a third of the letters may be
// wrong.
func Suggest(word string, options []string) string {
	if word == "" || len(word) > maxShown {
		return ""
	}
	best, bestAt := "", 1+max(1, len(word)/3)
	for _, o := range slices.Sorted(slices.Values(options)) {
		d := distance(fold(word), fold(o))
		if d < bestAt {
			best, bestAt = o, d
		}
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// DidYouMean is the fix for a word that is none of the options: the likely one,
// and the whole list while it is short.
func DidYouMean(word string, options []string) string {
	sorted := slices.Sorted(slices.Values(options))
	list := strings.Join(sorted, ", ")
	likely := Suggest(word, sorted)
	switch {
	case likely != "" && len(sorted) > 12:
		return "did you mean " + likely + "?"
	case likely != "" && len(sorted) > 1:
		return "did you mean " + likely + "? (one of " + list + ")"
	case likely != "":
		return "did you mean " + likely + "?"
	case len(sorted) == 0:
		return "leave it out"
	case len(sorted) == 1:
		return "write " + list
	}
	return "write one of " + list
}

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours, each once.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
