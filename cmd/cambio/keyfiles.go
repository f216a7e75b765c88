package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"cambio/client"
)

// keyFiles are where a certificate's key comes from, and where the certificate
// goes. The private key stays on this machine: what is sent is a request for it, or
// its public half.
type keyFiles struct {
	newKey, out, bundle string
	sshKey              string

	key []byte // PEM of the key that was made
}

func (k *keyFiles) flags(f *pflag.FlagSet) {
	f.StringVar(&k.newKey, "new-key", "", "file to write a new private key to, for a certificate (ECDSA P-256, mode 0600)")
	f.StringVar(&k.out, "out", "", "file to write the certificate and its chain to (with --new-key)")
	f.StringVar(&k.bundle, "bundle", "", "file to write the roots to (with --new-key)")
	f.StringVar(&k.sshKey, "ssh-key", "", "SSH public key to have signed, such as id_ed25519.pub; id_ed25519-cert.pub is written")
}

func (k *keyFiles) set() bool { return k.newKey != "" || k.sshKey != "" }

// written names the files, for a person.
func (k *keyFiles) written() string {
	if k.sshKey != "" {
		return k.sshCertificate()
	}
	names := []string{k.newKey, k.out}
	if k.bundle != "" {
		names = append(names, k.bundle)
	}
	return strings.Join(names, ", ")
}

// sshCertificate is where ssh looks for the certificate of a key.
func (k *keyFiles) sshCertificate() string {
	return strings.TrimSuffix(k.sshKey, ".pub") + "-cert.pub"
}

// ask puts what is to be certified into the request.
func (k *keyFiles) ask(r *client.Request, readFile func(string) ([]byte, error)) error {
	switch {
	case (k.newKey == "") != (k.out == ""):
		return usage("--new-key and --out go together: one file for the key, one for the certificate")
	case k.bundle != "" && k.newKey == "":
		return usage("--bundle goes with --new-key and --out")
	case k.newKey != "" && (same(k.newKey, k.out) || same(k.newKey, k.bundle) || same(k.out, k.bundle)):
		return usage("--new-key, --out and --bundle must be different files")
	case k.newKey != "" && k.sshKey != "":
		return usage("--new-key and --ssh-key are for targets of different kinds")
	case !k.set():
		return nil
	}
	// A token that is taken once would be spent for a certificate that nobody keeps.
	for _, path := range []string{k.newKey, k.out, k.bundle, k.sshKey} {
		if path == "" {
			continue
		}
		if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
			return usage("%s: there is no such folder to write to", filepath.Dir(path))
		}
	}
	if k.sshKey != "" {
		return k.sshPublic(r, readFile)
	}
	return k.request(r)
}

func same(a, b string) bool { return b != "" && filepath.Clean(a) == filepath.Clean(b) }

// request makes the key, and a request that says nothing but whose key it is: the
// gateway takes no name from it.
func (k *keyFiles) request(r *client.Request) error {
	if k.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		k.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	block, _ := pem.Decode(k.key)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	r.CSR = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	r.Type = client.TypeX509
	return nil
}

// sshPublic reads the public key. Its comment, which names a person and a machine,
// is not sent; and a file that holds something else, such as the private key, is not
// sent either.
func (k *keyFiles) sshPublic(r *client.Request, readFile func(string) ([]byte, error)) error {
	const next = "name the public key's file, such as ~/.ssh/id_ed25519.pub"
	if !strings.HasSuffix(k.sshKey, ".pub") {
		return &failure{code: exitUsage, err: fmt.Errorf("--ssh-key %s: not a .pub file", k.sshKey), next: next}
	}
	b, err := readFile(k.sshKey)
	if err != nil {
		return &failure{code: exitUsage, err: fmt.Errorf("--ssh-key: %w", err), next: next}
	}
	line := strings.TrimSpace(string(b))
	fields := strings.Fields(line)
	if strings.ContainsAny(line, "\r\n") || len(fields) < 2 || !strings.HasPrefix(fields[1], "AAAA") { // the length of the kind, in base64
		return &failure{code: exitUsage, err: fmt.Errorf("--ssh-key %s: holds no public key", k.sshKey), next: next}
	}
	r.SSHPublicKey = fields[0] + " " + fields[1]
	r.Type = client.TypeSSH
	return nil
}

// keep writes what came back. The key is written first: a certificate without its
// key would be taken for a fault of the certificate.
func (k *keyFiles) keep(cred client.Credential) error {
	type file struct {
		path, text string
		mode       os.FileMode
	}
	var files []file
	switch {
	case k.newKey != "" && cred.X509 != nil:
		files = []file{
			{k.newKey, string(k.key), 0o600},
			{k.out, ended(cred.X509.Certificate) + ended(cred.X509.Chain), 0o644},
		}
		if k.bundle != "" {
			files = append(files, file{k.bundle, ended(cred.X509.Bundle), 0o644})
		}
	case k.sshKey != "" && cred.SSH != nil:
		files = []file{{k.sshCertificate(), ended(cred.SSH.Certificate), 0o644}}
	case k.set():
		return errors.New("the target gave no certificate for the key")
	}
	for _, f := range files {
		if err := replaceFile(f.path, f.text, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// ended is text with one line end behind it, or "".
func ended(text string) string {
	if text = strings.TrimSpace(text); text != "" {
		text += "\n"
	}
	return text
}

// replaceFile puts a whole file where another one may be, so that nobody reads half
// of it, and nobody but its owner reads a key while it is written.
func replaceFile(path, text string, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cambio-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already where all went well
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
