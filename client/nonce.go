package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const (
	// nonceMark begins every nonce of a gateway.
	nonceMark = "cn1."
	// maxNonce bounds a nonce: it becomes a part of the audience, for which
	// platforms set limits of their own, and gateways send no more.
	maxNonce = 256
)

// nonce asks the gateway for a nonce, and returns "" from a gateway that has
// none to give.
//
// An older gateway answers 404 or 405. Any other no is passed over too: whether
// a nonce is needed is the gateway's to say, and one that requires it refuses a
// token without. Nobody on the way can bring that about to weaken the token,
// because the answer comes through TLS. Only what may succeed later (429, 502,
// 503, 504, no answer) is an error, so that a token is not fetched in vain.
//
// A 200 that holds no nonce is an error: what it holds would go into the
// audience of a token, where a lying server could name somebody else's.
func (c *Client) nonce(ctx context.Context) (string, error) {
	endpoint, err := gatewayURL(c.Server, "/nonce")
	if err != nil {
		return "", err
	}
	a, err := c.post(ctx, endpoint, nil)
	if err != nil {
		return "", err
	}
	if a.status != http.StatusOK {
		if r := parseRefusal(a); r.Retryable() {
			return "", r
		}
		return "", nil
	}
	m, err := jsonAnswer(a)
	if err != nil {
		return "", fmt.Errorf("gateway %s: nonce: %w", c.Server, err)
	}
	n := m.secret("nonce")
	if err := checkNonce(n); err != nil {
		return "", fmt.Errorf("gateway %s: nonce: %w", c.Server, err)
	}
	if _, err := m.seconds("expires_in"); err != nil {
		return "", fmt.Errorf("gateway %s: nonce: %w", c.Server, err)
	}
	return n, nil
}

// checkNonce refuses what would be more than a nonce within an audience, such as
// "cn1.x&audience=https://elsewhere.example".
func checkNonce(n string) error {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	if len(n) > maxNonce || !strings.HasPrefix(n, nonceMark) || len(n) == len(nonceMark) || strings.Trim(n, alphabet) != "" {
		return errors.New("malformed answer: no nonce in it")
	}
	return nil
}

// withNonce is the audience that makes a platform sign the nonce too. The
// gateway takes the two apart again.
func withNonce(audience, nonce string) string {
	if nonce == "" {
		return audience
	}
	return audience + "?nonce=" + nonce
}
