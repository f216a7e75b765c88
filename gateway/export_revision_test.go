package gateway

import (
	"io"

	"cambio/trust/strictyaml"
)

// ParseRevision takes a revision apart.
func ParseRevision(s string) (commit, folder string, ok bool) {
	r, ok := parseRevision(s)
	return r.commit, r.folder, ok
}

// Listed reads the entries of a tree, and returns the names of the documents.
func Listed(out io.Reader) (names []string, findings strictyaml.Findings, err error) {
	entries, findings, err := listed(out, "main:")
	for _, e := range entries {
		names = append(names, e.shown)
	}
	return names, findings, err
}
