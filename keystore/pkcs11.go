//go:build pkcs11

package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"os"

	"github.com/miekg/pkcs11"

	"cambio/issuer"
)

// maxSessions bounds the signatures under way in a token. HSMs allow few
// sessions, and a call into a library cannot be broken off: one that hangs keeps
// its place, and the next ones are refused in time.
const maxSessions = 8

// maxPIN bounds the PIN's file. PKCS#11 tokens take 255 bytes at most.
const maxPIN = 256

// hsmKey is a key in a PKCS#11 token.
type hsmKey struct {
	uri   pkcs11URI
	user  *hsmUser
	lib   *pkcs11.Ctx
	turns chan struct{}    // a place for each call under way
	idle  chan *hsmSession // open and not in use
}

// hsmSession is one session, with the private key's handle in it.
type hsmSession struct {
	h   pkcs11.SessionHandle
	key pkcs11.ObjectHandle
}

// openPKCS11 loads the library. It stays loaded: no library survives being
// unloaded while one of its calls hangs.
func openPKCS11(uri string, users *hsmUsers) (backend, error) {
	u, err := parsePKCS11(uri)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(u.module)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURI, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		// Whoever writes the library runs as us.
		return nil, fmt.Errorf("%w: %s has mode %04o", ErrMode, u.module, info.Mode().Perm())
	}
	lib := pkcs11.New(u.module)
	if lib == nil {
		return nil, fmt.Errorf("%w: %s is no PKCS#11 library", ErrURI, u.module)
	}
	// A second key in the same library finds it initialised.
	if err := lib.Initialize(); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return nil, fmt.Errorf("%w: %s does not start: %w", ErrSigner, u.module, err)
	}
	return &hsmKey{uri: u, user: users.of(u), lib: lib, turns: make(chan struct{}, maxSessions), idle: make(chan *hsmSession, maxSessions)}, nil
}

func (k *hsmKey) public(ctx context.Context) (crypto.PublicKey, error) {
	return await(ctx, k, func() (crypto.PublicKey, error) {
		s, err := k.session()
		if err != nil {
			return nil, err
		}
		defer k.release(s)
		return k.readPublic(s)
	})
}

// sign tries twice: a session may have ended with the token's last restart. A
// refused PIN is not tried twice: HSMs lock the user after a few.
func (k *hsmKey) sign(ctx context.Context, alg issuer.Alg, digest []byte) ([]byte, error) {
	return await(ctx, k, func() ([]byte, error) {
		sig, err := k.signOnce(alg, digest)
		if err != nil && !errors.Is(err, errPIN) {
			k.forget() // the others ended with it
			sig, err = k.signOnce(alg, digest)
		}
		return sig, err
	})
}

// await calls into the library and stops waiting when ctx ends.
func await[T any](ctx context.Context, k *hsmKey, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	select {
	case k.turns <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%w: all %d sessions are busy: %w", ErrSigner, maxSessions, ctx.Err())
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-k.turns }()
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, fmt.Errorf("%w: %w", ErrSigner, r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		return none, fmt.Errorf("%w: the token did not answer: %w", ErrSigner, ctx.Err())
	}
}

func (k *hsmKey) signOnce(alg issuer.Alg, digest []byte) ([]byte, error) {
	s, err := k.session()
	if err != nil {
		return nil, err
	}
	mechanism, input := uint(pkcs11.CKM_ECDSA), digest
	if alg == issuer.RS256 {
		mechanism, input = pkcs11.CKM_RSA_PKCS, append(sha256Info(), digest...)
	}
	err = k.lib.SignInit(s.h, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, s.key)
	var sig []byte
	if err == nil {
		sig, err = k.lib.Sign(s.h, input)
	}
	if err != nil {
		_ = k.lib.CloseSession(s.h) // it may be in any state
		return nil, err
	}
	k.release(s)
	if alg == issuer.RS256 {
		return sig, nil
	}
	if len(sig) != 64 {
		return nil, errors.New("not a signature on P-256")
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
}

// sha256Info is the DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2).
func sha256Info() []byte {
	return []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
}

// session takes an idle session, or opens one, logs in, and finds the key.
func (k *hsmKey) session() (*hsmSession, error) {
	select {
	case s := <-k.idle:
		return s, nil
	default:
	}
	slot, err := k.slot()
	if err != nil {
		return nil, err
	}
	h, err := k.lib.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	s := &hsmSession{h: h}
	if err = k.login(h); err == nil {
		s.key, err = k.find(h, pkcs11.CKO_PRIVATE_KEY)
	}
	if err != nil {
		_ = k.lib.CloseSession(h)
		return nil, err
	}
	return s, nil
}

func (k *hsmKey) release(s *hsmSession) {
	select {
	case k.idle <- s:
	default:
		_ = k.lib.CloseSession(s.h)
	}
}

// forget closes the idle sessions.
func (k *hsmKey) forget() {
	for {
		select {
		case s := <-k.idle:
			_ = k.lib.CloseSession(s.h)
		default:
			return
		}
	}
}

func (k *hsmKey) slot() (uint, error) {
	slots, err := k.lib.GetSlotList(true)
	if err != nil {
		return 0, err
	}
	var found []uint
	for _, slot := range slots {
		if info, err := k.lib.GetTokenInfo(slot); err == nil && info.Label == k.uri.token {
			found = append(found, slot)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d tokens with this label, must be 1", len(found))
	}
	return found[0], nil
}

// login reads the PIN each time, so that a changed one needs no restart. All
// sessions of a process are logged in at once.
func (k *hsmKey) login(h pkcs11.SessionHandle) error {
	pin, err := readFile(k.uri.pinSource, maxPIN, true, onReadOnlyMount)
	if err != nil {
		return err
	}
	return k.user.login(string(bytes.TrimRight(pin, "\r\n")), func(pin string) error {
		return k.lib.Login(h, pkcs11.CKU_USER, pin)
	})
}

// find finds the one object of a class that the URI names.
func (k *hsmKey) find(h pkcs11.SessionHandle, class uint) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if k.uri.object != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.uri.object))
	}
	if k.uri.id != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(k.uri.id)))
	}
	if err := k.lib.FindObjectsInit(h, template); err != nil {
		return 0, err
	}
	found, _, err := k.lib.FindObjects(h, 2)
	if e := k.lib.FindObjectsFinal(h); err == nil {
		err = e
	}
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, errors.New("the URI must name one private and one public key: none, or several, fit")
	}
	return found[0], nil
}

// readPublic reads the public key object beside the private one. A signature that
// does not belong to it is refused at import.
func (k *hsmKey) readPublic(s *hsmSession) (crypto.PublicKey, error) {
	object, err := k.find(s.h, pkcs11.CKO_PUBLIC_KEY)
	if err != nil {
		return nil, err
	}
	if a, err := k.lib.GetAttributeValue(s.h, object, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil),
	}); err == nil && len(a) == 2 && len(a[0].Value) <= maxBody && len(a[1].Value) <= 4 {
		return &rsa.PublicKey{N: new(big.Int).SetBytes(a[0].Value), E: int(new(big.Int).SetBytes(a[1].Value).Int64())}, nil
	}
	a, err := k.lib.GetAttributeValue(s.h, object, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil), pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil),
	})
	if err != nil || len(a) != 2 {
		return nil, errors.New("neither an RSA nor an EC key")
	}
	var curve asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(a[0].Value, &curve); err != nil || !curve.Equal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}) {
		return nil, errors.New("an elliptic curve other than P-256")
	}
	point := a[1].Value
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner // the standard wraps it; some libraries do not
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}
