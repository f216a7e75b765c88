package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

// ssrfAttacks are the cases on where we can be made to call.
func ssrfAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"SSRF-01": attackSSRF01, "SSRF-02": attackSSRF02, "SSRF-03": attackSSRF03, "SSRF-08": attackSSRF08,
	}
}

// provided is one more identity provider in a configuration.
type provided struct{ name, issuer, lines string }

// withProviders is the usual configuration with these instead of iss2.
func withProviders(all ...provided) string {
	var b strings.Builder
	b.WriteString(`issuer: https://gw.test
limits: {per_address: none, per_workload: none}
identity_providers:
  iss1: {type: github-actions, issuer: "{{ISS1}}", audience: "https://gw.test", insecure_loopback: true}
`)
	for _, p := range all {
		fmt.Fprintf(&b, "  %s:\n    type: github-actions\n    issuer: %q\n    audience: https://gw.test\n    algs: [RS256, ES256]\n", p.name, p.issuer)
		for _, line := range strings.Split(strings.TrimSpace(p.lines), "\n") {
			if line != "" {
				b.WriteString("    " + line + "\n")
			}
		}
	}
	b.WriteString("targets:\n  t1: {type: jwt, audience: \"api://t1\", max_ttl: 1h}\n  t2: {type: jwt, audience: \"api://t2\", max_ttl: 1h}\n")
	return b.String()
}

// trusting are the usual trusts, and one from each of these providers to t1.
func trusting(all ...provided) map[string]string {
	docs := map[string]string{"tr1.yaml": rig.TR1, "tr2.yaml": rig.TR2}
	for _, p := range all {
		docs[p.name+".yaml"] = strings.NewReplacer("name: tr1", "name: of-"+p.name, "from: iss1", "from: "+p.name).Replace(rig.TR1)
	}
	return docs
}

func attackSSRF01(t *testing.T) {
	for _, literal := range []string{
		"127.0.0.1", "[::1]", "0.0.0.0", "[::]", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
		"100.64.0.1", "198.18.0.1", "198.19.255.255", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "2852039166",
		"0251.0376.0251.0376", "0xa9fea9fe", "0xa9.254.169.254", "127.1", "0177.0.0.1", "2130706433", "127.0.0.1.", "[::127.0.0.1]", "[fe80::1]", "224.0.0.1", "255.255.255.255", "8.8.8.8",
	} {
		for _, field := range []string{"issuer", "discovery_url", "jwks_url"} {
			for _, port := range []string{"", ":8443"} {
				p := provided{name: "inside", issuer: "https://" + literal + port}
				if field != "issuer" {
					p = provided{name: "inside", issuer: "https://issuer.acme.test", lines: field + ": https://" + literal + port + "/keys"}
				}
				config := strings.ReplaceAll(withProviders(p), "{{ISS1}}", "http://127.0.0.1:1")
				loads(t, config, trusting(), "issuer-address-forbidden")
			}
		}
	}
	inside := provided{name: "inside", issuer: "https://169.254.169.254"}
	serveRefuses(t, strings.ReplaceAll(withProviders(inside), "{{ISS1}}", "http://127.0.0.1:1"), trusting(), "issuer-address-forbidden", "inside")
	open := "listen: 0.0.0.0:8080\ntls: {terminated_by: [\"10.0.0.0/8\"]}\n" + strings.ReplaceAll(withProviders(), "{{ISS1}}", "http://127.0.0.1:1")
	serveRefuses(t, open, trusting(), "insecure-loopback", "iss1")

	// Names, that resolve there.
	four := listenCollector(t, "127.0.0.1:0")
	six := four
	if probe, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "[::1]:0"); err == nil { // not every machine has IPv6
		probe.Close()
		six = listenCollector(t, "[::1]:0")
	}
	resolver := resolverOf(map[string][]string{"metadata.google.internal": {"169.254.169.254"}, "169.254.169.254.nip.io": {"169.254.169.254"}})
	var all []provided
	add := func(host, lines string) {
		n := len(all)
		port := four.Addr.Port()
		if strings.Contains(host, "six") {
			port = six.Addr.Port()
		}
		all = append(all, provided{name: "p" + strconv.Itoa(n), issuer: "https://" + net.JoinHostPort(host, strconv.Itoa(int(port))), lines: lines})
	}
	named := func(addr, lines string) {
		host := fmt.Sprintf("n%d.acme.test", len(all))
		if netip.MustParseAddr(addr).Is6() {
			host = fmt.Sprintf("six%d.acme.test", len(all))
		}
		resolver.answer(host, addr)
		add(host, strings.ReplaceAll(lines, "HOST", host))
	}
	add("metadata.google.internal", "")
	add("169.254.169.254.nip.io", "")
	for _, addr := range []string{
		"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "fd00:ec2::254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1",
		"::ffff:169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fe80::1", "::127.0.0.1",
	} {
		named(addr, "")
	}
	port := strconv.Itoa(int(four.Addr.Port()))
	// What dial does not open.
	named("127.0.0.1", `dial: ["other.acme.test:`+port+` 127.0.0.0/8"]`)
	named("127.0.0.1", `dial: ["HOST:1 127.0.0.0/8"]`)
	named("127.0.0.1", `dial: ["HOST:`+port+` 10.0.0.0/8"]`)
	named("169.254.169.254", `dial: ["HOST:`+port+` 169.254.0.0/16"]`)
	// What insecure_loopback does not.
	named("10.0.0.1", "insecure_loopback: true")
	named("169.254.169.254", "insecure_loopback: true")
	r := rig.New(t, rig.Setup{Resolver: resolver, Config: withProviders(all...), Trusts: trusting(all...)})
	r.Control()
	for _, p := range all {
		a := r.Exchange(r.Token(map[string]any{"iss": p.issuer}))
		if a.Status != 503 {
			t.Errorf("%s %s: %d %s", p.issuer, p.lines, a.Status, a.Raw)
		}
		r.Unavailable(a, "jwks-unavailable")
	}
	told := 0
	for line := range strings.Lines(r.Log.String()) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, "must not be called") {
			told++
		}
	}
	if told != len(all) {
		t.Errorf("%d of %d were refused for their address\n%s", told, len(all), r.Log)
	}
	four.nobody(t)
	six.nobody(t)
	r.Control()
}

// aside is an identity provider with TLS at 127.0.0.1, known as
// https://idp.acme.test, and what a configuration says to reach it.
func aside(t *testing.T, how *standin.TLS) (idp *standin.IdentityProvider, p provided, port, dir string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	idp, err = standin.New(standin.Config{
		Now: time.Now, Rand: rand.Reader, Issuer: "https://idp.acme.test", Audience: "https://gw.test",
		Keys: []standin.Key{{KID: "e1", Private: private}}, TLS: how,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { idp.Close() })
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), idp.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	port = strconv.Itoa(int(netip.MustParseAddrPort(strings.TrimPrefix(idp.URL(), "https://")).Port()))
	return idp, provided{name: "aside", issuer: "https://idp.acme.test", lines: "ca_file: ca.pem\n" +
		"jwks_url: https://idp.acme.test:" + port + standin.KeysPath + "\ndial: [\"idp.acme.test:" + port + " 127.0.0.1/32\"]"}, port, dir
}

// tokenOf is a good token of such a provider, with this issuer.
func tokenOf(t *testing.T, r *rig.Rig, idp *standin.IdentityProvider, issuer string) string {
	t.Helper()
	return r.Sign(idp, standin.JWS{Payload: jsonOf(t, r.Base(map[string]any{"iss": issuer})), Key: "e1"})
}

// crowd are identity providers on loopback, one for each thing that is tried:
// what went wrong with one is remembered for half a minute.
func crowd(t *testing.T, n int) []*standin.IdentityProvider {
	t.Helper()
	out := make([]*standin.IdentityProvider, n)
	for i := range out {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out[i], err = standin.New(standin.Config{Now: time.Now, Rand: rand.Reader, Audience: "https://gw.test", Keys: []standin.Key{{KID: "e1", Private: private}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { out[i].Close() })
	}
	return out
}

// many are their places in a configuration.
func many(idps []*standin.IdentityProvider) []provided {
	out := make([]provided, len(idps))
	for i, idp := range idps {
		out[i] = provided{name: fmt.Sprintf("idp%d", i), issuer: idp.Issuer(), lines: "insecure_loopback: true"}
	}
	return out
}

func attackSSRF02(t *testing.T) {
	idp, p, port, dir := aside(t, &standin.TLS{Hosts: []string{"idp.acme.test"}})
	inside := listenCollector(t, "127.0.0.2:"+port) // loopback, but not what dial opens
	const name = "idp.acme.test"
	resolver := resolverOf(map[string][]string{name: {"127.0.0.1"}})
	resolver.answer(name, "127.0.0.2")
	all := []provided{p}
	for i, answers := range [][]string{
		{"127.0.0.2"},
		{"127.0.0.1", "127.0.0.2"},
		{"127.0.0.2", "127.0.0.1"},
		{"127.0.0.1", "169.254.169.254"},
		{"127.0.0.1", "::1"},
		{"127.0.0.1", "10.0.0.1"},
		{"8.8.8.8", "127.0.0.2"},
		{"127.0.0.1", "::ffff:127.0.0.2"},
		{"127.0.0.1", "0.0.0.0"},
		{},
	} {
		host := fmt.Sprintf("mixed%d.acme.test", i)
		if len(answers) > 0 {
			resolver.answer(host, answers...)
		}
		all = append(all, provided{
			name: fmt.Sprintf("mixed%d", i), issuer: "https://" + host + ":" + port,
			lines: "ca_file: ca.pem\ndial: [\"" + host + ":" + port + " 127.0.0.1/32\"]",
		})
	}
	r := rig.New(t, rig.Setup{Dir: dir, Resolver: resolver, Config: withProviders(all...), Trusts: trusting(all...)})
	r.Control()
	if a := r.Exchange(tokenOf(t, r, idp, p.issuer)); a.Status != 200 {
		t.Fatalf("before the name moved: %s\n%s", a.Raw, r.Log)
	}
	// One look-up for one call: what was looked at is what is dialled.
	if n := resolver.count(name); n != 1 {
		t.Errorf("%d look-ups for one fetch", n)
	}
	calls := idp.Requests(standin.KeysPath) + idp.Requests(standin.DiscoveryPath)
	for _, m := range all[1:] {
		a := r.Exchange(tokenOf(t, r, idp, m.issuer))
		if a.Status != 503 {
			t.Errorf("%s: %d %s", m.issuer, a.Status, a.Raw)
		}
		r.Unavailable(a, "jwks-unavailable")
	}
	// The name has moved since: its keys are good for a while, then they are not.
	r.Move(31 * time.Minute)
	if a := r.Exchange(tokenOf(t, r, idp, p.issuer)); a.Status != 200 {
		t.Errorf("while the keys are good: %s", a.Raw)
	}
	r.Move(31 * time.Minute)
	r.Unavailable(r.Exchange(tokenOf(t, r, idp, p.issuer)), "jwks-unavailable", "jwks-stale")
	if n := idp.Requests(standin.KeysPath) + idp.Requests(standin.DiscoveryPath) - calls; n != 0 {
		t.Errorf("%d calls to one of several addresses", n)
	}
	inside.nobody(t)
	resolver.answer(name, "127.0.0.1")
	resolver.answer(name, "127.0.0.1")
	r.Move(31 * time.Second)
	_ = r.Exchange(tokenOf(t, r, idp, p.issuer)) // takes the last bad answer, where there is one left
	r.Move(31 * time.Second)
	if a := r.Exchange(tokenOf(t, r, idp, p.issuer)); a.Status != 200 {
		t.Errorf("healed: %s\n%s", a.Raw, r.Log)
	}
	inside.nobody(t)
	r.Control()
}

func attackSSRF03(t *testing.T) {
	evil := listenCollector(t, "127.0.0.1:0")
	attacker := crowd(t, 1)[0]
	type redirect struct {
		path, to string
		status   int
	}
	var redirects []redirect
	for _, path := range []string{standin.DiscoveryPath, standin.KeysPath} {
		for _, to := range []string{
			"http://169.254.169.254/", "http://" + evil.Addr.String() + "/jwks", attacker.URL() + path, "OWN" + standin.KeysPath, "https:OWN" + path, "OWN" + path,
			path, "//" + evil.Addr.String() + "/", "ftp://" + evil.Addr.String() + "/", "file:///etc/passwd", "",
		} {
			for _, status := range []int{301, 302, 303, 307, 308} {
				if status == 302 || to == attacker.URL()+path || to == "OWN"+path {
					redirects = append(redirects, redirect{path, to, status})
				}
			}
		}
		redirects = append(redirects, redirect{path, attacker.URL() + path, 300}, redirect{path, attacker.URL() + path, 305})
	}
	idps := crowd(t, len(redirects)+1)
	r := rig.New(t, rig.Setup{Config: withProviders(many(idps)...), Trusts: trusting(many(idps)...)})
	r.Control()
	healthy := idps[len(redirects)]
	if a := r.Exchange(tokenOf(t, r, healthy, healthy.Issuer())); a.Status != 200 {
		t.Fatalf("an honest provider: %s", a.Raw)
	}
	attacker.AddKey(standin.Key{KID: "evil", Private: mustKey(t, r, "k1").Private})
	stolen := func(issuer string) string {
		return r.Sign(attacker, standin.JWS{Payload: jsonOf(t, r.Base(map[string]any{"iss": issuer})), Key: "evil"})
	}
	for i, d := range redirects {
		own := idps[i].Issuer()
		to := strings.Replace(strings.Replace(d.to, "https:OWN", "https:"+strings.TrimPrefix(own, "http:"), 1), "OWN", own, 1)
		what := fmt.Sprintf("%s: %d to %s", d.path, d.status, to)
		idps[i].Fail(d.path, standin.Fault{Status: d.status, Location: to, Body: attacker.JWKS()})
		a := r.Exchange(tokenOf(t, r, idps[i], own))
		if a.Status != 503 {
			t.Errorf("%s: %d %s", what, a.Status, a.Raw)
		}
		r.Unavailable(a, "jwks-unavailable")
		if n := idps[i].Requests(d.path); n != 1 {
			t.Errorf("%s: %d requests", what, n)
		}
		if a := r.Exchange(stolen(own)); a.Status != 503 {
			t.Errorf("%s: a token of the redirect's keys: %d %s", what, a.Status, a.Raw)
		}
	}
	if !strings.Contains(r.Log.String(), "level=ERROR") || strings.Count(r.Log.String(), "redirect") < len(redirects) {
		t.Errorf("the log does not tell of all redirects:\n%s", r.Log)
	}
	// A good set in the cache stays, within its age, and takes no key in.
	own := healthy.Issuer()
	healthy.Fail(standin.KeysPath, standin.Fault{Status: 302, Location: attacker.URL() + standin.KeysPath})
	for range 2 {
		r.Move(31 * time.Second)
		if a := r.Exchange(stolen(own)); a.Status == 200 {
			t.Errorf("a key of the redirect's target: %s", a.Raw)
		}
		if a := r.Exchange(tokenOf(t, r, healthy, own)); a.Status != 200 {
			t.Errorf("a good set in the cache: %s", a.Raw)
		}
	}
	evil.nobody(t)
	if n := attacker.Requests(standin.KeysPath) + attacker.Requests(standin.DiscoveryPath); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
	// And ends as soon as the provider does.
	for _, idp := range idps {
		idp.Heal(standin.KeysPath)
		idp.Heal(standin.DiscoveryPath)
	}
	r.Move(31 * time.Second)
	for _, idp := range idps {
		if a := r.Exchange(tokenOf(t, r, idp, idp.Issuer())); a.Status != 200 {
			t.Errorf("healed: %s", a.Raw)
		}
	}
	r.Control()
}

func attackSSRF08(t *testing.T) {
	for name, tt := range map[string]struct {
		tls   standin.TLS
		roots string // replaces the line of the CA file
		ok    bool
	}{
		"fine":          {tls: standin.TLS{Hosts: []string{"idp.acme.test"}}, ok: true},
		"self-signed":   {tls: standin.TLS{Hosts: []string{"idp.acme.test"}}, roots: " "},
		"another CA":    {tls: standin.TLS{Hosts: []string{"idp.acme.test"}}, roots: "ca_file: other.pem"},
		"wrong host":    {tls: standin.TLS{Hosts: []string{"other.acme.test"}}},
		"address only":  {tls: standin.TLS{Hosts: []string{"127.0.0.1"}}},
		"expired":       {tls: standin.TLS{Hosts: []string{"idp.acme.test"}, Expired: true}},
		"TLS 1.1":       {tls: standin.TLS{Hosts: []string{"idp.acme.test"}, MaxVersion: tls.VersionTLS11}},
		"TLS 1.0":       {tls: standin.TLS{Hosts: []string{"idp.acme.test"}, MaxVersion: tls.VersionTLS10}},
		"TLS 1.2":       {tls: standin.TLS{Hosts: []string{"idp.acme.test"}, MaxVersion: tls.VersionTLS12}, ok: true},
		"wildcard name": {tls: standin.TLS{Hosts: []string{"*.test"}}},
	} {
		idp, p, _, dir := aside(t, &tt.tls)
		other, _, _, _ := aside(t, &standin.TLS{})
		if err := os.WriteFile(filepath.Join(dir, "other.pem"), other.CA(), 0o600); err != nil {
			t.Fatal(err)
		}
		if tt.roots != "" {
			p.lines = strings.Replace(p.lines, "ca_file: ca.pem", strings.TrimSpace(tt.roots), 1)
		}
		r := rig.New(t, rig.Setup{Dir: dir, Resolver: resolverOf(map[string][]string{"idp.acme.test": {"127.0.0.1"}}), Config: withProviders(p), Trusts: trusting(p)})
		r.Control()
		a := r.Exchange(tokenOf(t, r, idp, p.issuer))
		if tt.ok {
			if a.Status != 200 {
				t.Errorf("%s: %s\n%s", name, a.Raw, r.Log)
			}
		} else {
			if a.Status != 503 || idp.Requests(standin.KeysPath) != 0 {
				t.Errorf("%s: %d %s, %d requests", name, a.Status, a.Raw, idp.Requests(standin.KeysPath))
			}
			r.Unavailable(a, "jwks-unavailable")
		}
		r.Control()
		r.Stop()
	}
	for _, line := range []string{"insecure_skip_verify: true", "skip_tls_verify: true", "tls_skip_verify: true", "insecure: true", "verify: false", "tls: {insecure_skip_verify: true}", "min_tls_version: 1.0"} {
		p := provided{name: "aside", issuer: "https://idp.acme.test", lines: line}
		loads(t, strings.ReplaceAll(withProviders(p), "{{ISS1}}", "http://127.0.0.1:1"), trusting(), "unknown-field")
	}
	p := provided{name: "aside", issuer: "https://idp.acme.test", lines: "insecure_skip_verify: true"}
	serveRefuses(t, strings.ReplaceAll(withProviders(p), "{{ISS1}}", "http://127.0.0.1:1"), trusting(), "unknown-field", "insecure_skip_verify")
}
