package draft_test

import (
	"os/exec"
	"testing"

	"cambio/providers/internal/draft"
)

// TestShellWord has sh read what was quoted.
func TestShellWord(t *testing.T) {
	for _, s := range []string{
		"", "plain", "a b", "'", "it's", "$(id)", "`id`", "a;b", "a\nb", "~", "*", "a=b", "{a,b}", `\`, `"`, "!x", "#", "a&", "é", "-n", "acme/app",
	} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s.' `+draft.ShellWord(s)).Output()
		if err != nil || string(out) != s+"." {
			t.Errorf("%q is %s, which sh reads as %q, %v", s, draft.ShellWord(s), out, err)
		}
	}
	for s, want := range map[string]string{"acme/app@1": "acme/app@1", "{a}": "'{a}'", "a'b": `'a'\''b'`} {
		if got := draft.ShellWord(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}
