package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The paths that a Cluster serves beside those of namespaces.
const (
	ClusterDiscoveryPath = "/.well-known/openid-configuration"
	ClusterKeysPath      = "/openid/v1/jwks"
	ClusterReviewPath    = "/apis/authentication.k8s.io/v1/tokenreviews"
)

// ClusterConfig says what a Cluster is.
type ClusterConfig struct {
	Now    func() time.Time
	Rand   io.Reader
	Issuer string // iss of its service account tokens; default its URL
	Keys   []Key  // the first signs them; default: DefaultKeys, which takes a moment
	TLS    *TLS   // serve https; default http, which a real one never does
	// KeysOf gets the key set of an issuer that an AuthenticationConfiguration names.
	KeysOf func(ctx context.Context, issuer string) ([]byte, error)
}

// Cluster is an API server on 127.0.0.1, as far as tokens go: it signs those of
// service accounts, reviews them, makes them on request, and takes those of other
// issuers that an AuthenticationConfiguration lets in. Who may do what says RBAC.
// It is strict: what it does not know it answers with 501, and remembers. Safe for
// concurrent use.
type Cluster struct {
	server
	c      ClusterConfig
	signer *IdentityProvider // never serves

	authn    *authentication
	roles    map[string][]rbacRule // by kind, namespace and name
	bindings []rbacBinding
	gone     map[string]bool // uids of pods and accounts that were deleted
	faults   map[string]Fault
	requests map[string]int
	unaware  bool // its reviews say no audiences
	last     ClusterUser
}

// ClusterUser is who a request was authenticated as.
type ClusterUser struct {
	Username string
	Groups   []string
}

// NewCluster starts a stand-in on a free port of 127.0.0.1. End it with Close.
func NewCluster(c ClusterConfig) (*Cluster, error) {
	if c.Now == nil || c.Rand == nil {
		return nil, errors.New("standin: a clock and a source of randomness are required")
	}
	if len(c.Keys) == 0 {
		keys, err := DefaultKeys(c.Rand)
		if err != nil {
			return nil, err
		}
		c.Keys = keys
	}
	k := &Cluster{
		server: server{now: c.Now, rand: c.Rand}, c: c, roles: map[string][]rbacRule{}, gone: map[string]bool{}, faults: map[string]Fault{}, requests: map[string]int{},
		signer: &IdentityProvider{server: server{now: c.Now, rand: c.Rand}, keys: c.Keys[:1]},
	}
	if err := k.start(k, c.TLS); err != nil {
		return nil, err
	}
	if k.c.Issuer == "" {
		k.c.Issuer = k.url
	}
	return k, nil
}

// Issuer is the iss of its service account tokens.
func (k *Cluster) Issuer() string { return k.c.Issuer }

// JWKS is its key set.
func (k *Cluster) JWKS() []byte { return k.signer.JWKS() }

// Fail makes a path misbehave until Heal.
func (k *Cluster) Fail(path string, f Fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults[path] = f
}

// Heal ends the fault of a path.
func (k *Cluster) Heal(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.faults, path)
}

// Unaware makes its reviews say no audiences, as a webhook that knows none does.
func (k *Cluster) Unaware(unaware bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unaware = unaware
}

// Delete deletes a pod or a service account: what is bound to it is no longer good.
func (k *Cluster) Delete(uid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[uid] = true
}

// Requests counts the requests for a path so far, failed ones too.
func (k *Cluster) Requests(path string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.requests[path]
}

// User is who the last authenticated request came from.
func (k *Cluster) User() ClusterUser {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// AccountUID is the uid of a service account.
func AccountUID(namespace, name string) string { return "sa-" + namespace + "-" + name }

// PodUID is the uid of a pod.
func PodUID(namespace, pod string) string { return "pod-" + namespace + "-" + pod }

// Token signs a token of a service account, as a projected volume has it, for an
// hour; pod may be "". claims overlays it; a nil value takes a claim away. No
// audience means the API server itself.
func (k *Cluster) Token(namespace, account, pod string, audiences []string, claims map[string]any) string {
	return k.token(namespace, account, pod, audiences, time.Hour, claims)
}

func (k *Cluster) token(namespace, account, pod string, audiences []string, lives time.Duration, claims map[string]any) string {
	now := k.c.Now().Unix()
	if len(audiences) == 0 {
		audiences = []string{k.c.Issuer}
	}
	details := map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": AccountUID(namespace, account)}}
	if pod != "" {
		details["pod"] = map[string]any{"name": pod, "uid": PodUID(namespace, pod)}
	}
	c := map[string]any{
		"iss": k.c.Issuer, "aud": audiences, "sub": "system:serviceaccount:" + namespace + ":" + account,
		"jti": k.signer.uuid(), "iat": now, "nbf": now, "exp": now + int64(lives/time.Second), "kubernetes.io": details,
	}
	maps.Copy(c, claims)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	token, err := k.signer.Sign(JWS{Payload: encode(c)})
	if err != nil {
		panic(err.Error())
	}
	return token
}

// ServeHTTP answers as the API server does.
func (k *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.requests[r.URL.Path]++
	fault := k.faults[r.URL.Path]
	k.mu.Unlock()
	if !fault.wait(r) {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	status, answer := k.answer(r, body)
	out := encode(answer)
	w.Header().Set("Content-Type", "application/json")
	status, out = fault.change(w, status, out)
	w.WriteHeader(status)
	_, _ = w.Write(out) //nolint:gosec // JSON, as its type says, on loopback
}

// clusterStatus is an error as the API server says it.
func clusterStatus(code int, reason, format string, args ...any) (int, any) {
	return code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": fmt.Sprintf(format, args...), "reason": reason, "code": code,
	}
}

func (k *Cluster) answer(r *http.Request, body []byte) (int, any) {
	if r.Method == http.MethodGet && r.URL.Path == ClusterDiscoveryPath {
		// As a real one says it: its own address, whatever the issuer is.
		return http.StatusOK, map[string]any{
			"issuer": k.c.Issuer, "jwks_uri": k.url + ClusterKeysPath, "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		}
	}
	if r.Method == http.MethodGet && r.URL.Path == ClusterKeysPath {
		return http.StatusOK, json.RawMessage(k.JWKS())
	}
	namespace, account, makesToken := tokenPath(r.URL.Path)
	if r.Method != http.MethodPost || r.URL.RawQuery != "" || r.URL.Path != ClusterReviewPath && !makesToken {
		k.mu.Lock()
		k.unknown = append(k.unknown, r.Method+" "+r.URL.RequestURI())
		k.mu.Unlock()
		return clusterStatus(http.StatusNotImplemented, "NotImplemented", "the stand-in does not do this")
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || r.Header.Get("Content-Type") != "application/json" {
		return clusterStatus(http.StatusUnauthorized, "Unauthorized", "Unauthorized")
	}
	user, err := k.authenticate(r.Context(), bearer)
	if err != nil {
		return clusterStatus(http.StatusUnauthorized, "Unauthorized", "Unauthorized: %v", err)
	}
	k.mu.Lock()
	k.last = user
	k.mu.Unlock()
	ask := rbacAsk{verb: "create", group: "authentication.k8s.io", resource: "tokenreviews"}
	if makesToken {
		ask = rbacAsk{verb: "create", namespace: namespace, resource: "serviceaccounts/token", name: account}
	}
	if !k.allowed(user, ask) {
		return clusterStatus(http.StatusForbidden, "Forbidden", "User %q cannot create resource %q", user.Username, ask.resource)
	}
	if makesToken {
		return k.request(namespace, account, body)
	}
	return k.review(body)
}

// tokenPath is /api/v1/namespaces/NS/serviceaccounts/NAME/token.
func tokenPath(path string) (namespace, account string, ok bool) {
	p := strings.Split(path, "/")
	if len(p) != 8 || p[1] != "api" || p[2] != "v1" || p[3] != "namespaces" || p[5] != "serviceaccounts" || p[7] != "token" || p[4] == "" || p[6] == "" {
		return "", "", false
	}
	return p[4], p[6], true
}

// review is TokenReview.
func (k *Cluster) review(body []byte) (int, any) {
	var in struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	if strictJSON(body, &in) != nil || in.APIVersion != "authentication.k8s.io/v1" || in.Kind != "TokenReview" || in.Spec.Token == "" || len(in.Spec.Audiences) == 0 {
		return clusterStatus(http.StatusBadRequest, "BadRequest", "malformed TokenReview")
	}
	status := map[string]any{"user": map[string]any{}, "error": "[invalid bearer token]"}
	claims, err := k.own(in.Spec.Token)
	if err == nil {
		auds := audiencesOf(claims)
		auds = slices.DeleteFunc(auds, func(a string) bool { return !slices.Contains(in.Spec.Audiences, a) })
		if len(auds) > 0 {
			details, _ := claims["kubernetes.io"].(map[string]any)
			account, _ := details["serviceaccount"].(map[string]any)
			extra := map[string]any{"authentication.kubernetes.io/credential-id": []any{"JTI=" + fmt.Sprint(claims["jti"])}}
			if pod, bound := details["pod"].(map[string]any); bound {
				extra["authentication.kubernetes.io/pod-name"] = []any{pod["name"]}
				extra["authentication.kubernetes.io/pod-uid"] = []any{pod["uid"]}
			}
			status = map[string]any{"authenticated": true, "audiences": auds, "user": map[string]any{
				"username": claims["sub"], "uid": account["uid"], "groups": []string{"system:serviceaccounts", "system:authenticated"}, "extra": extra,
			}}
			k.mu.Lock()
			if k.unaware {
				delete(status, "audiences")
			}
			k.mu.Unlock()
		}
	}
	return http.StatusCreated, map[string]any{
		"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": map[string]any{"creationTimestamp": nil},
		"spec": map[string]any{"token": in.Spec.Token, "audiences": in.Spec.Audiences}, "status": status,
	}
}

// request is TokenRequest.
func (k *Cluster) request(namespace, account string, body []byte) (int, any) {
	var in struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Audiences         []string `json:"audiences"`
			ExpirationSeconds int64    `json:"expirationSeconds"`
		} `json:"spec"`
	}
	if strictJSON(body, &in) != nil || in.APIVersion != "authentication.k8s.io/v1" || in.Kind != "TokenRequest" {
		return clusterStatus(http.StatusBadRequest, "BadRequest", "malformed TokenRequest")
	}
	if in.Spec.ExpirationSeconds < 600 || in.Spec.ExpirationSeconds > 1<<32 {
		return clusterStatus(http.StatusUnprocessableEntity, "Invalid", "spec.expirationSeconds: may not specify a duration less than 10 minutes")
	}
	if k.isGone(AccountUID(namespace, account)) {
		return clusterStatus(http.StatusNotFound, "NotFound", "serviceaccounts %q not found", account)
	}
	lives := time.Duration(in.Spec.ExpirationSeconds) * time.Second
	return http.StatusCreated, map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": map[string]any{"name": account, "namespace": namespace},
		"spec": in.Spec,
		"status": map[string]any{
			"token":               k.token(namespace, account, "", in.Spec.Audiences, lives, nil),
			"expirationTimestamp": k.c.Now().Add(lives).UTC().Format(time.RFC3339),
		},
	}
}

func (k *Cluster) isGone(uid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gone[uid]
}

// own proves a token of one of its service accounts, and that what it is bound to
// is still there.
func (k *Cluster) own(token string) (map[string]any, error) {
	if err := verifyToken(token, k.JWKS()); err != nil {
		return nil, err
	}
	claims := decodeClaims(token)
	if claims["iss"] != k.c.Issuer {
		return nil, errors.New("another issuer")
	}
	if fail := timely(claims, k.c.Now()); fail != nil {
		return nil, errors.New("the token is not valid now")
	}
	details, _ := claims["kubernetes.io"].(map[string]any)
	for _, bound := range []string{"serviceaccount", "pod"} {
		object, _ := details[bound].(map[string]any)
		uid, _ := object["uid"].(string)
		if uid != "" && k.isGone(uid) {
			return nil, errors.New("what the token is bound to is gone")
		}
	}
	return claims, nil
}

func audiencesOf(claims map[string]any) []string {
	switch aud := claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		var out []string
		for _, a := range aud {
			s, _ := a.(string)
			out = append(out, s)
		}
		return out
	}
	return nil
}

// authenticate finds out who sends a request.
func (k *Cluster) authenticate(ctx context.Context, token string) (ClusterUser, error) {
	claims := decodeClaims(token)
	if claims["iss"] == k.c.Issuer {
		claims, err := k.own(token)
		switch {
		case err != nil:
			return ClusterUser{}, err
		case !slices.Contains(audiencesOf(claims), k.c.Issuer):
			return ClusterUser{}, errors.New("the token is not for the API server")
		}
		return ClusterUser{Username: fmt.Sprint(claims["sub"]), Groups: []string{"system:serviceaccounts", "system:authenticated"}}, nil
	}
	k.mu.Lock()
	authn := k.authn
	k.mu.Unlock()
	if authn == nil {
		return ClusterUser{}, errors.New("no such issuer")
	}
	return authn.user(ctx, token, k.c)
}
