package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signatureHeader is the Authorization header of Signature Version 4.
var signatureHeader = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=(\w{16,128})/([0-9]{8})/([a-z0-9-]+)/sts/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$`)

// signatureAge is how far a request's time may be off, as at AWS.
const signatureAge = 5 * time.Minute

// signer proves the signature of a request with what was issued, and returns the
// session that made it.
func (s *STS) signer(r *http.Request, body []byte) (STSSession, *stsError) {
	const security = "The security token included in the request is invalid."
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return STSSession{}, &stsError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	m := signatureHeader.FindStringSubmatch(authorization)
	if m == nil {
		return STSSession{}, unknownRequest("an Authorization of another form")
	}
	keyID, date, region, signed, signature := m[1], m[2], m[3], strings.Split(m[4], ";"), m[5]
	s.mu.Lock()
	session, found := s.sessions[keyID]
	s.mu.Unlock()
	token := r.Header.Get("X-Amz-Security-Token")
	if !found || subtle.ConstantTimeCompare([]byte(token), []byte(session.SessionToken)) != 1 {
		return STSSession{}, &stsError{http.StatusForbidden, "InvalidClientTokenId", security}
	}
	now := s.now()
	if !now.Before(session.Expires) {
		return STSSession{}, &stsError{http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"}
	}
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	mismatch := &stsError{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."}
	switch {
	case err != nil || !strings.HasPrefix(stamp, date) || at.Sub(now).Abs() > signatureAge:
		return STSSession{}, mismatch
	case !slices.IsSorted(signed) || !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-security-token") || !slices.Contains(signed, "x-amz-date"):
		return STSSession{}, mismatch
	}
	var headers strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
			if value == "" {
				value = strconv.FormatInt(r.ContentLength, 10)
			}
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	// The path is "/" and there is no query: ServeHTTP looked.
	canonical := strings.Join([]string{r.Method, "/", "", headers.String(), strings.Join(signed, ";"), sha(body)}, "\n")
	scope := strings.Join([]string{date, region, "sts", "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, sha([]byte(canonical))}, "\n")
	key := []byte("AWS4" + session.SecretKey)
	for _, part := range []string{date, region, "sts", "aws4_request", text} {
		key = mac(key, part)
	}
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(key)), []byte(signature)) != 1 {
		return STSSession{}, mismatch
	}
	return session, nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
