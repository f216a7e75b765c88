package spiffe_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/providers/spiffe"
	"cambio/providers/spiffe/spiffetest"
	"cambio/trust"
)

// TestReadBundle starts from a good bundle and breaks one thing.
func TestReadBundle(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	jwt, ca := a.Keys()[0], a.Keys()[1]
	with := func(m map[string]any, k string, v any) map[string]any {
		m = maps.Clone(m)
		if m[k] = v; v == nil {
			delete(m, k)
		}
		return m
	}
	keys := func(list ...map[string]any) func(map[string]any) {
		return func(doc map[string]any) { doc["keys"] = list }
	}
	set := func(k string, v any) func(map[string]any) { return func(doc map[string]any) { doc[k] = v } }
	leaf := a.SVID(workload, nil)
	for name, c := range map[string]struct {
		edit        func(map[string]any)
		jwt, ca     int
		sequence    int64
		refresh     time.Duration
		wantRefused bool
	}{
		"good":                    {nil, 1, 1, 1, 5 * time.Minute, false},
		"no sequence":             {func(d map[string]any) { delete(d, "spiffe_sequence") }, 1, 1, -1, 5 * time.Minute, false},
		"sequence 0":              {set("spiffe_sequence", 0), 1, 1, 0, 5 * time.Minute, false},
		"sequence negative":       {set("spiffe_sequence", -1), 0, 0, 0, 0, true},
		"sequence half":           {set("spiffe_sequence", 1.5), 0, 0, 0, 0, true},
		"sequence text":           {set("spiffe_sequence", "1"), 0, 0, 0, 0, true},
		"sequence null":           {set("spiffe_sequence", nil), 0, 0, 0, 0, true},
		"sequence huge":           {set("spiffe_sequence", 1e30), 0, 0, 0, 0, true},
		"hint":                    {set("spiffe_refresh_hint", 600), 1, 1, 1, 10 * time.Minute, false},
		"hint 1 s":                {set("spiffe_refresh_hint", 1), 1, 1, 1, time.Minute, false},
		"hint 0":                  {set("spiffe_refresh_hint", 0), 1, 1, 1, time.Minute, false},
		"hint negative":           {set("spiffe_refresh_hint", -600), 1, 1, 1, time.Minute, false},
		"hint 10 years":           {set("spiffe_refresh_hint", 315360000), 1, 1, 1, time.Hour, false},
		"hint beyond all":         {set("spiffe_refresh_hint", 1e300), 1, 1, 1, time.Hour, false},
		"hint text":               {set("spiffe_refresh_hint", "600"), 0, 0, 0, 0, true},
		"hint null":               {set("spiffe_refresh_hint", nil), 0, 0, 0, 0, true},
		"no keys":                 {keys(), 0, 0, 0, 0, true},
		"keys missing":            {func(d map[string]any) { delete(d, "keys") }, 0, 0, 0, 0, true},
		"keys null":               {set("keys", nil), 0, 0, 0, 0, true},
		"keys an object":          {set("keys", map[string]any{}), 0, 0, 0, 0, true},
		"a key that is a text":    {set("keys", []any{"x"}), 0, 0, 0, 0, true},
		"only tokens":             {keys(jwt), 1, 0, 1, 5 * time.Minute, false},
		"only certificates":       {keys(ca), 0, 1, 1, 5 * time.Minute, false},
		"no use":                  {keys(with(jwt, "use", nil)), 0, 0, 0, 0, true},
		"use sig":                 {keys(with(jwt, "use", "sig")), 0, 0, 0, 0, true},
		"an unknown use beside":   {keys(jwt, with(jwt, "use", "wit-svid")), 1, 0, 1, 5 * time.Minute, false},
		"a private key":           {keys(ca, with(jwt, "d", "AA")), 0, 0, 0, 0, true},
		"a private key, other":    {keys(jwt, with(with(jwt, "use", "x"), "d", "AA")), 0, 0, 0, 0, true},
		"oct":                     {keys(jwt, map[string]any{"kty": "oct", "k": "AA", "use": "jwt-svid", "kid": "x"}), 0, 0, 0, 0, true},
		"one kid twice":           {keys(jwt, jwt), 0, 0, 0, 0, true},
		"no x5c":                  {keys(jwt, with(ca, "x5c", nil)), 0, 0, 0, 0, true},
		"two in x5c":              {keys(with(ca, "x5c", []any{ca["x5c"].([]string)[0], ca["x5c"].([]string)[0]})), 0, 0, 0, 0, true},
		"x5c a text":              {keys(with(ca, "x5c", "x")), 0, 0, 0, 0, true},
		"x5c noise":               {keys(with(ca, "x5c", []string{"AAAA"})), 0, 0, 0, 0, true},
		"x5c of another key":      {keys(with(ca, "x5c", b.Keys()[1]["x5c"])), 0, 0, 0, 0, true},
		"a leaf for an authority": {keys(jwt, leafEntry(t, leaf)), 1, 0, 1, 5 * time.Minute, false},
		"only a leaf":             {keys(leafEntry(t, leaf)), 0, 0, 0, 0, true},
		"101 keys":                {keys(slices.Repeat([]map[string]any{ca}, 101)...), 0, 0, 0, 0, true},
		"512 KiB":                 {set("x", strings.Repeat("x", 512<<10)), 0, 0, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			doc := a.Bundle(c.edit)
			got, err := oidc.ReadBundle(doc)
			if (err != nil) != c.wantRefused {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			if len(got.Keys) != c.jwt || len(got.Authorities) != c.ca || got.Sequence != c.sequence || got.Refresh != c.refresh {
				t.Errorf("%d keys, %d authorities, sequence %d, refresh %s", len(got.Keys), len(got.Authorities), got.Sequence, got.Refresh)
			}
		})
	}
	if _, err := oidc.ReadBundle([]byte(`{"keys":[],"keys":[]}`)); err == nil {
		t.Error("a member twice")
	}
}

func leafEntry(t *testing.T, c tls.Certificate) map[string]any {
	t.Helper()
	// As a bundle of go-spiffe's has it: it writes whatever it is given.
	td := spiffeid.RequireTrustDomainFromString("td1")
	bundle := spiffebundle.New(td)
	bundle.AddX509Authority(c.Leaf)
	b, err := bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Keys []map[string]any }
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Keys[0]
}

// TestBundlesOfGoSpiffe: what go-spiffe writes, we read, to the same keys.
func TestBundlesOfGoSpiffe(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	td := spiffeid.RequireTrustDomainFromString("td1")
	theirs := spiffebundle.New(td)
	theirs.SetSequenceNumber(7)
	theirs.SetRefreshHint(20 * time.Minute)
	theirs.AddX509Authority(a.Root)
	theirs.AddX509Authority(b.Root)
	for _, x := range []*spiffetest.Authority{a, b} {
		if err := theirs.AddJWTAuthority(x.Kid, x.JWTKey()); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := theirs.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := oidc.ReadBundle(doc)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, theirs, got)
	// And what we take, they read alike.
	if theirs, err = spiffebundle.Parse(td, a.Bundle(nil)); err != nil {
		t.Fatal(err)
	}
	if got, err = oidc.ReadBundle(a.Bundle(nil)); err != nil {
		t.Fatal(err)
	}
	compare(t, theirs, got)
}

func compare(t *testing.T, theirs *spiffebundle.Bundle, got oidc.Bundle) {
	t.Helper()
	kids := slices.Sorted(maps.Keys(theirs.JWTAuthorities()))
	slices.Sort(got.Keys)
	if diff := cmp.Diff(kids, got.Keys); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	if len(got.Authorities) != len(theirs.X509Authorities()) {
		t.Errorf("%d authorities, go-spiffe %d", len(got.Authorities), len(theirs.X509Authorities()))
	}
	for _, c := range got.Authorities {
		if !theirs.HasX509Authority(c) {
			t.Error("an authority that go-spiffe does not see")
		}
	}
	if sequence, has := theirs.SequenceNumber(); has && int64(sequence) != got.Sequence || !has && got.Sequence != -1 {
		t.Errorf("sequence %d, go-spiffe %d", got.Sequence, sequence)
	}
	if hint, has := theirs.RefreshHint(); has && hint >= time.Minute && hint <= time.Hour && hint != got.Refresh {
		t.Errorf("refresh %s, go-spiffe %s", got.Refresh, hint)
	}
}

// FuzzBundle: whatever we take, go-spiffe takes too, and reads the same authorities.
// The other way round does not hold: it takes more, such as repeated members.
func FuzzBundle(f *testing.F) {
	a := spiffetest.New(f, "td1", time.Now())
	f.Add(a.Bundle(nil))
	f.Add(a.Bundle(func(d map[string]any) { d["spiffe_refresh_hint"] = 1e300 }))
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","use":"jwt-svid","kid":"","crv":"P-256"}],"spiffe_sequence":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := oidc.ReadBundle(doc)
		if err != nil {
			return
		}
		if got.Refresh < time.Minute || got.Refresh > time.Hour || got.Sequence < -1 || len(got.Keys)+len(got.Authorities) == 0 {
			t.Fatalf("%+v", got)
		}
		for _, c := range got.Authorities {
			if !c.IsCA {
				t.Fatal("an authority that is no CA")
			}
		}
		theirs, err := spiffebundle.Parse(spiffeid.RequireTrustDomainFromString("td1"), doc)
		if err != nil {
			return // it wants every key of every use to be one that it knows
		}
		for _, c := range got.Authorities {
			if !theirs.HasX509Authority(c) {
				t.Fatal("an authority that go-spiffe does not see")
			}
		}
	})
}

// endpoint is a bundle endpoint that tests change.
type endpoint struct {
	*httptest.Server
	mu    sync.Mutex
	doc   []byte
	calls int
}

func newEndpoint(t *testing.T, doc []byte, c tls.Certificate) *endpoint {
	t.Helper()
	e := &endpoint{doc: doc}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.calls++
		_, _ = w.Write(e.doc) // the gateway may have hung up
	}))
	e.serve(t, c)
	return e
}

func (e *endpoint) serve(t *testing.T, c tls.Certificate) {
	t.Helper()
	e.TLS = &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
	e.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // refused handshakes are what is tested
	e.StartTLS()
	t.Cleanup(e.Close)
}

func (e *endpoint) set(doc []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doc = doc
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

const endpointID = "spiffe://td1/spire/server"

// TestProfiles: who may answer at the bundle endpoint (SPF-04).
func TestProfiles(t *testing.T) {
	a, b, web := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start()), spiffetest.New(t, "web", time.Now())
	token := a.JWT(a.Claims(workload, audience), nil)
	webRoots := pemOf(web.Root)
	for name, c := range map[string]struct {
		server tls.Certificate
		spiffe bool // profile https_spiffe
		want   trust.Reason
	}{
		"web":                             {web.Server(), false, ""},
		"web, a SPIFFE certificate":       {a.SVID(endpointID, nil), false, trust.ReasonJWKSUnavailable},
		"web, one by the Web's authority": {web.SVID(endpointID, nil), false, trust.ReasonJWKSUnavailable},
		"spiffe":                          {a.SVID(endpointID, nil), true, ""},
		"spiffe, another id":              {a.SVID("spiffe://td1/spire/agent", nil), true, trust.ReasonJWKSUnavailable},
		"spiffe, a longer id":             {a.SVID(endpointID+"/x", nil), true, trust.ReasonJWKSUnavailable},
		"spiffe, another trust domain":    {b.SVID("spiffe://td2/spire/server", nil), true, trust.ReasonJWKSUnavailable},
		"spiffe, another's authority":     {b.SVID(endpointID, nil), true, trust.ReasonJWKSUnavailable},
		"spiffe, a Web's certificate":     {web.Server(), true, trust.ReasonJWKSUnavailable},
		"spiffe, not for servers":         {a.SVID(endpointID, func(c *x509Certificate) { c.ExtKeyUsage = clientOnly() }), true, trust.ReasonJWKSUnavailable},
		"spiffe, expired":                 {a.SVID(endpointID, func(c *x509Certificate) { c.NotBefore, c.NotAfter = start().Add(-time.Hour), start().Add(-time.Second) }), true, trust.ReasonJWKSUnavailable},
		"spiffe, a CA":                    {a.SVID(endpointID, func(c *x509Certificate) { c.IsCA = true }), true, trust.ReasonJWKSUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := a.Bundle(func(d map[string]any) { d["spiffe_sequence"] = 2 })
			e := newEndpoint(t, fresh, c.server)
			p := provider(a)
			p.BundleURL, p.InsecureLoopback, p.Bundle = e.URL, true, nil
			if c.spiffe {
				p.BundleEndpointID = endpointID
				// The first one knows another token key, so that a token needs the fetched one.
				p.Bundle = a.Bundle(func(d map[string]any) { d["keys"] = []any{b.Keys()[0], a.Keys()[1]} })
			} else {
				p.CA = webRoots
			}
			v := open(t, p)
			_, err := v.set.Verify(t.Context(), token)
			if got := reason(t, err); got != c.want {
				t.Errorf("%v, want %q\n%s", err, c.want, v.log)
			}
			if c.want != "" && e.count() != 0 {
				t.Error("a request was sent to who is not who it should be")
			}
		})
	}
}

// TestSPF04: a bundle that goes backwards is refused, with a log and a metric, and
// the one in force stays.
func TestSPF04(t *testing.T) {
	a, web := spiffetest.New(t, "td1", start()), spiffetest.New(t, "web", time.Now())
	withdrawn := spiffetest.New(t, "td1", start())
	withdrawn.Kid = "withdrawn"
	sequence := func(n any, keys ...map[string]any) []byte {
		return a.Bundle(func(d map[string]any) {
			d["keys"], d["spiffe_refresh_hint"] = keys, 1
			if d["spiffe_sequence"] = n; n == nil {
				delete(d, "spiffe_sequence")
			}
		})
	}
	e := newEndpoint(t, sequence(5, a.Keys()...), web.Server())
	p := provider(a)
	p.BundleURL, p.InsecureLoopback, p.Bundle, p.CA = e.URL, true, nil, pemOf(web.Root)
	v := open(t, p)
	good := func() {
		t.Helper()
		claims := a.Claims(workload, audience)
		claims["iat"], claims["exp"] = v.clock.Now().Unix(), v.clock.Now().Unix()+300
		if _, err := v.set.Verify(t.Context(), a.JWT(claims, nil)); err != nil {
			t.Fatalf("the bundle in force is gone: %v", err)
		}
	}
	good()
	for i, n := range []any{4, nil, 0} {
		e.set(sequence(n, withdrawn.Keys()...))
		v.clock.add(2 * time.Minute)
		good() // asks for a newer one
		eventually(t, "the refused bundle", func() bool { return len(v.fetches()) == i+2 })
		if got := v.fetches()[i+1]; got != trust.ReasonBundleRollback {
			t.Errorf("%v: %s", n, got)
		}
		good()
		_, err := v.set.Verify(t.Context(), withdrawn.JWT(a.Claims(workload, audience), nil))
		if got := reason(t, err); got != trust.ReasonBundleRollback {
			t.Errorf("%v: a token of the withdrawn key: %v", n, err)
		}
	}
	if !strings.Contains(v.log.String(), "level=ERROR") || !strings.Contains(v.log.String(), string(trust.ReasonBundleRollback)) {
		t.Errorf("the log does not say it:\n%s", v.log)
	}
	// Forward again, and the same number with new keys: both are taken.
	for _, n := range []any{5, 6} {
		e.set(sequence(n, a.Keys()...))
		before := len(v.fetches())
		v.clock.add(2 * time.Minute)
		good()
		eventually(t, "a newer bundle", func() bool { return len(v.fetches()) > before })
		if got := v.fetches()[before]; got != "" {
			t.Errorf("%v: %s", n, got)
		}
	}
	// Backwards for more than an hour: what is in force is too old to be used.
	e.set(sequence(1, withdrawn.Keys()...))
	v.clock.add(61 * time.Minute)
	claims := a.Claims(workload, audience)
	claims["iat"], claims["exp"] = v.clock.Now().Unix(), v.clock.Now().Unix()+300
	_, err := v.set.Verify(t.Context(), a.JWT(claims, nil))
	if got := reason(t, err); got != trust.ReasonJWKSStale {
		t.Errorf("%v", err)
	}
	if _, err = v.certs.Verify(t.Context(), spiffetest.Shown(t, a.SVID(workload, func(c *x509Certificate) { c.NotAfter = start().Add(20 * time.Hour) }))); reason(t, err) != trust.ReasonJWKSStale {
		t.Errorf("a certificate: %v", err)
	}
}

// TestRefreshHint: a second is a minute and ten years are an hour; nobody makes us
// ask oftener than every 30 s.
func TestRefreshHint(t *testing.T) {
	a, web := spiffetest.New(t, "td1", start()), spiffetest.New(t, "web", time.Now())
	for name, c := range map[string]struct {
		hint    any
		quiet   time.Duration // no fetch until then
		further time.Duration // but one now
	}{
		"1 s":      {1, time.Minute, time.Second},
		"10 years": {315360000, time.Hour - time.Second, 2 * time.Second},
		"none":     {nil, 5 * time.Minute, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			doc := a.Bundle(func(d map[string]any) {
				if c.hint != nil {
					d["spiffe_refresh_hint"] = c.hint
				}
			})
			e := newEndpoint(t, doc, web.Server())
			p := provider(a)
			p.BundleURL, p.InsecureLoopback, p.Bundle, p.CA = e.URL, true, nil, pemOf(web.Root)
			v := open(t, p)
			leaf := spiffetest.Shown(t, a.SVID(workload, nil))
			if _, err := v.certs.Verify(t.Context(), leaf); err != nil {
				t.Fatal(err)
			}
			v.clock.add(c.quiet)
			v.set.Refresh(t.Context())
			if n := e.count(); n != 1 {
				t.Fatalf("%d fetches", n)
			}
			v.clock.add(c.further)
			v.set.Refresh(t.Context())
			eventually(t, "a second fetch", func() bool { return e.count() == 2 })
		})
	}
}

// TestUnknownAuthority: a certificate of an authority that is not known asks for a
// newer bundle, as a token of an unknown key does, and at most every 30 s.
func TestUnknownAuthority(t *testing.T) {
	a, next, web := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td1", start()), spiffetest.New(t, "web", time.Now())
	e := newEndpoint(t, a.Bundle(nil), web.Server())
	p := provider(a)
	p.BundleURL, p.InsecureLoopback, p.Bundle, p.CA = e.URL, true, nil, pemOf(web.Root)
	v := open(t, p)
	leaf := spiffetest.Shown(t, next.SVID(workload, nil))
	if _, err := v.certs.Verify(t.Context(), leaf); reason(t, err) != trust.ReasonCertUntrusted {
		t.Fatal(err)
	}
	e.set(a.Bundle(func(d map[string]any) { d["keys"], d["spiffe_sequence"] = append(a.Keys(), next.Keys()[1]), 2 }))
	for range 5 {
		if _, err := v.certs.Verify(t.Context(), leaf); reason(t, err) != trust.ReasonCertUntrusted {
			t.Fatal(err)
		}
	}
	if n := e.count(); n != 1 {
		t.Errorf("%d fetches within 30 s", n)
	}
	v.clock.add(31 * time.Second)
	if _, err := v.certs.Verify(t.Context(), leaf); err != nil {
		t.Error(err)
	}
	e.Close()
	v.clock.add(31 * time.Second)
	stranger := spiffetest.New(t, "td1", start())
	if _, err := v.certs.Verify(t.Context(), spiffetest.Shown(t, stranger.SVID(workload, nil))); reason(t, err) != trust.ReasonJWKSUnavailable {
		t.Errorf("the one that would vouch may be in the bundle that did not come: %v", err)
	}
}

// TestBundleFile: a file is read again, and what is wrong with it leaves the one in
// force.
func TestBundleFile(t *testing.T) {
	a, next := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td1", start())
	next.Kid = "next"
	var mu sync.Mutex
	file, fileErr := a.Bundle(nil), error(nil)
	write := func(b []byte, err error) {
		mu.Lock()
		defer mu.Unlock()
		file, fileErr = b, err
	}
	p := provider(a)
	p.BundleRead = func() ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		return file, fileErr
	}
	v := open(t, p)
	shown := spiffetest.Shown(t, next.SVID(workload, func(c *x509Certificate) { c.NotAfter = start().Add(20 * time.Hour) }))
	if _, err := v.certs.Verify(t.Context(), shown); reason(t, err) != trust.ReasonCertUntrusted {
		t.Fatal(err)
	}
	write(a.Bundle(func(d map[string]any) { d["keys"], d["spiffe_sequence"] = append(a.Keys(), next.Keys()...), 2 }), nil)
	v.clock.add(31 * time.Second)
	if _, err := v.certs.Verify(t.Context(), shown); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]struct {
		doc []byte
		err error
	}{"gone": {nil, errors.New("no such file")}, "half": {file[:len(file)/2], nil}, "older": {a.Bundle(nil), nil}} {
		write(bad.doc, bad.err)
		v.clock.add(2 * time.Minute)
		before := len(v.fetches())
		if _, err := v.certs.Verify(t.Context(), shown); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		eventually(t, "a look at the file", func() bool { return len(v.fetches()) > before })
		if got := v.fetches()[before]; got == "" {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestFederation: go-spiffe's own federation handler serves the bundle, and proves
// its SPIFFE ID.
func TestFederation(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	td := spiffeid.RequireTrustDomainFromString("td1")
	served, err := spiffebundle.Parse(td, a.Bundle(func(d map[string]any) { d["spiffe_sequence"] = 9 }))
	if err != nil {
		t.Fatal(err)
	}
	served.SetRefreshHint(10 * time.Minute)
	handler, err := federation.NewHandler(td, served)
	if err != nil {
		t.Fatal(err)
	}
	svid := a.SVID(endpointID, nil)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{svid}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	p := provider(a)
	p.BundleURL, p.InsecureLoopback, p.BundleEndpointID = server.URL, true, endpointID
	p.Bundle = a.Bundle(func(d map[string]any) { d["keys"] = a.Keys()[1:] }) // no key for tokens yet
	v := open(t, p)
	if _, err := v.set.Verify(t.Context(), a.JWT(a.Claims(workload, audience), nil)); err != nil {
		t.Fatalf("%v\n%s", err, v.log)
	}
	probed := oidc.Probe(t.Context(), p, spiffe.Platform(), nil, start)
	if probed.Err != nil || probed.Pinned || probed.Usable != 2 || probed.Total != 2 {
		t.Errorf("%+v", probed)
	}
	p.BundleURL, p.BundleEndpointID = "", ""
	if probed = oidc.Probe(t.Context(), p, spiffe.Platform(), nil, start); probed.Err != nil || !probed.Pinned || probed.Usable != 1 {
		t.Errorf("%+v", probed)
	}
}

// TestCheck: what of a configuration cannot be meant.
func TestCheck(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	for name, c := range map[string]struct {
		edit func(p *oidc.Provider)
		want []string
	}{
		"good":             {func(*oidc.Provider) {}, nil},
		"with an endpoint": {func(p *oidc.Provider) { p.BundleURL = "https://spire.test/bundle" }, nil},
		"federation":       {func(p *oidc.Provider) { p.BundleURL, p.BundleEndpointID = "https://spire.test:8443", endpointID }, nil},
		"no trust domain":  {func(p *oidc.Provider) { p.TrustDomain = "" }, []string{"trust_domain"}},
		"upper case":       {func(p *oidc.Provider) { p.TrustDomain = "TD1" }, []string{"trust_domain"}},
		"an id":            {func(p *oidc.Provider) { p.TrustDomain = "spiffe://td1" }, []string{"trust_domain"}},
		"a path":           {func(p *oidc.Provider) { p.TrustDomain = "td1/x" }, []string{"trust_domain"}},
		"no bundle":        {func(p *oidc.Provider) { p.Bundle = nil }, []string{"bundle_file"}},
		"a bad bundle":     {func(p *oidc.Provider) { p.Bundle = []byte("{}") }, []string{"bundle_file"}},
		"no audience":      {func(p *oidc.Provider) { p.Audiences = nil }, []string{"audience"}},
		"http":             {func(p *oidc.Provider) { p.BundleURL = "http://spire.test" }, []string{"bundle_url"}},
		"an address":       {func(p *oidc.Provider) { p.BundleURL = "https://10.0.0.1" }, []string{"bundle_url"}},
		"id without URL":   {func(p *oidc.Provider) { p.BundleEndpointID = endpointID }, []string{"bundle_endpoint_id"}},
		"id, no first bundle": {func(p *oidc.Provider) {
			p.BundleURL, p.BundleEndpointID, p.Bundle = "https://spire.test", endpointID, nil
		}, []string{"bundle_file"}},
		"id of another":     {func(p *oidc.Provider) { p.BundleURL, p.BundleEndpointID = "https://spire.test", "spiffe://td2/x" }, []string{"bundle_endpoint_id"}},
		"id of no workload": {func(p *oidc.Provider) { p.BundleURL, p.BundleEndpointID = "https://spire.test", "spiffe://td1" }, []string{"bundle_endpoint_id"}},
		"id over http": {func(p *oidc.Provider) {
			p.BundleURL, p.BundleEndpointID, p.InsecureLoopback = "http://127.0.0.1:8443", endpointID, true
		}, []string{"bundle_url"}},
		"a key set": {func(p *oidc.Provider) { p.JWKSURL = "https://spire.test/keys" }, []string{"jwks_url"}},
	} {
		p := provider(a)
		c.edit(&p)
		var fields []string
		for _, problem := range oidc.Check(p.WithDefaults(spiffe.Platform()), spiffe.Platform()) {
			fields = append(fields, problem.Field)
		}
		if diff := cmp.Diff(c.want, fields); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestClaimed: an explanation starts from a few claims.
func TestClaimed(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	v := open(t, provider(a))
	id, err := v.set.Claimed("mesh", []byte(`{"sub":"`+workload+`"}`), start())
	if err != nil || id.Workload != "spiffe://gw.test/mesh/ns/payments/sa/api_5f1" || id.Claims["path"] != "/ns/payments/sa/api_1" {
		t.Errorf("%+v %v", id, err)
	}
	if _, err := v.set.Claimed("mesh", []byte(`{}`), start()); err != nil {
		t.Error(err)
	}
	for _, claims := range []string{`{"sub":"spiffe://td2/x"}`, `{"sub":"x"}`} {
		if _, err := v.set.Claimed("mesh", []byte(claims), start()); reason(t, err) != trust.ReasonSPIFFEID {
			t.Errorf("%s: %v", claims, err)
		}
	}
}

// TestWorkloads: what a trust pins is what a cloud is told, escaped as a token's.
func TestWorkloads(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	ids, err := oidc.Workloads("gw.test", provider(a), spiffe.Platform(), map[string][]any{"/sub": {workload, "spiffe://td1/b"}})
	want := []string{"spiffe://gw.test/mesh/ns/payments/sa/api_5f1", "spiffe://gw.test/mesh/b"}
	if diff := cmp.Diff(want, ids); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	var open *oidc.OpenError
	if _, err := oidc.Workloads("gw.test", provider(a), spiffe.Platform(), map[string][]any{"/trust_domain": {"td1"}}); !errors.As(err, &open) {
		t.Errorf("%v", err)
	}
	seen := map[string]string{}
	for _, id := range []string{"spiffe://td1/a/b", "spiffe://td1/a_b", "spiffe://td1/a_2fb", "spiffe://td1/a/_62"} {
		w, err := oidc.WorkloadOf("gw.test", provider(a), spiffe.Platform(), map[string]any{"sub": id})
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[w]; twice {
			t.Errorf("%s and %s are one workload", id, other)
		}
		seen[w] = id
	}
}

// BenchmarkX509SVID is a connection's certificate, each exchange anew.
func BenchmarkX509SVID(b *testing.B) {
	a := spiffetest.New(b, "td1", start())
	v := open(b, provider(a))
	shown := exchange.Subject{Type: exchange.SubjectMTLS, Certificates: spiffetest.Shown(b, a.SVID(workload, nil))}
	for b.Loop() {
		if _, err := v.Verify(b.Context(), shown); err != nil {
			b.Fatal(err)
		}
	}
}
