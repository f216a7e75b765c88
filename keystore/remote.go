package keystore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"cambio/issuer"
)

// Errors of keys outside this process. They are wrapped with what is wrong.
var (
	ErrURI    = errors.New("keystore: unusable key URI")            // the URI names no key that we could use
	ErrSigner = errors.New("keystore: the key did not do its part") // the KMS or HSM failed, refused or lied
)

// signTimeout bounds one signature, retry included: it is on the way of a request.
const signTimeout = 2 * time.Second

// maxURI bounds a key URI: an AWS one has 120 bytes, a PKCS#11 one rarely 300.
const maxURI = 1024

// Remote is a key outside this process: its private half never leaves a KMS or an
// HSM. It is a crypto.Signer of SHA-256 digests, RSA PKCS #1 v1.5 or ECDSA on
// P-256, and nothing else. Whoever uses what it signed must verify it first, with
// Public: package issuer does. Its methods are safe for concurrent use.
type Remote struct {
	uri string
	alg issuer.Alg
	pub crypto.PublicKey
	at  backend
}

// backend is where a remote key is. It is stopped by ctx.
type backend interface {
	// public asks for the public key.
	public(ctx context.Context) (crypto.PublicKey, error)
	// sign signs a SHA-256 digest: RSA PKCS #1 v1.5, or ECDSA as ASN.1 DER.
	sign(ctx context.Context, alg issuer.Alg, digest []byte) ([]byte, error)
}

// URI names the key.
func (r *Remote) URI() string { return r.uri }

// Public is the public key that was asked for once, when the key was imported.
func (r *Remote) Public() crypto.PublicKey { return r.pub }

// Sign signs a SHA-256 digest within 2 s, or gives an error that wraps ErrSigner.
// The reader is not used: the randomness is that of the KMS or HSM.
func (r *Remote) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	// Asked for another scheme, the key would sign something that means another thing.
	if _, pss := opts.(*rsa.PSSOptions); pss || opts == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, fmt.Errorf("%w: it signs SHA-256 digests only", ErrSigner)
	}
	ctx, cancel := context.WithTimeout(context.Background(), signTimeout)
	defer cancel()
	return r.at.sign(ctx, r.alg, digest)
}

// probe lets the key sign a text that is no token and no checkpoint, and checks it.
func (r *Remote) probe() error {
	digest := sha256.Sum256([]byte("cambio key probe\n"))
	sig, err := r.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	ok := false
	switch p := r.pub.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(p, crypto.SHA256, digest[:], sig) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(p, digest[:], sig)
	}
	if !ok {
		return fmt.Errorf("%w: a signature that its own public key refuses", ErrSigner)
	}
	return nil
}

// Probe lets a key that is not in software sign a text that is no token, and
// checks the signature. It is nil for a key in software.
func Probe(k issuer.Key) error {
	if r, ok := k.Signer.(*Remote); ok {
		return r.probe()
	}
	return nil
}

// outside reaches the keys that are not in this process. There is one for each
// Files, so that connections, tokens and sessions outlive a reload of the keys.
type outside struct {
	client   *http.Client
	google   string // base URL of Cloud KMS
	metadata string // base URL of Google's metadata server
	token    *googleToken

	users hsmUsers

	mu   sync.Mutex
	open map[string]backend // by URI
}

func newOutside() *outside {
	return &outside{
		client: newClient(), google: googleKMS, metadata: googleMetadata,
		token: newGoogleToken(), open: make(map[string]backend),
	}
}

// reach is the backend of a URI. It calls nobody yet.
func (o *outside) reach(uri string) (backend, error) {
	if len(uri) > maxURI {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrURI, maxURI)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.open[uri]; ok {
		return b, nil
	}
	var b backend
	var err error
	switch scheme, _, _ := strings.Cut(uri, ":"); scheme {
	case "awskms":
		b, err = o.aws(uri)
	case "gcpkms":
		b, err = o.gcp(uri)
	case "pkcs11":
		b, err = openPKCS11(uri, &o.users)
	default:
		err = fmt.Errorf("%w: awskms:, gcpkms: and pkcs11: are the schemes that there are", ErrURI)
	}
	if err != nil {
		return nil, err
	}
	o.open[uri] = b
	return b, nil
}

// pinned is the remote key of an entry of keys.json. The entry holds the public
// key, so nobody is called: a KMS that is down stops signing, not starting.
func (o *outside) pinned(e entry) (*Remote, error) {
	pub, err := x509.ParsePKIXPublicKey(e.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: key %s has no readable public key", ErrManifest, e.KID)
	}
	b, err := o.reach(e.Signer)
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", ErrManifest, e.KID, err)
	}
	return &Remote{uri: e.Signer, alg: e.Alg, pub: pub, at: b}, nil
}

// fetch asks for the public key of a URI, and has it prove that it signs.
func (o *outside) fetch(ctx context.Context, uri string) (*Remote, error) {
	b, err := o.reach(uri)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*signTimeout) // a person waits, and the first call finds credentials
	defer cancel()
	pub, err := b.public(ctx)
	if err != nil {
		return nil, err
	}
	alg, err := issuer.CheckStrength(pub)
	if err != nil {
		return nil, err
	}
	r := &Remote{uri: uri, alg: alg, pub: pub, at: b}
	return r, r.probe() //nolint:contextcheck // a crypto.Signer has no context; it has a time-out of its own
}
