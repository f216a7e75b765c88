package logic

import (
	"slices"
	"strings"
)

// constraint says of a string that it is a word of a language, or is not.
type constraint struct {
	lang *language
	want bool
}

func (c constraint) holds(s string) bool { return c.lang.contains(s) == c.want }

// flatten takes conjunctions apart and drops what says nothing; ok is false if
// nothing can satisfy it.
func flatten(cs []constraint) (out []constraint, ok bool) {
	for _, c := range cs {
		for c.lang.kind == complementOf {
			c = constraint{c.lang.parts[0], !c.want}
		}
		switch {
		case c.lang.kind == anyText:
			if !c.want {
				return nil, false
			}
		case c.lang.kind == intersectionOf && c.want, c.lang.kind == unionOf && !c.want:
			parts := make([]constraint, len(c.lang.parts))
			for i, p := range c.lang.parts {
				parts[i] = constraint{p, c.want}
			}
			inner, ok := flatten(parts)
			if !ok {
				return nil, false
			}
			out = append(out, inner...)
		default:
			out = append(out, c)
		}
	}
	return out, true
}

// words returns up to k strings that satisfy all of cs: readable and short ones,
// and the empty one last. Fewer than k are all there are. ok is false when that
// needs more states than the limit, or more effort than is left.
func words(cs []constraint, k int, e *effort) (found []string, ok bool) {
	cs, possible := flatten(cs)
	if !possible {
		return nil, true
	}
	satisfied := func(s string) bool {
		return !slices.ContainsFunc(cs, func(c constraint) bool { return !c.holds(s) })
	}
	if texts := shortList(cs); texts != nil {
		for _, t := range texts {
			if len(found) < k && t != "" && satisfied(t) {
				found = append(found, t)
			}
		}
		if len(found) < k && slices.Contains(texts, "") && satisfied("") {
			found = append(found, "")
		}
		return found, true
	}
	if !fitEnds(cs) {
		return nil, true
	}
	if k == 1 { // most questions have an easy answer
		for _, s := range guesses(cs) {
			if s != "" && satisfied(s) {
				return []string{s}, true
			}
		}
	}
	p := newProduct(cs, k)
	found, ok = p.search(k, e)
	if len(found) < k && satisfied("") {
		found = append(found, "")
	}
	return found, ok || len(found) == k
}

// shortList returns the shortest list of texts that has to hold the string.
func shortList(cs []constraint) []string {
	var texts []string
	for _, c := range cs {
		if c.want && c.lang.kind == oneOf && c.lang.fold == asIs && (texts == nil || len(c.lang.texts) < len(texts)) {
			texts = c.lang.texts
		}
	}
	return texts
}

// fitEnds reports that what words must begin and end with does not contradict
// itself, nor what they must not: most contradictions need no automaton.
func fitEnds(cs []constraint) bool {
	var prefix, suffix string
	for _, c := range cs {
		if !c.want {
			continue
		}
		p, s := c.lang.ends()
		if !strings.HasPrefix(p, prefix) && !strings.HasPrefix(prefix, p) || !strings.HasSuffix(s, suffix) && !strings.HasSuffix(suffix, s) {
			return false
		}
		if len(p) > len(prefix) {
			prefix = p
		}
		if len(s) > len(suffix) {
			suffix = s
		}
	}
	for _, c := range cs {
		if c.want || c.lang.fold != asIs {
			continue
		}
		switch t := c.lang.text; c.lang.kind { //nolint:exhaustive // of the others nothing is known
		case prefixed:
			if strings.HasPrefix(prefix, t) {
				return false
			}
		case suffixed:
			if strings.HasSuffix(suffix, t) {
				return false
			}
		case containing:
			if strings.Contains(prefix, t) || strings.Contains(suffix, t) {
				return false
			}
		}
	}
	return true
}

// ends are a text that every word of l begins with, and one that it ends with.
func (l *language) ends() (prefix, suffix string) {
	if l.fold != asIs {
		return "", ""
	}
	switch l.kind { //nolint:exhaustive // of the others nothing is known
	case prefixed:
		return l.text, ""
	case suffixed:
		return "", l.text
	case globbed:
		return l.text[:strings.IndexByte(l.text, '*')], l.text[strings.LastIndexByte(l.text, '*')+1:]
	case matching:
		prefix, _ = l.program.compiled().Prefix()
	}
	return prefix, ""
}

// guesses are strings that are likely to do.
func guesses(cs []constraint) []string {
	var out []string
	var prefix, suffix, middle string
	for _, c := range cs {
		if !c.want {
			continue
		}
		switch c.lang.kind { //nolint:exhaustive // of the others nothing is known
		case prefixed:
			if len(c.lang.text) > len(prefix) {
				prefix = c.lang.text
			}
		case suffixed:
			if len(c.lang.text) > len(suffix) {
				suffix = c.lang.text
			}
		case containing:
			middle += c.lang.text
		default:
			out = append(out, samples(c.lang)...)
		}
	}
	return append(out, prefix+"x"+middle+suffix, prefix+middle+suffix, "x", "y", "other")
}

// samples are some words of l, or what looks like them.
func samples(l *language) []string {
	switch l.kind { //nolint:exhaustive // of the others nothing is known
	case oneOf:
		return l.texts[:min(len(l.texts), 4)]
	case prefixed:
		return []string{l.text + "x", l.text}
	case suffixed:
		return []string{"x" + l.text, l.text}
	case containing:
		return []string{"x" + l.text}
	case globbed:
		return []string{strings.ReplaceAll(l.text, "*", "x"), strings.ReplaceAll(l.text, "*", "")}
	case sized:
		return []string{strings.Repeat("x", min(max(l.least, 1), 1<<12))}
	case matching:
		if prefix, _ := l.ends(); prefix != "" {
			return []string{prefix, prefix + "x"}
		}
	case unionOf, intersectionOf:
		var out []string
		for _, p := range l.parts[:min(len(l.parts), 4)] {
			out = append(out, samples(p)...)
		}
		return out
	}
	return nil
}
