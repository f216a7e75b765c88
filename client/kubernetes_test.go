package client_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/client"
)

const (
	defaultTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	clusterCAFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	accessReviewPath = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	tokenRequestPath = "/api/v1/namespaces/shop/serviceaccounts/orders/token"
)

// podToken is what the kubelet mounts by default. It must reach nobody but the
// API server.
func podToken(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".canary"
}

const (
	boundPod   = `{"sub":"system:serviceaccount:shop:orders","kubernetes.io":{"namespace":"shop","pod":{"name":"orders-1","uid":"u-1"}}}`
	unboundPod = `{"sub":"system:serviceaccount:shop:orders"}`
)

// cluster is a strict API server on loopback. It fails the test on what no
// API server knows, and records what is asked of it.
type cluster struct {
	t       *testing.T
	server  *httptest.Server
	mounted string
	allowed string // status.allowed of the review
	reviews int
	bodies  []map[string]any
	status  map[string]int // answers other than 201, by path
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, mounted: podToken(boundPod), allowed: "true", status: map[string]int{}}
	c.server = httptest.NewTLSServer(c)
	t.Cleanup(c.server.Close)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer "+c.mounted {
		c.t.Errorf("unexpected request: %s %s %v", r.Method, r.URL, r.Header)
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	if status := c.status[r.URL.Path]; status != 0 {
		answer(w, status, `{"kind":"Status","message":"canary"}`)
		return
	}
	var body map[string]any
	d := json.NewDecoder(r.Body)
	if err := d.Decode(&body); err != nil || d.More() {
		c.t.Errorf("body: %v", err)
	}
	switch r.URL.Path {
	case accessReviewPath:
		c.reviews++
		want := map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
			"spec": map[string]any{"resourceAttributes": map[string]any{
				"namespace": "shop", "verb": "create", "resource": "serviceaccounts", "subresource": "token", "name": "orders",
			}},
		}
		if diff := cmp.Diff(want, body); diff != "" {
			c.t.Errorf("review: %s", diff)
		}
		answer(w, http.StatusCreated, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":`+c.allowed+`}}`)
	case tokenRequestPath:
		c.bodies = append(c.bodies, body)
		answer(w, http.StatusCreated, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"`+token+`","expirationTimestamp":"2026-11-22T06:10:00Z"}}`)
	default:
		c.t.Errorf("unexpected path: %s", r.URL)
		w.WriteHeader(http.StatusNotImplemented)
	}
}

// pod is a machine within the cluster, with its default token alone.
func (c *cluster) pod() client.Env {
	u, err := url.Parse(c.server.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw})
	env := machine{
		vars: map[string]string{
			"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port(),
			"GCE_METADATA_HOST": "127.0.0.1:1", "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1", // nobody
		},
		files: map[string]string{defaultTokenFile: c.mounted + "\n", clusterCAFile: string(authority)},
	}.env()
	env.HTTP = nil
	return env
}

func TestTokenRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		claims string
		bound  any
	}{
		"bound to its pod": {boundPod, map[string]any{"apiVersion": "v1", "kind": "Pod", "name": "orders-1", "uid": "u-1"}},
		"not bound":        {unboundPod, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.mounted = podToken(tt.claims)
			s, err := client.Detect(t.Context(), c.pod())
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != "Kubernetes TokenRequest" || s.Place != "127.0.0.1" || !s.PerAudience || len(s.Looked) != 6 || c.reviews != 1 || len(c.bodies) != 0 {
				t.Errorf("found %+v after %d reviews and %d tokens", s, c.reviews, len(c.bodies))
			}
			got, err := s.Token(t.Context(), "https://id.acme.example?nonce=cn1.abc")
			if got != token || err != nil {
				t.Fatalf("token %q, error %v", got, err)
			}
			spec := map[string]any{"audiences": []any{"https://id.acme.example?nonce=cn1.abc"}, "expirationSeconds": 600.0}
			if tt.bound != nil {
				spec["boundObjectRef"] = tt.bound
			}
			want := []map[string]any{{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}}
			if diff := cmp.Diff(want, c.bodies); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMountedTokenGoesBeforeTokenRequest(t *testing.T) {
	c := newCluster(t)
	env := c.pod()
	read := env.ReadFile
	env.ReadFile = func(name string) ([]byte, error) {
		if name == "/var/run/secrets/cambio/token" {
			return []byte(token), nil
		}
		return read(name)
	}
	s, err := client.Detect(t.Context(), env)
	if err != nil || s.Name != "Kubernetes" || s.PerAudience || c.reviews != 0 {
		t.Errorf("found %+v, %v after %d reviews", s, err, c.reviews)
	}
}

// A pod that may not create tokens is an ordinary pod: the next place is looked
// at, and where nothing is found both ways are shown.
func TestTokenRequestNotAllowed(t *testing.T) {
	for name, change := range map[string]func(*cluster, *client.Env){
		"no right":                func(c *cluster, _ *client.Env) { c.allowed = "false" },
		"an answer that is no":    func(c *cluster, _ *client.Env) { c.allowed = `"true"` },
		"may not even ask":        func(c *cluster, _ *client.Env) { c.status[accessReviewPath] = http.StatusForbidden },
		"token not taken":         func(c *cluster, _ *client.Env) { c.status[accessReviewPath] = http.StatusUnauthorized },
		"no such API":             func(c *cluster, _ *client.Env) { c.status[accessReviewPath] = http.StatusNotFound },
		"a server that is no API": func(c *cluster, _ *client.Env) { c.status[accessReviewPath] = http.StatusOK },
		"a transport of its own": func(_ *cluster, e *client.Env) {
			e.HTTP = &http.Client{Transport: broken{new(int)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			env := c.pod()
			change(c, &env)
			s, err := client.Detect(t.Context(), env)
			var nothing *client.NoIdentityError
			if s != nil || !errors.As(err, &nothing) || len(nothing.Looked) != 10 {
				t.Fatalf("found %v, %v", s, err)
			}
			for _, part := range []string{`serviceAccountToken: {audience: "https://id.acme.example"`, "resources: [serviceaccounts/token], resourceNames: [orders]", "subjects: [{kind: ServiceAccount, name: orders, namespace: shop}]"} {
				if !strings.Contains(nothing.Advice, part) {
					t.Errorf("the advice lacks %s:\n%s", part, nothing.Advice)
				}
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// Whoever can set a variable or a token's text must not lead the default token
// elsewhere.
func TestDefaultTokenStaysInTheCluster(t *testing.T) {
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the default token went to %s with %v", r.URL, r.Header)
	}))
	defer elsewhere.Close()
	u, err := url.Parse(elsewhere.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = "localhost:" + u.Port() // that certificate is not for this name
	clear := httptest.NewServer(elsewhere.Config.Handler)
	defer clear.Close()
	plain, err := url.Parse(clear.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		vars        map[string]string
		files       map[string]string
		unreachable bool
	}{
		"another server":     {vars: map[string]string{"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": u.Port()}, unreachable: true},
		"a server in clear":  {vars: map[string]string{"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": plain.Port()}, unreachable: true},
		"no host":            {vars: map[string]string{"KUBERNETES_SERVICE_HOST": ""}},
		"a host with a path": {vars: map[string]string{"KUBERNETES_SERVICE_HOST": "evil.example/x"}},
		"a host with a user": {vars: map[string]string{"KUBERNETES_SERVICE_HOST": "a@evil.example"}},
		"no port":            {vars: map[string]string{"KUBERNETES_SERVICE_PORT": ""}},
		"a port with a path": {vars: map[string]string{"KUBERNETES_SERVICE_PORT": "443/x"}},
		"no authority":       {files: map[string]string{clusterCAFile: ""}},
		"no token":           {files: map[string]string{defaultTokenFile: "canary"}},
		"a user's token":     {files: map[string]string{defaultTokenFile: podToken(`{"sub":"system:admin"}`)}},
		"a path for a name":  {files: map[string]string{defaultTokenFile: podToken(`{"sub":"system:serviceaccount:shop:../../x"}`)}},
		"no namespace":       {files: map[string]string{defaultTokenFile: podToken(`{"sub":"system:serviceaccount::x"}`)}},
		"a name too many":    {files: map[string]string{defaultTokenFile: podToken(`{"sub":"system:serviceaccount:a:b:c"}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			env := c.pod()
			getenv, read := env.Getenv, env.ReadFile
			env.Getenv = func(name string) string {
				if v, ok := tt.vars[name]; ok {
					return v
				}
				return getenv(name)
			}
			env.ReadFile = func(name string) ([]byte, error) {
				if v, ok := tt.files[name]; ok {
					return []byte(v), nil
				}
				return read(name)
			}
			s, err := client.Detect(t.Context(), env)
			if s != nil || err == nil || errors.Is(err, client.ErrUnreachable) != tt.unreachable || strings.Contains(err.Error(), "canary") || c.reviews != 0 {
				t.Errorf("found %v, %v after %d reviews", s, err, c.reviews)
			}
		})
	}
}

// An API server in trouble does not turn a pod into another identity.
func TestTokenRequestFailures(t *testing.T) {
	c := newCluster(t)
	c.status[accessReviewPath] = http.StatusServiceUnavailable
	if s, err := client.Detect(t.Context(), c.pod()); s != nil || !errors.Is(err, client.ErrUnreachable) || strings.Contains(err.Error(), "canary") {
		t.Errorf("found %v, %v", s, err)
	}
	c.status = map[string]int{}
	s, err := client.Detect(t.Context(), c.pod())
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]error{
		http.StatusForbidden:           client.ErrNoIdentity, // the right was taken away meanwhile
		http.StatusServiceUnavailable:  client.ErrUnreachable,
		http.StatusTooManyRequests:     client.ErrUnreachable,
		http.StatusNotFound:            nil,
		http.StatusUnprocessableEntity: nil,
		http.StatusOK:                  nil,
	} {
		c.status[tokenRequestPath] = status
		got, err := s.Token(t.Context(), "x")
		if got != "" || err == nil || want != nil && !errors.Is(err, want) || want == nil && (errors.Is(err, client.ErrUnreachable) || errors.Is(err, client.ErrNoIdentity)) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: token %q, error %v", status, got, err)
		}
	}
}
