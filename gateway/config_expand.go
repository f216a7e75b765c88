package gateway

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"cambio/trust/strictyaml"
)

// maxReferenced bounds what a variable or file may bring into the
// configuration: secrets and names are short, and a path to the wrong file ends
// here.
const maxReferenced = 64 << 10

var (
	reference = regexp.MustCompile(`\$\{([^{}]*)\}?`)
	variable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// expander puts the values of ${env:NAME} and ${file:PATH} in place. What it
// brings is text, whatever it looks like, and is not read again for references.
type expander struct {
	r        *strictyaml.Reporter
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)
	dir      string
}

func (e expander) expand(n *strictyaml.Node) {
	for _, key := range n.Keys() {
		if strings.Contains(key.Text, "${") {
			e.r.Error(key, "reference", "references stand in values only", "write the name itself")
		}
	}
	for _, item := range n.Items() {
		e.expand(item)
	}
	if n.Kind != strictyaml.String || !strings.Contains(n.Text, "${") {
		return
	}
	failed := false
	var origins []string
	text := reference.ReplaceAllStringFunc(n.Text, func(whole string) string {
		value, problem, fix := e.resolve(whole)
		if problem != "" {
			e.r.Error(n, "reference", problem, fix)
			failed = true
			return ""
		}
		origins = append(origins, whole)
		return value
	})
	if failed {
		n.Refuse()
		return
	}
	n.Replace(text, strings.Join(origins, " and "))
}

// resolve gives a reference's value, or says what is wrong with it: the names,
// never the value.
func (e expander) resolve(whole string) (value, problem, fix string) {
	const forms = "write ${env:NAME} or ${file:PATH}"
	inner, closed := strings.CutSuffix(strings.TrimPrefix(whole, "${"), "}")
	kind, name, ok := strings.Cut(inner, ":")
	if !closed || !ok || kind != "env" && kind != "file" {
		return "", fmt.Sprintf("%q is not a reference", whole), forms
	}
	switch {
	case kind == "env" && !variable.MatchString(name):
		return "", fmt.Sprintf("%q is not the name of a variable", name), forms
	case kind == "env":
		value, ok = "", false
		if e.env != nil {
			value, ok = e.env(name)
		}
		if !ok {
			return "", "the variable " + name + " is not set", "set it, or write the value"
		}
	case name == "":
		return "", "the reference names no file", forms
	default:
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(e.dir, path)
		}
		if e.readFile == nil {
			return "", "the file " + name + " cannot be read", "write the value"
		}
		b, err := e.readFile(path)
		if err != nil {
			return "", "the file " + name + " cannot be read", "make it readable, or write another path"
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	switch {
	case len(value) > maxReferenced:
		return "", fmt.Sprintf("%s brings more than %d bytes", whole, maxReferenced), "write a shorter value"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		// A line break inside a header or a URL would end it.
		return "", whole + " brings a control character or bytes that are not UTF-8", "write the value as one line of text"
	}
	return value, "", ""
}
