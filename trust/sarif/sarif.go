// Package sarif writes findings in the Static Analysis Results Interchange Format,
// version 2.1.0 (OASIS), which code hosts show beside the lines of a change.
package sarif

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cambio/trust/strictyaml"
)

// Tool is the program that found.
type Tool struct {
	Name, Version string
	URI           string // about the program
	// Help is a page about findings that Rules lack.
	Help  string
	Rules []Rule
}

// Rule describes one finding id.
type Rule struct {
	ID       string
	Severity strictyaml.Severity // the usual one
	Title    string              // one sentence
	Text     string              // the whole page, in Markdown
	URI      string              // of the page
	Tags     []string
}

const (
	version = "2.1.0"
	schema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	// base is what relative paths count from: the root of the sources (section 3.4.4).
	base = "%SRCROOT%"
)

// The parts of the format that we write, in the order of the specification.
type (
	document struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}
	run struct {
		Tool       map[string]driver `json:"tool"`
		ColumnKind string            `json:"columnKind"`
		Results    []result          `json:"results"`
	}
	driver struct {
		Name           string       `json:"name"`
		Version        string       `json:"version,omitempty"`
		InformationURI string       `json:"informationUri,omitempty"`
		Rules          []descriptor `json:"rules"`
	}
	descriptor struct {
		ID            string         `json:"id"`
		Short         *message       `json:"shortDescription,omitempty"`
		Help          *message       `json:"help,omitempty"`
		HelpURI       string         `json:"helpUri,omitempty"`
		Configuration configuration  `json:"defaultConfiguration"`
		Properties    map[string]any `json:"properties,omitempty"`
	}
	configuration struct {
		Level string `json:"level"`
	}
	message struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	result struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      message           `json:"message"`
		Locations    []location        `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	location struct {
		Physical physical `json:"physicalLocation"`
	}
	physical struct {
		Artifact artifact `json:"artifactLocation"`
		Region   *region  `json:"region,omitempty"`
	}
	artifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId,omitempty"`
	}
	region struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

// Write writes one run: the tool with all its rules, and the findings as results
// in their order. The error is the writer's.
func Write(w io.Writer, tool Tool, findings strictyaml.Findings) error {
	d := driver{Name: tool.Name, Version: tool.Version, InformationURI: tool.URI, Rules: []descriptor{}}
	index := map[string]int{}
	for _, r := range tool.Rules {
		index[r.ID] = len(d.Rules)
		d.Rules = append(d.Rules, describe(r))
	}
	results := make([]result, 0, len(findings))
	seen := map[string]int{}
	for _, f := range findings {
		i, ok := index[f.ID]
		if !ok {
			i = len(d.Rules)
			index[f.ID] = i
			d.Rules = append(d.Rules, descriptor{ID: f.ID, HelpURI: tool.Help, Configuration: configuration{Level: level(f.Severity)}})
		}
		results = append(results, result{
			RuleID: f.ID, RuleIndex: i, Level: level(f.Severity), Message: message{Text: text(f)},
			Locations: []location{{Physical: place(f)}}, Fingerprints: fingerprint(f, seen),
		})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document{Schema: schema, Version: version, Runs: []run{{
		Tool: map[string]driver{"driver": d}, ColumnKind: "unicodeCodePoints", Results: results,
	}}})
}

func describe(r Rule) descriptor {
	d := descriptor{ID: r.ID, HelpURI: r.URI, Configuration: configuration{Level: level(r.Severity)}}
	if r.Title != "" {
		d.Short = &message{Text: strings.ReplaceAll(r.Title, "`", "")}
	}
	if r.Text != "" {
		d.Help = &message{Text: r.Text, Markdown: r.Text}
	}
	if len(r.Tags) > 0 {
		d.Properties = map[string]any{"tags": slices.Clone(r.Tags)}
	}
	return d
}

// level is the format's word for a severity (section 3.27.10).
func level(s strictyaml.Severity) string {
	switch s {
	case strictyaml.Error:
		return "error"
	case strictyaml.Warning:
		return "warning"
	case strictyaml.Info:
	}
	return "note"
}

func text(f strictyaml.Finding) string {
	out := f.Message
	if f.Field != "" {
		out = f.Field + ": " + out
	}
	if f.Fix != "" {
		out += "; " + f.Fix
	}
	return out
}

// place is where a finding is. A relative path counts from the root of the
// sources; what lies elsewhere has a URI of its own.
func place(f strictyaml.Finding) physical {
	p := physical{Artifact: artifactOf(f.File)}
	if f.Line > 0 {
		p.Region = &region{StartLine: f.Line, StartColumn: max(f.Column, 0)}
	}
	return p
}

func artifactOf(name string) artifact {
	slashed := path.Clean(filepath.ToSlash(name))
	if path.IsAbs(slashed) {
		return artifact{URI: (&url.URL{Scheme: "file", Path: slashed}).String()}
	}
	return artifact{URI: (&url.URL{Path: slashed}).String(), Base: base}
}

// fingerprint says that it is the same finding as in an earlier run, though lines
// above it came or went: by its id, file, field and words, and a number where
// these are alike.
func fingerprint(f strictyaml.Finding, seen map[string]int) map[string]string {
	sum := sha256.Sum256([]byte(f.ID + "\x00" + path.Clean(filepath.ToSlash(f.File)) + "\x00" + f.Field + "\x00" + f.Message))
	key := hex.EncodeToString(sum[:16])
	seen[key]++
	return map[string]string{"cambioFinding/v1": fmt.Sprintf("%s:%d", key, seen[key])}
}
