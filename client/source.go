package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
)

// maxToken is the largest subject token that a gateway takes; platforms' tokens
// are 1 to 4 KiB.
const maxToken = 16 << 10

// ErrNotAToken means that what was found where the token should be has not the
// form of one. It was not sent.
var ErrNotAToken = errors.New("this is not a JWT (three base64url parts with dots between)")

// Source is one place that a workload's identity comes from. The zero value has
// no identity.
type Source struct {
	Name  string // what it is, such as "GitHub Actions"
	Place string // where it is: a file, a variable, a host; never the token
	// Looked lists the places that were tried before this one.
	Looked []Look
	// PerAudience says that each token is minted for the audience that Token is
	// given, so that a gateway's nonce can be a part of it.
	PerAudience bool
	// TokenType is the subject_token_type of what Token returns; "" is a JWT.
	TokenType string

	// renews says that each token is a fresh one although its audience is fixed.
	renews bool
	fetch  func(ctx context.Context, audience string) (string, error)
}

// NewSource returns a source for a place that [Detect] does not know. fetch is
// called for every attempt and returns a JWT; an error of it that wraps
// [ErrUnreachable] is tried again. Set PerAudience where fetch heeds the audience.
func NewSource(name string, fetch func(ctx context.Context, audience string) (string, error)) *Source {
	return &Source{Name: name, fetch: fetch}
}

// Token fetches a token for this audience: a fresh one wherever the platform
// gives one, the same again where there is only one (a variable, standard
// input). A mounted file is read again, and its audience is the mount's.
//
// The token is checked for its form only. The error wraps [ErrNoIdentity] where
// there is none, and [ErrUnreachable] where the platform did not answer; it
// never holds the token.
func (s *Source) Token(ctx context.Context, audience string) (string, error) {
	if s == nil || s.fetch == nil {
		return "", ErrNoIdentity
	}
	token, err := s.fetch(ctx, audience)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.Name, err)
	}
	if s.TokenType != "" {
		return token, nil // what is no JWT has a form of its own
	}
	if err := checkForm(token); err != nil {
		return "", fmt.Errorf("%s: %w", s.Name, err)
	}
	return token, nil
}

// checkForm refuses what cannot be a compact JWS (RFC 7515 section 3.1), so that
// a file named by mistake, such as a private key, is never sent to the gateway.
func checkForm(token string) error {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	switch {
	case token == "":
		return fmt.Errorf("%w: the token is empty", ErrNoIdentity)
	case len(token) > maxToken:
		return fmt.Errorf("the token is larger than %d bytes", maxToken)
	case strings.Trim(token, alphabet) != "" || strings.Count(token, ".") != 2:
		return ErrNotAToken
	}
	return nil
}

// Unverified decodes a token's claims to show them. The signature is not
// checked: nothing may be decided by them.
func Unverified(token string) (map[string]any, error) {
	if err := checkForm(token); err != nil {
		return nil, err
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return nil, errors.New("the token's payload is not base64url")
	}
	m, err := parseMembers(payload)
	if err != nil {
		return nil, errors.New("the token's payload is not one JSON object with distinct names")
	}
	claims := make(map[string]any, len(m))
	for name, raw := range m {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber() // an id above 2^53 is shown as it is
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, errors.New("the token's payload is not JSON")
		}
		claims[name] = v
	}
	return claims, nil
}

// fixed is a token that there is only one of.
func fixed(token string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return strings.TrimSpace(token), nil }
}

// fromFile reads the file for every attempt: the platform renews a mounted
// token, and the copy of a minute ago may be the expired one.
func fromFile(readFile func(string) ([]byte, error), path string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) {
		content, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%w: %w", ErrNoIdentity, err)
		}
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(content)), nil
	}
}

// fromReader reads standard input once, when the token is first needed.
func fromReader(r io.Reader) func(context.Context, string) (string, error) {
	read := sync.OnceValues(func() (string, error) {
		content, err := io.ReadAll(io.LimitReader(r, maxToken+2)) // a token and its line end; more fails checkForm
		return strings.TrimSpace(string(content)), err
	})
	return func(context.Context, string) (string, error) { return read() }
}

// checkStatus is nil for 200. The body stays out of the error: what answers
// where the platform should may be anything.
func checkStatus(a answer) error {
	switch {
	case a.status == http.StatusOK:
		return nil
	case a.status == http.StatusTooManyRequests || a.status >= http.StatusInternalServerError:
		return fmt.Errorf("%w: it answered %d", ErrUnreachable, a.status)
	}
	return fmt.Errorf("it answered %d", a.status)
}
