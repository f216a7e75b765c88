package test

import (
	"testing"

	"cambio/standin"
	"cambio/test/rig"
)

// TestDialOpensLocalhost: an identity provider on this machine, over TLS with its
// own CA, is reached by `dial` alone, and not at all without it.
func TestDialOpensLocalhost(t *testing.T) {
	t.Parallel()
	idp, _, port, dir := aside(t, &standin.TLS{Hosts: []string{"localhost", "127.0.0.1"}})
	at := func(name, host, dial string) provided {
		lines := "ca_file: ca.pem\njwks_url: https://" + host + ":" + port + standin.KeysPath
		if dial != "" {
			lines += "\ndial: [" + dial + "]"
		}
		return provided{name: name, issuer: "https://" + host + ":" + port, lines: lines}
	}
	all := []provided{
		at("named", "localhost", `"localhost:`+port+` 127.0.0.0/8", "localhost:`+port+` ::1/128"`),
		at("literal", "127.0.0.1", `"127.0.0.1:`+port+` 127.0.0.0/8"`),
	}
	r := rig.New(t, rig.Setup{Dir: dir, Config: withProviders(all...), Trusts: trusting(all...)})
	for _, open := range all {
		if a := r.Exchange(tokenOf(t, r, idp, open.issuer)); a.Status != 200 {
			t.Errorf("%s: %s\n%s", open.issuer, a.Raw, r.Log)
		}
	}
	r.Stop()

	closed := at("closed", "localhost", "")
	r = rig.New(t, rig.Setup{Dir: dir, Config: withProviders(closed), Trusts: trusting(closed)})
	r.Unavailable(r.Exchange(tokenOf(t, r, idp, closed.issuer)), "jwks-unavailable")
}
