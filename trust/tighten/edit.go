package tighten

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cambio/trust/strictyaml"
)

// errByHand says that a document is written in a way that this editor leaves
// alone, such as a text over several lines: what it does not understand, it does
// not change.
var errByHand = errors.New("tighten: the document's form needs a person")

// editor changes single values of a document, and keeps every other byte:
// comments, quotes and order.
type editor struct {
	src   []byte
	lines []int // offset of each line
	root  *strictyaml.Node
	edits []edit
}

// edit replaces a range of the source.
type edit struct {
	from, to int
	text     string
}

func newEditor(file string, src []byte) (*editor, error) {
	root, findings := strictyaml.Parse(file, src)
	if root == nil {
		return nil, findings
	}
	if bytes.HasPrefix(src, []byte("\ufeff")) || bytes.ContainsRune(src, '\r') {
		return nil, errByHand // places are counted without them
	}
	e := &editor{src: src, root: root, lines: []int{0}}
	for i, c := range src {
		if c == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	return e, nil
}

// bytes is the document with all edits.
func (e *editor) bytes() ([]byte, error) {
	slices.SortStableFunc(e.edits, func(a, b edit) int { return a.from - b.from })
	var out []byte
	at := 0
	for _, d := range e.edits {
		if d.from < at {
			return nil, fmt.Errorf("%w: two changes meet", errByHand)
		}
		out = append(append(out, e.src[at:d.from]...), d.text...)
		at = d.to
	}
	return append(out, e.src[at:]...), nil
}

func (e *editor) replace(from, to int, text string) { e.edits = append(e.edits, edit{from, to, text}) }

// start is the offset of a node.
func (e *editor) start(n *strictyaml.Node) int {
	at := e.lines[n.Line-1]
	for column := n.Column; column > 1 && at < len(e.src); column-- {
		_, size := utf8.DecodeRune(e.src[at:])
		at += size
	}
	return at
}

// flow reports a list or map in brackets.
func (e *editor) flow(n *strictyaml.Node) bool {
	at := e.start(n)
	return at < len(e.src) && (e.src[at] == '[' || e.src[at] == '{')
}

// end is the offset behind a scalar of one line, or a list or map in brackets.
func (e *editor) end(n *strictyaml.Node) (int, error) {
	at := e.start(n)
	if !n.IsScalar() {
		if !e.flow(n) {
			return 0, errByHand
		}
		return e.closing(at)
	}
	switch n.Style { //nolint:exhaustive // blocks are left alone
	case strictyaml.Plain:
		if !bytes.HasPrefix(e.src[at:], []byte(n.Text)) {
			return 0, errByHand
		}
		return at + len(n.Text), nil
	case strictyaml.DoubleQuoted, strictyaml.SingleQuoted:
		return e.quoted(at)
	}
	return 0, errByHand
}

// quoted is the offset behind the quotes that begin here.
func (e *editor) quoted(at int) (int, error) {
	quote := e.src[at]
	for i := at + 1; i < len(e.src) && e.src[i] != '\n'; i++ {
		switch {
		case quote == '"' && e.src[i] == '\\':
			i++
		case e.src[i] != quote:
		case quote == '\'' && i+1 < len(e.src) && e.src[i+1] == quote:
			i++
		default:
			return i + 1, nil
		}
	}
	return 0, errByHand
}

// closing is the offset behind the bracket that closes the one here, where no
// comment stands between.
func (e *editor) closing(at int) (int, error) {
	depth := 0
	for i := at; i < len(e.src); i++ {
		before := byte(' ')
		if i > 0 {
			before = e.src[i-1]
		}
		switch c := e.src[i]; {
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		case (c == '"' || c == '\'') && strings.IndexByte(" \t,[{:\n", before) >= 0:
			end, err := e.quoted(i)
			if err != nil {
				return 0, err
			}
			i = end - 1
		case c == '#' && strings.IndexByte(" \t,[{\n", before) >= 0:
			return 0, errByHand // what is written anew loses the comment, and what is added may end in it
		}
	}
	return 0, errByHand
}

// value writes another value in a node's place.
func (e *editor) value(n *strictyaml.Node, text string) error {
	end, err := e.end(n)
	if err != nil {
		return err
	}
	e.replace(e.start(n), end, text)
	return nil
}

// items gives each item of a list what stands in its place: itself for one text
// that is keep, nothing for none.
func (e *editor) items(n *strictyaml.Node, to [][]string) error {
	if e.flow(n) {
		var out []string
		for i, item := range n.Items() {
			for _, text := range to[i] {
				if text == keep {
					end, err := e.end(item)
					if err != nil {
						return err
					}
					text = string(e.src[e.start(item):end])
				}
				out = append(out, text)
			}
		}
		return e.value(n, "["+strings.Join(out, ", ")+"]")
	}
	for i, item := range n.Items() {
		dash := e.dash(item)
		if dash < 0 {
			return errByHand
		}
		switch {
		case len(to[i]) == 0:
			e.replace(e.lineOf(dash), e.block(dash), "")
		case to[i][0] == keep:
		default:
			if err := e.value(item, to[i][0]); err != nil {
				return err
			}
			indent := strings.Repeat(" ", dash-e.lineOf(dash))
			more := ""
			for _, text := range to[i][1:] {
				more += indent + "- " + text + "\n"
			}
			if more != "" {
				if err := e.insertLine(e.next(dash), more); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// keep stands for an item as it is.
const keep = "\x00keep"

// dash is the offset of the dash of a block list's item, which must begin its
// line; -1 where it does not.
func (e *editor) dash(item *strictyaml.Node) int {
	line := e.lines[item.Line-1]
	for i := line; i < len(e.src); i++ {
		switch e.src[i] {
		case ' ':
		case '-':
			return i
		default:
			return -1
		}
	}
	return -1
}

func (e *editor) lineOf(at int) int { return bytes.LastIndexByte(e.src[:at], '\n') + 1 }

// next is the offset of the line behind.
func (e *editor) next(at int) int {
	if i := bytes.IndexByte(e.src[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(e.src)
}

// block is the offset behind all that is indented deeper than what begins here,
// and behind no comment that stands before what comes then.
func (e *editor) block(at int) int {
	depth := at - e.lineOf(at)
	end := e.next(at)
	for line := end; line < len(e.src); line = e.next(line) {
		text := e.src[line:e.next(line)]
		bare := bytes.TrimLeft(text, " ")
		switch {
		case len(bytes.TrimSpace(bare)) == 0 || bare[0] == '#':
			continue
		case len(text)-len(bare) <= depth:
			return end
		}
		end = e.next(line)
	}
	return end
}

func (e *editor) insertLine(at int, text string) error {
	if at == len(e.src) && at > 0 && e.src[at-1] != '\n' {
		return errByHand // the last line has no end
	}
	e.replace(at, at, text)
	return nil
}

// add writes one more pair into a map, behind its last one.
func (e *editor) add(n *strictyaml.Node, name, text string) error {
	if e.flow(n) {
		end, err := e.closing(e.start(n))
		if err != nil {
			return err
		}
		at := end - 1
		for at > 0 && (e.src[at-1] == ' ' || e.src[at-1] == '\n') {
			at--
		}
		if e.src[at-1] == ',' {
			at--
		}
		e.replace(at, at, ", "+name+": "+text)
		return nil
	}
	keys := n.Keys()
	if len(keys) == 0 {
		return errByHand
	}
	first, last := e.start(keys[0]), e.start(keys[len(keys)-1])
	indent := strings.Repeat(" ", first-e.lineOf(first)) // a dash before the first one counts too
	return e.insertLine(e.block(e.lineOf(last)+len(indent)), indent+name+": "+text+"\n")
}

// before writes lines before a name of the document itself.
func (e *editor) before(name, text string) error {
	n := e.root.Get(name)
	if n == nil || e.flow(e.root) {
		return errByHand
	}
	return e.insertLine(e.lineOf(e.start(n.Key())), text)
}

// plainText needs no quotes anywhere.
var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./@-]*$`)

// yamlText writes a value of a claim so that it is read back as what it is.
func yamlText(v any) string {
	switch v := v.(type) {
	case string:
		if plainText.MatchString(v) && !strictyaml.OldBoolean(v) && !slices.Contains([]string{"true", "false", "null"}, strings.ToLower(v)) {
			return v
		}
		return strconv.Quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
