package upstream_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/internal/upstream"
)

func TestHandle(t *testing.T) {
	// As sha256sum prints it.
	const want = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if got := upstream.Handle("hello"); got != want {
		t.Error(got)
	}
}

func TestClaims(t *testing.T) {
	jws := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	got, err := upstream.Claims(jws(`{"sub":"a","exp":1}`))
	if diff := cmp.Diff(map[string]any{"sub": "a", "exp": int64(1)}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, token := range map[string]string{
		"nothing": "", "opaque": "ya29.secret", "no signature": strings.TrimSuffix(jws(`{}`), "c2ln"), "a JWE": jws(`{}`) + ".e30.e30",
		"two meanings": jws(`{"sub":"secret","sub":"b"}`), "no object": jws(`["secret"]`), "more behind it": jws(`{} {}`),
		"padded": "e30.e30=.c2ln", "loose bits": "e30.e31.c2ln", "not base64": "e30.secret!.c2ln",
	} {
		claims, err := upstream.Claims(token)
		if err == nil || claims != nil {
			t.Errorf("%s: %v", name, claims)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: a secret stands in %q", name, err)
		}
	}
}
