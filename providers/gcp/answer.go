package gcp

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

const (
	// expirySkew is how far Google's clock may be ahead of ours.
	expirySkew = 60 * time.Second
	// maxSeconds bounds expires_in, so that no sum runs over.
	maxSeconds = int64(48 * time.Hour / time.Second)
	// minToken is too short to be a secret. maxToken bounds one: Google's have up to
	// 12 KiB, and may have more.
	minToken, maxToken = 16, 16 << 10
)

// tokenForm is what a header and an environment carry.
var tokenForm = regexp.MustCompile(`^[!-~]+$`)

// issued is a token that passed the checks that need no order.
type issued struct {
	token   exchange.Secret
	expires time.Time
}

func newIssued(v any, expires time.Time) (issued, error) {
	token, _ := v.(string)
	if len(token) < minToken || len(token) > maxToken || !tokenForm.MatchString(token) {
		return issued{}, errors.New("the token is missing or malformed")
	}
	return issued{exchange.Secret(token), expires.UTC().Truncate(time.Second)}, nil
}

// unlike refuses a token that was shown: whoever repeats our assertion, or the
// federated token, would have us hand out what is wider than the grant.
func (i issued) unlike(shown exchange.Secret) error {
	if i.token == shown {
		return errors.New("the token is the one that was shown")
	}
	return nil
}

// readExchange reads the answer of the Security Token Service (RFC 8693 section
// 2.2.1). An answer without expires_in ends with what it was made of, if there is
// such an end.
func readExchange(a upstream.Answer, began, end time.Time) (issued, error) {
	m, err := a.Object()
	if err != nil {
		return issued{}, err
	}
	if kind, _ := m["token_type"].(string); !strings.EqualFold(kind, "Bearer") {
		return issued{}, errors.New("token_type is not Bearer")
	}
	if kind, there := m["issued_token_type"]; there && kind != typeAccess {
		return issued{}, errors.New("issued_token_type is not what was asked for")
	}
	seconds, isNumber := m["expires_in"].(int64)
	switch _, there := m["expires_in"]; {
	case !there && !end.IsZero():
		return newIssued(m["access_token"], end)
	case !isNumber || seconds <= 0 || seconds > maxSeconds:
		return issued{}, errors.New("expires_in is no number above 0")
	}
	expires := began.Add(time.Duration(seconds) * time.Second)
	if !end.IsZero() && expires.After(end) {
		if expires.After(end.Add(expirySkew)) {
			return issued{}, errors.New("the token lives longer than the one that it was made of")
		}
		expires = end
	}
	return newIssued(m["access_token"], expires)
}

// readAccess reads the answer of generateAccessToken.
func readAccess(a upstream.Answer) (issued, error) {
	m, err := a.Object()
	if err != nil {
		return issued{}, err
	}
	text, _ := m["expireTime"].(string)
	expires, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return issued{}, errors.New("expireTime is missing or malformed")
	}
	return newIssued(m["accessToken"], expires)
}

// googleIssuer is who signs the ID tokens of service accounts.
const googleIssuer = "https://accounts.google.com"

// readID reads the answer of generateIdToken, and holds the token against the
// order: for whom, and to whom. Its signature is for whoever is shown it.
func readID(a upstream.Answer, w wanted) (issued, error) {
	m, err := a.Object()
	if err != nil {
		return issued{}, err
	}
	text, _ := m["token"].(string)
	claims, err := upstream.Claims(text)
	if err != nil {
		return issued{}, err
	}
	exp, isNumber := claims["exp"].(int64)
	switch {
	case claims["iss"] != googleIssuer:
		return issued{}, errors.New("the ID token is not of Google's issuer")
	case claims["aud"] != w.audience:
		return issued{}, errors.New("the ID token is for another audience")
	case claims["email"] != w.account || claims["email_verified"] != true:
		// The journal would name one account, and the workload speak for another.
		return issued{}, errors.New("the ID token is of another service account")
	case !isNumber || exp <= 0 || exp > 1<<40:
		return issued{}, errors.New("the ID token's exp is missing or malformed")
	}
	return newIssued(text, time.Unix(exp, 0))
}

// deliver holds the end of what came against the order, and hands it out.
func (m *Minter) deliver(got issued, w wanted, o exchange.Order) (exchange.Credential, error) {
	switch {
	case !got.expires.After(m.now()):
		return exchange.Credential{}, m.client.Wrong(errors.New("the token has expired"))
	case got.expires.After(o.Issued.Add(o.Grant.TTL + expirySkew)):
		// A lying service could else hand out what outlives the decision.
		return exchange.Credential{}, m.client.Wrong(errors.New("the token lives longer than was ordered"))
	}
	c := exchange.Credential{Value: got.token, Type: o.Type, Handle: handle(w.account, got.token), Expires: got.expires}
	if w.database != nil {
		value, err := w.database.Credential(got.token, got.expires)
		if err != nil {
			return exchange.Credential{}, m.client.Wrong(errors.New("the token cannot be written as JSON"))
		}
		c.Value, c.Structured = value, true
	}
	return c, nil
}

// handle names a token, and the account that it is of: Google's have no public id.
func handle(account string, token exchange.Secret) string {
	if account == "" {
		return upstream.Handle(token)
	}
	return account + "#" + upstream.Handle(token)
}
