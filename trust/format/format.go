// Package format writes trust documents, guardrails, invariants and files of tests
// in one form: names in the order in which they are best read, two spaces for each
// step, ids in quotes. Comments stay, and so does what the document means.
package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cambio/trust/strictyaml"
)

// headerPrefix begins the comment that tells an editor's YAML language server which
// schema a file has.
const headerPrefix = "# yaml-language-server:"

// Header is the first line of a document, for a schema at this URL, or at this path
// as seen from the document.
func Header(schema string) string { return headerPrefix + " $schema=" + schema }

// errChanged is a fault of this package: the document itself is left alone then.
var errChanged = errors.New("the document cannot be formatted without changing what it says; leave it as it is, and report this")

// Document formats one document. header becomes its first line, unless it has one
// for the language server already; "" adds none. What [strictyaml.Parse] refuses is
// refused with its findings. The result means the same: it was read again and
// compared, and no comment is lost.
func Document(file string, src []byte, header string) ([]byte, error) {
	root, findings := strictyaml.Parse(file, src)
	if findings.HasErrors() {
		return nil, findings
	}
	text := newSource(src)
	found := text.read(root)
	l := layout{src: text}
	l.build(root, found)
	l.root.arrange(rootRole(file, root))
	w := writer{}
	w.document(&l, header)
	out := []byte(w.b.String())

	again, findings := strictyaml.Parse(file, out)
	if findings.HasErrors() {
		return nil, fmt.Errorf("%w: %s", errChanged, findings[0])
	}
	if !same(root, again) || !slices.Equal(remarks(found.comments), remarks(newSource(out).read(again).comments)) {
		return nil, errChanged
	}
	return out, nil
}

// remarks are the texts of comments in an order of their own, without the header.
func remarks(comments []comment) []string {
	var out []string
	for _, c := range comments {
		if !strings.HasPrefix(c.text, headerPrefix) {
			out = append(out, c.text)
		}
	}
	slices.Sort(out)
	return out
}

// same compares what two documents say: kinds and texts, and not how they are
// written, nor in which order names stand.
func same(a, b *strictyaml.Node) bool {
	if a.Kind != b.Kind || len(a.Items()) != len(b.Items()) {
		return false
	}
	switch {
	case a.Kind == strictyaml.Null:
		return true
	case a.IsScalar():
		return a.Text == b.Text
	case a.Kind == strictyaml.List:
		for i, item := range a.Items() {
			if !same(item, b.Items()[i]) {
				return false
			}
		}
		return true
	}
	for i, key := range a.Keys() {
		other := b.Get(key.Text)
		if other == nil || !same(a.Items()[i], other) {
			return false
		}
	}
	return true
}
