package draft

import (
	"fmt"
	"strings"
)

// HCL writes a text as a quoted template of Terraform's language: ${ and %{ begin an
// expression there, and are doubled.
func HCL(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case (r == '$' || r == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// HCLList writes texts as the members of a list, without its brackets.
func HCLList(texts []string) string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = HCL(text)
	}
	return strings.Join(out, ", ")
}

// Identifier makes a name of letters, digits and _.
func Identifier(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

// UniqueName adds a number to a name that was taken, and takes what comes out.
func UniqueName(taken map[string]bool, name string) string {
	found := name
	for i := 2; taken[found]; i++ {
		found = fmt.Sprintf("%s_%d", name, i)
	}
	taken[found] = true
	return found
}
