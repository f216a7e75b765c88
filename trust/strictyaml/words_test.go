package strictyaml_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust/strictyaml"
)

// Such a word is text here and a boolean to others; in quotes it has one reading.
func TestWords(t *testing.T) {
	n := read(t, "a: on\nb: [No, \"no\", 'y', north]\nc: {OFF: x, \"off\": n}\nd: |\n  yes\ne: yes\nf: off\n")
	n.Get("e").Replace("no", "${env:WORD}")
	var r strictyaml.Reporter
	r.WrongType(n.Get("f"), "a boolean")
	r.Words(n)
	want := []string{"1:4 yaml-word", "2:5 yaml-word", "3:5 yaml-word", "3:20 yaml-word", "7:4 wrong-type"}
	if diff := cmp.Diff(want, places(r.Findings())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if f := r.Findings()[0]; f.Severity != strictyaml.Warning || f.Fix != `write quotes: "on"` {
		t.Errorf("it says %s", f)
	}
	if n.Get("a").Text != "on" {
		t.Errorf("it is read as %q", n.Get("a").Text)
	}
}
