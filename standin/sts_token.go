package standin

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The claims that STS reads session tags and the source identity from.
const (
	tagsClaim     = "https://aws.amazon.com/tags"
	sourceIDClaim = "https://aws.amazon.com/source_identity"
)

// webIdentity is a web identity token that is proven.
type webIdentity struct {
	provider    string // host and path of the issuer, as condition keys name it
	providerARN string
	audience    string
	subject     string
	tags        map[string]string
	sourceID    string
}

func badToken(format string, args ...any) *stsError {
	return &stsError{http.StatusBadRequest, "InvalidIdentityToken", fmt.Sprintf(format, args...)}
}

// decodeClaims decodes a token's claims without any proof; nil if it cannot.
func decodeClaims(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&claims) != nil {
		return nil
	}
	return claims
}

// prove verifies a token with the keys of an OIDC provider of this account.
func (s *STS) prove(ctx context.Context, token, account string) (webIdentity, *stsError) {
	claims := decodeClaims(token)
	if claims == nil {
		return webIdentity{}, badToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	issuer, _ := claims["iss"].(string)
	s.mu.Lock()
	i := slices.IndexFunc(s.oidc, func(p OIDCProvider) bool { return p.URL == issuer && p.Account == account })
	var provider OIDCProvider
	if i >= 0 {
		provider = s.oidc[i]
	}
	s.mu.Unlock()
	if i < 0 {
		return webIdentity{}, badToken("No OpenIDConnect provider found in your account for %s", issuer)
	}
	set, err := provider.keys(ctx)
	if err != nil {
		return webIdentity{}, &stsError{http.StatusBadRequest, "IDPCommunicationError", "Couldn't retrieve verification key from your identity provider"}
	}
	if err := verifyToken(token, set); err != nil {
		return webIdentity{}, badToken("The web identity token could not be validated: %v", err)
	}
	if fail := timely(claims, s.now()); fail != nil {
		return webIdentity{}, fail
	}
	w := webIdentity{provider: strings.TrimPrefix(issuer, "https://")}
	w.provider = strings.TrimPrefix(w.provider, "http://") // AWS takes https only; a stand-in's issuer is on loopback
	w.providerARN = "arn:aws:iam::" + account + ":oidc-provider/" + w.provider
	var ok bool
	if w.audience, ok = theAudience(claims); !ok || !slices.Contains(provider.Audiences, w.audience) {
		return webIdentity{}, badToken("Incorrect token audience")
	}
	if w.subject, _ = claims["sub"].(string); w.subject == "" || len(w.subject) > 255 {
		return webIdentity{}, badToken("Missing a required claim: sub, or one above 255 characters")
	}
	if fail := w.session(claims); fail != nil {
		return webIdentity{}, fail
	}
	return w, nil
}

// theAudience is azp where there is one, as at AWS.
func theAudience(claims map[string]any) (string, bool) {
	if azp, ok := claims["azp"].(string); ok {
		return azp, true
	}
	switch aud := claims["aud"].(type) {
	case string:
		return aud, true
	case []any:
		if len(aud) == 1 {
			s, ok := aud[0].(string)
			return s, ok
		}
	}
	return "", false
}

func timely(claims map[string]any, now time.Time) *stsError {
	seconds := func(name string) (int64, bool) {
		n, ok := claims[name].(json.Number)
		if !ok {
			return 0, false
		}
		v, err := n.Int64() // AWS wants an integer
		return v, err == nil
	}
	exp, ok := seconds("exp")
	if !ok {
		return badToken("Missing a required claim: exp")
	}
	iat, ok := seconds("iat")
	if !ok {
		return badToken("Missing a required claim: iat")
	}
	if exp <= now.Unix() {
		return &stsError{
			http.StatusBadRequest, "ExpiredTokenException",
			fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), exp),
		}
	}
	if exp-iat > 24*60*60 {
		return badToken("Token lifetime of %d s", exp-iat)
	}
	if nbf, ok := seconds("nbf"); ok && nbf > now.Unix() || iat > now.Unix()+300 {
		return badToken("The token is not yet valid")
	}
	return nil
}

var (
	tagText    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	sourceText = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// session reads what the token says about the session.
func (w *webIdentity) session(claims map[string]any) *stsError {
	if v, named := claims[sourceIDClaim]; named {
		s, ok := v.(string)
		if !ok || !sourceText.MatchString(s) {
			return badToken("The source identity is malformed")
		}
		w.sourceID = s
	}
	v, named := claims[tagsClaim]
	if !named {
		return nil
	}
	object, _ := v.(map[string]any)
	principal, ok := object["principal_tags"].(map[string]any)
	if !ok || len(object) != 1 || len(principal) == 0 || len(principal) > 50 {
		return badToken("The session tags are malformed")
	}
	w.tags = make(map[string]string, len(principal))
	folded := make(map[string]bool, len(principal))
	for key, v := range principal {
		values, _ := v.([]any)
		if len(values) != 1 {
			return badToken("The session tag %s has not exactly one value", key)
		}
		value, ok := values[0].(string)
		switch {
		case !ok || len([]rune(key)) > 128 || key == "" || len([]rune(value)) > 256 || !tagText.MatchString(key) || !tagText.MatchString(value):
			return badToken("The session tag %s is malformed", key)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return badToken("The session tag %s is reserved", key)
		case folded[strings.ToLower(key)]:
			return badToken("Duplicate session tag %s", key)
		}
		folded[strings.ToLower(key)] = true
		w.tags[key] = value
	}
	return nil
}

// keys gets the provider's key set.
func (p OIDCProvider) keys(ctx context.Context) ([]byte, error) {
	if p.Keys != nil {
		return p.Keys(ctx)
	}
	client := p.Client
	if client == nil {
		client = &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	raw, err := fetch(ctx, client, p.URL+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(raw, &discovery); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if discovery.Issuer != p.URL {
		return nil, errors.New("discovery names another issuer")
	}
	return fetch(ctx, client, discovery.JWKSURI)
}

func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// verifyToken proves the signature, RS256 or ES256, with a key of the set.
func verifyToken(token string, set []byte) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not a compact JWS")
	}
	enc := base64.RawURLEncoding.Strict()
	rawHeader, err := enc.DecodeString(parts[0])
	if err != nil {
		return errors.New("header")
	}
	sig, err := enc.DecodeString(parts[2])
	if err != nil {
		return errors.New("signature")
	}
	var header struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}
	if json.Unmarshal(rawHeader, &header) != nil || header.Kid == "" {
		return errors.New("no kid")
	}
	var keys struct{ Keys []publicJWK }
	if err := json.Unmarshal(set, &keys); err != nil {
		return errors.New("the key set is not JSON")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	for _, k := range keys.Keys {
		if k.Kid == header.Kid && (k.Alg == "" || k.Alg == header.Alg) {
			return k.verify(header.Alg, digest[:], sig)
		}
	}
	return errors.New("no such key")
}

// publicJWK is a key of a key set (RFC 7517).
type publicJWK struct{ Kid, Kty, Alg, Crv, N, E, X, Y string }

func (k publicJWK) verify(alg string, digest, sig []byte) error {
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	switch {
	case alg == "RS256" && k.Kty == "RSA":
		e := number(k.E)
		n := number(k.N)
		if !e.IsInt64() || n.BitLen() < 2048 {
			return errors.New("a weak key")
		}
		return rsa.VerifyPKCS1v15(&rsa.PublicKey{N: n, E: int(e.Int64())}, crypto.SHA256, digest, sig)
	case alg == "ES256" && k.Kty == "EC" && k.Crv == "P-256" && len(sig) == 64:
		point := make([]byte, 65)
		point[0] = 4
		x, y := number(k.X), number(k.Y)
		if x.BitLen() > 256 || y.BitLen() > 256 {
			return errors.New("a malformed key")
		}
		x.FillBytes(point[1:33])
		y.FillBytes(point[33:])
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return err
		}
		if !ecdsa.Verify(pub, digest, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return errors.New("the signature does not verify")
		}
		return nil
	default:
		return fmt.Errorf("the algorithm %q with a key of type %q", alg, k.Kty)
	}
}
