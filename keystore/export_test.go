package keystore

import (
	"context"
	"io/fs"
	"os"
)

// UseGoogle has a store ask this server in the place of Cloud KMS and of the
// metadata server.
func (f *Files) UseGoogle(url string) { f.outside.google, f.outside.metadata = url, url }

// ParsePKCS11 is the parser of PKCS#11 URIs, for the fuzzer.
func ParsePKCS11(uri string) (module, pin, token, object, id string, err error) {
	u, err := parsePKCS11(uri)
	return u.module, u.pinSource, u.token, u.object, u.id, err
}

// ReachURI says whether a URI names a key, without calling anybody.
func ReachURI(uri string) error {
	_, err := newOutside().reach(uri)
	return err
}

// ForgetToken ends the access token's life, so that the next call asks anew.
func (f *Files) ForgetToken() { f.outside.token = newGoogleToken() }

// MountReadOnly has a store take what this says for a read-only mount.
func (f *Files) MountReadOnly(is func(fs.FileInfo) bool) {
	f.readOnly = func(file *os.File) bool {
		info, err := file.Stat()
		return err == nil && is(info)
	}
}

// OnReadOnlyMount asks the system.
func OnReadOnlyMount(file *os.File) bool { return onReadOnlyMount(file) }

// HoldFolder locks a folder as whoever publishes into it does.
func HoldFolder(dir string) (release func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := waitLock(context.Background(), d, dir); err != nil {
		return nil, err
	}
	return func() { _ = d.Close() }, nil
}
