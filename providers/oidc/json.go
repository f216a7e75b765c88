package oidc

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// limits bound one JSON text. Every input is attacker-made or comes from a
// server that may have been taken over.
type limits struct {
	depth    int // nesting of objects and arrays, the outermost is 1
	members  int // members of all objects together
	elements int // elements of all arrays together
	text     int // bytes of one decoded string
}

// tokenLimits are far above what platforms send: the largest known token has
// some 60 members, three levels and strings below 1 KiB.
func tokenLimits() limits { return limits{depth: 16, members: 256, elements: 1024, text: 4 << 10} }

// documentLimits are for key sets and discovery documents, whose certificate
// chains are longer than any claim. 100 keys of ten members fit well.
func documentLimits() limits {
	return limits{depth: 16, members: 4096, elements: 8192, text: 64 << 10}
}

var (
	errJSON      = errors.New("not strict JSON")
	errDuplicate = errors.New("an object names a member twice")
)

// parseObject reads one JSON object with exactly one meaning, or refuses it.
//
// encoding/json takes the last of two equal members, ignores case and repairs
// bad UTF-8, so that two readers of one token may see two identities; this
// parser refuses duplicates at any depth, compares names byte for byte and
// takes nothing but RFC 8259. Values are string, bool, int64 (integers that
// fit), float64 (other numbers), nil, []any and map[string]any.
//
// With an error the result is nil. It wraps errDuplicate or errJSON, and never
// holds a byte of the input.
func parseObject(b []byte, lim limits) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: not UTF-8", errJSON)
	}
	p := parser{b: string(b), lim: lim}
	p.space()
	if p.peek() != '{' {
		return nil, fmt.Errorf("%w: not an object", errJSON)
	}
	v, err := p.object(1)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i != len(p.b) {
		return nil, p.fail("data after the end")
	}
	return v, nil
}

// parser reads a string, not bytes, so that the strings in it are parts of it
// and cost no allocation of their own: a token has some 60 names and values.
type parser struct {
	b        string
	i        int
	members  int
	elements int
	lim      limits
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", errJSON, what, p.i)
}

// peek is the next byte, or 0 at the end; a NUL is legal nowhere outside.
func (p *parser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

func (p *parser) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) value(depth int) (any, error) {
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		return p.text()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return nil, p.fail("a value is missing")
}

func (p *parser) word(w string) error {
	if len(p.b)-p.i < len(w) || p.b[p.i:p.i+len(w)] != w {
		return p.fail("an unknown word")
	}
	p.i += len(w)
	return nil
}

func (p *parser) object(depth int) (map[string]any, error) {
	if depth > p.lim.depth {
		return nil, p.fail("too deep")
	}
	p.i++ // {
	size := 0
	if depth == 1 {
		// Room for the members at once: most have more than 32 bytes of text.
		size = min(len(p.b)/32, p.lim.members)
	}
	m := make(map[string]any, size)
	p.space()
	if p.peek() == '}' {
		p.i++
		return m, nil
	}
	for {
		p.space()
		if p.peek() != '"' {
			return nil, p.fail("a member's name is missing")
		}
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%w at byte %d", errDuplicate, p.i)
		}
		if p.members++; p.members > p.lim.members {
			return nil, p.fail("too many members")
		}
		p.space()
		if p.peek() != ':' {
			return nil, p.fail("a colon is missing")
		}
		p.i++
		p.space()
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		m[name] = v
		p.space()
		switch p.peek() {
		case ',':
			p.i++
		case '}':
			p.i++
			return m, nil
		default:
			return nil, p.fail("an object does not end")
		}
	}
}

func (p *parser) array(depth int) ([]any, error) {
	if depth > p.lim.depth {
		return nil, p.fail("too deep")
	}
	p.i++ // [
	list := []any{}
	p.space()
	if p.peek() == ']' {
		p.i++
		return list, nil
	}
	for {
		if p.elements++; p.elements > p.lim.elements {
			return nil, p.fail("too many elements")
		}
		p.space()
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		p.space()
		switch p.peek() {
		case ',':
			p.i++
		case ']':
			p.i++
			return list, nil
		default:
			return nil, p.fail("an array does not end")
		}
	}
}

// text reads a string. The common one, without an escape, is no allocation.
func (p *parser) text() (string, error) {
	p.i++ // "
	start := p.i
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			s := p.b[start:p.i]
			if len(s) > p.lim.text {
				return "", p.fail("a string is too long")
			}
			p.i++
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", p.fail("a control character in a string")
		}
		p.i++
	}
	return "", p.fail("a string does not end")
}

// escaped reads on from the first backslash of a string that began at start.
func (p *parser) escaped(start int) (string, error) {
	s := append([]byte(nil), p.b[start:p.i]...)
	for p.i < len(p.b) {
		if len(s) > p.lim.text {
			return "", p.fail("a string is too long")
		}
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return string(s), nil
		case c == '\\':
			p.i++
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			s = utf8.AppendRune(s, r)
		case c < 0x20:
			return "", p.fail("a control character in a string")
		default:
			s = append(s, c)
			p.i++
		}
	}
	return "", p.fail("a string does not end")
}

func (p *parser) escape() (rune, error) {
	c := p.peek()
	p.i++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
	default:
		return 0, p.fail("an unknown escape")
	}
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	// A lone surrogate has no UTF-8 form; readers replace it by U+FFFD, so that
	// two different names would become one.
	if p.peek() != '\\' || p.i+1 >= len(p.b) || p.b[p.i+1] != 'u' {
		return 0, p.fail("half a surrogate pair")
	}
	p.i += 2
	low, err := p.hex4()
	if err != nil {
		return 0, err
	}
	full := utf16.DecodeRune(r, low)
	if full == utf8.RuneError {
		return 0, p.fail("half a surrogate pair")
	}
	return full, nil
}

func (p *parser) hex4() (rune, error) {
	if len(p.b)-p.i < 4 {
		return 0, p.fail("a short escape")
	}
	var r rune
	for _, c := range []byte(p.b[p.i : p.i+4]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.fail("an escape is not hexadecimal")
		}
	}
	p.i += 4
	return r, nil
}

// number reads a number: int64 where it is written as an integer and fits,
// float64 otherwise. One that is infinite as a float64 is refused.
func (p *parser) number() (any, error) {
	start := p.i
	if p.peek() == '-' {
		p.i++
	}
	switch c := p.peek(); {
	case c == '0':
		p.i++ // no digit may follow: 0123 is octal to some readers
	case c >= '1' && c <= '9':
		p.digits()
	default:
		return nil, p.fail("a number without digits")
	}
	integer := true
	if p.peek() == '.' {
		integer = false
		p.i++
		if !p.digits() {
			return nil, p.fail("a number without digits")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		integer = false
		p.i++
		if c := p.peek(); c == '+' || c == '-' {
			p.i++
		}
		if !p.digits() {
			return nil, p.fail("a number without digits")
		}
	}
	s := p.b[start:p.i]
	if integer {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, p.fail("a number too large")
	}
	return f, nil
}

func (p *parser) digits() bool {
	start := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	return p.i > start
}
