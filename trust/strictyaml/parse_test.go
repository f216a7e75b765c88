package strictyaml_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"cambio/trust/strictyaml"

	"github.com/google/go-cmp/cmp"
)

// places are a document's findings as "line:column id".
func places(fs strictyaml.Findings) []string {
	var out []string
	for _, f := range fs {
		out = append(out, fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.ID))
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		src  string
		want []string
	}{
		"an alias and its anchor":          {"a: &x 1\nb: *x\n", []string{"1:4 yaml-anchor", "2:4 yaml-alias"}},
		"an unknown alias":                 {"a: *x\n", []string{"1:4 yaml-alias"}},
		"billion laughs":                   {"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", []string{"1:4 yaml-anchor", "2:4 yaml-anchor", "2:8 yaml-alias", "2:12 yaml-alias", "3:5 yaml-alias", "3:9 yaml-alias"}},
		"an alias to itself":               {"a: &a\n  b: *a\n", []string{"1:4 yaml-anchor", "2:6 yaml-alias"}},
		"a merge key":                      {"a: {b: 1}\n<<: {c: 2}\n", []string{"2:1 yaml-merge"}},
		"a binary":                         {"a: !!binary aGk=\n", []string{"1:4 yaml-tag"}},
		"a broken binary":                  {"a: !!binary \"%\"\n", []string{"1:4 yaml-tag"}},
		"a string tag":                     {"a: !!str 1\n", []string{"1:4 yaml-tag"}},
		"a tag of its own":                 {"a: !x 1\n", []string{"1:4 yaml-tag"}},
		"an int tag that lies":             {"a: !!int x\n", []string{"1:4 yaml-tag"}},
		"a tagged map":                     {"a: !!map {b: 1}\n", []string{"1:4 yaml-tag"}},
		"a tagged key":                     {"!!str a: 1\n", []string{"1:1 yaml-tag"}},
		"an anchored key":                  {"&x a: 1\n", []string{"1:1 yaml-anchor"}},
		"a tab":                            {"a:\n\tb: 1\n", []string{"2:1 yaml-tab"}},
		"a tab after spaces":               {"a:\n  b: 1\n \tc: 1\n", []string{"3:2 yaml-tab"}},
		"a second document":                {"a: 1\n---\nb: 2\n", []string{"2:1 yaml-second-document"}},
		"a second document after the end":  {"a: 1\n...\nb: 2\n", []string{"3:1 yaml-second-document"}},
		"a second document, both reported": {"a: &x 1\n--- {b: 2}\n", []string{"1:4 yaml-anchor", "2:1 yaml-second-document"}},
		"a directive":                      {"%YAML 1.1\n---\na: 1\n", []string{"1:1 yaml-directive"}},
		"a tag directive":                  {"%TAG ! tag:x,2000:\n---\na: 1\n", []string{"1:1 yaml-directive"}},
		"a duplicate":                      {"a: 1\nb: 2\na: 3\n", []string{"3:1 yaml-duplicate"}},
		"a duplicate in other quotes":      {"a: 1\n\"\\u0061\": 3\n", []string{"2:1 yaml-duplicate"}},
		"a nested duplicate":               {"a: {b: 1, b: 2}\n", []string{"1:11 yaml-duplicate"}},
		"a number as a name":               {"1: a\n", []string{"1:1 yaml-name"}},
		"a boolean as a name":              {"true: a\n", []string{"1:1 yaml-name"}},
		"an octal as a name":               {"0755: a\n", []string{"1:1 yaml-name"}},
		"null as a name":                   {"~: a\n", []string{"1:1 yaml-name"}},
		"no name":                          {": a\n", []string{"1:1 yaml-name"}},
		"a list as a name":                 {"? [a]\n: b\n", []string{"1:3 yaml-name"}},
		"a map as a name":                  {"{a: 1}: b\n", []string{"1:1 yaml-name"}},
		"two lines as a name":              {"\"a\\nb\": 1\n", []string{"1:1 yaml-name"}},
		"a long name":                      {"? " + strings.Repeat("a", 300) + "\n: 1\n", []string{"1:3 yaml-name"}},
		"an invalid byte":                  {"a: 1\nb: \xff\n", []string{"2:4 yaml-not-utf8"}},
		"UTF-16":                           {"\xff\xfea\x00", []string{"1:1 yaml-not-utf8", "1:2 yaml-not-utf8", "1:4 yaml-invisible"}},
		"a NUL":                            {"a: b\x00c\n", []string{"1:5 yaml-invisible"}},
		"a zero-width space in a value":    {"a: b\u200bc\n", []string{"1:5 yaml-invisible"}},
		"a zero-width joiner in a name":    {"a\u200db: c\n", []string{"1:2 yaml-invisible"}},
		"a right-to-left override":         {"a: b # \u202e c\n", []string{"1:8 yaml-invisible"}},
		"a soft hyphen":                    {"a: b\u00adc\n", []string{"1:5 yaml-invisible"}},
		"a no-break space":                 {"a:\u00a0b\n", []string{"1:3 yaml-invisible"}},
		"a second BOM":                     {"\ufeffa: \ufeff1\n", []string{"1:4 yaml-invisible"}},
		"a line separator":                 {"a: b\u2028c: d\n", []string{"1:5 yaml-invisible"}},
		"a bare carriage return":           {"a: b\rc: d\n", []string{"1:5 yaml-invisible"}},
		"a next-line character":            {"a: b\u0085c: d\n", []string{"1:5 yaml-invisible"}},
		"a variation selector":             {"a: b\ufe0fc\n", []string{"1:5 yaml-invisible"}},
		"a Hangul filler":                  {"a: b\u3164c\n", []string{"1:5 yaml-invisible"}},
		"an escaped zero-width space":      {"a: \"b\\u200bc\"\n", []string{"1:4 yaml-invisible"}},
		"an escaped NUL":                   {"a: \"b\\0c\"\n", []string{"1:4 yaml-invisible"}},
		"an escape in a name":              {"\"b\\u200bc\": 1\n", []string{"1:1 yaml-invisible"}},
		"nothing":                          {"", []string{"1:1 yaml-empty"}},
		"only a comment":                   {"# a\n", []string{"1:1 yaml-empty"}},
		"only a marker":                    {"---\n", []string{"2:1 yaml-root"}},
		"a list":                           {"- a\n", []string{"1:1 yaml-root"}},
		"a scalar":                         {"a\n", []string{"1:1 yaml-root"}},
		"an open list":                     {"a: [1,\n", []string{"2:1 yaml-syntax"}},
		"an open quote":                    {"a: 'b\n", []string{"2:1 yaml-syntax"}},
		"two values":                       {"a: b: c\n", []string{"1:5 yaml-syntax"}},
		"all at once": {
			"a: &x 1\na: 2\nb: !!binary x\n<<: {}\n1: \"\\u202e\"\nc: \u200b\n",
			[]string{"1:4 yaml-anchor", "2:1 yaml-duplicate", "3:4 yaml-tag", "4:1 yaml-merge", "5:1 yaml-name", "6:4 yaml-invisible"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, fs := strictyaml.Parse("f.yaml", []byte(tc.src))
			if n != nil {
				t.Error("a node came back beside errors")
			}
			if diff := cmp.Diff(tc.want, places(fs)); diff != "" {
				t.Errorf("findings (-want +got):\n%s%v", diff, fs)
			}
			for _, f := range fs {
				if f.File != "f.yaml" || f.Message == "" || f.Fix == "" {
					t.Errorf("a finding lacks file, message or fix: %+v", f)
				}
			}
		})
	}
}

func TestParseTakes(t *testing.T) {
	for name, tc := range map[string]struct {
		src  string
		want map[string]any
	}{
		"core types":         {"a: null\nb: true\nc: -12\nd: 1.5\ne: x\nf: ~\ng:\nh: 1e3\n", map[string]any{"a": nil, "b": true, "c": int64(-12), "d": 1.5, "e": "x", "f": nil, "g": nil, "h": 1000.0}},
		"Norway":             {"a: no\nb: yes\nc: on\nd: off\ne: y\nf: NO\n", map[string]any{"a": "no", "b": "yes", "c": "on", "d": "off", "e": "y", "f": "NO"}},
		"quotes":             {"a: \"0755\"\nb: '1'\nc: \"true\"\nd: ''\n", map[string]any{"a": "0755", "b": "1", "c": "true", "d": ""}},
		"CRLF and a BOM":     {"\ufeffa: 1\r\nb:\r\n  - x\r\n", map[string]any{"a": int64(1), "b": []any{"x"}}},
		"blocks":             {"a: |\n  x\n  y\nb: >-\n  x\n  y\n", map[string]any{"a": "x\ny\n", "b": "x y"}},
		"one marked":         {"# c\n---\na: 1\n...\n# d\n", map[string]any{"a": int64(1)}},
		"flow":               {"a: {b: [1, two, {c: d}]}\n", map[string]any{"a": map[string]any{"b": []any{int64(1), "two", map[string]any{"c": "d"}}}}},
		"JSON":               {`{"Version": "2012-10-17", "n": 1}`, map[string]any{"Version": "2012-10-17", "n": int64(1)}},
		"dashes in a block":  {"a: |\n  ---\n  b\n", map[string]any{"a": "---\nb\n"}},
		"a tab in a value":   {"a: \"b\tc\"\n", map[string]any{"a": "b\tc"}},
		"text like numbers":  {"a: 1.2.3\nb: 12ab\nc: 10.0.0.0/8\nd: a:b\nf: 50/s\ng: 15m\n", map[string]any{"a": "1.2.3", "b": "12ab", "c": "10.0.0.0/8", "d": "a:b", "f": "50/s", "g": "15m"}},
		"other alphabets":    {"a: Прод Straße\n", map[string]any{"a": "Прод Straße"}},
		"quoted merge":       {"\"<<\": x\n", map[string]any{"<<": "x"}},
		"names as they are":  {"no: x\n/kubernetes.io/namespace: y\n", map[string]any{"no": "x", "/kubernetes.io/namespace": "y"}},
		"the largest number": {"a: 9223372036854775807\n", map[string]any{"a": int64(9223372036854775807)}},
	} {
		t.Run(name, func(t *testing.T) {
			n, fs := strictyaml.Parse("f.yaml", []byte(tc.src))
			if len(fs) > 0 {
				t.Fatalf("findings: %v", fs)
			}
			got, ok := n.Value()
			if !ok {
				t.Fatal("no value")
			}
			if diff := cmp.Diff(any(tc.want), got); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAmbiguousHasNoValue(t *testing.T) {
	for _, s := range []string{
		"0755", "007", "-012", "+1", "0o17", "0x1F", "0b101", "1_000", "1:30", "190:20:30", "2027-03-31", "2027-03-31T10:00:00Z",
		".inf", "-.INF", ".nan", ".5", "1.", "1_0.5", "01.5", "9223372036854775808", "1e999",
	} {
		n, fs := strictyaml.Parse("f.yaml", []byte("a: "+s+"\n"))
		if len(fs) > 0 {
			t.Errorf("%s: findings: %v", s, fs)
			continue
		}
		if got := n.Get("a").Kind; got != strictyaml.Ambiguous {
			t.Errorf("%s is %s", s, got)
		}
		if v, ok := n.Value(); ok {
			t.Errorf("%s has the value %v", s, v)
		}
	}
}

func TestMixedScriptsWarn(t *testing.T) {
	n, fs := strictyaml.Parse("f.yaml", []byte("name: p\u0430ypal\nother: прод\n"))
	if n == nil || !cmp.Equal(places(fs), []string{"1:7 yaml-mixed-scripts"}) || fs[0].Severity != strictyaml.Warning {
		t.Errorf("node %v, findings %v", n, fs)
	}
}

// TestHostileInput holds the promise that a hostile file costs little: all of
// these are refused, and what is allocated in all, most of it garbage, is little.
func TestHostileInput(t *testing.T) {
	deepMap := ""
	for i := range 40 {
		deepMap += strings.Repeat(" ", i) + "a:\n"
	}
	for name, tc := range map[string]struct{ src, want string }{
		"10 MB":                    {"a: " + strings.Repeat("x", 10<<20), "yaml-too-large"},
		"10,000 flow lists deep":   {"a: " + strings.Repeat("[", 4000) + strings.Repeat("]", 4000), "yaml-too-deep"},
		"10,000 block lists deep":  {"a:\n  " + strings.Repeat("- ", 10000) + "x\n", "yaml-too-deep"},
		"40 maps deep":             {deepMap, "yaml-too-deep"},
		"33 lists deep":            {"a: " + strings.Repeat("[", 33) + strings.Repeat("]", 33), "yaml-too-deep"},
		"explicit keys":            {strings.Repeat("? ", 5000) + "x\n", "yaml-too-deep"},
		"empty items":              {"a:\n" + strings.Repeat("-\n", 100_000), "yaml-too-many-values"},
		"empty flow items":         {"a: [" + strings.Repeat(",", 100_000) + "]", "yaml-too-many-values"},
		"unclosed":                 {strings.Repeat("{", 100_000), "yaml-too-many-values"},
		"comments":                 {strings.Repeat("#\n", 100_000), "yaml-too-many-values"},
		"anchors without a number": {strings.Repeat("&a ", 80_000), "yaml-too-many-values"},
		"tags without a number":    {strings.Repeat("!a ", 80_000), "yaml-too-many-values"},
		"invisible characters":     {"a: " + strings.Repeat("\u200b", 80_000), "yaml-invisible"},
		"duplicates":               {strings.Repeat("a: 1\n", 8000), "yaml-duplicate"},
	} {
		t.Run(name, func(t *testing.T) {
			src := []byte(tc.src)
			before := allocated()
			n, fs := strictyaml.Parse("f.yaml", src)
			total := allocated() - before
			if n != nil || len(fs) == 0 || fs[0].ID != tc.want {
				t.Fatalf("node %v, findings %v", n != nil, places(fs))
			}
			if len(fs) > 201 {
				t.Errorf("%d findings", len(fs))
			}
			if total > 16<<20 {
				t.Errorf("allocated %d MB", total>>20)
			}
			runtime.KeepAlive(src)
		})
	}
}

// TestTheLargestThatIsRead holds the same promise for what is just small enough
// to be read.
func TestTheLargestThatIsRead(t *testing.T) {
	for name, src := range map[string]string{
		"values":     "a:\n" + strings.Repeat("- 12345678901\n", 16_000),
		"flow":       "a: [" + strings.Repeat("x,", 8_000) + "]",
		"many names": distinctNames(8_000),
		"one value":  "a: " + strings.Repeat("x ", 130_000),
		"one block":  "a: |\n" + strings.Repeat("  \n", 80_000),
		"folded":     "a: >\n" + strings.Repeat("  x\n", 60_000),
		"quoted":     "a: \"" + strings.Repeat("x\n  ", 60_000) + "\"",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			n, fs := strictyaml.Parse("f.yaml", []byte(src))
			runtime.GC()
			runtime.ReadMemStats(&after)
			if n == nil {
				t.Fatalf("findings: %v", fs)
			}
			if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 4<<20 {
				t.Errorf("the tree holds %d kB", kept>>10)
			}
			if total := after.TotalAlloc - before.TotalAlloc; total > 24<<20 {
				t.Errorf("allocated %d kB", total>>10)
			}
			runtime.KeepAlive(n)
		})
	}
}

func distinctNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d: x\n", i)
	}
	return b.String()
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestDepthThatIsAllowed(t *testing.T) {
	// The map itself is one level.
	for _, src := range []string{
		"a: " + strings.Repeat("[", 30) + "x" + strings.Repeat("]", 30),
		"a:\n- " + strings.Repeat("- ", 28) + "x\n",
	} {
		if _, fs := strictyaml.Parse("f.yaml", []byte(src)); len(fs) > 0 {
			t.Errorf("findings: %v", fs)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"a: 1\n", "a: &x [*x]\n", "? [a]\n: b\n", "a: |\n  b\n c\n", "%YAML 1.1\n---\na: !!binary x\n", "a: \"\\u200b\"\n",
		"{a: [b, {c: d}], e: 'f''g'}", "\ufeffa: 1\r\n...\n", "a:\n\tb: 1\n", "<<: {a: 1}\n", "a: >-\n\n   b\n\n   c\n", "0755: 1_000\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		n, fs := strictyaml.Parse("f.yaml", src)
		if (n == nil) != fs.HasErrors() {
			t.Fatalf("node %v beside %v", n != nil, fs)
		}
		for _, f := range fs {
			if f.Line < 1 || f.Column < 1 || f.ID == "" || strings.ContainsAny(f.String(), "\n\x00\x1b\u200b\u202e") {
				t.Errorf("finding %+v", f)
			}
		}
		again, fs2 := strictyaml.Parse("f.yaml", src)
		if !cmp.Equal(fs, fs2) || (n == nil) != (again == nil) {
			t.Error("a second reading differs")
		}
		walk(n, func(n *strictyaml.Node) {
			if n.Kind == strictyaml.Invalid {
				t.Errorf("%s is invalid without an error", n.Path())
			}
			if line, column := n.TextPosition(1, len(n.Text)); line < 1 || column < 1 {
				t.Errorf("%s is at %d:%d", n.Path(), line, column)
			}
		})
	})
}

func walk(n *strictyaml.Node, visit func(*strictyaml.Node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, c := range n.Items() {
		walk(c, visit)
	}
}
