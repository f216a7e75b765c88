package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"cambio/exchange"
)

const (
	hidden = "[removed]"
	// maxMessage cuts what a service says, which the journal keeps, to a readable length.
	maxMessage = 512
)

// likeToken finds a JWT, whole or in part.
var likeToken = regexp.MustCompile(`eyJ[A-Za-z0-9_.~+/=%-]*`)

// Clean takes secrets, tokens and control characters out of a text from outside, and
// cuts it. A line break could forge a line of the log.
func Clean(s string, hide ...exchange.Secret) string {
	for _, secret := range hide {
		text := secret.Reveal()
		if text == "" {
			continue
		}
		s = strings.ReplaceAll(s, text, hidden)
		if i := strings.LastIndexByte(text, '.'); i >= 0 && i+1 < len(text) {
			s = strings.ReplaceAll(s, text[i+1:], hidden) // a JWT's signature, which makes the rest a token
		}
	}
	s = likeToken.ReplaceAllString(s, hidden)
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return Cut(s, maxMessage)
}

// Cut shortens s to n bytes, at a character's end.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// TimedOut reports whether a call failed because its time was over.
func TimedOut(ctx context.Context, err error) bool {
	var t net.Error
	return ctx.Err() != nil || errors.As(err, &t) && t.Timeout()
}

// Describe names a transport's error in words that cannot hold what the other side
// sent: net/http quotes malformed answers.
func Describe(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var t net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &t) && t.Timeout():
		return "timed out"
	case errors.As(err, &cert):
		return "the certificate is not valid for the endpoint"
	case errors.As(err, &dns):
		return "the endpoint's name does not resolve"
	case errors.As(err, &op):
		return Clean(op.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed"):
		return "the connection was closed"
	default:
		return "not an answer of HTTP"
	}
}
