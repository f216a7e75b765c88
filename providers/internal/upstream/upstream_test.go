package upstream_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
	"cambio/trust"
)

// service is one that counts its calls.
type service struct {
	*httptest.Server
	calls atomic.Int32
}

func serve(t *testing.T, tls bool, answer http.HandlerFunc) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.calls.Add(1)
		answer(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes that are broken on purpose
	if tls {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, c upstream.Config) *upstream.Client {
	t.Helper()
	c.Name = "Acme"
	client, err := upstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func status(code int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func refusal(t *testing.T, err error) *exchange.Error {
	t.Helper()
	var e *exchange.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no refusal", err)
	}
	return e
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const (
	jsonType = "application/json"
	explains = `{"error":"no"}`
)

// TestWhatIsKnown: whether the service may have issued something, and how often it
// is asked, follows from what it answered.
func TestWhatIsKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		issued bool
		calls  int32
		final  bool // nothing changes by waiting a moment
	}{
		"400":               {status(400, jsonType, explains), false, 1, true},
		"401 without words": {status(401, "text/plain", ""), false, 1, true},
		"404":               {status(404, "text/html", "<html>"), false, 1, true},
		"429":               {status(429, jsonType, explains), false, 3, false},
		"500":               {status(500, "text/plain", "oops"), false, 3, false},
		"501":               {status(501, jsonType, explains), false, 3, false},
		"502":               {status(502, "text/html", "bad gateway"), true, 1, false},
		// A proxy's word about a service that it did not hear of.
		"502 with a reason":                   {status(502, jsonType, `{"message":"Internal server error"}`), true, 1, false},
		"503 of a proxy":                      {status(503, "text/html", "busy"), true, 1, false},
		"503 of the service":                  {status(503, jsonType, `{"errors":["Vault is sealed"]}`), false, 3, false},
		"503 of a cluster":                    {status(503, jsonType, `{"kind":"Status","status":"Failure","message":"the server is shutting down"}`), false, 3, false},
		"503 of a proxy that speaks JSON":     {status(503, jsonType, `{"code":503,"message":"upstream connect error or disconnect/reset before headers"}`), true, 1, false},
		"503 of JSON that is no error":        {status(503, jsonType, `{"ok":true}`), true, 1, false},
		"503 that says it twice":              {status(503, jsonType, `{"error":"a","error":"b"}`), true, 1, false},
		"504 with a reason":                   {status(504, jsonType, `{"message":"Endpoint request timed out"}`), true, 1, false},
		"524":                                 {status(524, jsonType, explains), true, 1, false},
		"599":                                 {status(599, jsonType, explains), true, 1, false},
		"999":                                 {status(999, jsonType, explains), true, 1, false},
		"302":                                 {redirect(302), true, 1, false},
		"307":                                 {redirect(307), true, 1, false},
		"308":                                 {redirect(308), true, 1, false},
		"304":                                 {status(304, jsonType, ""), true, 1, false},
		"dropped":                             {drop, true, 1, false},
		"too large":                           {status(200, jsonType, strings.Repeat(" ", 256<<10+1)), true, 1, false},
		"a refusal that is too large":         {status(400, jsonType, strings.Repeat(" ", 256<<10+1)), true, 1, false},
		"headers too large":                   {headers, true, 1, false},
		"compressed":                          {encoded("gzip"), true, 1, false},
		"compressed as nobody knows":          {encoded("br"), true, 1, false},
		"cut":                                 {cut, true, 1, false},
		"another protocol":                    {raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Type: application/json\r\n\r\n" + explains), true, 1, false},
		"a status of nothing":                 {raw("HTTP/1.1 099 X\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + explains), true, 1, false},
		"no HTTP":                             {raw("SSH-2.0-OpenSSH_9.6\r\n"), true, 1, false},
		"two lengths":                         {raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"), true, 1, false},
		"a hundred answers before the answer": {raw(strings.Repeat("HTTP/1.1 103 Early\r\n\r\n", 100)), true, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, false, c.answer)
			_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Form(s.URL, url.Values{"a": {"b"}}))
			e := refusal(t, err)
			if e.Issued != c.issued || e.Code != exchange.Unavailable || e.Reason != trust.ReasonMintFailed {
				t.Errorf("%s %s, issued %t: %v", e.Code, e.Reason, e.Issued, e)
			}
			if n := s.calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if c.final != (e.RetryAfter >= time.Minute) {
				t.Errorf("try again after %s", e.RetryAfter)
			}
		})
	}
}

func redirect(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(code)
	}
}

func headers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Long", strings.Repeat("x", 40<<10))
}

func encoded(as string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", as)
		_, _ = io.WriteString(w, "{}")
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, `{"access_token":`)
	panic(http.ErrAbortHandler)
}

func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

// TestHTTP2: the same over HTTP/2, whose transport may repeat requests by itself.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		issued bool
		calls  int32
	}{
		"dropped": {drop, true, 1},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, true, 1},
		"refused":  {status(400, jsonType, explains), false, 1},
		"busy":     {status(429, jsonType, explains), false, 3},
		"redirect": {redirect(307), true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("asked by %s", r.Proto)
				}
				c.answer(w, r)
			})
			up := client(t, upstream.Config{CA: ca(s)})
			for i := range int32(2) { // the second time on an open connection
				_, err := up.Do(t.Context(), upstream.Form(s.URL, url.Values{"a": {"b"}}))
				if e := refusal(t, err); e.Issued != c.issued || s.calls.Load() != (i+1)*c.calls {
					t.Errorf("issued %t, %d calls: %v", e.Issued, s.calls.Load(), e)
				}
			}
		})
	}
}

func ca(s *service) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// TestAgain: a service that comes back within the attempts is answered for, and each
// attempt sends the whole request.
func TestAgain(t *testing.T) {
	t.Parallel()
	var bodies []string
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("User-Agent")+" "+string(b))
		if s.calls.Add(1) < 3 {
			status(429, jsonType, explains)(w, r)
			return
		}
		status(200, jsonType+"; charset=utf-8", `{"n":1}`)(w, r)
	}))
	t.Cleanup(s.Close)
	a, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Form(s.URL, url.Values{"a": {"b c"}}))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := a.Object(); err != nil || m["n"] != int64(1) || a.Status != 200 {
		t.Errorf("%v %v", m, err)
	}
	for _, got := range bodies {
		if got != "POST application/x-www-form-urlencoded cambio a=b+c" {
			t.Errorf("sent %q", got)
		}
	}
}

// TestObject: an answer is JSON with one meaning, and no error repeats it.
func TestObject(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]upstream.Answer{
		"no type":      {Body: []byte(`{"a":"secret"}`)},
		"another type": {Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte(`{"a":"secret"}`)},
		"a list":       {Header: http.Header{"Content-Type": {jsonType}}, Body: []byte(`["secret"]`)},
		"twice":        {Header: http.Header{"Content-Type": {jsonType}}, Body: []byte(`{"a":"secret","a":"b"}`)},
		"more":         {Header: http.Header{"Content-Type": {jsonType}}, Body: []byte(`{"a":"secret"}{}`)},
		"empty":        {Header: http.Header{"Content-Type": {jsonType}}},
	} {
		if m, err := a.Object(); err == nil || m != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
}

// TestNobodyThere: a connection that is refused, or whose certificate is not valid,
// sent nothing, and is tried again.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	gone := serve(t, false, drop)
	gone.Close()
	other := serve(t, true, status(200, jsonType, "{}"))
	for name, to := range map[string]string{"refused": gone.URL, "a certificate of nobody": other.URL, "no name": "https://nobody.invalid"} {
		start := time.Now()
		_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{URL: to})
		if e := refusal(t, err); e.Issued || e.Code != exchange.Unavailable {
			t.Errorf("%s: issued %t: %v", name, e.Issued, e)
		}
		if took := time.Since(start); took < 100*time.Millisecond {
			t.Errorf("%s: %s for three attempts", name, took)
		}
	}
	if n := other.calls.Load(); n != 0 {
		t.Errorf("%d calls of a service that nobody vouches for", n)
	}
	// The system's proxy settings are not read.
	if tr := upstream.NewTransport(nil); tr.Proxy != nil || tr.TLSClientConfig.InsecureSkipVerify {
		t.Error("the transport is not closed")
	}
	_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{URL: "http://a b/secret"})
	if e := refusal(t, err); e.Issued || strings.Contains(e.Error(), "secret") {
		t.Errorf("a malformed URL: %v", e)
	}
}

// pipes makes connections within the program, so that time can be the test's.
func pipes(accept func(net.Conn)) *http.Transport {
	tr := upstream.NewTransport(nil)
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go accept(there)
		return here, nil
	}
	return tr
}

// TestTimeOut: a service that takes the request and says nothing, or drips, ends
// with the caller's whole time, and may have issued.
func TestTimeOut(t *testing.T) {
	t.Parallel()
	for name, accept := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"drips": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1)) // an answer before the request is none
			go func() { _, _ = io.Copy(io.Discard, c) }()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for range tick.C {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			up := client(t, upstream.Config{Transport: pipes(accept)})
			start := time.Now()
			ctx, leave, err := up.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			_, err = up.Do(ctx, upstream.Form("http://acme.test", url.Values{}))
			if e := refusal(t, err); !e.Issued || !strings.Contains(e.Error(), "timed out") {
				t.Errorf("%s: issued %t: %v", name, e.Issued, e)
			}
			if took := time.Since(start); took != 8*time.Second {
				t.Errorf("%s: %s", name, took)
			}
			<-time.NewTimer(2 * time.Second).C // the service sees that nobody listens
		})
	}
}

// TestWholeTime: attempts and pauses together take no longer than one caller has.
func TestWholeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		up := client(t, upstream.Config{Timeout: 120 * time.Millisecond, Transport: pipes(func(c net.Conn) {
			calls++
			defer c.Close()
			if _, err := c.Read(make([]byte, 4096)); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		})})
		ctx, leave, err := up.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		start := time.Now()
		_, err = up.Do(ctx, upstream.Call{URL: "http://acme.test", Body: []byte("x")})
		// 50 ms, and 100 more would be too long: what is known is the last answer.
		if e := refusal(t, err); e.Issued || !strings.Contains(e.Error(), "429") {
			t.Errorf("issued %t: %v", e.Issued, e)
		}
		if took := time.Since(start); took != 120*time.Millisecond || calls != 2 {
			t.Errorf("%s and %d calls", took, calls)
		}
	})
}

// TestHarmless: a call that issues nothing is repeated whatever became of it, and
// releases the token.
func TestHarmless(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{"dropped": drop, "502": status(502, "text/html", ""), "cut": cut} {
		s := serve(t, false, answer)
		_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{URL: s.URL, Harmless: true, Body: []byte("x")})
		if e := refusal(t, err); e.Issued || s.calls.Load() != 3 {
			t.Errorf("%s: issued %t, %d calls", name, e.Issued, s.calls.Load())
		}
	}
	s := serve(t, false, status(403, jsonType, explains))
	if _, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{Method: "GET", URL: s.URL, Harmless: true}); err == nil || s.calls.Load() != 1 {
		t.Errorf("403: %v, %d calls", err, s.calls.Load())
	}
}

// TestPlaces: the bound holds, a panic gives its place back, and to leave twice gives
// nobody else's away.
func TestPlaces(t *testing.T) {
	t.Parallel()
	up := client(t, upstream.Config{MaxInFlight: 2})
	func() {
		defer func() { _ = recover() }()
		_, leave, err := up.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		panic("a minter's fault")
	}()
	hungUp, hangUp := context.WithCancel(t.Context())
	hangUp()
	inner, leave1, err := up.Enter(hungUp)
	if err != nil || inner.Err() != nil {
		t.Fatalf("a caller who hung up: %v", err)
	}
	_, leave2, err := up.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = up.Enter(t.Context())
	if e := refusal(t, err); e.Reason != trust.ReasonTargetBusy || e.Issued || e.RetryAfter != time.Second {
		t.Errorf("%v, issued %t", e, e.Issued)
	}
	leave1()
	leave1()
	if inner.Err() == nil {
		t.Error("the time of a caller who left goes on")
	}
	_, leave3, err := up.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := up.Enter(t.Context()); err == nil {
		t.Error("to leave twice gave two places")
	}
	leave2()
	leave3()
}

// TestClean: a secret is found as it is, in parts, and as URLs and JSON have it.
func TestClean(t *testing.T) {
	t.Parallel()
	const (
		head, body, sig = "eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJhIn0", "c2lnbmF0dXJlLW9mLXRoZS10b2tlbi1oZXJl"
		odd             = `p+a/s=s&w"o\rd <with> odd`
	)
	jwt := head + "." + body + "." + sig
	inJSON, err := json.Marshal(odd)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		said string
		not  []string
	}{
		"whole":         {"bad assertion " + jwt + " here", []string{"eyJ", sig}},
		"signature":     {"bad signature " + sig, []string{sig}},
		"payload":       {"bad payload " + body, []string{body}},
		"end":           {"ends with ..." + sig[12:], []string{sig[12:]}},
		"middle":        {"contains " + sig[5:25], []string{sig[5:25]}},
		"broken":        {"bad " + sig[:18] + "\n" + sig[18:], []string{sig[:18], sig[18:]}},
		"glued":         {"x" + sig + "y", []string{sig[2:30]}},
		"another token": {"instead of eyJhbGciOiJFUzI1NiJ9.eyJhIjoxfQ.abc", []string{"eyJ", ".abc"}},
		"opaque":        {"issued hvx.CAESIJ3kq9ZpVfW7Xo2hT1yLmN8bR5dC instead", []string{"3kq9ZpVfW7Xo2hT1"}},
		"odd":           {"password " + odd, []string{"odd", "p+a/s"}},
		"odd in a URL":  {"/x?p=" + url.QueryEscape(odd), []string{"odd", "p%2Ba"}},
		"odd in a path": {"/x/" + url.PathEscape(odd), []string{"with", "odd"}},
		"odd in JSON":   {`{"p":` + string(inJSON) + `}`, []string{"p+a/s=s", `"o\\rd`}},
		"short":         {"the key k3y! is bad", []string{"k3y!"}},
		"beyond":        {strings.Repeat("x ", 4090) + sig, []string{sig[:12]}},
	} {
		got := upstream.Clean(c.said, exchange.Secret(jwt), exchange.Secret(odd), "k3y!", "")
		for _, not := range c.not {
			if strings.Contains(got, not) {
				t.Errorf("%s: %q holds %q", name, got, not)
			}
		}
	}
	// What is no secret stays readable.
	said := "AADSTS700213: No matching federated identity record found for presented assertion subject 'spiffe://id.acme.example/github/9919/41881900'. Trace ID: 0d244990-db94-dd34-c870-27411f628813"
	if got := upstream.Clean(said, exchange.Secret(jwt)); got != said {
		t.Errorf("%q", got)
	}
	if got := upstream.Clean("a\r\nb\x1b[31m\u202ec\xff\u2028", ""); strings.ContainsAny(got, "\r\n\x1b\u202e\u2028\ufffd") {
		t.Errorf("%q", got)
	}
	if got := upstream.Clean(strings.Repeat("é ", 1000)); len(got) > 512 || strings.ContainsRune(got, '\ufffd') {
		t.Errorf("%d bytes", len(got))
	}
}

// FuzzClean: no text hides a part of a secret from being found.
func FuzzClean(f *testing.F) {
	f.Add("a ", " b", 0, 30)
	f.Add("%", "\x00", 3, 15)
	f.Add("Zm9vYmFyYmF6cXV4", "eyJ", 8, 20)
	const secret = "Zm9vYmFyYmF6cXV4LXNlY3JldC1vZi1vdXJz"
	f.Fuzz(func(t *testing.T, before, after string, from, to int) {
		if from < 0 || to > len(secret) || to-from < 12 || len(before) > 4000 {
			return
		}
		part := secret[from:to]
		got := upstream.Clean(before+part+after, secret)
		if strings.Contains(got, part) {
			t.Errorf("%q holds %q", got, part)
		}
	})
}

// TestSaid: what an error document says is told in each of the forms that services
// have, without what was sent, and in one line.
func TestSaid(t *testing.T) {
	t.Parallel()
	secret := exchange.Secret("the-assertion-that-was-sent")
	for said, want := range map[string]string{
		`{"error":"invalid_grant","error_description":"no\nmatch for the-assertion-that-was-sent"}`: "Acme answered 400: invalid_grant: no match for [removed]",
		`{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"no"}}`:                         "Acme answered 400: INVALID_ARGUMENT: no",
		`{"error":{"type":"invalid_request_error","code":"bad","message":"no"}}`:                    "Acme answered 400: bad: invalid_request_error: no",
		`{"kind":"Status","reason":"Forbidden","message":"no"}`:                                     "Acme answered 400: Forbidden: no",
		`{"errors":["role \"x\" could not be found","two"]}`:                                        `Acme answered 400: role "x" could not be found: two`,
		`{"errors":[{"status":"FORBIDDEN","message":"no"}]}`:                                        "Acme answered 400: FORBIDDEN: no",
		`{"error":7,"errors":7,"message":{"a":1}}`:                                                  "Acme answered 400",
		`{"error":"a","error":"b"}`:                                                                 "Acme answered 400",
		`<html>`:                                                                                    "Acme answered 400",
	} {
		s := serve(t, false, status(400, jsonType, said))
		_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{URL: s.URL, Hide: []exchange.Secret{secret}, Body: []byte("x")})
		if got := refusal(t, err).Err.Error(); got != want {
			t.Errorf("%s: %q, want %q", said, got, want)
		}
	}
	many := `{"errors":[` + strings.Repeat(`"a",`, 5000) + `"b"]}`
	s := serve(t, false, status(400, jsonType, many))
	_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{URL: s.URL})
	if got := refusal(t, err).Error(); len(got) > 600 {
		t.Errorf("%d bytes", len(got))
	}
}

// TestDescribe: what a transport says holds no byte of the other side's.
func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, said := range []string{"GET /secret HTTP/1.1\r\n\r\n", "HTTP/1.1 2x0 secret\r\n\r\n", "HTTP/1.1 200 OK\r\nsecret\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n"} {
		s := serve(t, false, raw(said))
		_, err := client(t, upstream.Config{}).Do(t.Context(), upstream.Call{URL: s.URL, Body: []byte("x")})
		if e := refusal(t, err); strings.Contains(e.Error(), "secret") || !e.Issued {
			t.Errorf("%q: %v", said, e)
		}
	}
	if got := upstream.Describe(fmt.Errorf("around: %w", context.DeadlineExceeded)); got != "timed out" {
		t.Error(got)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]upstream.Config{
		"no name": {}, "negative places": {Name: "a", MaxInFlight: -1}, "negative time": {Name: "a", Timeout: -1}, "an empty CA": {Name: "a", CA: []byte{}}, "no certificate": {Name: "a", CA: []byte("hello")},
	} {
		if _, err := upstream.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for endpoint, ok := range map[string]bool{
		"https://a.example": true, "https://a.example:8443/x": true, "http://127.0.0.1:1": true, "http://[::1]:1": true, "http://localhost": true,
		"http://a.example": false, "http://127.0.0.1.evil.example": false, "https://u@a.example": false, "https://a.example?x": false, "https://a.example?": false,
		"https://a.example#x": false, "https://a.example#": false, "https:a.example": false, "ftp://a.example": false, "//a.example": false, "": false, "https://": false, "https://:443": false,
	} {
		if err := upstream.CheckEndpoint(endpoint); (err == nil) != ok {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

// TestWrong: an answer that is not what was ordered counts as issued; a fault of ours
// does not.
func TestWrong(t *testing.T) {
	t.Parallel()
	if e := client(t, upstream.Config{}).Wrong(errors.New("x")); !e.Issued || e.Reason != trust.ReasonMintFailed || e.Code != exchange.Unavailable {
		t.Errorf("%v", e)
	}
	if e := upstream.Broken(errors.New("x")); e.Issued || e.Code != exchange.ServerError {
		t.Errorf("%v", e)
	}
}
