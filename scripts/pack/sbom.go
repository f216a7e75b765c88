package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// bom is the part of CycloneDX 1.6 that is used here.
type bom struct {
	Format      string       `json:"bomFormat"`
	SpecVersion string       `json:"specVersion"`
	Version     int          `json:"version"`
	Metadata    metadata     `json:"metadata"`
	Components  []component  `json:"components"`
	DependsOn   []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// sbom lists what is in the program, as the linker wrote it into the program
// itself: the modules whose packages are really linked, no more. It has no serial
// number, which would have to differ between two builds.
func sbom(r *release) ([]byte, error) {
	main := component{
		Type: "application", Name: "cambio", Version: r.version,
		Ref:    fmt.Sprintf("pkg:golang/cambio@v%s?goos=%s&goarch=%s", r.version, r.goos, r.goarch),
		Hashes: []hash{{Alg: "SHA-256", Content: fmt.Sprintf("%x", sha256.Sum256(r.program))}},
	}
	for _, s := range r.info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.time" || strings.HasPrefix(s.Key, "GO") || strings.HasPrefix(s.Key, "-") || s.Key == "CGO_ENABLED" {
			main.Properties = append(main.Properties, property{Name: "go:build:" + s.Key, Value: s.Value})
		}
	}
	b := bom{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{Timestamp: r.time.Format(time.RFC3339), Component: main},
	}
	std := strings.TrimPrefix(r.info.GoVersion, "go")
	b.Components = append(b.Components, library(&debug.Module{Path: "std", Version: std}))
	for _, m := range r.info.Deps { // sorted by the linker
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, library(m))
	}
	all := dependency{Ref: main.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	b.DependsOn = []dependency{all}
	out, err := json.MarshalIndent(b, "", "  ")
	return append(out, '\n'), err
}

// library is one module. Its sum is the one of go.sum, over the files of the
// module: no plain SHA-256 of an archive, and so it is a property.
func library(m *debug.Module) component {
	purl := "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
	c := component{Type: "library", Name: m.Path, Version: m.Version, Ref: purl, PURL: purl}
	if m.Sum != "" {
		c.Properties = []property{{Name: "go:sum", Value: m.Sum}}
	}
	return c
}
