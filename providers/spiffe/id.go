package spiffe

import (
	"errors"
	"strings"
)

// scheme is how every SPIFFE ID begins, to the letter.
const scheme = "spiffe://"

const (
	// maxID and maxTrustDomain are SPIFFE-ID sections 2.3 and 2.1: what everybody can
	// count on is all that we take.
	maxID          = 2048
	maxTrustDomain = 255
)

var errID = errors.New("not a SPIFFE ID")

// ParseID takes a SPIFFE ID apart (SPIFFE-ID section 2), to the letter: nothing is
// decoded, folded or joined, so that two texts are never one identity. path is ""
// or begins with a slash. The error holds no byte of the text.
func ParseID(id string) (trustDomain, path string, err error) {
	if len(id) > maxID {
		return "", "", errors.New("the SPIFFE ID is longer than 2048 bytes")
	}
	rest, ok := strings.CutPrefix(id, scheme)
	if !ok {
		return "", "", errID
	}
	trustDomain, path = rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		trustDomain, path = rest[:i], rest[i:]
	}
	// No port, user, percent or upper case: each would be another spelling of a
	// domain that somebody else compares.
	if trustDomain == "" || len(trustDomain) > maxTrustDomain || !only(trustDomain, false) {
		return "", "", errors.New("the trust domain of the SPIFFE ID is malformed")
	}
	if path == "" {
		return trustDomain, "", nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		// An empty or dotted segment is the same path to some readers, and another to
		// others (CVE-2021-27099).
		if segment == "" || segment == "." || segment == ".." || !only(segment, true) {
			return "", "", errors.New("the path of the SPIFFE ID is malformed")
		}
	}
	return trustDomain, path, nil
}

// only reports whether s is made of the characters of a trust domain, or of a path
// segment, which has upper case too.
func only(s string, upper bool) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		case upper && c >= 'A' && c <= 'Z':
		default:
			return false
		}
	}
	return true
}

// segments are the path segments of a workload's SPIFFE ID.
func segments(id string) ([]string, error) {
	_, path, err := ParseID(id)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, errors.New("the SPIFFE ID names no workload")
	}
	return strings.Split(path[1:], "/"), nil
}
