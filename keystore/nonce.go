package keystore

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"cambio/issuer"
)

// nonceName is the file of the nonce secret. It does not end like a key's file:
// the version of this program before the one that made it reads those.
const nonceName = "nonce.secret"

// nonceFormat is the version of the file, and its first word.
const nonceFormat = "cambio-nonce-1 "

// maxNonce bounds the file: it has 60 bytes.
const maxNonce = 256

// ErrNonce is wrapped by errors about the nonce secret that are not those of a
// file's mode: it is missing where it cannot be made, or cannot be read.
var ErrNonce = errors.New("keystore: no usable nonce secret")

// NonceKey is the secret of 256 bits under which nonces are sealed. All replicas
// that share the folder get the same one. It is made when it is missing and the
// folder can be written; else the error says what to run. It opens nothing but
// nonces of 5 minutes, and is not one of the issuer's keys.
func (f *Files) NonceKey(ctx context.Context, rand io.Reader) ([32]byte, error) {
	key, err := f.readNonce()
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	unlock, err := f.lock(ctx)
	if err == nil {
		defer unlock()
		key, err = f.ensureNonce(rand)
	}
	if readOnly(err) {
		return [32]byte{}, fmt.Errorf("%w: %s is missing and the folder is read-only: run `cambio serve` or `cambio keys rotate` once where it can be written, and bring the file here with the others (a Secret holds it too)",
			ErrNonce, f.path(nonceName))
	}
	return key, err
}

// readOnly reports whether a write failed because nothing may be written there.
func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// ensureNonce reads the secret, or makes it. The caller holds the folder's lock.
func (f *Files) ensureNonce(rand io.Reader) ([32]byte, error) {
	key, err := f.readNonce()
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return [32]byte{}, fmt.Errorf("keystore: read randomness: %w", err)
	}
	text := nonceFormat + base64.StdEncoding.EncodeToString(key[:]) + "\n"
	if err := f.write(nonceName, []byte(text)); err != nil {
		return [32]byte{}, err
	}
	if err := f.syncDir(); err != nil {
		return [32]byte{}, err
	}
	return key, nil
}

// readNonce gives an error that wraps fs.ErrNotExist if there is none yet.
func (f *Files) readNonce() ([32]byte, error) {
	raw, err := f.read(nonceName, maxNonce, true)
	if err != nil {
		return [32]byte{}, err
	}
	text, ok := bytes.CutPrefix(raw, []byte(nonceFormat))
	key, err := base64.StdEncoding.Strict().AppendDecode(nil, bytes.TrimSuffix(text, []byte("\n")))
	if !ok || err != nil || len(key) != 32 {
		return [32]byte{}, fmt.Errorf("%w: %s is not as this program writes it: use the version of the program that wrote it, or remove it: nonces under way are then refused",
			ErrNonce, f.path(nonceName))
	}
	return [32]byte(key), nil
}

var _ issuer.Store = (*Files)(nil)
