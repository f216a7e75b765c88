package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/gateway"
	"cambio/issuer"
	"cambio/standin"
	"cambio/test/redisrig"
	"cambio/test/rig"
)

// patient is a gateway that serves its own issuer, and how it is examined.
type patient struct {
	t      *testing.T
	rig    *rig.Rig
	config gateway.Config
	env    gateway.DoctorEnv
}

// healthy starts a gateway that nothing is wrong with.
func healthy(t *testing.T) *patient {
	t.Helper()
	public, admin := address(t), address(t)
	r := rig.New(t, rig.Setup{Config: `issuer: http://` + public + `
listen: ` + public + `
admin_listen: ` + admin + `
identity_providers:
  iss1: {type: github-actions, issuer: "{{ISS1}}", audience: "http://` + public + `", insecure_loopback: true}
targets:
  t1: {type: jwt, audience: "api://t1"}
  t2: {type: jwt, audience: "api://t2"}
`})
	serve(t, public, r.Gateway.Public())
	serve(t, admin, r.Gateway.Admin())
	return &patient{t, r, r.Config, gateway.DoctorEnv{File: filepath.Join(r.Dir, "cambio.yaml"), Now: time.Now, Rand: rand.Reader}}
}

func address(t *testing.T) string {
	t.Helper()
	a, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func serve(t *testing.T, addr string, h http.Handler) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// examine returns the checks by name.
func (p *patient) examine() map[string]gateway.DoctorCheck {
	p.t.Helper()
	return byName(p.t, gateway.Doctor(p.t.Context(), p.config, p.env))
}

func byName(t *testing.T, r gateway.DoctorReport) map[string]gateway.DoctorCheck {
	t.Helper()
	out, failed := map[string]gateway.DoctorCheck{}, false
	for _, c := range r.Checks {
		if _, twice := out[c.Name]; twice {
			t.Errorf("%s is checked twice", c.Name)
		}
		if c.Detail == "" || (c.Next != "") != (c.Status == gateway.DoctorWarn || c.Status == gateway.DoctorFail) || strings.ContainsAny(c.Detail+c.Next, "\n\r\x1b") {
			t.Errorf("%+v", c)
		}
		out[c.Name] = c
		failed = failed || c.Status == gateway.DoctorFail
	}
	if r.OK == failed {
		t.Errorf("ok is %v", r.OK)
	}
	return out
}

// want fails the test unless a check has this status and says this.
func want(t *testing.T, checks map[string]gateway.DoctorCheck, name string, status gateway.DoctorStatus, says string) {
	t.Helper()
	if c := checks[name]; c.Status != status || !strings.Contains(c.Detail, says) {
		t.Errorf("%s is %s: %s; want %s: %s", name, c.Status, c.Detail, status, says)
	}
}

func TestDoctorHealthy(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	before := files(t, p.rig.Dir)
	var last int
	p.env.Progress = func(done, all int) {
		if done != last+1 || done > all {
			t.Errorf("%d of %d after %d", done, all, last)
		}
		last = done
	}
	report := gateway.Doctor(t.Context(), p.config, p.env)
	var names []string
	for _, c := range report.Checks {
		names = append(names, c.Name)
		if c.Status == gateway.DoctorFail || c.Status == gateway.DoctorWarn && c.Name != "disk" { // this machine's may be slow
			t.Errorf("%+v", c)
		}
	}
	if diff := cmp.Diff([]string{
		"clock", "state-folder", "gateway", "permissions", "formats", "trust-documents", "keys", "key-rotation", "key-signers",
		"issuer", "issuer-keys", "certificate", "identity_providers.iss1", "targets.t1", "targets.t2", "redis", "stops", "journal", "disk",
	}, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	byName(t, report)
	if diff := cmp.Diff(before, files(t, p.rig.Dir)); diff != "" {
		t.Errorf("something was changed (-before +after)\n%s", diff)
	}
	if last == 0 {
		t.Error("no progress")
	}
}

// files are the names and sizes below a folder, without the journal's segments,
// which the gateway writes meanwhile.
func files(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".jsonl") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDoctorIssuer(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	stranger, err := issuer.Generate(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	voice, err := issuer.New(issuer.Config{URL: "https://other.example", Now: time.Now, Rand: rand.Reader}, stranger)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	raw, keys := p.rig.Get(p.config.Issuer, "/.well-known/openid-configuration").Raw, p.rig.Get(p.config.Issuer, "/keys").Raw
	// discovery is ours under another name, with a member changed.
	discovery := func(name, old, with string) http.HandlerFunc {
		text := strings.ReplaceAll(raw, p.config.Issuer, front.URL+name)
		if !strings.Contains(text, old) {
			t.Fatalf("discovery has no %s", old)
		}
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(text, old, with, 1))
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"/slash":     discovery("/slash", `/slash",`, `/slash/",`),
		"/file":      discovery("/file", front.URL+"/file/keys", "file:///etc/passwd"),
		"/elsewhere": discovery("/elsewhere", front.URL+"/elsewhere/keys", front.URL+"/copy/keys"),
		"/weak":      discovery("/weak", `["RS256",`, `["none","RS256",`),
		"/more":      discovery("/more", `{`, `{"authorization_endpoint":"https://evil.example",`),
		"/twice":     discovery("/twice", `{`, `{"jwks_uri":"https://evil.example/keys",`),
		"/moved":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, p.config.Issuer, http.StatusFound) },
		"/text":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\x1b[2J")) },
		"/huge":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 1<<20)) },
	} {
		mux.HandleFunc(name+"/.well-known/openid-configuration", h)
		mux.HandleFunc(name+"/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, keys) })
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(keys), &set); err != nil {
		t.Fatal(err)
	}
	var first struct{ KID string }
	if err := json.Unmarshal(set.Keys[0], &first); err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := json.Marshal(issuer.Key{KID: first.KID, Alg: issuer.ES256, Signer: own}.PublicJWK()) // our key's name, his key
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"/copy":     keys,
		"/indented": strings.ReplaceAll(keys, ",", ",\n  "),
		"/stranger": string(voice.JWKS()),
		"/half":     fmt.Sprintf(`{"keys":[%s,%s]}`, set.Keys[0], set.Keys[1]), // the active ones come first
		"/none":     `{"keys":[]}`,
		"/twins":    strings.Replace(keys, "[", "["+string(twin)+",", 1),
		"/replaced": strings.Replace(keys, string(set.Keys[0]), string(twin), 1),
		"/again":    strings.Replace(keys, "[", "["+string(set.Keys[0])+",", 1),
		"/private":  strings.Replace(keys, `{"kty":`, `{"d":"c2VjcmV0","kty":`, 1),
		"/page":     "<html>",
	} {
		mux.HandleFunc(name+"/.well-known/openid-configuration", discovery(name, "", ""))
		mux.HandleFunc(name+"/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	}
	mux.HandleFunc("/nokeys/.well-known/openid-configuration", discovery("/nokeys", "", ""))
	mux.HandleFunc("/cached/.well-known/openid-configuration", discovery("/cached", "", ""))
	mux.HandleFunc("/cached/keys", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=86400")
		_, _ = io.WriteString(w, keys)
	})
	for _, c := range []struct {
		path, check string
		status      gateway.DoctorStatus
		says        string
	}{
		{"/copy", "issuer", gateway.DoctorPass, "member for member ours"},
		{"/copy", "issuer-keys", gateway.DoctorPass, "4 of our 4 keys found"},
		{"/indented", "issuer-keys", gateway.DoctorPass, "4 of our 4 keys found"},
		{"/slash", "issuer", gateway.DoctorFail, "every relying party refuses"},
		{"/elsewhere", "issuer", gateway.DoctorFail, "for the keys, not to " + front.URL + "/elsewhere/keys"},
		{"/elsewhere", "issuer-keys", gateway.DoctorPass, "4 of our 4 keys found"},
		{"/weak", "issuer", gateway.DoctorFail, "id_token_signing_alg_values_supported"},
		{"/more", "issuer", gateway.DoctorFail, "authorization_endpoint"},
		{"/twice", "issuer", gateway.DoctorFail, "each name stands once"},
		{"/stranger", "issuer-keys", gateway.DoctorFail, "is missing: what it signs is refused"},
		{"/stranger", "issuer-keys", gateway.DoctorFail, "4 keys there that we do not hold"},
		{"/none", "issuer-keys", gateway.DoctorFail, "is missing: what it signs is refused"},
		{"/twins", "issuer-keys", gateway.DoctorFail, "under a name that is not its own"},
		{"/replaced", "issuer-keys", gateway.DoctorFail, "under a name that is not its own"},
		{"/again", "issuer-keys", gateway.DoctorFail, "not as we write it"},
		{"/private", "issuer-keys", gateway.DoctorFail, "members that we do not publish"},
		{"/page", "issuer-keys", gateway.DoctorFail, "not JSON"},
		{"/nokeys", "issuer-keys", gateway.DoctorFail, "the answer is 404"},
		{"/file", "issuer", gateway.DoctorFail, "jwks_uri is no URL"},
		{"/cached", "issuer-keys", gateway.DoctorWarn, "caches may keep it for 24h0m0s"},
		{"/half", "issuer-keys", gateway.DoctorWarn, "do not rotate yet"},
		{"/moved", "issuer", gateway.DoctorFail, "redirect (302)"},
		{"/text", "issuer", gateway.DoctorFail, "not JSON"},
		{"/huge", "issuer", gateway.DoctorFail, "larger than"},
		{"/nothing", "issuer", gateway.DoctorFail, "the answer is 404"},
	} {
		q := *p
		q.config.Issuer = front.URL + c.path
		want(t, q.examine(), c.check, c.status, c.says)
	}
}

func TestDoctorClock(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	for off, status := range map[time.Duration]gateway.DoctorStatus{
		0: gateway.DoctorPass, 12 * time.Second: gateway.DoctorWarn, -12 * time.Second: gateway.DoctorWarn, -time.Minute: gateway.DoctorFail, time.Hour: gateway.DoctorFail,
	} {
		p.env.Now = func() time.Time { return time.Now().Add(off) }
		want(t, p.examine(), "clock", status, "")
	}
	// One provider that is off does not make ours wrong.
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("<ErrorResponse><Error><Code>ValidationError</Code></Error></ErrorResponse>"))
	}))
	t.Cleanup(late.Close)
	p.env.Now = time.Now
	p.config.Targets = map[string]gateway.Target{"store": {Type: "aws", Endpoint: &late.URL}}
	want(t, p.examine(), "clock", gateway.DoctorWarn, "others are off: targets.store +")
	// Nobody to compare with.
	p.config.Targets, p.config.IdentityProviders, p.config.Issuer = nil, nil, "http://127.0.0.1:1"
	want(t, p.examine(), "clock", gateway.DoctorWarn, "nobody")
}

func TestDoctorProvidersAndTargets(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	sts, err := standin.NewSTS(standin.STSConfig{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sts.Close() })
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<html><title>blocked by the proxy</title></html>"))
	}))
	t.Cleanup(page.Close)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then the server does not see that the caller is gone
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	own, blocked, hangs := sts.URL(), page.URL, hanging.URL
	iss1 := p.config.IdentityProviders["iss1"]
	down, guarded, other := iss1, iss1, iss1
	down.Issuer = "http://127.0.0.1:1"
	guarded.InsecureLoopback, guarded.Issuer = false, "https://127.0.0.1:1"
	other.Issuer += "/other"
	p.config.IdentityProviders = map[string]gateway.IdentityProvider{"iss1": iss1, "down": down, "guarded": guarded, "other": other}
	p.config.Targets = map[string]gateway.Target{
		"jwt": {Type: "jwt"}, "store": {Type: "aws", Endpoint: &own}, "blocked": {Type: "aws", Endpoint: &blocked},
		"hangs": {Type: "aws", Endpoint: &hangs}, "nowhere": {Type: "aws", Region: "no where"},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	checks := byName(t, gateway.Doctor(ctx, p.config, p.env))
	want(t, checks, "identity_providers.iss1", gateway.DoctorPass, "3 of 3 keys usable")
	want(t, checks, "identity_providers.down", gateway.DoctorFail, "no connection")
	want(t, checks, "identity_providers.guarded", gateway.DoctorFail, "must not be called")
	want(t, checks, "identity_providers.other", gateway.DoctorFail, "")
	want(t, checks, "targets.jwt", gateway.DoctorPass, "nothing is called")
	want(t, checks, "targets.store", gateway.DoctorWarn, "(400 ValidationError); endpoint is set: the ARN of what it issues is not checked")
	want(t, checks, "targets.blocked", gateway.DoctorFail, "answers 403, and not as STS does")
	want(t, checks, "targets.hangs", gateway.DoctorFail, "no answer within")
	want(t, checks, "targets.nowhere", gateway.DoctorFail, "")
	if unknown := sts.Unknown(); len(unknown) > 0 {
		t.Errorf("STS does not know: %v", unknown)
	}
}

// TestDoctorTargets: each service is known by the way it refuses, and nothing else
// passes for it.
func TestDoctorTargets(t *testing.T) {
	t.Parallel()
	const tenant = "11111111-2222-4333-8444-555555555555"
	services := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers := map[string]struct {
			status int
			body   string
		}{
			"POST /v1/token": {400, `{"error":"invalid_request"}`},
			"GET /" + tenant + "/v2.0/.well-known/openid-configuration": {200, `{"issuer":"https://login.microsoftonline.com/x/v2.0"}`},
			"GET /app":           {401, `{"message":"A JSON web token could not be decoded"}`},
			"GET /v1/sys/health": {200, `{"initialized":true,"sealed":false}`},
			"POST /oauth":        {401, `{"error":"invalid_client"}`},
			"GET /version":       {401, `{"kind":"Status","code":401}`},
		}
		a, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			t.Errorf("asked for %s %s", r.Method, r.URL)
			a.status = http.StatusNotImplemented
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	t.Cleanup(services.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>sign in to the network"))
	}))
	t.Cleanup(page.Close)
	targets := func(at string) map[string]gateway.Target {
		return map[string]gateway.Target{
			"google": {Type: "gcp", Endpoint: &at}, "entra": {Type: "azure", Endpoint: &at, Tenant: tenant}, "hub": {Type: "github", Endpoint: &at},
			"vault": {Type: "vault", Server: at}, "other": {Type: "oauth", TokenURL: at + "/oauth"}, "cluster": {Type: "kubernetes", Server: at},
		}
	}
	p := healthy(t)
	p.config.Targets = targets(services.URL)
	p.config.Targets["own"], p.config.Targets["certs"], p.config.Targets["shell"] = gateway.Target{Type: "kubernetes"}, gateway.Target{Type: "x509"}, gateway.Target{Type: "ssh"}
	checks := byName(t, gateway.Doctor(t.Context(), p.config, p.env))
	for name := range targets("") {
		want(t, checks, "targets."+name, gateway.DoctorPass, "answers at")
	}
	for _, name := range []string{"own", "certs", "shell"} {
		want(t, checks, "targets."+name, gateway.DoctorPass, "nothing is called")
	}
	p = healthy(t)
	p.config.Targets = targets(page.URL)
	checks = byName(t, gateway.Doctor(t.Context(), p.config, p.env))
	for name := range targets("") {
		want(t, checks, "targets."+name, gateway.DoctorFail, "and not as")
	}
}

func TestDoctorCertificate(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	dir := t.TempDir()
	make := func(name string, days int, hosts ...string) *gateway.TLS {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: hosts, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, days),
		}
		if len(hosts) > 0 {
			template.IPAddresses = nil
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		out := &gateway.TLS{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
		for path, block := range map[string]*pem.Block{out.Cert: {Type: "CERTIFICATE", Bytes: der}, out.Key: {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	good, expired := make("good", 200), make("expired", -1)
	swapped := &gateway.TLS{Cert: good.Cert, Key: expired.Key}
	for _, c := range []struct {
		tls    *gateway.TLS
		status gateway.DoctorStatus
		says   string
	}{
		{good, gateway.DoctorWarn, "knows no authority"}, // it signed itself
		{make("soon", 20), gateway.DoctorWarn, "in less than 30 days"},
		{make("now", 3), gateway.DoctorFail, "in less than 7 days"},
		{expired, gateway.DoctorFail, "expired "},
		{make("other", 200, "id.other.example"), gateway.DoctorWarn, "not for the issuer's host 127.0.0.1"},
		{swapped, gateway.DoctorFail, "private key does not match"},
		{&gateway.TLS{Cert: "none.pem", Key: "none.key"}, gateway.DoctorFail, "no such file"},
	} {
		p.config.TLS = c.tls
		want(t, p.examine(), "certificate", c.status, c.says)
	}
	if err := os.Chmod(good.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	p.config.TLS = good
	want(t, p.examine(), "permissions", gateway.DoctorWarn, "others may read")
}

func TestDoctorRedis(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	const secret = "correct-horse-battery"
	good := redisrig.Start(t, redisrig.Options{AOF: true})
	evicts := redisrig.Start(t, redisrig.Options{MaxMemoryPolicy: "allkeys-lru", MaxMemory: "100mb"})
	locked := redisrig.Start(t, redisrig.Options{Password: secret})
	replica := good.Replica(redisrig.Options{})
	bare := p.config.Redis
	examine := func(server *redisrig.Server, password gateway.Secret) map[string]gateway.DoctorCheck {
		p.config.Redis = &gateway.Redis{Mode: "single", Addrs: []string{server.Addr()}, Password: password}
		report := gateway.Doctor(t.Context(), p.config, p.env)
		text, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the password is told: %s", text)
		}
		return byName(t, report)
	}
	checks := examine(good, "")
	want(t, checks, "redis", gateway.DoctorPass, "master")
	want(t, checks, "redis-policy", gateway.DoctorPass, "noeviction")
	want(t, checks, "redis-persistence", gateway.DoctorPass, "append-only file")
	want(t, checks, "redis-line", gateway.DoctorPass, "loopback only")
	checks = examine(evicts, "")
	want(t, checks, "redis-policy", gateway.DoctorFail, "allkeys-lru forgets used tokens")
	want(t, checks, "redis-persistence", gateway.DoctorWarn, "no append-only file")
	want(t, examine(locked, secret), "redis", gateway.DoctorPass, "")
	want(t, examine(locked, "wrong"), "redis", gateway.DoctorFail, "WRONGPASS")
	want(t, examine(replica, ""), "redis", gateway.DoctorFail, "it is a replica")
	good.Kill()
	checks = examine(good, "")
	want(t, checks, "redis", gateway.DoctorFail, "refused")
	want(t, checks, "stops", gateway.DoctorFail, "")
	p.config.Redis = bare
	want(t, p.examine(), "redis", gateway.DoctorSkip, "")
	// How we talk to it is read from the configuration alone.
	for says, r := range map[string]gateway.Redis{
		"neither TLS nor a password": {}, "a password, and no TLS": {Password: secret}, "TLS, and no password": {TLS: true}, "TLS and a password": {TLS: true, Password: secret},
	} {
		r.Mode, r.Addrs = "single", []string{"redis.invalid:6379"}
		p.config.Redis = &r
		status := gateway.DoctorWarn
		if r.TLS && r.Password != "" {
			status = gateway.DoctorPass
		}
		want(t, p.examine(), "redis-line", status, says)
	}
}

func TestDoctorRedisSentinel(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	set := redisrig.Sentinel(t, redisrig.Options{AOF: true}, 1)
	p.config.Redis = &gateway.Redis{Mode: "sentinel", Addrs: set.Addrs(), MasterName: set.Name}
	want(t, p.examine(), "redis", gateway.DoctorPass, "1 connected replica")
}

func TestDoctorState(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.rig.Stop()
	journal := p.rig.JournalDir()
	segment := filepath.Join(journal, "00000001.jsonl")
	whole, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The admin listener is gone with the gateway, so an end is an end.
	p.config.AdminListen = address(t)
	want(t, p.examine(), "journal", gateway.DoctorPass, "records chain")
	want(t, p.examine(), "gateway", gateway.DoctorWarn, "none answers")
	write(segment, whole[:len(whole)-20])
	want(t, p.examine(), "journal", gateway.DoctorWarn, "torn at the end")
	write(segment, slices.Concat(lines[:len(lines)-1]...))
	want(t, p.examine(), "journal", gateway.DoctorWarn, "or the end was cut")
	write(segment, bytes.Replace(whole, []byte(`"policy.loaded"`), []byte(`"policy.leaded"`), 1))
	want(t, p.examine(), "journal", gateway.DoctorFail, "problem")
	write(segment, lines[0])
	want(t, p.examine(), "journal", gateway.DoctorFail, "no signed head")
	if err := os.Remove(segment); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "journal", gateway.DoctorFail, "no segment")

	write(filepath.Join(p.config.State, "format"), []byte("2\n"))
	want(t, p.examine(), "formats", gateway.DoctorFail, "it does not start")
	write(filepath.Join(p.config.State, "format"), []byte("1\n"))
	stops := filepath.Join(p.config.State, "stops.json")
	write(stops, []byte(`{"format": 9, "version": 1, "stops": []}`))
	checks := p.examine()
	want(t, checks, "stops", gateway.DoctorFail, "everything is refused")
	want(t, checks, "formats", gateway.DoctorFail, "stops.json has format 9")
	if err := os.Remove(stops); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "stops", gateway.DoctorFail, "everything is refused")

	if err := os.Chmod(p.config.State, 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "state-folder", gateway.DoctorFail, "mode 0755")
	keys := p.config.Keys
	p.config.Keys = t.TempDir()
	want(t, p.examine(), "keys", gateway.DoctorSkip, "none yet")
	p.config.Keys = keys
	p.env.Now = func() time.Time { return time.Now().AddDate(0, 0, 200) }
	want(t, p.examine(), "key-rotation", gateway.DoctorWarn, "that is long")
}

// What an examination reports is the same whatever is broken: nothing is left
// out because something else failed.
func TestDoctorOfNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c := gateway.Config{Issuer: "http://127.0.0.1:1", Listen: "127.0.0.1:1", AdminListen: "127.0.0.1:1", State: dir, Keys: filepath.Join(dir, "keys"), Trust: filepath.Join(dir, "trust")}
	checks := byName(t, gateway.Doctor(t.Context(), c, gateway.DoctorEnv{Now: time.Now, Rand: rand.Reader}))
	got := slices.Sorted(maps.Keys(checks))
	if diff := cmp.Diff([]string{
		"certificate", "clock", "disk", "formats", "gateway", "identity_providers", "issuer", "issuer-keys", "journal",
		"key-rotation", "key-signers", "keys", "permissions", "redis", "state-folder", "stops", "targets", "trust-documents",
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it made the state folder")
	}
}
