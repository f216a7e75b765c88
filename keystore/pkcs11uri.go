package keystore

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// pkcs11URI is a key in a token (RFC 7512).
type pkcs11URI struct {
	module    string // the library to load
	pinSource string // the file that holds the PIN
	token     string
	object    string // CKA_LABEL, or ""
	id        string // CKA_ID, or ""
}

// parsePKCS11 reads the part of RFC 7512 that names one key: token, and object
// or id, or both; module-path and pin-source are required. Anything else is
// refused, for what it would leave out of the search it would leave out of our
// checks.
func parsePKCS11(uri string) (pkcs11URI, error) {
	const form = "write pkcs11:token=TOKEN;object=LABEL?module-path=/PATH&pin-source=/PATH"
	rest, ok := strings.CutPrefix(uri, "pkcs11:")
	if !ok || len(uri) > maxURI {
		return pkcs11URI{}, fmt.Errorf("%w: %s", ErrURI, form)
	}
	path, query, _ := strings.Cut(rest, "?")
	var u pkcs11URI
	fields := map[string]*string{"token": &u.token, "object": &u.object, "id": &u.id}
	if err := attributes(path, ";", fields); err != nil {
		return pkcs11URI{}, err
	}
	if strings.Contains(query, "pin-value") {
		// keys.json is listed, copied and backed up; a PIN in it would be too.
		return pkcs11URI{}, fmt.Errorf("%w: a PIN comes from a file: write pin-source=/PATH in place of pin-value", ErrURI)
	}
	if err := attributes(query, "&", map[string]*string{"module-path": &u.module, "pin-source": &u.pinSource}); err != nil {
		return pkcs11URI{}, err
	}
	u.pinSource = strings.TrimPrefix(strings.TrimPrefix(u.pinSource, "file:"), "//")
	switch {
	case u.token == "" || u.object == "" && u.id == "":
		return pkcs11URI{}, fmt.Errorf("%w: token and object or id are required: %s", ErrURI, form)
	case !filepath.IsAbs(u.module) || !filepath.IsAbs(u.pinSource):
		return pkcs11URI{}, fmt.Errorf("%w: module-path and pin-source must be absolute paths: %s", ErrURI, form)
	}
	return u, nil
}

// attributes reads name=value pairs; each known name once, with a value.
func attributes(text, separator string, into map[string]*string) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, separator) {
		name, value, _ := strings.Cut(pair, "=")
		at := into[name]
		decoded, err := url.PathUnescape(value)
		if at == nil || *at != "" || err != nil || decoded == "" || strings.ContainsRune(decoded, 0) {
			return fmt.Errorf("%w: the attribute %q is unknown, repeated, empty or malformed", ErrURI, name)
		}
		*at = decoded
	}
	return nil
}
