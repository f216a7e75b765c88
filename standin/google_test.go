package standin_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cambio/standin"
)

// TestGoogleIsStrict: what Google was never seen to be asked is 501, and remembered.
func TestGoogleIsStrict(t *testing.T) {
	t.Parallel()
	g, err := standin.NewGoogle(standin.GoogleConfig{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const form, object = "application/x-www-form-urlencoded", "application/json"
	account := "/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:"
	for i, c := range []struct{ method, path, media, body, authorization string }{
		{http.MethodGet, "/v1/token", form, "", ""},
		{http.MethodPost, "/v1/token?a=b", form, "", ""},
		{http.MethodPost, "/v1/token", object, "{}", ""},
		{http.MethodPost, "/v1/token", form, "grant_type=a", "Bearer x"},
		{http.MethodPost, "/v1/token", form, "grant_type=a&grant_type=b", ""},
		{http.MethodPost, "/v1/token", form, "actor_token=a", ""},
		{http.MethodPost, "/v1beta/token", form, "", ""},
		{http.MethodPost, account + "signJwt", object, "{}", "Bearer x"},
		{http.MethodPost, account + "generateAccessToken", object, `{"scopes": []}`, "Bearer x"},
		{http.MethodPost, account + "generateAccessToken", form, "", "Bearer x"},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.media)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != http.StatusNotImplemented || len(g.Unknown()) != i+1 {
			t.Errorf("%s %s %s: %d, %q", c.method, c.path, c.body, w.Code, g.Unknown())
		}
	}
}
