package main

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/standin"
)

type stsOf struct{}

// sts: from here on $STS is a strict stand-in of AWS' token service, which trusts
// nobody yet.
func startSTS(ts *testscript.TestScript, _ bool, _ []string) {
	s, err := standin.NewSTS(standin.STSConfig{Now: time.Now, Rand: rand.Reader})
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	ts.Setenv("STS", s.URL())
	ts.Value(stsOf{}).(map[string]*standin.STS)["sts"] = s
}

// connected FILE: the stand-in is set up as what `cambio connect -o json` printed
// says, each role with exactly its policy.
func setUpSTS(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(stsOf{}).(map[string]*standin.STS)["sts"]
	var c struct {
		Issuer, Audience string
		Roles            []struct {
			ARN    string
			Policy json.RawMessage
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &c))
	s.AddOIDC(standin.OIDCProvider{Account: "111122223333", URL: c.Issuer, Audiences: []string{c.Audience}})
	for _, r := range c.Roles {
		statements, err := standin.ParseRoleTrust(r.Policy)
		ts.Check(err)
		ts.Check(s.SetRole(standin.Role{ARN: r.ARN, Trust: statements}))
	}
}

// assumed N: the stand-in issued N sessions, and was asked nothing that AWS does
// not know.
func assumed(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(stsOf{}).(map[string]*standin.STS)["sts"]
	if unknown := s.Unknown(); len(unknown) > 0 {
		ts.Fatalf("AWS knows no %v", unknown)
	}
	n := 0
	for _, r := range s.Requests() {
		if r.Issued.ARN != "" {
			n++
		}
	}
	if got := shown(n); got != args[0] {
		ts.Fatalf("%s sessions, want %s", got, args[0])
	}
}
