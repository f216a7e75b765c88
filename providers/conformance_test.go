package providers_test

import (
	"bytes"
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/providers/providertest"
)

// TestConformance holds every platform of the catalogue whose workloads show a
// JWT to the suite. The others run theirs in their own folders: see TestSuites.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, p := range providers.Platforms() {
		if p.Proof != exchange.SubjectJWT {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Tokens{Type: name, Platform: p}.Run(t)
		})
	}
}

// TestSuites: what cannot be run from here is run in its own folder, so that no row of
// the catalogue goes without.
func TestSuites(t *testing.T) {
	t.Parallel()
	runs := func(folder string, suites ...string) bool {
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(suites, func(suite string) bool { return bytes.Contains(b, []byte("providertest."+suite+"{")) }) {
				return true
			}
		}
		return false
	}
	folders := map[string]string{"aws-caller-identity": "aws"} // where they are not called as the type
	for name, p := range providers.Platforms() {
		if p.Proof == exchange.SubjectJWT && p.Domain == nil {
			continue
		}
		if folder := cmp.Or(folders[name], name); !runs(folder, "Verifier") {
			t.Errorf("%s: %s runs no providertest.Verifier", name, folder)
		}
	}
	for name := range providers.TargetTypes() {
		if !runs(name, "Minter", "Local") {
			t.Errorf("target %s runs neither providertest.Minter nor providertest.Local", name)
		}
	}
}

// TestShownElsewhere: a token of one platform, shown to a gateway that has all the
// others, is of nobody, although they share keys here.
func TestShownElsewhere(t *testing.T) {
	t.Parallel()
	key, now := newSigner(), time.Unix(1795320010, 0)
	all := providers.Platforms()
	for name, p := range all {
		if p.Proof != exchange.SubjectJWT || p.Domain != nil {
			continue
		}
		var others []oidc.Provider
		for other, q := range all {
			theirs, _ := q.Sample["iss"].(string)
			if other == name || q.Proof != exchange.SubjectJWT || q.Domain != nil {
				continue
			}
			others = append(others, oidc.Provider{Name: other, Type: other, Issuer: theirs, Audiences: []string{"https://" + other + ".test"}, JWKSFile: key.set("k")})
		}
		set, err := providers.New(oidc.Config{TrustDomain: "gw.test", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Providers: others})
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{}
		for claim, v := range p.Sample {
			if _, alias := p.Aliases[claim]; !alias {
				claims[claim] = v
			}
		}
		claims["aud"] = "https://" + name + ".test"
		if proof, err := set.Verify(t.Context(), exchange.Subject{Token: key.sign(`{"alg":"RS256","kid":"k"}`, claims)}); err == nil {
			t.Errorf("a token of %s is taken as one of %s", name, proof.Provider)
		}
	}
}
