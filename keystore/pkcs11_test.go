//go:build pkcs11

package keystore_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"cambio/issuer"
	"cambio/keystore"
)

const (
	softHSM = "/usr/lib/softhsm/libsofthsm2.so"
	pin     = "123456"
)

// token makes a SoftHSM token with keys of these kinds, each under its own label,
// and returns what follows "pkcs11:" up to the object, and the query. SoftHSM
// reads its configuration once for each process, so there is one test.
func token(t *testing.T) (path, query string) {
	t.Helper()
	dir := t.TempDir()
	mkdir(t, filepath.Join(dir, "tokens"))
	conf := filepath.Join(dir, "softhsm2.conf")
	write(t, conf, fmt.Appendf(nil, "directories.tokendir = %s/tokens\nobjectstore.backend = file\n", dir), 0o600)
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "cambio test", "--so-pin", "87654321", "--pin", pin).CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "pin"), []byte(pin+"\n"), 0o600)
	write(t, filepath.Join(dir, "open"), []byte(pin), 0o644)
	return "token=cambio%20test;object=", "?module-path=" + softHSM + "&pin-source=file:" + dir + "/pin"
}

// generate makes keys in the token.
func generate(t *testing.T) {
	t.Helper()
	lib := pkcs11.New(softHSM)
	if lib == nil {
		t.Fatal("no " + softHSM + ": apt-get install softhsm2")
	}
	if err := lib.Initialize(); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		t.Fatal(err)
	}
	slots, err := lib.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	h, err := lib.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	defer lib.CloseSession(h)
	if err := lib.Login(h, pkcs11.CKU_USER, pin); err != nil {
		t.Fatal(err)
	}
	defer lib.Logout(h)
	p256, p384 := []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22}
	bits := func(n int) []*pkcs11.Attribute {
		return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, n), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})}
	}
	curve := func(oid []byte) []*pkcs11.Attribute {
		return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, oid)}
	}
	for n, k := range []struct {
		label     string
		mechanism uint
		template  []*pkcs11.Attribute
	}{
		{"rsa", pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, bits(2048)},
		{"ec", pkcs11.CKM_EC_KEY_PAIR_GEN, curve(p256)},
		{"weak", pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, bits(1024)},
		{"p384", pkcs11.CKM_EC_KEY_PAIR_GEN, curve(p384)},
		{"two", pkcs11.CKM_EC_KEY_PAIR_GEN, curve(p256)},
		{"two", pkcs11.CKM_EC_KEY_PAIR_GEN, curve(p256)},
	} {
		common := []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{byte(n + 1)}),
		}
		_, _, err := lib.GenerateKeyPair(h, []*pkcs11.Mechanism{pkcs11.NewMechanism(k.mechanism, nil)},
			append(append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)}, k.template...), common...),
			append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true)}, common...))
		if err != nil {
			t.Fatalf("%s: %v", k.label, err)
		}
	}
}

// counting makes a library that is SoftHSM, but that it notes each login and its
// result in a file. Whoever builds with PKCS#11 has a C compiler.
func counting(t *testing.T) (library, logins string) {
	t.Helper()
	dir := t.TempDir()
	library, logins = filepath.Join(dir, "counting.so"), filepath.Join(dir, "logins")
	source := filepath.Join(dir, "counting.c")
	write(t, source, []byte(`
#define CK_PTR *
#define CK_DECLARE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION_POINTER(returnType, name) returnType (* name)
#define CK_CALLBACK_FUNCTION(returnType, name) returnType (* name)
#define NULL_PTR 0
#include "pkcs11.h"
#include <dlfcn.h>
#include <stdio.h>
static CK_FUNCTION_LIST counted;
static CK_FUNCTION_LIST_PTR real;
static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length) {
	CK_RV result = real->C_Login(session, user, pin, length);
	FILE *out = fopen(LOGINS, "a");
	fprintf(out, "%lx\n", result);
	fclose(out);
	return result;
}
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
	void *library = dlopen(SOFTHSM, RTLD_NOW);
	CK_RV (*get)(CK_FUNCTION_LIST_PTR_PTR) = dlsym(library, "C_GetFunctionList");
	CK_RV result = get(&real);
	counted = *real;
	counted.C_Login = login;
	*list = &counted;
	return result;
}
`), 0o600)
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-I", strings.TrimSpace(string(module)),
		fmt.Sprintf("-DLOGINS=%q", logins), fmt.Sprintf("-DSOFTHSM=%q", softHSM), "-o", library, source, "-ldl").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	chmod(t, library, 0o600)
	return library, logins
}

// refusedPINs is how often the token said CKR_PIN_INCORRECT.
func refusedPINs(t *testing.T, logins string) int {
	t.Helper()
	return strings.Count(string(readFile(t, logins)), fmt.Sprintf("%x\n", pkcs11.CKR_PIN_INCORRECT))
}

// wrongPIN changes the PIN in the token and not in the file: the token is asked
// once, by however many exchanges and keys, until the file holds another one.
func wrongPIN(t *testing.T, lib *pkcs11.Ctx, i *issuer.Issuer, pinFile, logins string) {
	t.Helper()
	slots, err := lib.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	for n, wrong := range []string{"old-pin", "older-pin"} {
		write(t, pinFile, []byte(wrong), 0o600)
		if err := lib.CloseAllSessions(slots[0]); err != nil { // the token restarts
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
					if token, err := i.Sign(alg, claims()); err == nil || token != "" {
						t.Errorf("signed with a wrong PIN: %q, %v", token, err)
					}
				}
			})
		}
		wg.Wait()
		if got := refusedPINs(t, logins); got != n+1 {
			t.Errorf("the token was given %d wrong PINs after %d changes of the file", got, n+1)
		}
	}
	_, err = i.Sign(issuer.ES256, claims())
	if err == nil || !strings.Contains(err.Error(), "PIN file") || strings.Contains(err.Error(), "older-pin") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	write(t, pinFile, []byte(pin), 0o600)
	for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
		if _, err := i.Sign(alg, claims()); err != nil {
			t.Errorf("after the file was mended: %v", err)
		}
	}
}

func TestPKCS11(t *testing.T) {
	path, query := token(t)
	generate(t)
	library, logins := counting(t)
	query = strings.Replace(query, softHSM, library, 1)
	_, pinFile, _ := strings.Cut(query, "file:")
	f, dir, _ := store(t)
	uri := func(object string) string { return "pkcs11:" + path + object + query }
	for _, object := range []string{"rsa", "ec;id=%02"} {
		if _, _, err := f.Import(t.Context(), uri(object), start, rand.Reader); err != nil {
			t.Fatalf("%s: %v", object, err)
		}
	}
	ring, err := f.Rotate(t.Context(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := keystore.NewFiles(dir, slog.New(slog.DiscardHandler)).Load(t.Context())
	if err != nil || len(loaded.Keys) != len(ring.Keys) {
		t.Fatalf("%d keys, %v", len(loaded.Keys), err)
	}
	// Many at once: more than there are sessions.
	i := speak(t, loaded)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
				if _, err := i.Sign(alg, claims()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	raw := string(readFile(t, filepath.Join(dir, "keys.json")))
	if strings.Contains(raw, pin) {
		t.Error("the PIN is in keys.json")
	}

	for name, bad := range map[string]string{
		"no such key":     uri("none"),
		"RSA 1024":        uri("weak"),
		"P-384":           uri("p384"),
		"two of them":     uri("two"),
		"no such token":   strings.Replace(uri("rsa"), "cambio%20test", "other", 1),
		"no such library": strings.Replace(uri("rsa"), library, "/none.so", 1),
		"no library":      strings.Replace(uri("rsa"), library, "/etc/hostname", 1),
		"no PIN":          strings.Replace(uri("rsa"), "/pin", "/none", 1),
		"an open PIN":     strings.Replace(uri("rsa"), "/pin", "/open", 1),
	} {
		_, _, err := f.Import(t.Context(), bad, start, rand.Reader)
		if !errors.Is(err, keystore.ErrURI) && !errors.Is(err, keystore.ErrSigner) && !errors.Is(err, issuer.ErrWeakKey) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// The library goes on when all its sessions end, as with a token's restart.
	lib := pkcs11.New(softHSM)
	slots, err := lib.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := lib.CloseAllSessions(slots[0]); err != nil {
		t.Fatal(err)
	}
	for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
		if _, err := i.Sign(alg, claims()); err != nil {
			t.Errorf("after the sessions ended: %v", err)
		}
	}
	wrongPIN(t, lib, i, pinFile, logins)
	// A token that is gone stops signing, with an error.
	if err := lib.Finalize(); err != nil {
		t.Fatal(err)
	}
	if token, err := i.Sign(issuer.ES256, claims()); err == nil || token != "" {
		t.Errorf("without a library: %q, %v", token, err)
	}
}
