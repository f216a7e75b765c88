package upstream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cambio/exchange"
)

const (
	hidden = "[removed]"
	// maxMessage cuts what a service says, which the journal keeps, to a readable length.
	maxMessage = 512
	// maxRead bounds what is searched for secrets: what stands behind it is cut anyway.
	maxRead = 8 << 10
	// window is how many bytes of a secret in a row are taken for a part of it. No
	// word is as long by chance, and what is shorter is too little to go on with.
	window = 12
)

var (
	// likeToken finds a JWT, whole or in part: its JSON begins with {" in base64url.
	likeToken = regexp.MustCompile(`eyJ[A-Za-z0-9_.~+/=%-]*`)
	// likeSecret finds what may be an opaque token. Ids of requests (36) and names of
	// people's things are shorter or have one case; see mixed.
	likeSecret = regexp.MustCompile(`[A-Za-z0-9_+=-]{32,}`)
)

// Clean takes secrets, tokens and control characters out of a text from outside, and
// cuts it. A line break could forge a line of the log. A secret is found as it is, as
// a URL or JSON has it, and in parts: services quote what they got, cut and encoded.
func Clean(s string, hide ...exchange.Secret) string {
	s = likeToken.ReplaceAllString(Cut(s, maxRead), hidden)
	for _, secret := range hide {
		text := secret.Reveal()
		plain, escaped := strconv.Quote(text), inJSON(text)
		for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text), plain[1 : len(plain)-1], escaped} {
			s = without(s, form)
		}
	}
	s = likeSecret.ReplaceAllStringFunc(s, func(word string) string {
		if mixed(word) {
			return hidden
		}
		return word
	})
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return Cut(s, maxMessage)
}

// inJSON is the text of a JSON string, in the form for web pages: with < as \u003c.
func inJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(b[1 : len(b)-1])
}

// without removes a secret from s, and each part of it that is as long as a window.
func without(s, secret string) string {
	if len(secret) < window {
		if secret == "" {
			return s
		}
		return strings.ReplaceAll(s, secret, hidden)
	}
	parts := make(map[string]bool, len(secret))
	for i := 0; i+window <= len(secret); i++ {
		parts[secret[i:i+window]] = true
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		end := i
		// Windows that overlap are one part.
		for j := i; j <= end && j+window <= len(s); j++ {
			if parts[s[j:j+window]] {
				end = j + window
			} else if end == i {
				break
			}
		}
		if end > i {
			out.WriteString(hidden)
			i = end
			continue
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String()
}

// mixed reports a word with digits and letters of both cases, as random ones are.
func mixed(word string) bool {
	return strings.ContainsAny(word, "0123456789") && strings.ToLower(word) != word && strings.ToUpper(word) != word
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
