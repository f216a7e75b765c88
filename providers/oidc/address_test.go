package oidc_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/oidc"
)

func TestCheckURL(t *testing.T) {
	rule, err := oidc.ParseDialRule("10.1.2.3:6443 10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	svc, err := oidc.ParseDialRule("kubernetes.default.svc:443 10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	rules := []oidc.DialRule{rule, svc}
	const address, bad = oidc.FindingAddress, oidc.FindingURL
	for _, c := range []struct {
		url                   string
		plain, loopback, dial string // the finding without anything, with insecure_loopback, with the dial rules
	}{
		{"https://issuer.example", "", "", ""},
		{"https://issuer.example:8443/a/b/", "", "", ""},
		{"https://token.actions.githubusercontent.com/slug", "", "", ""},
		{"https://ghe.example/_services/token", "", "", ""},
		{"https://xn--mnchen-3ya.example", "", "", ""},
		{"https://kubernetes.default.svc", "", "", ""},
		{"https://metadata.google.internal", "", "", ""}, // a name: refused when it is dialled
		{"https://169.254.169.254.nip.io", "", "", ""},

		{"https://127.0.0.1", address, "", address},
		{"https://127.0.0.1:8443/x", address, "", address},
		{"http://127.0.0.1:8080", address, "", address},
		{"https://[::1]", address, "", address},
		{"https://localhost", "", "", ""}, // a name too
		{"http://localhost:8080", bad, "", bad},
		{"https://localhost.", "", "", ""},
		{"https://a.localhost", "", "", ""},
		{"https://LOCALHOST", bad, bad, bad},
		{"https://0.0.0.0", address, address, address},
		{"https://169.254.169.254", address, address, address},
		{"https://[fd00:ec2::254]", address, address, address},
		{"https://10.1.2.3:6443", address, address, ""},
		{"https://10.1.2.3", address, address, address},
		{"https://172.16.0.1", address, address, address},
		{"https://192.168.1.1", address, address, address},
		{"https://100.64.0.1", address, address, address},
		{"https://198.18.0.1", address, address, address},
		{"https://8.8.8.8", address, address, address},
		{"https://[::ffff:169.254.169.254]", address, address, address},
		{"https://[::ffff:127.0.0.1]", address, address, address},
		{"https://[64:ff9b::a9fe:a9fe]", address, address, address},
		{"https://[2002:a9fe:a9fe::]", address, address, address},
		{"https://2852039166", address, address, address},
		{"https://0251.0376.0251.0376", address, address, address},
		{"https://0xa9.0xfe.0xa9.0xfe", address, address, address},
		{"https://0xA9FEA9FE", address, address, address},
		{"https://127.1", address, address, address},
		{"https://127.0.0.1.", address, address, address},

		{"http://issuer.example", bad, bad, bad},
		{"http://10.1.2.3:6443", address, address, bad},
		{"ftp://issuer.example", bad, bad, bad},
		{"issuer.example", bad, bad, bad},
		{"kubernetes/serviceaccount", bad, bad, bad},
		{"https:issuer.example", bad, bad, bad},
		{"https://", bad, bad, bad},
		{"https://issuer.example:", bad, bad, bad},
		{"https://issuer.example:0", bad, bad, bad},
		{"https://issuer.example:99999", bad, bad, bad},
		{"https://issuer.example.", bad, bad, bad},
		{"https://Issuer.example", bad, bad, bad},
		{"https://user@issuer.example", bad, bad, bad},
		{"https://issuer.example?x", bad, bad, bad},
		{"https://issuer.example/#", bad, bad, bad},
		{"https://issuer.example/ ", bad, bad, bad},
		{"https://issuer.example/\x00", bad, bad, bad},
		{"https://münchen.example", bad, bad, bad},
		{"https://xn--a.example", bad, bad, bad},
		{"https://[fe80::1%25eth0]", address, address, address},
		{"https://*", bad, bad, bad},
		{"https://oidc.eks.*.amazonaws.com/id/*", bad, bad, bad},
		{"https://{host}/x", bad, bad, bad},
	} {
		finding := func(loopback bool, rules []oidc.DialRule) string {
			if p := oidc.CheckURL("issuer", c.url, loopback, rules); p != nil {
				return p.Finding
			}
			return ""
		}
		got := []string{finding(false, nil), finding(true, nil), finding(false, rules)}
		if diff := cmp.Diff([]string{c.plain, c.loopback, c.dial}, got); diff != "" {
			t.Errorf("%s: %s", c.url, diff)
		}
	}
}

// TestCheckURLSaysTheWayAtOnce holds that http on this machine is told the one
// switch that opens it, and nothing that would be refused next.
func TestCheckURLSaysTheWayAtOnce(t *testing.T) {
	for url, want := range map[string]string{
		"http://127.0.0.1:4000":  "insecure_loopback: true",
		"http://[::1]:4000":      "insecure_loopback: true",
		"http://localhost:4000":  "insecure_loopback: true",
		"https://127.0.0.1:4000": "dial: ",
		"https://10.1.2.3":       "dial: ",
	} {
		p := oidc.CheckURL("issuer", url, false, nil)
		if p == nil || !strings.Contains(p.Text, want) || want != "dial: " && strings.Contains(p.Text, "dial") {
			t.Errorf("%s: %+v", url, p)
		}
	}
}

func TestParseDialRule(t *testing.T) {
	got, err := oidc.ParseDialRule("[fd00::1]:6443 fd00::/8")
	want := oidc.DialRule{Host: "fd00::1", Port: 6443, Prefix: netip.MustParsePrefix("fd00::/8")}
	if err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{
		"", "host:1", "host 10.0.0.0/8", "host:0 10.0.0.0/8", "host:01 10.0.0.0/8", "host:99999 10.0.0.0/8",
		":1 10.0.0.0/8", "host:1 10.0.0.1", "host:1 10.0.0.1/8", "host:1  10.0.0.0/8", "host:1 10.0.0.0/8 x",
	} {
		if got, err := oidc.ParseDialRule(bad); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, a := range []string{"8.8.8.8", "140.82.112.3", "2606:4700::1111", "::ffff:8.8.8.8"} {
		if !oidc.Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	for _, a := range []string{
		"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "10.0.0.1", "172.31.255.255", "192.168.0.1",
		"169.254.169.254", "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255", "192.0.0.8", "192.0.2.1",
		"198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a9fe:a9fe::",
		"2001::1", "2001:db8::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "5f00::1",
	} {
		if oidc.Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not refused", a)
		}
	}
}
