package oidc

import (
	"errors"
	"fmt"
	"strings"
)

// maxWorkload is the longest SPIFFE ID that the standard lets implementations
// count on (SPIFFE-ID section 2.3).
const maxWorkload = 2048

// workloadID is spiffe://TRUST_DOMAIN/PROVIDER/SEGMENT... It is pinned by
// clouds for years, so two workloads never share one: every segment is escaped
// reversibly, and a claim that is missing, empty or not a string is an error.
func workloadID(trustDomain, provider string, segments []Segment, claims map[string]any) (string, error) {
	var b strings.Builder
	b.WriteString("spiffe://")
	b.WriteString(trustDomain)
	b.WriteByte('/')
	escapeSegment(&b, provider)
	for _, s := range segments {
		text := s.Literal
		if s.Claim != "" {
			v, _ := lookup(claims, s.Claim)
			// A number is not taken: 1 and "1" would be one workload.
			text, _ = v.(string)
		}
		if text == "" {
			return "", fmt.Errorf("claim %s is missing, empty or not a string", s.Claim)
		}
		if s.Split == nil {
			b.WriteByte('/')
			escapeSegment(&b, text)
			continue
		}
		parts, err := s.Split(text)
		if err != nil {
			return "", fmt.Errorf("claim %s: %w", s.Claim, err)
		}
		for _, part := range parts {
			b.WriteByte('/')
			escapeSegment(&b, part)
		}
	}
	if b.Len() > maxWorkload {
		return "", errors.New("the workload id is too long")
	}
	return b.String(), nil
}

// escapeSegment writes s as one SPIFFE path segment. A byte outside
// [A-Za-z0-9.-] becomes "_" and two hex digits, "_" itself included, so that
// the result has one reading; "." and ".." are no segments and are escaped too.
func escapeSegment(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	dots := s == "." || s == ".."
	for i := range len(s) {
		c := s[i]
		plain := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' && !dots
		if plain {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('_')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}

// lookup finds a claim by its name or, when path begins with a slash, by JSON
// pointer (RFC 6901) through objects; it does not index arrays.
func lookup(claims map[string]any, path string) (any, bool) {
	if !strings.HasPrefix(path, "/") {
		v, ok := claims[path]
		return v, ok
	}
	var v any = claims
	for step := range strings.SplitSeq(path[1:], "/") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if strings.Contains(step, "~") {
			step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		}
		if v, ok = m[step]; !ok {
			return nil, false
		}
	}
	return v, true
}
