package draft

import "strings"

// shellPlain are characters that mean nothing to sh inside a word.
const shellPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./+:@,="

// ShellWord quotes a text as one word for sh, where it needs that: commands are
// printed to be pasted, and a foreign text in one would be a program of whoever
// chose it. A text that begins with a hyphen stays one: put it behind = or --.
func ShellWord(s string) string {
	if s != "" && strings.Trim(s, shellPlain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
