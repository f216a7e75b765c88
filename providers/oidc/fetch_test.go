package oidc_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
)

// idp is an identity provider on loopback that does as a test says.
type idp struct {
	*httptest.Server
	url            string // its issuer, by name
	discovery      atomic.Pointer[http.HandlerFunc]
	keys           atomic.Pointer[http.HandlerFunc]
	asked, fetched atomic.Int64 // requests for the document, and for the key set
	others         atomic.Int64 // requests for anything else
}

const canary = "canary-8d1f"

func write(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

func (i *idp) document(issuer, keys string) []byte {
	return asJSON(object{"issuer": issuer, "jwks_uri": keys, "x": canary})
}

func (i *idp) setDiscovery(h http.HandlerFunc) { i.discovery.Store(&h) }
func (i *idp) setKeys(h http.HandlerFunc)      { i.keys.Store(&h) }

// newIDP starts an identity provider with a good document and key set. Its
// certificate is for example.com.
func newIDP(tb testing.TB, start func(*httptest.Server)) *idp {
	tb.Helper()
	i := &idp{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		(*i.discovery.Load())(w, r)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.fetched.Add(1)
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			tb.Error("a fetch carries credentials")
		}
		(*i.keys.Load())(w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		i.others.Add(1)
		_, _ = w.Write(allKeys())
	})
	i.Server = httptest.NewUnstartedServer(mux)
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if start == nil {
		start = (*httptest.Server).StartTLS
	}
	start(i.Server)
	tb.Cleanup(i.Close)
	i.url = "https://example.com:" + i.port()
	if strings.HasPrefix(i.URL, "http:") {
		i.url = i.URL
	}
	i.setDiscovery(write(i.document(i.url, i.url+"/keys")))
	i.setKeys(write(allKeys()))
	return i
}

func (i *idp) port() string {
	u, err := url.Parse(i.URL)
	if err != nil {
		panic(err)
	}
	return u.Port()
}

func (i *idp) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
}

func (i *idp) rule(tb testing.TB) oidc.DialRule {
	tb.Helper()
	r, err := oidc.ParseDialRule("example.com:" + i.port() + " 127.0.0.0/8")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func (i *idp) provider(tb testing.TB) oidc.Provider {
	tb.Helper()
	p := provider()
	p.Issuer, p.JWKSFile = i.url, nil
	if i.Certificate() != nil {
		p.CA, p.Dial = i.ca(), []oidc.DialRule{i.rule(tb)}
	} else {
		p.InsecureLoopback = true
	}
	return p
}

func (i *idp) token(kid string) string {
	return sign("RS256", keys().rsa, asJSON(object{"alg": "RS256", "kid": kid}), asJSON(with(object{"iss": i.url})))
}

// hosts is a resolver that answers what a test says, and counts.
type hosts struct {
	asked atomic.Int64
	fn    func(n int64) []string
}

func (h *hosts) LookupNetIP(_ context.Context, _, _ string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, a := range h.fn(h.asked.Add(1)) {
		list = append(list, netip.MustParseAddr(a))
	}
	if len(list) == 0 {
		return nil, errors.New("no such host")
	}
	return list, nil
}

func answer(addrs ...string) *hosts {
	return &hosts{fn: func(int64) []string { return addrs }}
}

// world is a verifier with one identity provider on the network.
type world struct {
	*oidc.Set
	clock  *clock
	log    *logs
	mu     sync.Mutex
	events []string
}

func newWorld(tb testing.TB, resolver oidc.Resolver, ps ...oidc.Provider) *world {
	tb.Helper()
	w := &world{clock: newClock(), log: &logs{}}
	cfg := config(ps...)
	cfg.Now, cfg.Resolver, cfg.Log = w.clock.Now, resolver, slog.New(slog.NewTextHandler(w.log, nil))
	cfg.Fetched = func(provider string, failure trust.Reason) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, provider+":"+string(failure))
	}
	w.Set = newSet(tb, cfg)
	return w
}

// unanswered checks for a 503 with this reason.
func unanswered(tb testing.TB, s *oidc.Set, token string, want trust.Reason) {
	tb.Helper()
	_, err := s.Verify(context.Background(), token)
	var e *exchange.Error
	if !errors.As(err, &e) || e.Reason != want || e.Code != exchange.Unavailable || e.RetryAfter <= 0 || e.Tell != "" {
		tb.Errorf("got %v, want 503 %s", err, want)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		tb.Errorf("an answer is in the error: %v", err)
	}
}

// eventually polls, for what happens in the background.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatal(what)
}

func TestFetchOnce(t *testing.T) {
	i := newIDP(t, nil)
	w := newWorld(t, answer("127.0.0.1"), i.provider(t))
	// What is refused before its key is looked for causes no call at all.
	refused(t, w.Set, rs256(base()), trust.ReasonIssuerUnknown)
	refused(t, w.Set, sign("none", nil, []byte(`{"alg":"none"}`), asJSON(with(object{"iss": i.url}))), trust.ReasonAlgNotAllowed)
	if i.asked.Load()+i.fetched.Load() != 0 {
		t.Error("a token that is not proven caused a call")
	}
	for range 10 {
		refused(t, w.Set, i.token("k1"), "")
	}
	if i.asked.Load() != 1 || i.fetched.Load() != 1 || i.others.Load() != 0 {
		t.Errorf("%d, %d and %d calls", i.asked.Load(), i.fetched.Load(), i.others.Load())
	}
	if len(w.events) != 1 || w.events[0] != "p1:" {
		t.Errorf("events %q", w.events)
	}
}

func TestConfiguredURLs(t *testing.T) {
	i := newIDP(t, nil)
	p := i.provider(t)
	p.JWKSURL = i.url + "/keys"
	w := newWorld(t, answer("127.0.0.1"), p)
	refused(t, w.Set, i.token("k1"), "")
	if i.asked.Load() != 0 || i.fetched.Load() != 1 {
		t.Error("jwks_url still needs the discovery document")
	}
	// The document may be elsewhere, and the key set with it; the issuer stays.
	q := i.provider(t)
	q.Issuer, q.DiscoveryURL = "https://elsewhere.test", i.url+"/.well-known/openid-configuration"
	w = newWorld(t, answer("127.0.0.1"), q)
	i.setDiscovery(write(i.document("https://elsewhere.test", i.url+"/keys")))
	token := rs256(with(object{"iss": "https://elsewhere.test"}))
	refused(t, w.Set, token, "")
	// A trailing slash belongs to the issuer, not to the path of its document.
	r := i.provider(t)
	r.Issuer = i.url + "/"
	w = newWorld(t, answer("127.0.0.1"), r)
	i.setDiscovery(write(i.document(i.url+"/", i.url+"/keys")))
	refused(t, w.Set, rs256(with(object{"iss": i.url + "/"})), "")
}

func TestDiscoveryMismatch(t *testing.T) {
	for name, document := range map[string]func(i *idp) []byte{
		"other":   func(i *idp) []byte { return i.document("https://evil.test", i.url+"/keys") },
		"slash":   func(i *idp) []byte { return i.document(i.url+"/", i.url+"/keys") },
		"missing": func(i *idp) []byte { return asJSON(object{"jwks_uri": i.url + "/keys"}) },
		"number":  func(i *idp) []byte { return asJSON(object{"issuer": 1, "jwks_uri": i.url + "/keys"}) },
		"case":    func(i *idp) []byte { return asJSON(object{"Issuer": i.url, "jwks_uri": i.url + "/keys"}) },
		"twice": func(i *idp) []byte {
			return []byte(`{"issuer":"` + i.url + `","issuer":"https://evil.test","jwks_uri":"` + i.url + `/keys"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			i, healthy := newIDP(t, nil), newIDP(t, nil)
			i.setDiscovery(write(document(i)))
			other := healthy.provider(t)
			other.Name = "p2"
			w := newWorld(t, answer("127.0.0.1"), i.provider(t), other)
			unanswered(t, w.Set, i.token("k1"), trust.ReasonDiscoveryMismatch)
			refused(t, w.Set, healthy.token("k1"), "")
			if i.fetched.Load() != 0 {
				t.Error("keys of that document were fetched")
			}
			if text := w.log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "provider=p1") ||
				name == "other" && (!strings.Contains(text, "https://evil.test") || !strings.Contains(text, i.url)) {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// TestHostileAnswers tries answers that are no key set. Nothing of them may be
// in an error or a log.
func TestHostileAnswers(t *testing.T) {
	secret := func(w http.ResponseWriter) { _, _ = io.WriteString(w, canary) }
	redirect := func(code int, target string) func(i *idp) http.HandlerFunc {
		return func(i *idp) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, strings.ReplaceAll(target, "SELF", i.url), code)
			}
		}
	}
	cases := map[string]func(i *idp) http.HandlerFunc{
		"301 metadata": redirect(301, "http://169.254.169.254/"),
		"302 other":    redirect(302, "SELF/other"),
		"303 public":   redirect(303, "https://collector.test/keys"),
		"307 http":     redirect(307, "http://example.com/keys"),
		"308 loop":     redirect(308, "SELF/keys"),
		"404": func(*idp) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound); secret(w) }
		},
		"500": func(*idp) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError); secret(w) }
		},
		"204": func(*idp) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
		},
		"text":  func(*idp) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { secret(w) } },
		"empty": func(*idp) http.HandlerFunc { return write(nil) },
		"large": func(*idp) http.HandlerFunc {
			return write([]byte(`{"keys":[],"x":"` + strings.Repeat("a", 512<<10) + `"}`))
		},
		"compressed": func(i *idp) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "" {
					t.Error("compression was asked for")
				}
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = z.Write(allKeys())
				_ = z.Close()
			}
		},
		"no HTTP": func(*idp) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, canary+"\r\n\r\n")
				_ = conn.Close()
			}
		},
		"cut off": func(*idp) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				secret(w)
			}
		},
	}
	onlyKeys := map[string][]byte{
		"empty set": keySet(), "symmetric": keySet(object{"kty": "oct", "k": canary}),
		"private": keySet(jwk("k1", keys().rsa, object{"d": canary})),
		"twice":   keySet(jwk("k1", keys().rsa, nil), jwk("k1", keys().other, nil)),
	}
	for name, set := range onlyKeys {
		cases["keys "+name] = func(*idp) http.HandlerFunc { return write(set) }
	}
	for name, hostile := range cases {
		for _, place := range []string{"discovery", "keys"} {
			if place == "discovery" && strings.HasPrefix(name, "keys ") {
				continue
			}
			t.Run(name+" at "+place, func(t *testing.T) {
				i := newIDP(t, nil)
				if place == "discovery" {
					i.setDiscovery(hostile(i))
				} else {
					i.setKeys(hostile(i))
				}
				w := newWorld(t, answer("127.0.0.1"), i.provider(t))
				unanswered(t, w.Set, i.token("k1"), trust.ReasonJWKSUnavailable)
				if i.others.Load() != 0 || i.asked.Load() > 1 || i.fetched.Load() > 1 {
					t.Error("a redirect was followed")
				}
				text := w.log.String()
				if strings.Contains(text, canary) || !strings.Contains(text, "provider=p1") {
					t.Errorf("log: %s", text)
				}
				if strings.HasPrefix(name, "30") && !strings.Contains(text, "redirect") {
					t.Errorf("the log does not say redirect: %s", text)
				}
			})
		}
	}
}

func TestKeysElsewhere(t *testing.T) {
	other := newIDP(t, nil)
	for _, target := range []string{
		other.url + "/keys", "http://example.com/keys", "https://user@example.com/keys", "https://169.254.169.254/", "/keys", "", "file:///etc/passwd",
	} {
		i := newIDP(t, nil)
		i.setDiscovery(write(i.document(i.url, target)))
		w := newWorld(t, answer("127.0.0.1"), i.provider(t))
		unanswered(t, w.Set, i.token("k1"), trust.ReasonJWKSUnavailable)
	}
	if other.fetched.Load() != 0 {
		t.Error("the document chose where the keys are")
	}
	// The platform may know another host.
	i := newIDP(t, nil)
	i.setDiscovery(write(i.document(i.url, other.url+"/keys")))
	platform := oidc.Generic()
	platform.KeysHosts = []string{strings.TrimPrefix(other.url, "https://")}
	p := i.provider(t)
	p.CA = append(i.ca(), other.ca()...)
	p.Dial = append(p.Dial, other.rule(t))
	cfg := config(p)
	cfg.Platforms, cfg.Resolver = map[string]oidc.Platform{"oidc": platform}, answer("127.0.0.1")
	s, err := oidc.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, s, i.token("k1"), "")
}

// TestRotation is the life of a key set: new keys, unknown keys, forgeries.
func TestRotation(t *testing.T) {
	i := newIDP(t, nil)
	i.setKeys(write(keySet(jwk("k1", keys().rsa, nil))))
	w := newWorld(t, answer("127.0.0.1"), i.provider(t))
	refused(t, w.Set, i.token("k1"), "")

	// Within 30 s of the last fetch, an unknown key is refused at once.
	w.clock.add(29 * time.Second)
	for n := range 100 {
		refused(t, w.Set, i.token(fmt.Sprintf("r%d", n)), trust.ReasonKidUnknown)
	}
	if i.fetched.Load() != 1 {
		t.Fatalf("%d fetches", i.fetched.Load())
	}

	// After it, all who bring the new key wait for one fetch.
	w.clock.add(2 * time.Second)
	i.setKeys(write(keySet(jwk("k1", keys().rsa, nil), jwk("k9", keys().rsa, object{"alg": "RS256"}), jwk("w", keys().other, object{"e": "AQ"}))))
	var wait sync.WaitGroup
	for range 200 {
		wait.Go(func() { refused(t, w.Set, i.token("k9"), "") })
	}
	wait.Wait()
	if i.fetched.Load() != 2 {
		t.Fatalf("%d fetches", i.fetched.Load())
	}
	for n := range 1000 {
		refused(t, w.Set, i.token(fmt.Sprintf("r%d", n)), trust.ReasonKidUnknown)
	}
	w.clock.add(31 * time.Second)
	for n := range 1000 {
		refused(t, w.Set, i.token(fmt.Sprintf("r%d", n)), trust.ReasonKidUnknown)
	}
	if i.fetched.Load() != 3 {
		t.Fatalf("%d fetches", i.fetched.Load())
	}

	// A bad signature under a known key, and a weak key, cause none.
	w.clock.add(31 * time.Second)
	forged := sign("RS256", keys().other, []byte(`{"alg":"RS256","kid":"k1"}`), asJSON(with(object{"iss": i.url})))
	refused(t, w.Set, forged, trust.ReasonSignature)
	refused(t, w.Set, i.token("w"), trust.ReasonWeakKey)
	if i.fetched.Load() != 3 {
		t.Fatalf("%d fetches", i.fetched.Load())
	}

	// A set without any known key is taken, loudly.
	i.setKeys(write(keySet(jwk("new", keys().other, nil))))
	fresh := sign("RS256", keys().other, []byte(`{"alg":"RS256","kid":"new"}`), asJSON(with(object{"iss": i.url})))
	refused(t, w.Set, fresh, "")
	w.clock.add(time.Second)
	refused(t, w.Set, i.token("k1"), trust.ReasonKidUnknown)
	if !strings.Contains(w.log.String(), "level=WARN") {
		t.Errorf("log: %s", w.log)
	}
}

// TestAge: eight minutes fresh at least and ten at most, an hour in use, then
// refused until it is fetched.
func TestAge(t *testing.T) {
	i := newIDP(t, nil)
	w := newWorld(t, answer("127.0.0.1"), i.provider(t))
	refused(t, w.Set, i.token("k1"), "")
	w.clock.add(8 * time.Minute)
	w.Refresh(context.Background())
	refused(t, w.Set, rs256(with(object{"iss": i.url})), trust.ReasonExpired)
	if i.fetched.Load() != 1 {
		t.Fatalf("%d fetches", i.fetched.Load())
	}
	token := func() string {
		now := w.clock.Now().Unix()
		return rs256(with(object{"iss": i.url, "iat": now, "nbf": now, "exp": now + 60}))
	}

	// The provider hangs: a known key does not wait for it.
	hang := make(chan struct{})
	i.setKeys(func(http.ResponseWriter, *http.Request) { <-hang })
	w.clock.add(3 * time.Minute)
	refused(t, w.Set, token(), "")
	eventually(t, "no refresh in the background", func() bool { return i.fetched.Load() == 2 })
	refused(t, w.Set, token(), "")
	close(hang)
	eventually(t, "the refresh does not end", func() bool { return strings.Contains(w.log.String(), "level=ERROR") })

	// The good set stays in force; the failure is remembered for 30 s, and an
	// unknown key is told of it.
	refused(t, w.Set, token(), "")
	unanswered(t, w.Set, i.token("other"), trust.ReasonJWKSUnavailable)
	i.setKeys(write(keySet()))
	w.clock.add(31 * time.Second)
	unanswered(t, w.Set, i.token("other"), trust.ReasonJWKSUnavailable)
	refused(t, w.Set, token(), "")

	// After an hour it is too old.
	w.clock.add(49 * time.Minute)
	unanswered(t, w.Set, token(), trust.ReasonJWKSStale)
	calls := i.fetched.Load()
	unanswered(t, w.Set, token(), trust.ReasonJWKSStale)
	if i.fetched.Load() != calls {
		t.Error("a failure is not remembered")
	}
	i.setKeys(write(allKeys()))
	unanswered(t, w.Set, token(), trust.ReasonJWKSStale)
	w.clock.add(31 * time.Second)
	refused(t, w.Set, token(), "")

	// Refresh asks without a token.
	calls = i.fetched.Load()
	w.clock.add(11 * time.Minute)
	w.Refresh(context.Background())
	eventually(t, "no refresh", func() bool { return i.fetched.Load() == calls+1 })
}

// TestNeverFetched: a failure is remembered, and a start needs no answer.
func TestNeverFetched(t *testing.T) {
	i := newIDP(t, nil)
	i.setKeys(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	w := newWorld(t, answer("127.0.0.1"), i.provider(t))
	w.Refresh(context.Background())
	if i.asked.Load() != 0 {
		t.Error("a provider is called before it is needed")
	}
	for range 20 {
		unanswered(t, w.Set, i.token("k1"), trust.ReasonJWKSUnavailable)
	}
	if i.fetched.Load() != 1 {
		t.Errorf("%d fetches", i.fetched.Load())
	}
	i.setKeys(write(allKeys()))
	w.clock.add(30 * time.Second)
	refused(t, w.Set, i.token("k1"), "")
}

// TestDetached: the fetch outlives the request that caused it.
func TestDetached(t *testing.T) {
	i := newIDP(t, nil)
	hang := make(chan struct{})
	i.setKeys(func(w http.ResponseWriter, r *http.Request) {
		<-hang
		write(allKeys())(w, r)
	})
	w := newWorld(t, answer("127.0.0.1"), i.provider(t))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := w.Verify(ctx, i.token("k1"))
		done <- err
	}()
	eventually(t, "no fetch", func() bool { return i.fetched.Load() == 1 })
	cancel()
	if err := <-done; reason(t, err) != trust.ReasonJWKSUnavailable {
		t.Errorf("got %v", err)
	}
	close(hang)
	refused(t, w.Set, i.token("k1"), "")
	if i.fetched.Load() != 1 {
		t.Errorf("%d fetches", i.fetched.Load())
	}
}

// TestGuard: which answers of the resolver are dialled.
func TestGuard(t *testing.T) {
	for name, c := range map[string]struct {
		resolver *hosts
		rule     string // PORT stands for the right one
		want     bool
	}{
		"opened":          {answer("127.0.0.1"), "example.com:PORT 127.0.0.0/8", true},
		"opened mapped":   {answer("::ffff:127.0.0.1"), "example.com:PORT 127.0.0.0/8", true},
		"no rule":         {answer("127.0.0.1"), "", false},
		"other port":      {answer("127.0.0.1"), "example.com:1 127.0.0.0/8", false},
		"other host":      {answer("127.0.0.1"), "example.org:PORT 127.0.0.0/8", false},
		"other range":     {answer("127.0.0.1"), "example.com:PORT 10.0.0.0/8", false},
		"mixed":           {answer("127.0.0.1", "10.0.0.1"), "example.com:PORT 127.0.0.0/8", false},
		"mixed public":    {answer("8.8.8.8", "127.0.0.1"), "", false},
		"metadata":        {answer("169.254.169.254"), "example.com:PORT 169.254.0.0/16", false},
		"mapped metadata": {answer("::ffff:169.254.169.254"), "", false},
		"NAT64":           {answer("64:ff9b::a9fe:a9fe"), "", false},
		"zone":            {answer("fe80::1%lo"), "example.com:PORT fe80::/10", false},
		"nothing":         {answer(), "example.com:PORT 127.0.0.0/8", false},
		"rebound": {&hosts{fn: func(n int64) []string {
			// Discovery is let through, then the name moves.
			return []string{[]string{"127.0.0.1", "127.9.9.9"}[min(n-1, 1)]}
		}}, "example.com:PORT 127.0.0.0/16", false},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t, nil)
			p := i.provider(t)
			p.Dial = nil
			if c.rule != "" {
				r, err := oidc.ParseDialRule(strings.ReplaceAll(c.rule, "PORT", i.port()))
				if err != nil {
					t.Fatal(err)
				}
				p.Dial = []oidc.DialRule{r}
			}
			w := newWorld(t, c.resolver, p)
			if c.want {
				refused(t, w.Set, i.token("k1"), "")
				return
			}
			unanswered(t, w.Set, i.token("k1"), trust.ReasonJWKSUnavailable)
			if i.fetched.Load() != 0 || name != "rebound" && i.asked.Load() != 0 {
				t.Error("a forbidden address was called")
			}
		})
	}
}

func TestInsecureLoopback(t *testing.T) {
	i := newIDP(t, (*httptest.Server).Start)
	w := newWorld(t, answer(), i.provider(t))
	refused(t, w.Set, i.token("k1"), "")
	// It opens loopback alone.
	tls := newIDP(t, nil)
	p := tls.provider(t)
	p.Dial, p.InsecureLoopback = nil, true
	w = newWorld(t, answer("10.0.0.1"), p)
	unanswered(t, w.Set, tls.token("k1"), trust.ReasonJWKSUnavailable)
	w = newWorld(t, answer("127.0.0.1"), p)
	refused(t, w.Set, tls.token("k1"), "")
	// And only where it is said.
	p = i.provider(t)
	p.InsecureLoopback = false
	if _, err := providers.New(config(p)); err == nil {
		t.Error("http is taken without insecure_loopback")
	}
}

func TestTLS(t *testing.T) {
	for name, change := range map[string]func(i *idp, p *oidc.Provider){
		"unknown root": func(_ *idp, p *oidc.Provider) { p.CA = nil },
		"wrong host": func(i *idp, p *oidc.Provider) {
			p.Issuer = strings.Replace(i.url, "example.com", "other.test", 1)
			p.Dial[0].Host = "other.test"
			i.url = p.Issuer
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t, nil)
			p := i.provider(t)
			change(i, &p)
			w := newWorld(t, answer("127.0.0.1"), p)
			unanswered(t, w.Set, i.token("k1"), trust.ReasonJWKSUnavailable)
			if !strings.Contains(w.log.String(), "certificate") {
				t.Errorf("log: %s", w.log)
			}
		})
	}
	t.Run("TLS 1.1", func(t *testing.T) {
		i := newIDP(t, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
			s.StartTLS()
		})
		w := newWorld(t, answer("127.0.0.1"), i.provider(t))
		unanswered(t, w.Set, i.token("k1"), trust.ReasonJWKSUnavailable)
	})
}
