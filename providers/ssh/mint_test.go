package ssh_test

import (
	"context"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // what must be refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	stdx509 "crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	openssh "golang.org/x/crypto/ssh"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/providertest"
	"cambio/providers/ssh"
)

// keys are made once: RSA takes its time.
var keys = sync.OnceValues(func() (map[string]crypto.Signer, error) {
	out := map[string]crypto.Signer{}
	for name, bits := range map[string]int{"RSA 1024": 1024, "RSA 2048": 2048, "RSA 3072": 3072} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		out[name] = key
	}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		out[name] = key
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	out["Ed25519"] = key
	return out, err
})

func key(tb testing.TB, name string) crypto.Signer {
	tb.Helper()
	all, err := keys()
	if err != nil {
		tb.Fatal(err)
	}
	return all[name]
}

// line is a key as its .pub file has it.
func line(tb testing.TB, pub crypto.PublicKey) string {
	tb.Helper()
	p, err := openssh.NewPublicKey(pub)
	if err != nil {
		tb.Fatal(err)
	}
	return string(openssh.MarshalAuthorizedKey(p))
}

// opensshPEM is a private key as ssh-keygen writes it.
func opensshPEM(tb testing.TB, k crypto.Signer) []byte {
	tb.Helper()
	block, err := openssh.MarshalPrivateKey(k, "")
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func authority(tb testing.TB, kind string) *ssh.Authority {
	tb.Helper()
	a, err := ssh.Open(opensshPEM(tb, key(tb, kind)))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// ask is a good order's.
func ask(public, grant string) exchangetest.Ask {
	return exchangetest.Ask{
		Type: ssh.TargetType(), MaxTTL: 24 * time.Hour, Grant: grant,
		Target:  exchange.Target{Types: ssh.Types(), Certifies: exchange.CertifiesSSHKey, Certifiable: ssh.Certifiable, Handle: ssh.Serial},
		Request: exchange.Request{Certify: public, Certifies: exchange.CertifiesSSHKey},
	}
}

type answer struct {
	Certificate string `json:"certificate"`
	KeyID       string `json:"key_id"`
	Serial      string `json:"serial"`
	Expiration  string `json:"expiration"`
}

func open(tb testing.TB, got exchange.Credential) (answer, *openssh.Certificate) {
	tb.Helper()
	var a answer
	d := json.NewDecoder(strings.NewReader(got.Value.Reveal()))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		tb.Fatal(err)
	}
	pub, _, _, rest, err := openssh.ParseAuthorizedKey([]byte(a.Certificate))
	if err != nil || len(rest) > 0 {
		tb.Fatal(err)
	}
	c, ok := pub.(*openssh.Certificate)
	if !ok {
		tb.Fatalf("a %T", pub)
	}
	return a, c
}

const everything = `principals: [deploy, web], extensions: [permit-pty, permit-port-forwarding], force_command: "/usr/bin/deploy --to 'a b'", source_addresses: [10.0.0.0/8, "fd00::/8"], ttl: 1h`

func TestMinter(t *testing.T) {
	secret := string(opensshPEM(t, key(t, "Ed25519")))
	good := line(t, key(t, "P-256").Public())
	kind, blob, _ := strings.Cut(strings.TrimSpace(good), " ")
	a := authority(t, "Ed25519")
	providertest.Local{
		Ask: ask(strings.TrimSpace(good)+" runner@host", everything), Handle: ssh.Serial,
		New:      func(testing.TB) exchange.Minter { return ssh.Minter{Authority: a, Rand: rand.Reader} },
		Canaries: append(strings.Split(secret, "\n")[1:4], "PRIVATE KEY"),
		BadCertify: map[string]string{
			"no key": "hello", "a private key": secret, "no base64": kind + " hello!", "half of it": kind + " " + blob[:40], "nothing behind": kind,
			"bytes behind":        kind + " " + base64.StdEncoding.EncodeToString(append(raw(t, blob), 0)),
			"another type":        openssh.KeyAlgoED25519 + " " + blob,
			"options":             `command="/bin/sh" ` + good,
			"an option":           "no-pty " + good,
			"two keys":            good + good,
			"a tab":               kind + "\t" + blob,
			"a space before":      " " + good,
			"DSA":                 dsaLine(t),
			"a weak RSA key":      line(t, key(t, "RSA 1024").Public()),
			"an even exponent":    evenRSA(t),
			"a security key":      securityKey(t),
			"a certificate":       certificateLine(t, a),
			"an unknown type":     "ssh-new " + blob,
			"a line feed between": kind + "\n" + blob,
		},
		BadGrants: map[string]string{
			"no principals": `ttl: 5m`, "none of them": `principals: []`, "a comma": `principals: ["a,b"]`, "a space": `principals: ["a b"]`, "a wildcard": `principals: ["*"]`, "twice": `principals: [a, a]`,
			"a principal from a claim": `principals: ["${claims.actor}"]`, "another extension": `principals: [a], extensions: [no-touch-required]`, "an extension twice": `principals: [a], extensions: [permit-pty, permit-pty]`,
			"two lines": `principals: [a], force_command: "a\nb"`, "bits of a host": `principals: [a], source_addresses: [10.0.0.1/8]`, "an address": `principals: [a], source_addresses: [10.0.0.1]`,
			"IPv4 in IPv6": `principals: [a], source_addresses: ["::ffff:10.0.0.0/104"]`, "no range": `principals: [a], source_addresses: ["!10.0.0.0/8"]`, "longer than a day": `principals: [a], ttl: 25h`, "scopes": `principals: [a], scopes: [a]`,
		},
		Broken: map[string]func(testing.TB, exchange.Order) (exchange.Minter, exchange.Order){
			"no key": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.Certify = ""
				return ssh.Minter{Authority: a, Rand: rand.Reader}, o
			},
			"no ID": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.ID = "AAAA"
				return ssh.Minter{Authority: a, Rand: rand.Reader}, o
			},
			"nobody": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.Grant.Extra = nil
				return ssh.Minter{Authority: a, Rand: rand.Reader}, o
			},
		},
		Check: func(tb testing.TB, o exchange.Order, got exchange.Credential) {
			tb.Helper()
			said, c := open(tb, got)
			if !got.Structured {
				tb.Error("an OAuth client would take it for a bearer token")
			}
			if c.CertType != openssh.UserCert || c.KeyId != exchangetest.Decision+" "+exchangetest.Workload || said.KeyID != c.KeyId || said.Serial != got.Handle || new(big.Int).SetUint64(c.Serial).String() != said.Serial {
				tb.Errorf("type %d, key id %q, serial %d; told %+v", c.CertType, c.KeyId, c.Serial, said)
			}
			if c.ValidAfter != uint64(o.Issued.Unix()-30) || c.ValidBefore != uint64(o.Issued.Add(time.Hour).Unix()) || said.Expiration != o.Expires.Format(time.RFC3339) {
				tb.Errorf("%d to %d, told %s", c.ValidAfter, c.ValidBefore, said.Expiration)
			}
			if d := cmp.Diff([]string{"deploy", "web"}, c.ValidPrincipals); d != "" {
				tb.Error(d)
			}
			if d := cmp.Diff(openssh.Permissions{
				CriticalOptions: map[string]string{"force-command": "/usr/bin/deploy --to 'a b'", "source-address": "10.0.0.0/8,fd00::/8"},
				Extensions:      map[string]string{"permit-pty": "", "permit-port-forwarding": ""},
			}, c.Permissions); d != "" {
				tb.Error(d)
			}
			if string(openssh.MarshalAuthorizedKey(c.Key)) != good {
				tb.Error("another key")
			}
		},
	}.Run(t)
}

func raw(tb testing.TB, blob string) []byte {
	tb.Helper()
	b, err := base64.StdEncoding.DecodeString(blob)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func dsaLine(tb testing.TB) string {
	tb.Helper()
	one := big.NewInt(1)
	p := new(big.Int).Lsh(one, 1023)
	p.Add(p, one)
	return line(tb, &dsa.PublicKey{Parameters: dsa.Parameters{P: p, Q: new(big.Int).Add(new(big.Int).Lsh(one, 159), one), G: big.NewInt(2)}, Y: big.NewInt(4)})
}

// blobLine is a line of these parts of the wire format.
func blobLine(kind string, parts any) string {
	return kind + " " + base64.StdEncoding.EncodeToString(openssh.Marshal(parts)) + "\n"
}

func evenRSA(tb testing.TB) string {
	tb.Helper()
	k, ok := key(tb, "RSA 2048").(*rsa.PrivateKey)
	if !ok {
		tb.Fatal("no RSA key")
	}
	return blobLine(openssh.KeyAlgoRSA, struct {
		Name string
		E, N *big.Int
	}{openssh.KeyAlgoRSA, big.NewInt(4), k.N})
}

func securityKey(tb testing.TB) string {
	tb.Helper()
	k, ok := key(tb, "Ed25519").Public().(ed25519.PublicKey)
	if !ok {
		tb.Fatal("no Ed25519 key")
	}
	return blobLine(openssh.KeyAlgoSKED25519, struct {
		Name string
		Key  []byte
		App  string
	}{openssh.KeyAlgoSKED25519, k, "ssh:"})
}

func certificateLine(tb testing.TB, a *ssh.Authority) string {
	tb.Helper()
	got, err := ssh.Minter{Authority: a, Rand: rand.Reader}.Mint(context.Background(), exchangetest.Order(tb, ask(line(tb, key(tb, "P-256").Public()), "principals: [a]")))
	if err != nil {
		tb.Fatal(err)
	}
	said, _ := open(tb, got)
	return said.Certificate
}

// TestKeys: each kind of key, by each kind of authority.
func TestKeys(t *testing.T) {
	for _, by := range []string{"Ed25519", "P-256", "P-384", "P-521", "RSA 3072"} {
		a := authority(t, by)
		for _, of := range []string{"Ed25519", "P-256", "P-384", "P-521", "RSA 2048"} {
			got, err := ssh.Minter{Authority: a, Rand: rand.Reader}.Mint(t.Context(), exchangetest.Order(t, ask(line(t, key(t, of).Public()), "principals: [deploy]")))
			if err != nil {
				t.Fatalf("%s by %s: %v", of, by, err)
			}
			_, c := open(t, got)
			if by == "RSA 3072" && c.Signature.Format != openssh.KeyAlgoRSASHA512 {
				t.Errorf("signed by %s", c.Signature.Format)
			}
			if len(c.Extensions)+len(c.CriticalOptions) > 0 {
				t.Errorf("given without being granted: %v", c.Permissions)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	locked, err := openssh.MarshalPrivateKeyWithPassphrase(key(t, "Ed25519"), "", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := stdx509.MarshalPKCS8PrivateKey(key(t, "Ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ssh.Open(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		t.Errorf("PKCS #8: %v", err)
	}
	for name, file := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "a public key": []byte(line(t, key(t, "Ed25519").Public())),
		"a passphrase": pem.EncodeToMemory(locked), "a weak RSA key": opensshPEM(t, key(t, "RSA 2048")),
	} {
		if a, err := ssh.Open(file); a != nil || err == nil || len(file) > 40 && strings.Contains(err.Error(), string(file[30:40])) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseKey: no line is taken that has another reading, or an option.
func FuzzParseKey(f *testing.F) {
	for _, name := range []string{"Ed25519", "P-256", "RSA 2048"} {
		f.Add(line(f, key(f, name).Public()))
		f.Add("no-pty " + line(f, key(f, name).Public()))
	}
	f.Add(securityKey(f))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ssh.ParseKey(text)
		if err != nil {
			if len(text) > 30 && strings.Contains(err.Error(), text) {
				t.Errorf("the error repeats the line: %v", err)
			}
			return
		}
		// OpenSSH's own reading, in Go's words, finds the same key and no option.
		again, _, options, rest, err := openssh.ParseAuthorizedKey([]byte(text))
		if err != nil || len(options) > 0 || len(rest) > 0 || cmp.Diff(again.Marshal(), got.Marshal()) != "" {
			t.Errorf("%q: %v, options %v, rest %q", text, err, options, rest)
		}
	})
}
