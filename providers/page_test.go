package providers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// TestPage holds docs/platforms.md to the catalogue. UPDATE=1 writes it.
func TestPage(t *testing.T) {
	golden(t, "../docs/platforms.md", page())
}

// TestDocsEvidenceIsMarked: who reads the how-to of a platform that nobody saw a
// token of must be told there.
func TestDocsEvidenceIsMarked(t *testing.T) {
	const mark = "no real token of it was seen here"
	for name, p := range providers.Platforms() {
		b, err := os.ReadFile(filepath.Join("../docs/how-to", p.Facts.Page))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Facts.Evidence == oidc.FromDocs && !strings.Contains(strings.Join(strings.Fields(string(b)), " "), mark) {
			t.Errorf("%s: %s does not say that %s", name, p.Facts.Page, mark)
		}
	}
	for _, f := range providers.Targets() {
		if _, err := os.Stat(filepath.Join("../docs/how-to", f.Page)); err != nil {
			t.Errorf("%s: %v", f.Type, err)
		}
		if _, ok := providers.TargetTypes()[f.Type]; !ok {
			t.Errorf("%s is no type of target", f.Type)
		}
	}
}

// TestSamples holds testdata/claims, one file a platform, to the catalogue's
// samples, so that a reader in any language has them. UPDATE=1 writes them.
func TestSamples(t *testing.T) {
	want := map[string]bool{}
	for name, p := range providers.Platforms() {
		claims := maps.Clone(p.Sample)
		for alias := range p.Aliases {
			delete(claims, alias) // the verifier's own
		}
		b, err := json.MarshalIndent(claims, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want[name+".json"] = true
		golden(t, filepath.Join("../testdata/claims", name+".json"), string(b)+"\n")
	}
	files, err := os.ReadDir("../testdata/claims")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !want[f.Name()] {
			t.Errorf("%s is of no platform", f.Name())
		}
	}
}

func golden(t *testing.T, path, want string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("%s is not what the catalogue says: run make golden\n%s", path, diff)
	}
}

// page is docs/platforms.md.
func page() string {
	var b bytes.Buffer
	b.WriteString(`# Platforms

Made from the catalogue by ` + "`make golden`" + `: what identities are taken from, and what credentials are made for.

## Identities in

*Evidence* says how sure we are of a platform's claims: **token** where real tokens were read, **source** where the code that makes them was, **docs** where its documentation says so and no token of it was seen here. A trust pins the *anchors* by equality: one of them, and each that stands behind "and". How often one token may be used is the provider's ` + "`token_use`" + `, and its age ` + "`max_token_age`" + `; both may be set in the configuration.

| type | platform | anchors | token use | age | evidence |
| --- | --- | --- | --- | --- | --- |
`)
	all := providers.Platforms()
	for _, name := range providers.PlatformNames() {
		p := all[name]
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s | %s | %s |\n", name, name, p.Facts.Title, anchors(p), p.TokenUse, strictyaml.Duration(p.MaxAge), p.Facts.Evidence)
	}
	for _, name := range providers.PlatformNames() {
		section(&b, name, all[name])
	}
	b.WriteString(`
## Credentials out

A credential lives as long as was asked for, at most as its grant and its target allow, and at least as the target issues. *Narrowed* is what a caller may narrow further.

| type | what comes out | lives | fields of a grant |
| --- | --- | --- | --- |
`)
	types := providers.TargetTypes()
	for _, f := range providers.Targets() {
		typ := types[f.Type]
		lives := "up to " + strictyaml.Duration(typ.MaxTTL).String()
		switch {
		case typ.MinTTL == typ.MaxTTL:
			lives = strictyaml.Duration(typ.MaxTTL).String()
		case typ.MinTTL > 0:
			lives = strictyaml.Duration(typ.MinTTL).String() + " to " + strictyaml.Duration(typ.MaxTTL).String()
		}
		fmt.Fprintf(&b, "| [`%s`](how-to/%s) | %s | %s | %s |\n", f.Type, f.Page, f.Gives, lives, fields(typ))
	}
	return b.String()
}

func anchors(p oidc.Platform) string {
	if p.Generic {
		return "declared"
	}
	var names []string
	for _, a := range p.Anchors {
		if !strings.HasPrefix(a, "/") || len(p.Anchors) == 1 { // an alias says the same
			names = append(names, "`"+a+"`")
		}
	}
	text := strings.Join(names, " or ")
	for _, c := range p.Pinned {
		text += " and `" + c + "`"
	}
	return text
}

func section(b *bytes.Buffer, name string, p oidc.Platform) {
	fmt.Fprintf(b, "\n### %s\n\n%s. [How to](how-to/%s). Evidence: %s, %s.\n\n", name, p.Facts.Title, p.Facts.Page, p.Facts.Evidence, p.Facts.Source)
	line := func(what, text string) {
		if text != "" {
			fmt.Fprintf(b, "- %s: %s\n", what, text)
		}
	}
	line("The token", p.Facts.Obtain)
	if p.Issuer != "" {
		line("Issuer", "`"+p.Issuer+"`")
	} else if p.IssuerForm != nil {
		line("Issuer", "`"+p.IssuerForm.String()+"`")
	}
	if p.Proof == exchange.SubjectJWT {
		line("Algorithms", strings.Join(p.Algs, ", "))
	}
	var segments []string
	for _, s := range p.Workload {
		if s.Claim == "" {
			segments = append(segments, s.Literal)
			continue
		}
		segments = append(segments, "<"+s.Claim+">")
	}
	line("Workload id", "`spiffe://TRUST_DOMAIN/<provider>/"+strings.Join(segments, "/")+"`")
	line("Chosen by whoever starts the workload", claimsWhere(p, func(c trust.Claim) bool { return c.Chosen }))
	line("Names that somebody else can take over", claimsWhere(p, func(c trust.Claim) bool { return c.PinnedBy != "" }))
	for _, guarded := range slices.Sorted(maps.Keys(p.Guarded)) {
		line("Refused unless match names it", "`"+guarded+"`: "+strings.Join(p.Guarded[guarded], ", "))
	}
	for _, claim := range slices.Sorted(maps.Keys(p.Implied)) {
		line("Unless match pins `"+claim+"`", "`"+p.Implied[claim]+"`")
	}
	for _, risk := range p.Facts.Risks {
		fmt.Fprintf(b, "- %s\n", risk)
	}
}

func claimsWhere(p oidc.Platform, which func(trust.Claim) bool) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		if which(p.Claims[name]) {
			names = append(names, "`"+name+"`")
		}
	}
	return strings.Join(names, ", ")
}

func fields(typ trust.TargetType) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(typ.Fields)) {
		text := "`" + name + "`"
		switch f := typ.Fields[name]; {
		case f.Required:
			text += " (required)"
		case f.Narrows == trust.Subset || f.Narrows == trust.Max:
			text += " (narrowed)"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}
