package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"
	"strings"
	"time"

	"cambio/issuer"
)

// Where Google answers. The metadata server is named by its address: a name
// could be answered by somebody else.
const (
	googleKMS      = "https://cloudkms.googleapis.com"
	googleMetadata = "http://169.254.169.254"
	googleFlavor   = "Google"
)

// gcpURI is gcpkms://NAME, NAME being that of one version of a key.
var gcpURI = regexp.MustCompile(`^gcpkms://(projects/[a-z0-9][a-z0-9.:-]{0,127}/locations/[a-z0-9-]{1,63}/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}/cryptoKeyVersions/[1-9][0-9]{0,9})$`)

// gcpKey is a version of a key in Google Cloud KMS.
type gcpKey struct {
	o    *outside
	name string
}

func (o *outside) gcp(uri string) (*gcpKey, error) {
	m := gcpURI.FindStringSubmatch(uri)
	if m == nil {
		return nil, fmt.Errorf("%w: write gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/N", ErrURI)
	}
	return &gcpKey{o: o, name: m[1]}, nil
}

// crc is CRC32C, by which Google tells bytes that the way has changed.
func crc(b []byte) int64 { return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

func (k *gcpKey) public(ctx context.Context) (crypto.PublicKey, error) {
	var out struct {
		PEM  string `json:"pem"`
		Alg  string `json:"algorithm"`
		CRC  *int64 `json:"pemCrc32c,string"`
		Name string `json:"name"`
	}
	if err := k.call(ctx, http.MethodGet, "/publicKey", nil, &out); err != nil {
		return nil, err
	}
	if out.Name != k.name || out.CRC == nil || *out.CRC != crc([]byte(out.PEM)) {
		return nil, fmt.Errorf("%w: Google answered for another key, or the answer is damaged", ErrSigner)
	}
	switch out.Alg {
	case "RSA_SIGN_PKCS1_2048_SHA256", "RSA_SIGN_PKCS1_3072_SHA256", "RSA_SIGN_PKCS1_4096_SHA256", "EC_SIGN_P256_SHA256":
	default:
		return nil, fmt.Errorf("%w: the key must be RSA_SIGN_PKCS1_2048_SHA256 or EC_SIGN_P256_SHA256, not %s", ErrSigner, strings.ToUpper(kindDigits(out.Alg)))
	}
	block, rest := pem.Decode([]byte(out.PEM))
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("%w: no public key that can be read", ErrSigner)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: no public key that can be read", ErrSigner)
	}
	alg, err := issuer.CheckStrength(pub)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(out.Alg, "RSA") != (alg == issuer.RS256) {
		return nil, fmt.Errorf("%w: a key of another kind than it says", ErrSigner)
	}
	return pub, nil
}

// kindDigits is kind for the names of algorithms, which hold digits.
func kindDigits(s string) string {
	if kind(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return 'x'
		}
		return r
	}, s)) == "" {
		return "another"
	}
	return s
}

func (k *gcpKey) sign(ctx context.Context, _ issuer.Alg, digest []byte) ([]byte, error) {
	var out struct {
		Signature []byte `json:"signature"`
		CRC       *int64 `json:"signatureCrc32c,string"`
		Verified  bool   `json:"verifiedDigestCrc32c"`
		Name      string `json:"name"`
	}
	in := map[string]any{"digest": map[string]any{"sha256": digest}, "digestCrc32c": fmt.Sprint(crc(digest))}
	if err := k.call(ctx, http.MethodPost, ":asymmetricSign", in, &out); err != nil {
		return nil, err
	}
	switch {
	case out.Name != k.name:
		return nil, fmt.Errorf("%w: Google answered for another key", ErrSigner)
	case !out.Verified, out.CRC == nil, *out.CRC != crc(out.Signature), len(out.Signature) == 0:
		return nil, fmt.Errorf("%w: the digest or the signature was damaged on the way", ErrSigner)
	}
	return out.Signature, nil
}

func (k *gcpKey) call(ctx context.Context, method, what string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("keystore: encode a request: %w", err)
		}
	}
	token, err := k.o.token.get(ctx, k.o)
	if err != nil {
		return err
	}
	a, err := k.o.call(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, method, k.o.google+"/v1/"+k.name+what, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if in != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, nil
	}, func(answer) bool { return false }, googleKind)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("%w: an answer that cannot be read", ErrSigner)
	}
	return nil
}

// googleKind is the name of an error, such as PERMISSION_DENIED.
func googleKind(a answer) string {
	var e struct {
		Error struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &e) != nil {
		return ""
	}
	return kind(e.Error.Status)
}

// googleToken is the access token of the machine's service account.
type googleToken struct {
	turn  chan struct{} // who holds it may use the rest; unlike a mutex, waiting for it can end
	text  string
	until time.Time
}

func newGoogleToken() *googleToken { return &googleToken{turn: make(chan struct{}, 1)} }

// Times of the token. The metadata server gives the same one until 5 minutes
// before its end.
const (
	tokenFresh = 4 * time.Minute  // with less than this left, ask for a new one
	tokenLast  = 10 * time.Second // with less than this left, it is of no use
)

// get asks the metadata server, at most once at a time, and keeps the answer.
func (t *googleToken) get(ctx context.Context, o *outside) (string, error) {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("%w: no access token: %w", ErrSigner, ctx.Err())
	}
	defer func() { <-t.turn }()
	left := time.Until(t.until)
	if left > tokenFresh {
		return t.text, nil
	}
	text, life, err := o.fetchToken(ctx)
	switch {
	case err == nil:
		t.text, t.until = text, time.Now().Add(life)
	case left < tokenLast:
		return "", err
	}
	return t.text, nil
}

func (o *outside) fetchToken(ctx context.Context) (string, time.Duration, error) {
	a, err := o.call(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.metadata+"/computeMetadata/v1/instance/service-accounts/default/token", http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Metadata-Flavor", googleFlavor)
		return req, nil
	}, func(answer) bool { return false }, func(answer) string { return "" })
	if err != nil {
		return "", 0, fmt.Errorf("no access token of the metadata server: %w", err)
	}
	var out struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
		Life  int64  `json:"expires_in"`
	}
	// What answers at that address elsewhere than at Google does not send the header.
	if a.header.Get("Metadata-Flavor") != googleFlavor || json.Unmarshal(a.body, &out) != nil ||
		out.Type != "Bearer" || out.Token == "" || out.Life <= 0 || out.Life > 24*3600 || strings.ContainsAny(out.Token, "\r\n") {
		return "", 0, fmt.Errorf("%w: no access token: the metadata server's answer cannot be read", ErrSigner)
	}
	return out.Token, time.Duration(out.Life) * time.Second, nil
}
