package test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/test/rig"
	"cambio/trust"
)

// configAttacks are the cases on the configuration.
func configAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){"CFG-01": yamlBombs, "CFG-02": insecureSettings}
}

// deployment is a folder with a configuration and documents.
func deployment(t *testing.T, config string, documents map[string]string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	(&rig.Rig{T: t, Dir: dir}).WriteTrusts(documents)
	file = filepath.Join(dir, "cambio.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// exits3 fails the test unless the command refuses with status 3, says each of
// these texts, and shows no stack.
func exits3(t *testing.T, what string, o outcome, texts ...string) {
	t.Helper()
	if o.code != 3 || strings.Contains(o.stderr, "goroutine ") || strings.Contains(o.stderr, "panic") {
		t.Errorf("%s: exit %d, want 3\n%.2000s", what, o.code, o.stderr)
		return
	}
	for _, text := range texts {
		if !strings.Contains(o.stderr, text) {
			t.Errorf("%s does not say %q:\n%.2000s", what, text, o.stderr)
		}
	}
}

// laughs is the billion laughs.
func laughs() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	return b.String()
}

// yamlAttack is text behind a good file, and the beginning of the finding's id.
type yamlAttack struct{ text, want string }

func yamlAttacks() map[string]yamlAttack {
	return map[string]yamlAttack{
		"billion laughs":     {laughs(), "yaml-a"},
		"an anchor unused":   {"unknown: &a x\n", "yaml-anchor"},
		"an alias to itself": {"unknown: &a [*a]\n", "yaml-a"},
		"10 MB":              {"unknown: " + strings.Repeat("a", 10<<20) + "\n", "yaml-too-large"},
		"10 MB of lines":     {strings.Repeat("a: b\n", 2<<20), "yaml-too-large"},
		"256 KiB and one":    {"#" + strings.Repeat("a", 256<<10) + "\n", "yaml-too-large"},
		"10,000 deep":        {"unknown: " + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "\n", "yaml-too-"},
		"100,000 deep, open": {"unknown: " + strings.Repeat("[", 100_000) + "\n", "yaml-"},
		"10,000 deep maps":   {"unknown: " + strings.Repeat("{a: ", 10_000) + "\n", "yaml-"},
		"33 deep":            {"unknown: " + strings.Repeat("[", 33) + strings.Repeat("]", 33) + "\n", "yaml-too-deep"},
		"duplicate key":      {"unknown: 1\nunknown: 2\n", "yaml-duplicate"},
		"duplicate, quoted":  {"unknown: 1\n\"unknown\": 2\n", "yaml-duplicate"},
		"merge key":          {"unknown:\n  <<: {a: b}\n", "yaml-merge"},
		"tab":                {"unknown:\n\ta: b\n", "yaml-tab"},
		"binary tag":         {"unknown: !!binary aGVsbG8=\n", "yaml-tag"},
		"string tag":         {"unknown: !!str 1\n", "yaml-tag"},
		"a tag of its own":   {"unknown: !ruby/object x\n", "yaml-tag"},
		"unknown field":      {"unknown: 1\n", "unknown-field"},
		"two documents":      {"---\nunknown: 1\n", "yaml-second-document"},
		"an end and more":    {"...\nunknown: 1\n", "yaml-"},
		"a directive":        {"%YAML 1.1\n---\na: b\n", "yaml-"},
		"number as name":     {"1: a\n", "yaml-name"},
		"boolean as name":    {"true: a\n", "yaml-name"},
		"null as name":       {"~: a\n", "yaml-name"},
		"list as name":       {"? [a, b]\n: c\n", "yaml-name"},
		"map as name":        {"? {a: b}\n: c\n", "yaml-name"},
		"not UTF-8":          {"unknown: \xff\xfe\n", "yaml-"},
		"NUL":                {"unknown: a\x00b\n", "yaml-"},
		"UTF-16":             {"\xff\xfeu\x00:\x00 \x001\x00\n\x00", "yaml-"},
		"bidi override":      {"unknown: a\u202eb\n", "yaml-invisible"},
	}
}

// TestBombsAreCheap is CFG-01's memory, in bytes allocated on the way, which is
// more than can be held at any time. No other test runs beside it.
func TestBombsAreCheap(t *testing.T) {
	read := func(text string) {
		c, _ := gateway.ParseConfig("cambio.yaml", []byte(usualConfig+text), func(string) (string, bool) { return "", false }, os.ReadFile)
		trust.Compile(gateway.World(c), []trust.Source{{Name: "tr1.yaml", Data: []byte(rig.TR1 + text)}}, time.Now())
	}
	read("") // what is made once
	for what, row := range yamlAttacks() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read(row.text)
		runtime.ReadMemStats(&after)
		if more := int64(after.TotalAlloc-before.TotalAlloc) - 4*int64(len(row.text)); more > 8<<20 { // four copies made here
			t.Errorf("%s takes %d kB", what, more>>10)
		}
	}
}

// yamlBombs is CFG-01. Each stands in the configuration and in a document.
func yamlBombs(t *testing.T) {
	_, good := deployment(t, usualConfig, nil)
	usual := run(t, nil, "config", "check", "--config", good)
	if usual.code != 0 {
		t.Fatalf("the usual configuration: exit %d\n%s", usual.code, usual.stderr)
	}
	documents, i := map[string]string{}, 0
	for what, row := range yamlAttacks() {
		_, file := deployment(t, usualConfig+row.text, nil)
		exits3(t, what, run(t, nil, "config", "check", "--config", file), "cambio.yaml:", "["+row.want)
		documents[fmt.Sprintf("bomb-%d-%s.yaml", i, row.want)] = rig.TR1 + row.text
		i++
	}
	dir, file := deployment(t, usualConfig, documents)
	o := run(t, nil, "trust", "check", filepath.Join(dir, "trust"), "--config", file)
	exits3(t, "documents", o, "bomb-0-")
	for name := range documents {
		_, want, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(name, ".yaml"), "bomb-"), "-")
		if !regexp.MustCompile(regexp.QuoteMeta(name) + `:\d+:\d+: error: .*\[` + want).MatchString(o.stderr) {
			t.Errorf("%s is not told:\n%.3000s", name, o.stderr)
		}
	}
	plainScalars(t)
	allAtOnce(t)
	runningGateway(t)
}

// plainScalars: what looks like text to people is text, or refused with quotes.
func plainScalars(t *testing.T) {
	t.Helper()
	document := func(match string) map[string]string {
		return map[string]string{"tr1.yaml": strings.Replace(rig.TR1, "ref: refs/heads/main", "actor: "+match, 1)}
	}
	r := rig.New(t, rig.Setup{Trusts: document("no")})
	// `no` is text in YAML 1.2, and so it matches the text and nothing else.
	if a := r.Exchange(r.Token(map[string]any{"actor": "no"})); a.Status != 200 {
		t.Errorf("no: %d %s", a.Status, a.Raw)
	}
	for _, actor := range []string{"false", "NO", "n", ""} {
		r.Deny(r.Exchange(r.Token(map[string]any{"actor": actor})), "condition-false")
	}
	for _, value := range []string{"yes", "on", "off", "y", "=", "0755x"} {
		if findings := policyFindings(t, document(value)); findings.HasErrors() {
			t.Errorf("%s is text in YAML 1.2: %v", value, findings)
		}
	}
	for _, value := range []string{"true", "False", "1", "0755", "0o755", "0x1f", "1e3", ".5", ".inf", ".nan", "-1", "~", "null", "", "+1", "0b1", "1_000", "12:30:45", "2027-03-31"} {
		findings := policyFindings(t, document(value))
		ok := false
		for _, f := range findings {
			ok = ok || f.Line == 5 && f.Column > 0 && f.Fix != ""
		}
		if !ok {
			t.Errorf("%s: findings %v", value, findings)
		}
	}
	for _, change := range [][2]string{{"name: tr1", "name: 123"}, {"owner: t1-team@acme.test", "owner: true"}, {"purpose: main of app reads t1", "purpose: 0755"}, {"[read]", "[1]"}, {"[read]", "[true]"}, {"to: t1", "to: 1"}} {
		refusedAtLoad(t, change[1], strings.Replace(rig.TR1, change[0], change[1], 1), "any")
	}
}

// allAtOnce: the configuration's faults are told together, each with its place.
func allAtOnce(t *testing.T) {
	t.Helper()
	_, file := deployment(t, usualConfig+"unknown: 1\njournal: {keep: 5 days}\nlisten: nowhere\nlimits: {per_address: fast}\nlisten: again\n", nil)
	for _, args := range [][]string{{"config", "check"}, {"serve"}} {
		o := run(t, nil, append(args, "--config", file)...)
		exits3(t, strings.Join(args, " "), o, "cambio.yaml:11:", ":12:", ":13:", ":14:", ":15:", "[unknown-field]", "[yaml-duplicate]")
	}
}

// runningGateway keeps its policy, whatever is put into the folder.
func runningGateway(t *testing.T) {
	t.Helper()
	r := rig.New(t, rig.Setup{})
	r.Control()
	for i, bomb := range []string{laughs(), "unknown: " + strings.Repeat("[", 10_000), rig.TR1 + "---\n" + rig.TR2, strings.Repeat("a: b\n", 1<<20)} {
		r.WriteTrusts(map[string]string{"tr1.yaml": rig.TR1, "bomb.yaml": bomb})
		want := fmt.Sprintf("cambio_policy_rejected_total %d", i+1)
		rig.Eventually(t, want, func() bool { return strings.Contains(r.Get(r.AdminURL, "/metrics").Raw, want) })
		r.Control()
	}
	r.WriteTrusts(nil)
	r.Control()
}

// insecureSettings is CFG-02.
func insecureSettings(t *testing.T) {
	const public = "listen: 0.0.0.0:8443\n"
	for what, row := range map[string]struct {
		config string
		wants  []string
	}{
		"no tls":               {public + strings.Replace(usualConfig, "    insecure_loopback: true\n", "", 1), []string{"listen-without-tls"}},
		"no tls on IPv6":       {"listen: \"[::]:8443\"\n" + usualConfig, []string{"listen-without-tls"}},
		"http issuer":          {strings.Replace(usualConfig, "https://gw.test\nid", "http://gw.test\nid", 1), []string{"issuer-not-https"}},
		"http issuer, public":  {public + strings.Replace(usualConfig, "https://gw.test\nid", "http://127.0.0.1:8080\nid", 1), []string{"issuer-not-https", "listen-without-tls"}},
		"insecure_loopback":    {public + "tls: {cert: a, key: b}\n" + usualConfig, []string{"insecure_loopback"}},
		"all proxies":          {"trusted_proxies: [0.0.0.0/0]\n" + usualConfig, []string{"trusted_proxies", ":1:"}},
		"all proxies, IPv6":    {"trusted_proxies: [\"::/0\"]\n" + usualConfig, []string{"trusted_proxies"}},
		"two halves":           {"trusted_proxies: [0.0.0.0/1, 128.0.0.0/1]\n" + usualConfig, []string{"trusted_proxies"}},
		"TLS ended by all":     {public + "tls: {terminated_by: [0.0.0.0/0]}\n" + usualConfig, []string{"terminated_by"}},
		"bare Redis":           {"redis: {mode: single, addrs: [10.1.2.3:6379]}\n" + usualConfig, []string{"redis-insecure"}},
		"http provider":        {strings.Replace(usualConfig, "    insecure_loopback: true\n", "", 1), []string{"iss1"}},
		"keys nobody has":      {"debug: true\nadmin_password: x\nsigning_key: y\nreplay: off\njournal: none\ndev: true\nskip_verify: true\n" + usualConfig, []string{":1:", ":2:", ":3:", ":4:", ":5:", ":6:", ":7:", "[unknown-field]", "debug", "admin_password", "signing_key", "replay"}},
		"journal off":          {"journal: {keep: 0d}\n" + usualConfig, []string{"journal"}},
		"journal false":        {"journal: false\n" + usualConfig, []string{"journal"}},
		"several at once":      {public + "trusted_proxies: [0.0.0.0/0]\ndebug: true\nredis: {mode: single, addrs: [10.1.2.3:6379]}\n" + strings.Replace(usualConfig, "https://gw.test\nid", "http://gw.test\nid", 1), []string{"listen-without-tls", "issuer-not-https", "trusted_proxies", "redis-insecure", "[unknown-field]", "insecure_loopback"}},
		"weak algorithms":      {strings.Replace(usualConfig, "insecure_loopback: true", "insecure_loopback: true\n    algs: [HS256, none]", 1), []string{"algs"}},
		"the provider trust":   {strings.Replace(usualConfig, "iss1:", "trust:", 1), []string{"trust"}},
		"audience of our own":  {strings.Replace(usualConfig, "api://t1", "https://gw.test", 1), []string{"audience"}},
		"a life above an hour": {strings.Replace(usualConfig, "max_ttl: 1h", "max_ttl: 2h", 1), []string{"max_ttl"}},
	} {
		_, file := deployment(t, row.config, nil)
		commands := [][]string{{"serve"}, {"config", "check"}}
		if len(row.wants) == 1 {
			commands = commands[:1] // both read it by the same way
		}
		for _, args := range commands {
			exits3(t, what+": "+strings.Join(args, " "), run(t, nil, append(args, "--config", file)...), append(row.wants, "cambio.yaml:")...)
		}
	}
	weakKey(t)
	lockedState(t)
}

// weakKey: a key of 1024 bits in `keys` is told with all else, and nothing
// starts.
func weakKey(t *testing.T) {
	t.Helper()
	r := rig.New(t, rig.Setup{})
	r.Control()
	r.Stop()
	keys := filepath.Join(r.Dir, "state", "keys")
	files, err := filepath.Glob(filepath.Join(keys, "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatal("no keys", err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(weak)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(old) < 1000 {
			continue // not RSA
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(r.Dir, "cambio.yaml")
	for _, command := range [][]string{{"config", "check"}, {"serve"}} {
		if o := run(t, nil, append(command, "--config", config)...); o.code != 3 || strings.Contains(o.stderr, "PRIVATE KEY") {
			t.Errorf("%v with a weak key: exit %d\n%s", command, o.code, o.stderr)
		}
	}
	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if o := run(t, nil, "serve", "--config", config); o.code != 3 {
		t.Errorf("with a key that others may read: exit %d\n%s", o.code, o.stderr)
	}
}

// lockedState: `state` is 0700, and one process has it.
func lockedState(t *testing.T) {
	t.Helper()
	dir, file := deployment(t, "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n"+usualConfig, nil)
	first := start(t, nil, "serve", "--config", file)
	rig.Eventually(t, "the first process", func() bool { return strings.Contains(first.stderr.String(), "msg=ready") })
	if o := run(t, nil, "serve", "--config", file); o.code == 0 || !strings.Contains(o.stderr, "state") {
		t.Errorf("a second process: exit %d\n%s", o.code, o.stderr)
	}
	for _, sub := range []string{"state", "state/journal", "state/keys"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", sub, info, err)
		}
	}
	if err := first.end(); err != nil {
		t.Errorf("the first process: %v\n%s", err, first.stderr.String())
	}
	if o := run(t, nil, "config", "check", "--config", file); o.code != 0 {
		t.Errorf("afterwards: exit %d\n%s", o.code, o.stderr)
	}
}
