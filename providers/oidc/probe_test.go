package oidc_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cambio/providers/oidc"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(asJSON(object{"issuer": server.URL, "jwks_uri": server.URL + "/keys"}))
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(allKeys()) })
	good := oidc.Provider{Name: "p", Type: "oidc", Issuer: server.URL, Audiences: []string{"a"}, InsecureLoopback: true}
	pinned := good
	pinned.JWKSFile = allKeys()
	none := pinned
	none.JWKSFile = []byte(`{"keys":[]}`)
	gone := good
	gone.JWKSURL = server.URL + "/nothing"
	shut := good
	shut.InsecureLoopback = false
	for name, c := range map[string]struct {
		p  oidc.Provider
		ok bool
	}{"good": {good, true}, "pinned": {pinned, true}, "empty": {none, false}, "gone": {gone, false}, "guarded": {shut, false}} {
		got := oidc.Probe(t.Context(), c.p, oidc.Generic(), nil, time.Now)
		if (got.Err == nil) != c.ok || c.ok && (got.Usable == 0 || got.Total < got.Usable) {
			t.Errorf("%s: %+v", name, got)
		}
		if name == "good" && (got.Date.IsZero() || got.Seen.Sub(got.Date).Abs() > 5*time.Second) {
			t.Errorf("the clock is not read: %+v", got)
		}
	}
}

func TestDateOf(t *testing.T) {
	t.Parallel()
	date := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for age, want := range map[string]time.Time{"": date, "60": date.Add(time.Minute), "-60": date, "x": date} {
		h := http.Header{"Date": {date.Format(http.TimeFormat)}, "Age": {age}}
		if got, ok := oidc.DateOf(h); !ok || !got.Equal(want) {
			t.Errorf("age %q: %s", age, got)
		}
	}
	if _, ok := oidc.DateOf(http.Header{}); ok {
		t.Error("no date is a date")
	}
}
