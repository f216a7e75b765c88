package standin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"strings"

	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
)

// The repository whose job the stand-in plays.
const (
	owner   = "acme"
	ownerID = "1"
	repo    = "acme/app"
	repoID  = "2"
	commit  = "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15"
)

// Claims are the claims of a default token: a job of GitHub Actions in acme/app
// on main, issued now, for 15 minutes, each with a jti of its own.
func (p *IdentityProvider) Claims() map[string]any {
	now := p.now().Unix()
	return map[string]any{
		"iss":                   p.issuer,
		"aud":                   p.audience,
		"sub":                   "repo:" + owner + "@" + ownerID + "/app@" + repoID + ":ref:refs/heads/main",
		"jti":                   p.uuid(),
		"iat":                   now,
		"nbf":                   now - 300,
		"exp":                   now + 900,
		"ref":                   "refs/heads/main",
		"ref_type":              "branch",
		"ref_protected":         "true",
		"sha":                   commit,
		"repository":            repo,
		"repository_id":         repoID,
		"repository_owner":      owner,
		"repository_owner_id":   ownerID,
		"repository_visibility": "private",
		"run_id":                "9876543210",
		"run_number":            "42",
		"run_attempt":           "1",
		"actor":                 "octocat",
		"actor_id":              "583231",
		"workflow":              "deploy",
		"workflow_ref":          repo + "/.github/workflows/deploy.yml@refs/heads/main",
		"workflow_sha":          commit,
		"job_workflow_ref":      repo + "/.github/workflows/deploy.yml@refs/heads/main",
		"job_workflow_sha":      commit,
		"head_ref":              "",
		"base_ref":              "",
		"event_name":            "push",
		"runner_environment":    "github-hosted",
		"check_run_id":          "5550001",
	}
}

// Token signs a default token with the first key. claims overlays it; a nil
// value takes a claim away. It panics if there is no key, or if JSON cannot say
// what is in claims: mistakes in the test.
func (p *IdentityProvider) Token(claims map[string]any) string {
	c := p.Claims()
	maps.Copy(c, claims)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	token, err := p.Sign(JWS{Payload: encode(c)})
	if err != nil {
		panic(err.Error())
	}
	return token
}

// JWS is a token as a test wants it, well-formed or not.
type JWS struct {
	Payload []byte
	Header  []byte // default: alg, kid and typ as they are
	Key     string // id of the key that signs; default the first
	Alg     string // what it signs with, whatever Header says; default the key's own. none, or HS256, HS384, HS512
	Secret  []byte // the HMAC key of HS*
}

// Sign makes a compact JWS over exactly these bytes. The error says that the key
// cannot sign with the algorithm.
func (p *IdentityProvider) Sign(j JWS) (string, error) {
	var k Key
	p.mu.Lock()
	for _, h := range p.keys {
		if j.Key == "" || h.KID == j.Key {
			k = h
			break
		}
	}
	p.mu.Unlock()
	if k.Private == nil {
		return "", fmt.Errorf("standin: no key %q", j.Key)
	}
	if j.Alg == "" {
		j.Alg = k.Alg()
	}
	if j.Header == nil {
		j.Header = encode(map[string]any{"alg": j.Alg, "kid": k.KID, "typ": "JWT"})
	}
	enc := base64.RawURLEncoding.EncodeToString
	input := enc(j.Header) + "." + enc(j.Payload)
	sig, err := sign(locked{p}, k.Private, j.Alg, []byte(input), j.Secret)
	if err != nil {
		return "", err
	}
	return input + "." + enc(sig), nil
}

func sign(random io.Reader, key crypto.Signer, alg string, input, secret []byte) ([]byte, error) {
	if strings.EqualFold(alg, "none") {
		return nil, nil
	}
	if alg == "EdDSA" {
		return key.Sign(random, input, crypto.Hash(0))
	}
	if len(alg) != 5 {
		return nil, fmt.Errorf("standin: no algorithm %q", alg)
	}
	family := alg[:2]
	var h crypto.Hash
	switch alg[2:] {
	case "256":
		h = crypto.SHA256
	case "384":
		h = crypto.SHA384
	case "512":
		h = crypto.SHA512
	default:
		return nil, fmt.Errorf("standin: no algorithm %q", alg)
	}
	if family == "HS" {
		m := hmac.New(h.New, secret)
		m.Write(input)
		return m.Sum(nil), nil
	}
	d := h.New()
	d.Write(input)
	digest := d.Sum(nil)
	_, onCurve := key.(*ecdsa.PrivateKey)
	_, weak := key.(*WeakRSA)
	_, strong := key.(*rsa.PrivateKey)
	switch {
	case family == "RS" && (weak || strong):
		return key.Sign(random, digest, h)
	case family == "PS" && strong:
		return key.Sign(random, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h})
	case family == "ES" && onCurve:
		return signEC(random, key.(*ecdsa.PrivateKey), digest)
	default:
		return nil, fmt.Errorf("standin: a %T does not sign %s", key, alg)
	}
}

// signEC gives r and s in the fixed size of the curve (RFC 7518 section 3.4).
func signEC(random io.Reader, key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(random, key, digest)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}

// Malleate returns an ECDSA signature's twin (r, n-s) of a token: another string
// that verifies as well. The error says that the token is not one of P-256.
func (p *IdentityProvider) Malleate(kid, token string) (string, error) {
	k, _ := p.Key(kid)
	key, ok := k.Private.(*ecdsa.PrivateKey)
	dot := strings.LastIndexByte(token, '.')
	if !ok || dot < 0 {
		return "", errors.New("standin: not a token of an elliptic key")
	}
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil || len(sig)%2 != 0 {
		return "", errors.New("standin: not an ECDSA signature")
	}
	half := len(sig) / 2
	s := new(big.Int).SetBytes(sig[half:])
	s.Sub(key.Curve.Params().N, s).FillBytes(sig[half:])
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(sig), nil
}

// locked lets goroutines share the handed-in source of randomness.
type locked struct{ p *IdentityProvider }

func (l locked) Read(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.p.rand.Read(b)
}

// uuid is a random UUID (RFC 9562 section 5.4).
func (p *IdentityProvider) uuid() string {
	var b [16]byte
	if _, err := io.ReadFull(locked{p}, b[:]); err != nil {
		panic("standin: " + err.Error())
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
