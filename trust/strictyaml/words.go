package strictyaml

import (
	"regexp"
	"strconv"
)

var oldBoolean = regexp.MustCompile(`^(?i:y|yes|n|no|on|off)$`)

// OldBoolean reports whether a plain text is a boolean to readers of YAML 1.1
// (the bool type of its repository: y, no, ON and the like). Here it is text.
func OldBoolean(text string) bool { return oldBoolean.MatchString(text) }

// Words warns of each name and value that is an [OldBoolean] without quotes. It
// is for the end of a reading, as it is silent where something is said already,
// such as that a boolean is wanted.
//
// What reviews, formats or copies a document elsewhere may take true or false
// where this gateway takes the word, and neither would say so.
func (r *Reporter) Words(n *Node) {
	if n == nil {
		return
	}
	r.word(n)
	for i, child := range n.children {
		if i < len(n.names) {
			r.word(n.names[i])
		}
		r.Words(child)
	}
}

func (r *Reporter) word(n *Node) {
	if n.Kind != String || n.Style != Plain || n.Replaced() || !OldBoolean(n.Text) {
		return
	}
	for _, f := range r.findings {
		if f.Line == n.Line && f.Column == n.Column {
			return
		}
	}
	r.Warn(n, "yaml-word", n.Show()+" is text here, and a boolean to readers of YAML 1.1", "write quotes: "+strconv.Quote(n.Text))
}
