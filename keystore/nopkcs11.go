//go:build !pkcs11

package keystore

import "fmt"

// hsmUsers are none in this build.
type hsmUsers struct{}

// openPKCS11 refuses: loading a library of the HSM's maker needs cgo, and the
// usual build is static.
func openPKCS11(uri string, _ *hsmUsers) (backend, error) {
	if _, err := parsePKCS11(uri); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: this build has no PKCS#11: use one made with `CGO_ENABLED=1 go build -tags pkcs11 ./cmd/cambio`", ErrURI)
}
