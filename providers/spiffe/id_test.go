package spiffe_test

import (
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"cambio/providers/spiffe"
)

// malformed are texts that are no SPIFFE ID of a workload, by what is wrong.
func malformed() map[string]string {
	return map[string]string{
		"dots":             "spiffe://td1/../td2/x",
		"upper case":       "spiffe://TD1/x",
		"port":             "spiffe://td1:8080/x",
		"query":            "spiffe://td1/x?y",
		"empty segment":    "spiffe://td1//x",
		"slash at the end": "spiffe://td1/x/",
		"percent":          "spiffe://td1/%78",
		"percent domain":   "spiffe://td%31/x",
		"too long":         "spiffe://td1/" + strings.Repeat("x", 2049-len("spiffe://td1/")),
		"fragment":         "spiffe://td1/x#",
		"empty query":      "spiffe://td1/x?",
		"user":             "spiffe://me@td1/x",
		"dot":              "spiffe://td1/./x",
		"dots at the end":  "spiffe://td1/x/..",
		"scheme case":      "SPIFFE://td1/x",
		"no domain":        "spiffe:///x",
		"no slashes":       "spiffe:td1/x",
		"backslash":        `spiffe://td1\x`,
		"space":            "spiffe://td1/x y",
		"NUL":              "spiffe://td1/x\x00",
		"not ASCII":        "spiffe://td1/ü",
		"IDN":              "spiffe://tdü/x",
		"plus":             "spiffe://td1/a+b",
		"colon in path":    "spiffe://td1/a:b",
		"tilde":            "spiffe://td1/~x",
		"brackets":         "spiffe://[::1]/x",
		"root":             "spiffe://td1/",
		"long domain":      "spiffe://" + strings.Repeat("d", 256) + "/x",
	}
}

func TestParseID(t *testing.T) {
	for id, want := range map[string][2]string{
		"spiffe://td1/x":                {"td1", "/x"},
		"spiffe://td1":                  {"td1", ""},
		"spiffe://a.b-c_d.example/A/.b": {"a.b-c_d.example", "/A/.b"},
		"spiffe://td1/.../..a":          {"td1", "/.../..a"},
		"spiffe://1.2.3.4/x":            {"1.2.3.4", "/x"},
		"spiffe://td1/" + strings.Repeat("x", 2048-len("spiffe://td1/")): {"td1", "/" + strings.Repeat("x", 2048-len("spiffe://td1/"))},
	} {
		domain, path, err := spiffe.ParseID(id)
		if err != nil || domain != want[0] || path != want[1] {
			t.Errorf("%s: %q %q %v", id, domain, path, err)
		}
	}
	for name, id := range malformed() {
		if domain, path, err := spiffe.ParseID(id); err == nil || domain != "" || path != "" {
			t.Errorf("%s: %q is taken: %q %q", name, id, domain, path)
		} else if len(id) > 30 && strings.Contains(err.Error(), id[20:]) {
			t.Errorf("%s: the error repeats the text", name)
		}
	}
}

// FuzzID: what go-spiffe takes within the standard's lengths is what we take, and
// it reads the same.
func FuzzID(f *testing.F) {
	for _, id := range malformed() {
		f.Add(id)
	}
	f.Add("spiffe://td1/x")
	f.Add("spiffe://acme.example/ns/payments/sa/api")
	f.Add("spiffe://td1")
	f.Fuzz(func(t *testing.T, id string) {
		domain, path, err := spiffe.ParseID(id)
		theirs, theirErr := spiffeid.FromString(id)
		short := len(id) <= 2048 && len(theirs.TrustDomain().Name()) <= 255
		if (err == nil) != (theirErr == nil && short) {
			t.Fatalf("%q: %v, go-spiffe %v", id, err, theirErr)
		}
		if err != nil {
			return
		}
		if domain != theirs.TrustDomain().Name() || path != theirs.Path() || "spiffe://"+domain+path != id {
			t.Fatalf("%q: %q %q, go-spiffe %q %q", id, domain, path, theirs.TrustDomain().Name(), theirs.Path())
		}
	})
}
