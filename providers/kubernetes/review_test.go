package kubernetes_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/kubernetes"
	"cambio/providers/oidc"
	"cambio/providers/providertest"
	"cambio/standin"
	"cambio/trust"
)

const gateway = "https://gw.test"

// keys are made once for all tests: RSA keys take their time.
var keys = sync.OnceValues(func() ([]standin.Key, error) { return standin.DefaultKeys(rand.Reader) })

// delegated is what docs/how-to/kubernetes.md says to apply.
const delegated = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cambio-token-review}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: cambio, namespace: cambio}]
`

// apiServer is a cluster with TLS, whose addresses are this machine's.
func apiServer(t *testing.T, c standin.ClusterConfig) *standin.Cluster {
	t.Helper()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Keys == nil {
		var err error
		if c.Keys, err = keys(); err != nil {
			t.Fatal(err)
		}
	}
	c.Rand = rand.Reader
	k, err := standin.NewCluster(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = k.Close()
		for _, u := range k.Unknown() {
			t.Errorf("the cluster was asked what nobody knows the answer to: %s", u)
		}
	})
	return k
}

// dial is the rule that opens a cluster's address, and nothing else.
func dial(t *testing.T, rawURL string) []oidc.DialRule {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	ap := netip.MustParseAddrPort(u.Host)
	return []oidc.DialRule{{Host: u.Hostname(), Port: ap.Port(), Prefix: netip.MustParsePrefix("127.0.0.0/8")}}
}

func newSet(t *testing.T, providers ...oidc.Provider) *oidc.Set {
	t.Helper()
	for i := range providers {
		providers[i].Type = "kubernetes"
		if providers[i].Name == "" {
			providers[i].Name = "prod"
		}
		if providers[i].Audiences == nil {
			providers[i].Audiences = []string{gateway}
		}
	}
	s, err := oidc.New(oidc.Config{
		TrustDomain: "gw.test", Platforms: map[string]oidc.Platform{"kubernetes": kubernetes.Platform()},
		Providers: providers, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const localIssuer = "https://kubernetes.default.svc.cluster.local"

// reviewed is a provider that pins a cluster's keys and asks it about each token.
func reviewed(t *testing.T, k *standin.Cluster) oidc.Provider {
	t.Helper()
	return oidc.Provider{
		Issuer: k.Issuer(), JWKSFile: k.JWKS(), CA: k.CA(), Dial: dial(t, k.URL()),
		Review: &oidc.Review{URL: k.URL(), Token: func() (string, error) { return k.Token("cambio", "cambio", "gw-1", nil, nil), nil }},
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

// wants fails the test unless a token is refused so.
func wants(t *testing.T, s *oidc.Set, token string, code exchange.Code, reason trust.Reason) *exchange.Error {
	t.Helper()
	_, err := s.Verify(t.Context(), token)
	if err == nil {
		t.Fatalf("taken, not refused with %s", reason)
	}
	e := refusal(t, err)
	if e.Code != code || e.Reason != reason || (code == exchange.Unavailable) != (e.RetryAfter > 0) {
		t.Errorf("%s %s, retry %s; want %s %s", e.Code, e, e.RetryAfter, code, reason)
	}
	if strings.Contains(e.Error(), "eyJ") {
		t.Errorf("the error shows a token: %s", e)
	}
	return e
}

// TestTokenReview: a token whose pod is gone is refused although its signature
// holds, and only proven tokens have the cluster asked.
func TestTokenReview(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	if err := k.Apply([]byte(delegated)); err != nil {
		t.Fatal(err)
	}
	s := newSet(t, reviewed(t, k))
	good := k.Token("payments", "api", "api-1", []string{gateway}, nil)
	proof, err := s.Verify(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	if proof.Workload != "spiffe://gw.test/prod/ns/payments/sa/api" || k.Requests(standin.ClusterReviewPath) != 1 {
		t.Errorf("%s, %d reviews", proof.Workload, k.Requests(standin.ClusterReviewPath))
	}
	withNonce := k.Token("payments", "api", "api-1", []string{gateway + "?nonce=cn1.abc"}, nil)
	if proof, err := s.Verify(t.Context(), withNonce); err != nil || proof.Nonce != "cn1.abc" {
		t.Errorf("a nonce: %v, %q", err, proof.Nonce)
	}
	asked := k.Requests(standin.ClusterReviewPath)
	parts := strings.Split(good, ".")
	wants(t, s, parts[0]+"."+parts[1]+"."+strings.Repeat("A", len(parts[2])), exchange.InvalidRequest, trust.ReasonSignature)
	wants(t, s, k.Token("payments", "api", "api-1", nil, nil), exchange.InvalidRequest, trust.ReasonAudMismatch)
	wants(t, s, k.Token("payments", "api", "api-1", []string{gateway}, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), exchange.InvalidRequest, trust.ReasonExpired)
	if n := k.Requests(standin.ClusterReviewPath); n != asked {
		t.Errorf("%d reviews of tokens that were not proven", n-asked)
	}
	k.Delete(standin.PodUID("payments", "api-1"))
	e := wants(t, s, good, exchange.InvalidRequest, trust.ReasonReviewRefused)
	if e.Tell != "" {
		t.Errorf("the caller is told %q", e.Tell)
	}
	if _, err := s.Verify(t.Context(), k.Token("payments", "api", "api-2", []string{gateway}, nil)); err != nil {
		t.Errorf("another pod of the account: %v", err)
	}
	k.Delete(standin.AccountUID("payments", "api"))
	wants(t, s, k.Token("payments", "api", "api-3", []string{gateway}, nil), exchange.InvalidRequest, trust.ReasonReviewRefused)
}

// TestReviewConformance: a cluster's answer makes no refused token a good one.
func TestReviewConformance(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	if err := k.Apply([]byte(delegated)); err != nil {
		t.Fatal(err)
	}
	p := reviewed(t, k)
	p.Name, p.Type, p.Audiences = "prod", "kubernetes", []string{gateway}
	set, err := providers.New(oidc.Config{TrustDomain: "gw.test", Now: time.Now, Log: slog.New(slog.DiscardHandler), Providers: []oidc.Provider{p}})
	if err != nil {
		t.Fatal(err)
	}
	token := func(pod string, audiences []string, change map[string]any) exchange.Subject {
		return exchange.Subject{Token: k.Token("payments", "api", pod, audiences, change)}
	}
	ours := []string{gateway}
	gone := token("gone", ours, nil)
	k.Delete(standin.PodUID("payments", "gone"))
	providertest.Verifier{
		Set: set, Good: token("api-1", ours, nil),
		Broken: map[string]providertest.Broken{
			"the pod is gone":    {Subject: gone, Reason: trust.ReasonReviewRefused},
			"for the API server": {Subject: token("api-1", nil, nil), Reason: trust.ReasonAudMismatch},
			"expired":            {Subject: token("api-1", ours, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), Reason: trust.ReasonExpired},
			"of another cluster": {Subject: token("api-1", ours, map[string]any{"iss": "https://evil.test"}), Reason: trust.ReasonIssuerUnknown},
		},
		Check: func(tb testing.TB, p exchange.Proof) {
			tb.Helper()
			if p.Workload != "spiffe://gw.test/prod/ns/payments/sa/api" {
				tb.Error(p.Workload)
			}
		},
	}.Run(t)
}

// TestTokenReviewAnswers: nothing but a clear yes for our audience and this very
// account is one, and no answer is never a yes.
func TestTokenReviewAnswers(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	if err := k.Apply([]byte(delegated)); err != nil {
		t.Fatal(err)
	}
	s := newSet(t, reviewed(t, k))
	const good = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true,"audiences":["` + gateway + `"],` +
		`"user":{"username":"system:serviceaccount:payments:api","uid":"sa-payments-api","groups":["g"],"extra":{` +
		`"authentication.kubernetes.io/pod-name":["api-1"],"authentication.kubernetes.io/pod-uid":["pod-payments-api-1"]}}}}`
	token := k.Token("payments", "api", "api-1", []string{gateway}, nil)
	answers := func(status int, body string) {
		k.Fail(standin.ClusterReviewPath, standin.Fault{Status: status, Body: []byte(body)})
	}
	for _, status := range []int{200, 201} {
		answers(status, good)
		if _, err := s.Verify(t.Context(), token); err != nil {
			t.Fatalf("the good answer: %v", err)
		}
	}
	for name, c := range map[string]struct{ old, new string }{
		"not authenticated":       {`"authenticated":true`, `"authenticated":false`},
		"authenticated missing":   {`"authenticated":true,`, ``},
		"authenticated as a text": {`"authenticated":true`, `"authenticated":"true"`},
		"audiences missing":       {`"audiences":["` + gateway + `"],`, ``},
		"audiences empty":         {`"audiences":["` + gateway + `"]`, `"audiences":[]`},
		"audiences null":          {`"audiences":["` + gateway + `"]`, `"audiences":null`},
		"another audience":        {`"audiences":["` + gateway + `"]`, `"audiences":["https://kubernetes.default.svc"]`},
		"audiences as a text":     {`"audiences":["` + gateway + `"]`, `"audiences":"` + gateway + `"`},
		"another namespace":       {`serviceaccount:payments:api`, `serviceaccount:other:api`},
		"another account":         {`serviceaccount:payments:api`, `serviceaccount:payments:admin`},
		"no user":                 {`"user"`, `"person"`},
		"another uid":             {`"uid":"sa-payments-api"`, `"uid":"sa-payments-api-2"`},
		"no uid":                  {`"uid":"sa-payments-api",`, ``},
		"another pod":             {`["pod-payments-api-1"]`, `["pod-payments-api-2"]`},
		"another pod's name":      {`["api-1"]`, `["api-2"]`},
		"two pods":                {`["pod-payments-api-1"]`, `["pod-payments-api-1","x"]`},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(good, c.old, c.new, 1)
			if broken == good {
				t.Fatal("nothing was broken")
			}
			answers(201, broken)
			wants(t, s, token, exchange.InvalidRequest, trust.ReasonReviewRefused)
		})
	}
	t.Run("a pod that the answer does not name", func(t *testing.T) { // as clusters before 1.22 do
		answers(201, strings.NewReplacer(`,"extra":{"authentication.kubernetes.io/pod-name":["api-1"],"authentication.kubernetes.io/pod-uid":["pod-payments-api-1"]}`, ``).Replace(good))
		if _, err := s.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	})
	for name, fault := range map[string]standin.Fault{
		"400":           {Status: 400},
		"401":           {Status: 401},
		"403":           {Status: 403},
		"404":           {Status: 404},
		"429":           {Status: 429},
		"500":           {Status: 500},
		"502":           {Status: 502, Body: []byte("<html>")},
		"202":           {Status: 202, Body: []byte(good)},
		"a redirect":    {Location: "https://evil.test/"},
		"no JSON":       {Status: 201, Body: []byte("<html>")},
		"half of it":    {Status: 201, Body: []byte(good[:40])},
		"nothing":       {Status: 201, Body: []byte{}},
		"another kind":  {Status: 201, Body: []byte(strings.Replace(good, "TokenReview", "Status", 1))},
		"no status":     {Status: 201, Body: []byte(`{"kind":"TokenReview"}`)},
		"a status that": {Status: 201, Body: []byte(`{"kind":"TokenReview","status":"Success"}`)},
		"twice":         {Status: 201, Body: []byte(strings.Replace(good, `"authenticated":true`, `"authenticated":false,"authenticated":true`, 1))},
		"an echo":       {Status: 400, Body: fmt.Appendf(nil, `{"message":"what is %s"}`, token)},
	} {
		t.Run(name, func(t *testing.T) {
			k.Fail(standin.ClusterReviewPath, fault)
			wants(t, s, token, exchange.Unavailable, trust.ReasonReviewUnavailable)
		})
	}
	k.Heal(standin.ClusterReviewPath)
	k.Unaware(true)
	wants(t, s, token, exchange.InvalidRequest, trust.ReasonReviewRefused)
	k.Unaware(false)
	if _, err := s.Verify(t.Context(), token); err != nil {
		t.Errorf("healed: %v", err)
	}
}

// TestTokenReviewIsOurs: our own token goes to the configured host, without it
// nobody is asked, and one that may not ask is no yes.
func TestTokenReviewIsOurs(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	token := k.Token("payments", "api", "api-1", []string{gateway}, nil)
	own := k.Token("cambio", "cambio", "gw-1", nil, nil)
	p := reviewed(t, k)
	for name, c := range map[string]struct {
		own    func() (string, error)
		token  string
		code   exchange.Code
		reason trust.Reason
		asked  int
	}{
		"not bound":   {func() (string, error) { return own, nil }, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 1},
		"unreadable":  {func() (string, error) { return "", errors.New("secret/path") }, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 0},
		"empty":       {func() (string, error) { return "", nil }, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 0},
		"two lines":   {func() (string, error) { return "a\r\nX: b", nil }, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 0},
		"too large":   {func() (string, error) { return strings.Repeat("a", 1<<20), nil }, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 0},
		"the same":    {func() (string, error) { return token, nil }, token, exchange.InvalidRequest, trust.ReasonReviewRefused, 0},
		"not a token": {func() (string, error) { return "x", nil }, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 1},
		"ours as aud": {func() (string, error) { return token, nil }, k.Token("payments", "api", "api-2", []string{gateway}, nil), exchange.Unavailable, trust.ReasonReviewUnavailable, 1},
		"an expired one": {func() (string, error) {
			return k.Token("cambio", "cambio", "", nil, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), nil
		}, token, exchange.Unavailable, trust.ReasonReviewUnavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p.Review = &oidc.Review{URL: k.URL() + "/", Token: c.own}
			before := k.Requests(standin.ClusterReviewPath)
			e := wants(t, newSet(t, p), c.token, c.code, c.reason)
			if n := k.Requests(standin.ClusterReviewPath) - before; n != c.asked {
				t.Errorf("%d questions, want %d", n, c.asked)
			}
			if strings.Contains(e.Error(), "secret/path") {
				t.Error("the error shows what lies about")
			}
		})
	}
}

// TestTokenReviewInTime: a cluster that hangs holds a caller three seconds, and no
// more callers than there are places.
func TestTokenReviewInTime(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	s := newSet(t, reviewed(t, k))
	k.Fail(standin.ClusterReviewPath, standin.Fault{Hang: true})
	const callers = 40
	var wg sync.WaitGroup
	results := make(chan *exchange.Error, callers)
	start := time.Now()
	for i := range callers {
		token := k.Token("payments", "api", fmt.Sprint("api-", i), []string{gateway}, nil)
		wg.Go(func() {
			_, err := s.Verify(context.Background(), token)
			var e *exchange.Error
			if !errors.As(err, &e) {
				e = &exchange.Error{Err: errors.New("taken")}
			}
			results <- e
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	close(results)
	for e := range results {
		if e.Code != exchange.Unavailable || e.Reason != trust.ReasonReviewUnavailable || e.RetryAfter <= 0 {
			t.Errorf("%v", e)
		}
	}
	if n := k.Requests(standin.ClusterReviewPath); n > 32 {
		t.Errorf("%d were under way at once", n)
	}
}

// TestClusterOfItsOwnAuthority: discovery and keys of an API server with an
// authority of its own, at a node's address, opened by dial; without either it is
// not called.
func TestClusterOfItsOwnAuthority(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	other := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	token := k.Token("payments", "api", "api-1", []string{gateway}, nil)
	discovered := oidc.Provider{Issuer: k.Issuer(), CA: k.CA(), Dial: dial(t, k.URL()), DiscoveryURL: k.URL() + standin.ClusterDiscoveryPath}
	keysAt := oidc.Provider{Issuer: k.Issuer(), CA: k.CA(), Dial: dial(t, k.URL()), JWKSURL: k.URL() + standin.ClusterKeysPath}
	for name, p := range map[string]oidc.Provider{"discovery": discovered, "key set": keysAt} {
		if _, err := newSet(t, p).Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		strange := p
		strange.CA = other.CA()
		wants(t, newSet(t, strange), token, exchange.Unavailable, trust.ReasonJWKSUnavailable)
		strange.CA = nil
		wants(t, newSet(t, strange), token, exchange.Unavailable, trust.ReasonJWKSUnavailable)
		shut := p
		shut.Dial = []oidc.DialRule{{Host: p.Dial[0].Host, Port: p.Dial[0].Port, Prefix: netip.MustParsePrefix("10.0.0.0/8")}}
		wants(t, newSet(t, shut), token, exchange.Unavailable, trust.ReasonJWKSUnavailable)
	}
	// The address of another cluster than the issuer's discovery names.
	imposter := apiServer(t, standin.ClusterConfig{Issuer: "https://oidc.evil.test", TLS: &standin.TLS{}})
	p := oidc.Provider{Issuer: k.Issuer(), CA: imposter.CA(), Dial: dial(t, imposter.URL()), DiscoveryURL: imposter.URL() + standin.ClusterDiscoveryPath}
	wants(t, newSet(t, p), token, exchange.Unavailable, trust.ReasonDiscoveryMismatch)
}

// TestTwoClustersOfOneIssuer: clusters that have one iss are told apart by the
// audience, and by their keys: no token of the one passes for one of the other.
func TestTwoClustersOfOneIssuer(t *testing.T) {
	own, err := standin.DefaultKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := apiServer(t, standin.ClusterConfig{Issuer: localIssuer})
	b := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, Keys: own})
	const audA, audB = gateway + "/cluster-a", gateway + "/cluster-b"
	s := newSet(t,
		oidc.Provider{Name: "cluster-a", Issuer: localIssuer, Audiences: []string{audA}, JWKSFile: a.JWKS()},
		oidc.Provider{Name: "cluster-b", Issuer: localIssuer, Audiences: []string{audB}, JWKSFile: b.JWKS()},
	)
	for _, c := range []struct {
		k        *standin.Cluster
		aud      string
		workload string
	}{{a, audA, "spiffe://gw.test/cluster-a/ns/payments/sa/api"}, {b, audB, "spiffe://gw.test/cluster-b/ns/payments/sa/api"}} {
		proof, err := s.Verify(t.Context(), c.k.Token("payments", "api", "", []string{c.aud}, nil))
		if err != nil || proof.Workload != c.workload {
			t.Errorf("%s: %v, %s", c.aud, err, proof.Workload)
		}
	}
	// The keys of both clusters have the same names, so that the signature decides.
	wants(t, s, a.Token("payments", "api", "", []string{audB}, nil), exchange.InvalidRequest, trust.ReasonSignature)
	wants(t, s, b.Token("payments", "api", "", []string{audA}, nil), exchange.InvalidRequest, trust.ReasonSignature)
	wants(t, s, a.Token("payments", "api", "", []string{audA, audB}, nil), exchange.InvalidRequest, trust.ReasonProviderAmbiguous)
	wants(t, s, a.Token("payments", "api", "", []string{gateway}, nil), exchange.InvalidRequest, trust.ReasonAudMismatch)
}

// TestProbeReview: what the doctor asks.
func TestProbeReview(t *testing.T) {
	k := apiServer(t, standin.ClusterConfig{Issuer: localIssuer, TLS: &standin.TLS{}})
	p := reviewed(t, k)
	p.Type, p.Audiences = "kubernetes", []string{gateway}
	probe := func() error { return oidc.ProbeReview(t.Context(), p, kubernetes.Platform(), nil) }
	if e := refusal(t, probe()); e.Reason != trust.ReasonReviewUnavailable {
		t.Errorf("without the right to ask: %v", e)
	}
	if err := k.Apply([]byte(delegated)); err != nil {
		t.Fatal(err)
	}
	if err := probe(); err != nil {
		t.Error(err)
	}
	yes, err := json.Marshal(map[string]any{"kind": "TokenReview", "status": map[string]any{
		"authenticated": true, "audiences": []string{gateway}, "user": map[string]any{"username": "probe"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	k.Fail(standin.ClusterReviewPath, standin.Fault{Status: 201, Body: yes})
	if err := probe(); err == nil {
		t.Error("a service that takes anything is found good")
	}
	p.Review = nil
	if probe() == nil {
		t.Error("nobody was asked, and it was found good")
	}
}
