//go:build pkcs11

package keystore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// errPIN says that the token does not take the PIN, and that asking again would
// only bring it nearer to locking its user.
var errPIN = errors.New("the token refuses the PIN; it is not asked again until the PIN file holds another one, or this process starts anew")

// hsmUsers are those that we log in as, one for each token: the keys in it share
// its count of wrong PINs.
type hsmUsers struct {
	mu sync.Mutex
	by map[[2]string]*hsmUser // by library and token
}

func (u *hsmUsers) of(uri pkcs11URI) *hsmUser {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by == nil {
		u.by = make(map[[2]string]*hsmUser)
	}
	name := [2]string{uri.module, uri.token}
	if u.by[name] == nil {
		u.by[name] = new(hsmUser)
	}
	return u.by[name]
}

// hsmUser is the user of one token.
type hsmUser struct {
	mu      sync.Mutex
	refused [sha256.Size]byte // of the PIN that the token refused last
	why     error             // nil: it refused none since the last login
}

// login logs in, unless the token refused this very PIN before: a PIN that was
// changed in the token and not in the file would else, with every exchange, be
// one wrong try more, until the token locks the user for good. One at a time, so
// that those who come at once are one try and not eight.
func (u *hsmUser) login(pin string, ask func(pin string) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := sha256.Sum256([]byte(pin))
	if u.why != nil && sum == u.refused {
		return fmt.Errorf("%w: %w", errPIN, u.why)
	}
	err := ask(pin)
	switch {
	case err == nil || errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		u.why = nil
		return nil
	case refusesPIN(err):
		u.refused, u.why = sum, err
		return fmt.Errorf("%w: %w", errPIN, err)
	}
	return err
}

// refusesPIN reports whether the PIN is at fault, and not the session or the token.
func refusesPIN(err error) bool {
	for _, code := range []uint{
		pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE,
	} {
		if errors.Is(err, pkcs11.Error(code)) {
			return true
		}
	}
	return false
}
