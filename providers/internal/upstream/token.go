package upstream

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"cambio/exchange"
	"cambio/providers/oidc"
)

// Handle is the public name of a token that has none of its own. Whoever finds the
// token can find its decision by it (sha256sum prints the same), and nobody can find
// the token by the name. It is for tokens that cannot be guessed.
func Handle(token exchange.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Claims are those of a compact JWS, not proven: who answered is proven by TLS, and
// whom the token is shown to checks its signature. The error holds no byte of it.
func Claims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] == "" {
		return nil, errors.New("the token is no compact JWS")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, errors.New("the token's claims are not in base64url")
	}
	claims, err := oidc.ReadObject(payload)
	if err != nil {
		return nil, errors.New("the token's claims have no single meaning")
	}
	return claims, nil
}
