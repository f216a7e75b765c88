package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cambio/test/rig"
)

// httpAttacks are the cases on HTTP.
func httpAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"HTTP-01": rawRequests, "HTTP-02": forwardedHeaders, "HTTP-04": crossOrigin,
		"DOS-01": slowAndMany, "DOS-05": bodies,
	}
}

var listening = regexp.MustCompile(`msg=listening public=(\S+) admin=(\S+)`)

// serve starts a gateway behind its own listeners, with their caps and
// time-outs. r.URL is then that of the public one.
func serve(t *testing.T, s rig.Setup) (r *rig.Rig, addr string) {
	t.Helper()
	s.Server += "\nlisten: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0"
	r = rig.New(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.Gateway.Serve(ctx, func() { close(started) }) }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		<-ended // connections that an attack left open may make it late; that is not what is tried
	})
	m := listening.FindStringSubmatch(r.Log.String())
	if m == nil {
		t.Fatalf("no addresses in the log:\n%s", r.Log)
	}
	scheme := "http://"
	if strings.Contains(s.Server, "cert:") {
		scheme = "https://"
	}
	r.URL, r.AdminURL = scheme+m[1], "http://"+m[2]
	return r, m[1]
}

// dial connects from a loopback address of the test's choice, and ends the
// connection with the test.
func dial(t *testing.T, from, addr string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", addr)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
	}
	return c, err
}

// raw writes bytes and reads what comes until the server closes, or for eight
// seconds.
func raw(t *testing.T, addr, text string) (answer string, closed bool) {
	t.Helper()
	c, err := dial(t, "127.0.0.1", addr)
	if err != nil {
		t.Error(err)
		return "", false
	}
	if err := c.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		t.Error(err)
	}
	go func() { _, _ = io.WriteString(c, text) }() // the server may close before all is written
	b, err := io.ReadAll(c)
	return string(b), !timedOut(err)
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func rawRequests(t *testing.T) {
	r, addr := serve(t, rig.Setup{})
	r.Control()
	body := func() string { return rig.Form(r.Token(nil)).Encode() }
	const head = "POST /token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	const second = "GET /keys HTTP/1.1\r\nHost: gw.test\r\nX-Smuggled: 1\r\n\r\n"
	chunked := func(form, end string) string { return fmt.Sprintf("%x%s%s\r\n0\r\n\r\n", len(form), end, form) }
	for name, row := range map[string]struct {
		text   string
		status string // beginning of the statuses that are right
	}{
		"length and chunks":                {head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body(), "\r\n"), "200 400"},
		"chunks and length":                {head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", "400"},
		"bare line feed in the chunk size": {head + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body(), "\n"), "400"},
		"chunk extension with a line feed": {head + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body(), ";a\n"), "400"},
		"chunk size above 64 bits":         {head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n", "400"},
		"negative chunk size":              {head + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n", "400"},
		"chunk size with 0x":               {head + "Transfer-Encoding: chunked\r\n\r\n0x5\r\naaaaa\r\n0\r\n\r\n", "400"},
		"unknown coding":                   {head + "Transfer-Encoding: xchunked\r\n\r\n" + chunked(body(), "\r\n"), "400 501"},
		"two codings":                      {head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(body(), "\r\n"), "400 501"},
		"chunked twice":                    {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body(), "\r\n"), "400 501"},
		"identity beside chunked":          {head + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body(), "\r\n"), "400 501"},
		"coding with a vertical tab":       {head + "Transfer-Encoding: \vchunked\r\n\r\n" + chunked(body(), "\r\n"), "400 501"},
		"space before the colon":           {head + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + chunked(body(), "\r\n"), "400"},
		"two lengths":                      {head + "Content-Length: 4\r\nContent-Length: 5\r\n\r\naaaaa", "400"},
		"two lengths in a line":            {head + "Content-Length: 4, 5\r\n\r\naaaaa", "400"},
		"negative length":                  {head + "Content-Length: -1\r\n\r\n", "400"},
		"length with a sign":               {head + "Content-Length: +4\r\n\r\naaaa", "400"},
		"length in hex":                    {head + "Content-Length: 0x4\r\n\r\naaaa", "400"},
		"folded header":                    {head + "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n", "400"},
		"folded with a tab":                {head + "X-A: b\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", "400"},
		"folded by a bare line feed":       {head + "X-A: b\n c: d\r\nContent-Length: 0\r\n\r\n", "400"},
		"folded first header":              {"POST /token HTTP/1.1\r\n Host: gw.test\r\n\r\n", "400"},
		"NUL in a header":                  {head + "X-A: b\x00c\r\nContent-Length: 0\r\n\r\n", "400"},
		"NUL in a name":                    {head + "X\x00A: b\r\nContent-Length: 0\r\n\r\n", "400"},
		"carriage return in a header":      {head + "X-A: b\rc: d\r\nContent-Length: 0\r\n\r\n", "400"},
		"no colon":                         {head + "X-A\r\nContent-Length: 0\r\n\r\n", "400"},
		"no name":                          {head + ": b\r\nContent-Length: 0\r\n\r\n", "400"},
		"no host":                          {"POST /token HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "400"},
		"two hosts":                        {"POST /token HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n", "400"},
		"host with a space":                {"POST /token HTTP/1.1\r\nHost: a b\r\nContent-Length: 0\r\n\r\n", "400"},
		"HTTP/9.9":                         {"POST /token HTTP/9.9\r\nHost: a\r\n\r\n", "400 505"},
		"HTTP/0.9":                         {"GET /keys\r\n\r\n", "400"},
		"clear-text HTTP/2":                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 405 505"},
		"a TLS greeting":                   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, closed := raw(t, addr, row.text+second)
			status, _, _ := strings.Cut(strings.TrimPrefix(answer, "HTTP/1.1 "), " ")
			if len(status) != 3 || !strings.Contains(row.status, status) {
				t.Errorf("got %q, want %s", answer, row.status)
			}
			if !closed {
				t.Error("the connection stays open")
			}
			if n := strings.Count(answer, "HTTP/1."); n != 1 || strings.Contains(answer, `"keys"`) {
				t.Errorf("%d answers: the bytes behind were served\n%s", n, answer)
			}
		})
	}
	t.Run("headers give no identity", func(t *testing.T) { noIdentityInHeaders(t, r, addr) })
	r.Control()
}

// noIdentityInHeaders is HTTP-01's second half: what proxies write of their
// users is the caller's own text here.
func noIdentityInHeaders(t *testing.T, r *rig.Rig, addr string) {
	t.Helper()
	var names []string
	for _, n := range []string{
		"X_Forwarded_User", "X-Forwarded-User", "X_Forwarded_For", "X_Remote_User", "Remote_User", "X-Auth-Request-User", "X-Auth-Request-Email",
		"X_Authorization", "Authorization_", "X-Forwarded-Access-Token", "X-Amzn-Oidc-Data", "X-Goog-Iap-Jwt-Assertion", "X-Client-Cert", "X-Ssl-Client-Verify", "Cookie",
	} {
		names = append(names, n+": spiffe://gw.test/iss1/9/9, 10.9.9.9")
	}
	headers := strings.Join(names, "\r\n") + "\r\n"
	send := func(form string) string {
		answer, _ := raw(t, addr, fmt.Sprintf("POST /token HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s", formMedia, headers, len(form), form))
		return answer
	}
	if answer := send("grant_type=" + rig.GrantType + "&audience=t1"); !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("without a token: %s", answer)
	}
	answer := send(rig.Form(r.Token(nil)).Encode())
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("with a good token: %s", answer)
	}
	for _, rec := range r.Records(res.Header.Get("Cambio-Decision-Id")) {
		if rec.Workload != "spiffe://gw.test/iss1/1/2" || rec.Address != "" && rec.Address != "127.0.0.1" {
			t.Errorf("recorded workload %s, address %s", rec.Workload, rec.Address)
		}
	}
}

func forwardedHeaders(t *testing.T) {
	headers := []string{
		"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "evil.test", "X-Forwarded-Uri", "/keys",
		"X-Forwarded-Prefix", "/evil", "X-Original-Url", "/keys", "X-Rewrite-Url", "/keys", "X-Real-Ip", "203.0.113.8", "True-Client-Ip", "203.0.113.8",
		"Cf-Connecting-Ip", "203.0.113.8", "Forwarded", "for=203.0.113.7;host=evil.test;proto=gopher", "X-Http-Method-Override", "GET", "Cambio-Decision-Id", "mine",
	}
	for name, row := range map[string]struct{ server, address string }{
		"a stranger":         {"", "127.0.0.1"},
		"another proxy":      {"trusted_proxies: [10.0.0.0/8]", "127.0.0.1"},
		"a trusted proxy":    {"trusted_proxies: [127.0.0.1/32]", "203.0.113.9"},
		"one of two proxies": {"trusted_proxies: [10.0.0.0/8, 127.0.0.0/8]", "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t, rig.Setup{Server: row.server})
			r.Control()
			req := request(r, "POST", "", rig.Form(r.Token(nil)).Encode(), append([]string{"Content-Type", formMedia}, headers...)...)
			req.Host = "evil.test"
			a := r.Do(req)
			if a.Status != 200 || a.Decision == "mine" || strings.Contains(a.Raw, "evil") {
				t.Fatalf("got %d %s", a.Status, a.Raw)
			}
			if _, claims := jwtParts(t, a.Text("access_token")); claims["iss"] != "https://gw.test" {
				t.Errorf("minted iss %v", claims["iss"])
			}
			for _, rec := range r.Records(a.Decision) {
				if rec.Event == "exchange.allowed" && rec.Address != row.address {
					t.Errorf("recorded address %s, want %s", rec.Address, row.address)
				}
			}
			plain := r.Get(r.URL, "/.well-known/openid-configuration")
			req, err := http.NewRequest(http.MethodGet, r.URL+"/.well-known/openid-configuration", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			req.Host = "evil.test"
			if a := r.Do(req); a.Raw != plain.Raw || a.Text("issuer") != "https://gw.test" || a.Text("jwks_uri") != "https://gw.test/keys" || a.Text("token_endpoint") != "https://gw.test/token" {
				t.Errorf("discovery: %s", a.Raw)
			}
			r.Control()
		})
	}
}

func crossOrigin(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	open := map[string]bool{"/keys": true, "/.well-known/openid-configuration": true, "/.well-known/oauth-authorization-server": true}
	paths := []string{"/token", "/nonce", "/api/v1", "/api/v1/trusts", "/console", "/", "/introspect", "/aws", "/nowhere", "/metrics", "/readyz"}
	for path := range open {
		paths = append(paths, path)
	}
	for _, origin := range []string{"https://evil.test", "null", "https://gw.test.evil.test", "https://gw.test", "http://localhost:3000"} {
		for _, path := range paths {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				req, err := http.NewRequest(method, r.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Origin", origin)
				req.Header.Set("Cookie", "a=b")
				if method == "OPTIONS" {
					req.Header.Set("Access-Control-Request-Method", "POST")
					req.Header.Set("Access-Control-Request-Headers", "authorization, content-type")
					req.Header.Set("Access-Control-Request-Private-Network", "true")
				}
				a := r.Do(req)
				for name, values := range a.Header {
					if !strings.HasPrefix(name, "Access-Control-") {
						continue
					}
					if name != "Access-Control-Allow-Origin" || !open[path] || len(values) != 1 || values[0] != "*" {
						t.Errorf("%s %s from %s: %s: %v", method, path, origin, name, values)
					}
				}
			}
		}
	}
	// A form as a browser would send it across origins gets an answer, and no
	// page of another origin can read it.
	a := r.Do(request(r, "POST", "", rig.Form(r.Token(nil)).Encode(), "Content-Type", formMedia, "Origin", "https://evil.test"))
	if a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %d %v", a.Status, a.Header)
	}
	r.Control()
}
