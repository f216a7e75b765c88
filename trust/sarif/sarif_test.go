package sarif_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"testing"

	"cambio/trust/sarif"
	"cambio/trust/strictyaml"
)

func tool() sarif.Tool {
	return sarif.Tool{
		Name: "cambio", Version: "1.0.0", URI: "https://cambio.example", Help: "https://cambio.example/findings",
		Rules: []sarif.Rule{
			{ID: "a-rule", Severity: strictyaml.Warning, Title: "A `rule`.", Text: "# a-rule", URI: "https://cambio.example/a-rule", Tags: []string{"NHI1"}},
			{ID: "b-rule", Severity: strictyaml.Info, Title: "Another.", URI: "https://cambio.example/b-rule"},
		},
	}
}

// run is what readers of the format take from a file.
type run struct {
	Tool struct {
		Driver struct {
			Name, Version, InformationURI string
			Rules                         []struct {
				ID, HelpURI          string
				ShortDescription     struct{ Text string }
				DefaultConfiguration struct{ Level string }
			}
		}
	}
	ColumnKind string
	Results    []struct {
		RuleID, Level string
		RuleIndex     *int
		Message       struct{ Text string }
		Locations     []struct {
			PhysicalLocation struct {
				ArtifactLocation struct{ URI, URIBaseID string }
				Region           *struct{ StartLine, StartColumn int }
			}
		}
		PartialFingerprints map[string]string
	}
}

func written(t *testing.T, findings strictyaml.Findings) run {
	t.Helper()
	var b bytes.Buffer
	if err := sarif.Write(&b, tool(), findings); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []run
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != "2.1.0" || len(doc.Runs) != 1 || !absolute(doc.Schema) {
		t.Fatalf("no run of version 2.1.0: %s", b.String())
	}
	return doc.Runs[0]
}

func absolute(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs()
}

func TestWrite(t *testing.T) {
	found := strictyaml.Findings{
		{ID: "a-rule", Severity: strictyaml.Warning, File: "./trust/a b.yaml", Line: 7, Column: 3, Field: "match", Message: "is odd", Fix: "write it"},
		{ID: "a-rule", Severity: strictyaml.Warning, File: "./trust/a b.yaml", Line: 9, Column: 3, Field: "match", Message: "is odd", Fix: "write it"},
		{ID: "b-rule", Severity: strictyaml.Info, File: "/etc/trust/a.yaml", Message: "of the file"},
		{ID: "c-rule", Severity: strictyaml.Error, File: "c:d.yaml", Line: 1, Column: 1, Message: "of no rule"},
	}
	r := written(t, found)
	rules := r.Tool.Driver.Rules
	if r.Tool.Driver.Name != "cambio" || len(rules) != 3 || r.ColumnKind != "unicodeCodePoints" {
		t.Errorf("driver %+v", r.Tool.Driver)
	}
	for _, rule := range rules {
		if !absolute(rule.HelpURI) || !slices.Contains([]string{"error", "warning", "note"}, rule.DefaultConfiguration.Level) {
			t.Errorf("rule %+v", rule)
		}
	}
	if rules[0].ShortDescription.Text != "A rule." {
		t.Errorf("short description %q: it is plain text", rules[0].ShortDescription.Text)
	}
	uris := []string{"trust/a%20b.yaml", "trust/a%20b.yaml", "file:///etc/trust/a.yaml", "./c:d.yaml"} // not of a scheme c
	levels := []string{"warning", "warning", "note", "error"}
	prints := map[string]bool{}
	for i, res := range r.Results {
		at := res.Locations[0].PhysicalLocation
		if res.RuleIndex == nil || rules[*res.RuleIndex].ID != res.RuleID || res.RuleID != found[i].ID {
			t.Errorf("%d: rule %s", i, res.RuleID)
		}
		if res.Level != levels[i] || at.ArtifactLocation.URI != uris[i] || (at.ArtifactLocation.URIBaseID == "") != absolute(uris[i]) {
			t.Errorf("%d: %+v", i, res)
		}
		if (at.Region == nil) != (found[i].Line == 0) || at.Region != nil && (at.Region.StartLine != found[i].Line || at.Region.StartColumn != found[i].Column) {
			t.Errorf("%d: region %+v", i, at.Region)
		}
		if len(res.PartialFingerprints) != 1 || res.Message.Text == "" {
			t.Errorf("%d: %+v", i, res)
		}
		for _, p := range res.PartialFingerprints {
			if prints[p] {
				t.Errorf("%d has the fingerprint of another", i)
			}
			prints[p] = true
		}
	}
	if got := r.Results[0].Message.Text; got != "match: is odd; write it" {
		t.Errorf("message %q", got)
	}
}

// A finding that only moved is the same one.
func TestFingerprintsSurviveMoves(t *testing.T) {
	f := strictyaml.Finding{ID: "a-rule", Severity: strictyaml.Warning, File: "a.yaml", Line: 3, Column: 1, Message: "is odd"}
	before := written(t, strictyaml.Findings{f}).Results[0].PartialFingerprints
	f.Line, f.File = 30, "./a.yaml"
	after := written(t, strictyaml.Findings{f}).Results[0].PartialFingerprints
	if before["cambioFinding/v1"] == "" || before["cambioFinding/v1"] != after["cambioFinding/v1"] {
		t.Errorf("%v, then %v", before, after)
	}
}

// A run without findings says so: a missing list means that nothing was looked at.
func TestNothingFound(t *testing.T) {
	var b bytes.Buffer
	if err := sarif.Write(&b, tool(), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte(`"results": []`)) {
		t.Error(b.String())
	}
}
