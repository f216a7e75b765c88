// Package keystore keeps the issuer's keys.
//
// [Files] keeps them in a folder: keys.json says which keys there are and what
// each is for, and KID.pem holds each private key, unless it is in a KMS or an
// HSM ([Remote]). The folder may be shared by replicas; all but the one that
// rotates may have it read-only. [Files.Publish] writes the public halves for a
// static host.
package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"cambio/issuer"
)

// Errors of a folder that must not be used. They are wrapped with the file and
// the fix.
var (
	ErrMode     = errors.New("keystore: readable or writable by others")
	ErrManifest = errors.New("keystore: unusable keys.json")
	ErrKeyFile  = errors.New("keystore: unusable key file")
	ErrBusy     = errors.New("keystore: another process is changing the keys")
)

// The names in the folder.
const (
	manifestName = "keys.json"
	lockName     = ".lock"
	tempPrefix   = ".tmp-" // of files that are being written; no key is ever read from one
)

// Caps of what is read.
const (
	maxManifest = 64 << 10 // 50 keys take 12 KiB
	maxKeyFile  = 16 << 10 // an RSA key of 8192 bits takes 7 KiB
	maxEntries  = 1000     // a folder of keys; more is some other folder
)

// Files is an issuer.Store in a folder. Its methods are safe for concurrent use.
type Files struct {
	dir      string
	log      *slog.Logger
	outside  *outside
	readOnly func(*os.File) bool // whether nobody can write where this file lies

	mu   sync.Mutex
	seen [sha256.Size]byte // of the keys.json that the last good Load or Save left
}

// NewFiles is the store in this folder. It touches nothing yet.
func NewFiles(dir string, log *slog.Logger) *Files {
	return &Files{dir: dir, log: log, outside: newOutside(), readOnly: onReadOnlyMount}
}

// Load reads the ring. It writes nothing, and calls nobody: keys.json holds the
// public half of a key that is elsewhere. The error wraps issuer.ErrNoKeys if
// the folder never held any; ErrMode, ErrManifest, ErrKeyFile or
// issuer.ErrWeakKey name the file at fault and the fix. Every *.pem and *.key in
// the folder must be a strong key in a file of its owner alone, listed or not: a
// weak one that lies there today is listed tomorrow. A strong one that is not
// listed is left by a crash, ignored, and logged.
//
// On a file system that is mounted read-only, as Kubernetes mounts a Secret, the
// folder may have any mode, and a file may be readable by its group.
func (f *Files) Load(ctx context.Context) (issuer.Ring, error) {
	for try := 1; ; try++ {
		raw, err := f.readManifest()
		if err != nil {
			return issuer.Ring{}, err
		}
		r, err := f.load(ctx, raw)
		if err == nil {
			if info, err := os.Stat(f.path(manifestName)); err == nil {
				r.Changed = info.ModTime()
			}
			f.remember(raw)
			return r, nil
		}
		// A rotation elsewhere may have taken key files away between the two reads.
		if again, e := f.readManifest(); try < maxLoads && e == nil && !bytes.Equal(again, raw) {
			continue
		}
		return issuer.Ring{}, err
	}
}

// maxLoads bounds how often Load starts anew because the keys changed meanwhile:
// they change once a day at most.
const maxLoads = 3

func (f *Files) load(ctx context.Context, raw []byte) (issuer.Ring, error) {
	files, err := f.readKeys()
	if err != nil {
		return issuer.Ring{}, err
	}
	if raw == nil {
		// keys.json is written before the first key, so keys of ours without it
		// mean that it was lost. New keys would then be refused by every cloud.
		for name, k := range files {
			if name == k.kid+".pem" {
				return issuer.Ring{}, fmt.Errorf("%w: %s is missing, but %s is there: restore it from a backup, or move the *.pem files away to begin anew",
					ErrManifest, f.path(manifestName), name)
			}
		}
		// Keys in a KMS leave no file of theirs, but an import leaves this one.
		if _, err := os.Lstat(f.path(publicationName)); err == nil {
			return issuer.Ring{}, fmt.Errorf("%w: %s is missing, but %s is there: restore it from a backup, or move that away to begin anew",
				ErrManifest, f.path(manifestName), publicationName)
		}
	}
	var m manifest
	if raw != nil {
		if m, err = parseManifest(raw); err != nil {
			return issuer.Ring{}, fmt.Errorf("%s: %w", f.path(manifestName), err)
		}
	}
	var r issuer.Ring
	for _, e := range m.Keys {
		if e.Signer != "" {
			remote, err := f.outside.pinned(e)
			if err != nil {
				return issuer.Ring{}, fmt.Errorf("%s: %w", f.path(manifestName), err)
			}
			r.Keys = append(r.Keys, e.key(remote))
			continue
		}
		name := e.KID + ".pem"
		k, ok := files[name]
		if !ok {
			return issuer.Ring{}, fmt.Errorf("%w: %s is listed in %s but missing: restore it from a backup, or revoke the key", ErrKeyFile, f.path(name), manifestName)
		}
		if k.kid != e.KID || k.alg != e.Alg {
			return issuer.Ring{}, fmt.Errorf("%w: %s holds another key than its name says: restore it from a backup", ErrKeyFile, f.path(name))
		}
		delete(files, name)
		r.Keys = append(r.Keys, e.key(k.signer))
	}
	for name := range files {
		f.log.WarnContext(ctx, "a key file is not listed and not used", slog.String("file", f.path(name)), slog.String("manifest", manifestName))
	}
	if len(r.Keys) == 0 {
		return issuer.Ring{}, fmt.Errorf("%w: %s", issuer.ErrNoKeys, f.dir)
	}
	if err := r.Validate(); err != nil {
		return issuer.Ring{}, fmt.Errorf("%s: %w", f.path(manifestName), err)
	}
	return r, nil
}

// Changed reports whether the keys are others than those that the last good Load
// or Save saw. It reads one small file, so it may be called every few seconds. It
// stays true while what is there cannot be loaded. The file's bytes decide, not
// its time: times are coarse, and a restored backup keeps its old one.
func (f *Files) Changed() (bool, error) {
	raw, err := f.readManifest()
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return sha256.Sum256(raw) != f.seen, nil
}

func (f *Files) remember(raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = sha256.Sum256(raw)
}

func (f *Files) path(name string) string { return filepath.Join(f.dir, name) }

// readManifest returns nil without an error if there is no keys.json.
func (f *Files) readManifest() ([]byte, error) {
	raw, err := f.read(manifestName, maxManifest, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// readKeys reads every key file of the folder, by file name. A folder that is
// not there has none.
func (f *Files) readKeys() (map[string]keyFile, error) {
	d, err := os.Open(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	defer d.Close() //nolint:errcheck // opened for reading only
	info, err := d.Stat()
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	// Whoever may write here may put his own key in the place of ours. A Secret of
	// Kubernetes is a folder of mode 3777 that is mounted read-only: nobody may.
	if info.Mode().Perm()&0o022 != 0 && !f.readOnly(d) {
		return nil, fmt.Errorf("%w: %s has mode %04o: run chmod 700 %s", ErrMode, f.dir, info.Mode().Perm(), f.dir)
	}
	names, err := d.Readdirnames(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if len(names) > maxEntries {
		return nil, fmt.Errorf("%w: %s holds more than %d files: give the keys a folder of their own", ErrKeyFile, f.dir, maxEntries)
	}
	out := make(map[string]keyFile)
	for _, name := range names {
		if ext := strings.ToLower(filepath.Ext(name)); ext != ".pem" && ext != ".key" {
			continue
		}
		raw, err := f.read(name, maxKeyFile, true)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a rotation elsewhere took it away just now; if it is listed, that is found out
		}
		if err != nil {
			return nil, err
		}
		k, err := parseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: move it out of this folder", f.path(name), err)
		}
		out[name] = k
	}
	return out, nil
}

// read reads a file of the folder.
func (f *Files) read(name string, limit int64, secret bool) ([]byte, error) {
	return readFile(f.path(name), limit, secret, f.readOnly)
}

// Who else may have which right to a file.
const (
	byOthers   fs.FileMode = 0o077 // any
	beyondRead fs.FileMode = 0o037 // any, but that the group reads
	toWrite    fs.FileMode = 0o022
)

// ReadPrivate reads a file that holds a secret of ours and lies elsewhere than in
// the folder of the keys, such as the key of an authority. It must be its owner's
// alone, as the keys must: the error wraps ErrMode, and names the fix.
func ReadPrivate(path string) ([]byte, error) {
	return readFile(path, maxKeyFile, true, onReadOnlyMount)
}

// readFile reads a regular file of at most limit bytes; a secret one must be its
// owner's alone. On a read-only mount its group may read it too: Kubernetes gives
// a Secret's files to root, and the process gets at them by its group only.
func readFile(path string, limit int64, secret bool, readOnly func(*os.File) bool) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's folder, and a name that its listing gave
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file: move it out of this folder", ErrKeyFile, path)
	}
	// Another user of the machine could read the key that signs for all targets, or
	// put his own in its place.
	refused, fix := toWrite, "run chmod 600 "+path
	if secret {
		refused = byOthers
	}
	mode := info.Mode().Perm()
	// The opened file is asked, not the folder: a link may lead out of the mount.
	if mode&refused != 0 && readOnly(file) {
		refused, fix = beyondRead, "mount it with mode 0440 (defaultMode of a Secret)"
		if !secret {
			refused = 0 // nobody writes there, whatever the mode says
		}
	}
	if mode&refused != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o: %s", ErrMode, path, mode, fix)
	}
	raw, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes: move it out of this folder", ErrKeyFile, path, limit)
	}
	return raw, nil
}

// parseKey reads one private key: PKCS#8, which is what we write, or the older
// PKCS#1 and SEC 1 forms. Its strength is checked here. No error holds a byte of
// the file.
func parseKey(raw []byte) (keyFile, error) {
	block, rest := pem.Decode(raw)
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		return keyFile{}, fmt.Errorf("%w: not one PEM block", ErrKeyFile)
	}
	key, err := parseDER(block)
	if err != nil {
		return keyFile{}, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return keyFile{}, fmt.Errorf("%w: a key that cannot sign", ErrKeyFile)
	}
	alg, err := issuer.CheckStrength(signer.Public())
	if err != nil {
		return keyFile{}, err
	}
	kid, err := issuer.KeyID(signer.Public())
	if err != nil {
		return keyFile{}, err
	}
	return keyFile{kid: kid, alg: alg, signer: signer}, nil
}

func parseDER(block *pem.Block) (any, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%w: a PEM block of another type than PRIVATE KEY", ErrKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: not a private key that can be used (RSA of 2048 to 8192 bits, or ECDSA on P-256)", ErrKeyFile)
	}
	return key, nil
}
