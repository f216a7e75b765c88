package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	// maxBytes bounds a document. The largest real one, a trust that lists a
	// few thousand repositories, is below it; YAML that costs the reader much
	// more than its size (CVE-2019-11253) is above it, or refused by form.
	maxBytes = 256 << 10
	// maxDepth bounds nesting, so that no reader recurses deep. The deepest real
	// document, a session policy inside a grant, needs nine.
	maxDepth = 32
	// maxWeight bounds the values of a document before the library makes a node
	// of each: 16,384 nodes of both trees take about 6 MB.
	maxWeight = 16 << 10
	// maxConfigWeight is that of the operator's own configuration, which a thousand
	// identity providers fill.
	maxConfigWeight = 64 << 10
	// maxName bounds a map's name; every message about a value repeats it.
	maxName = 256
)

// Parse reads a document whose root is a map. With an error among the findings
// the node is nil; warnings come with a node.
func Parse(file string, src []byte) (*Node, Findings) {
	n, findings := Inspect(file, src)
	if findings.HasErrors() {
		return nil, findings
	}
	return n, findings
}

// Inspect is [Parse] for whoever wants to say everything that is wrong at once:
// it returns the tree also beside errors, as far as the syntax held. Such a tree
// is for checking on, never for use.
func Inspect(file string, src []byte) (*Node, Findings) {
	var r Reporter
	n := inspect(file, src, maxWeight, &r)
	return n, r.Findings()
}

// InspectConfig is [Inspect] for a file that only the operator writes. It may have
// four times as many values.
func InspectConfig(file string, src []byte) (*Node, Findings) {
	var r Reporter
	n := inspect(file, src, maxConfigWeight, &r)
	return n, r.Findings()
}

func inspect(file string, src []byte, most int, r *Reporter) *Node {
	refuse := func(id, message, fix string) *Node {
		r.Add(Finding{ID: id, Severity: Error, File: file, Line: 1, Column: 1, Message: message, Fix: fix})
		return nil
	}
	if len(src) > maxBytes {
		return refuse("yaml-too-large", fmt.Sprintf("the file has %d bytes, more than %d", len(src), maxBytes), "split it")
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if weigh(src) > most {
		return refuse("yaml-too-many-values", fmt.Sprintf("the file has more values than %d", most/2), "split it")
	}
	doc := &document{file: file, src: src, lines: []int{0}}
	for i, c := range src {
		if c == '\n' && i+1 < len(src) {
			doc.lines = append(doc.lines, i+1)
		}
	}
	first := scan(doc, r)
	if !utf8.Valid(src) {
		return nil // the library would take some bytes for UTF-16
	}

	root, err := load(first)
	if err != nil {
		syntax(doc, r, err)
		return nil
	}
	if root == nil || len(root.Content) == 0 {
		return refuse("yaml-empty", "the document is empty", "write names and values")
	}
	c := converter{doc: doc, r: r}
	n := c.node(root.Content[0], nil, 1)
	if n.Kind != Map && n.Kind != Invalid {
		if r.findings.HasErrors() { // such as a space that is none, which makes it text
			return nil
		}
		r.Error(n, "yaml-root", "the document is "+n.Kind.String(), "write names and values")
		return nil
	}
	return n
}

// load lets the library read. A panic of the library is an error like another:
// go-yaml has had them (CVE-2022-28948), and a document must not stop a server.
func load(src []byte) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, errors.New("the document cannot be read")
		}
	}()
	// The library's own limit stops it before the tree is deep; the exact one is
	// the converter's.
	loader, err := yaml.NewLoader(bytes.NewReader(src), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth+1))))
	if err != nil {
		return nil, fmt.Errorf("yaml loader: %w", err)
	}
	var n yaml.Node
	if err := loader.Load(&n); err != nil {
		if strings.Contains(err.Error(), "no documents in stream") || strings.HasSuffix(err.Error(), "EOF") {
			return nil, nil
		}
		return nil, err
	}
	return &n, nil
}

// syntax turns the library's error into a finding, unless the scan has already
// said what is wrong in the same line.
func syntax(doc *document, r *Reporter, err error) {
	f := Finding{ID: "yaml-syntax", Severity: Error, File: doc.file, Line: 1, Column: 1, Message: "the YAML cannot be read", Fix: "repair it here or just above"}
	var le *yaml.LoadError
	if errors.As(err, &le) {
		f.Message = le.Message
		if le.ContextMsg != "" {
			f.Message += " " + le.ContextMsg
		}
		if le.Mark.Line > 0 {
			f.Line, f.Column = le.Mark.Line, max(1, le.Mark.Column)
		}
	}
	switch {
	case strings.Contains(f.Message, "max depth"):
		f.ID, f.Message, f.Fix = "yaml-too-deep", fmt.Sprintf("nested deeper than %d", maxDepth), "write it flatter"
	case strings.Contains(f.Message, "anchor") || strings.Contains(f.Message, "alias"):
		f.ID, f.Fix = "yaml-alias", "write the value itself"
	case strings.Contains(f.Message, "tag"):
		f.ID, f.Fix = "yaml-tag", "leave the tag out"
	}
	for _, known := range r.findings {
		if known.Line == f.Line {
			return
		}
	}
	r.Add(f)
}

// converter turns the library's tree into ours.
type converter struct {
	doc *document
	r   *Reporter
}

func (c *converter) node(y *yaml.Node, parent *Node, depth int) *Node {
	n := &Node{Line: y.Line, Column: y.Column, doc: c.doc, parent: parent}
	c.fill(n, y, depth)
	return n
}

// fill reads y into n, whose place in the tree is set already so that findings
// can name it.
func (c *converter) fill(n *Node, y *yaml.Node, depth int) {
	if depth > maxDepth {
		c.r.Error(n, "yaml-too-deep", fmt.Sprintf("nested deeper than %d", maxDepth), "write it flatter")
		return
	}
	ok := true
	if y.Anchor != "" {
		c.r.Error(n, "yaml-anchor", "anchors are not allowed", "leave &"+clip(y.Anchor)+" out")
		ok = false
	}
	if y.Style&yaml.TaggedStyle != 0 {
		c.r.Error(n, "yaml-tag", "tags are not allowed", "leave "+clip(y.Tag)+" out")
		ok = false
	}
	switch y.Kind { //nolint:exhaustive // the rest is what follows
	case yaml.ScalarNode:
		c.scalar(n, y)
	case yaml.SequenceNode:
		n.Kind = List
		n.children = make([]*Node, len(y.Content))
		for i, item := range y.Content {
			n.children[i] = &Node{Line: item.Line, Column: item.Column, doc: c.doc, parent: n, index: i}
			c.fill(n.children[i], item, depth+1)
		}
	case yaml.MappingNode:
		n.Kind = Map
		c.mapping(n, y, depth)
	default: // aliases: a document that expands is larger than it looks
		c.r.Error(n, "yaml-alias", "aliases are not allowed", "write the value itself in place of *"+clip(y.Value))
		ok = false
	}
	if !ok {
		n.Refuse()
	}
}

func (c *converter) scalar(n *Node, y *yaml.Node) {
	n.Text, n.Kind = y.Value, String
	switch {
	case y.Style&yaml.DoubleQuotedStyle != 0:
		n.Style = DoubleQuoted
		c.escapes(n)
	case y.Style&yaml.SingleQuotedStyle != 0:
		n.Style = SingleQuoted
	case y.Style&yaml.LiteralStyle != 0:
		n.Style = Literal
	case y.Style&yaml.FoldedStyle != 0:
		n.Style = Folded
	case y.Style&yaml.TaggedStyle == 0:
		n.resolve()
	}
	if word := mixedScripts(n.Text); word != "" {
		c.r.Warn(n, "yaml-mixed-scripts", strconv.QuoteToASCII(clip(word))+" mixes alphabets that look alike", "check each letter")
	}
}

// escapes refuses invisible characters that a quoted text spells as escapes;
// those in the open were reported by the scan.
func (c *converter) escapes(n *Node) {
	for _, ch := range n.Text {
		if ch == '\n' || ch == '\t' || ch == '\r' || !invisible(ch) || bytes.ContainsRune(c.doc.src, ch) {
			continue
		}
		c.r.Error(n, "yaml-invisible", fmt.Sprintf("an invisible character, %U", ch), "remove it")
		n.Refuse()
		return
	}
}

// mapping reads the pairs. Of a repeated name the first stays, with an error:
// readers differ in which one they take.
func (c *converter) mapping(n *Node, y *yaml.Node, depth int) {
	n.names = make([]*Node, 0, len(y.Content)/2)
	n.children = make([]*Node, 0, len(y.Content)/2)
	seen := make(map[string]int, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := c.key(n, y.Content[i])
		if key == nil {
			continue
		}
		value := &Node{Line: y.Content[i+1].Line, Column: y.Content[i+1].Column, doc: c.doc, parent: n, key: key}
		if first, twice := seen[key.Text]; twice {
			c.r.Add(Finding{
				ID: "yaml-duplicate", Severity: Error, File: c.doc.file, Line: key.Line, Column: key.Column, Field: value.Path(),
				Message: fmt.Sprintf("the name stands here a second time, first in line %d", first), Fix: "keep one",
			})
			continue
		}
		seen[key.Text] = key.Line
		c.fill(value, y.Content[i+1], depth+1)
		n.names = append(n.names, key)
		n.children = append(n.children, value)
	}
}

// key reads a name, or reports why it is none and returns nil.
func (c *converter) key(n *Node, y *yaml.Node) *Node {
	key := &Node{Line: y.Line, Column: y.Column, doc: c.doc, parent: n.parent, key: n.key, index: n.index}
	if y.Kind == yaml.ScalarNode && y.Style&yaml.TaggedStyle == 0 && y.Anchor == "" {
		if y.Value == "<<" && y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
			c.r.Error(key, "yaml-merge", "merge keys are not allowed", "write the fields themselves")
			return nil
		}
		if len(y.Value) > maxName {
			c.r.Error(key, "yaml-name", fmt.Sprintf("a name has more than %d bytes", maxName), "write a shorter one")
			return nil
		}
		if c.scalar(key, y); key.Kind == String && !strings.ContainsAny(key.Text, "\n\r\t") {
			return key
		}
	}
	if key.Kind == Invalid && y.Style&yaml.DoubleQuotedStyle != 0 {
		return nil // reported as invisible
	}
	switch {
	case y.Kind == yaml.AliasNode:
		c.r.Error(key, "yaml-alias", "aliases are not allowed", "write the name itself")
	case y.Anchor != "":
		c.r.Error(key, "yaml-anchor", "anchors are not allowed", "leave &"+clip(y.Anchor)+" out")
	case y.Style&yaml.TaggedStyle != 0:
		c.r.Error(key, "yaml-tag", "tags are not allowed", "leave "+clip(y.Tag)+" out")
	case y.Kind == yaml.ScalarNode && key.Kind == String:
		c.r.Error(key, "yaml-name", "a name must stand in one line", "write a word")
	case y.Kind == yaml.ScalarNode && key.Kind != Null:
		c.r.Error(key, "yaml-name", "a name must be text", "write "+strconv.Quote(y.Value))
	default:
		c.r.Error(key, "yaml-name", "a name must be text", "write a word")
	}
	return nil
}
