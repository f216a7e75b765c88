package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The conventional places of a token that was mounted for this gateway. A token
// for anyone else must not be shown to us, nor ours to anyone else.
const (
	kubernetesTokens = "/var/run/secrets/tokens/cambio" //nolint:gosec // a path
	kubernetesOwn    = "/var/run/secrets/cambio/token"
)

// What a pod holds to speak to its API server.
const (
	defaultToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path
	clusterCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

const (
	// apiTime bounds one request to the API server, which is near.
	apiTime = 5 * time.Second
	// requestedSeconds is the shortest life that an API server gives a token; ours
	// is shown at once.
	requestedSeconds = 600
)

func (d *detection) mounted(context.Context) (*Source, error) {
	const name = "Kubernetes"
	for _, path := range []string{kubernetesTokens, kubernetesOwn} {
		if _, err := d.readFile(path); !errors.Is(err, fs.ErrNotExist) {
			return &Source{Name: name, Place: path, fetch: fromFile(d.readFile, path)}, nil
		}
	}
	d.missed(name, "neither "+kubernetesTokens+" nor "+kubernetesOwn+" is there")
	return nil, nil
}

// tokenRequest is the API server, where the pod may create tokens for its own
// service account. Almost every pod holds a default token, so the right to
// create is what says that this is meant; without it the next place is looked
// at. An API server that does not answer is an error: which identity a workload
// shows must not hang on the network's mood.
func (d *detection) tokenRequest(ctx context.Context) (*Source, error) {
	const name = "Kubernetes TokenRequest"
	if _, err := d.readFile(defaultToken); errors.Is(err, fs.ErrNotExist) {
		d.missed(name, "this is no pod, or one without a service account's token")
		return nil, nil
	}
	api := apiServer{readFile: d.readFile, http: d.env.HTTP, host: d.getenv("KUBERNETES_SERVICE_HOST"), port: d.getenv("KUBERNETES_SERVICE_PORT")}
	pod, err := api.account()
	var may bool
	if err == nil {
		may, err = api.mayCreate(ctx, pod)
	}
	switch {
	case errors.Is(err, ErrUnreachable):
		return nil, fmt.Errorf("%s: may this pod create a token of its own? %w\nMount a projected token, or set automountServiceAccountToken: false where another identity is meant", name, err)
	case err != nil:
		d.missed(name, err.Error())
	case !may:
		d.missed(name, pod.namespace+"/"+pod.name+" may not create tokens of its own")
	default:
		return &Source{Name: name, Place: api.host, PerAudience: true, fetch: api.create}, nil
	}
	d.advice = append(d.advice, fmt.Sprintf(kubernetesAdvice, d.audience()))
	if pod.name != "" {
		d.advice = append(d.advice, roleAdvice(pod))
	}
	return nil, nil
}

const kubernetesAdvice = `The pod's default token is for its API server alone, and is never sent to a gateway.
Mount a token for the gateway; paste this into the pod:

    containers:
      - volumeMounts:
          - {name: cambio, mountPath: /var/run/secrets/cambio, readOnly: true}
    volumes:
      - name: cambio
        projected:
          sources:
            - serviceAccountToken: {audience: %q, expirationSeconds: 3600, path: token}
`

// roleAdvice is what lets a service account create its own tokens.
func roleAdvice(a account) string {
	return strings.NewReplacer("NAMESPACE", a.namespace, "NAME", a.name).Replace(`
Or, where the gateway requires a nonce (a mounted token has none), let the service
account create its own tokens. It may then create them for any audience, the API
server's too, and for longer than the pod lives:

    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata: {name: cambio-token, namespace: NAMESPACE}
    rules:
      - {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [NAME], verbs: [create]}
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: cambio-token, namespace: NAMESPACE}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: cambio-token}
    subjects: [{kind: ServiceAccount, name: NAME, namespace: NAMESPACE}]
`)
}

// account is the service account that a pod runs as, and the pod.
type account struct {
	namespace, name string
	podName, podUID string // "" where the token is not bound to a pod
	token           string // the default token: for the API server only
}

// objectName is a name that the API server gives: nothing in it can lead to
// another path.
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// apiServer is the API server of the pod's own cluster.
type apiServer struct {
	readFile   func(string) ([]byte, error)
	http       *http.Client
	host, port string
}

// account reads the default token, which the kubelet renews, and takes from it
// who the pod is. The signature is not checked: the API server does, and gives a
// pod no token but its own.
func (s apiServer) account() (account, error) {
	content, err := s.readFile(defaultToken)
	if err != nil {
		return account{}, err
	}
	a := account{token: strings.TrimSpace(string(content))}
	claims, err := Unverified(a.token)
	if err != nil {
		return account{}, fmt.Errorf("%s: %w", defaultToken, err)
	}
	sub, _ := claims["sub"].(string)
	user, ok := strings.CutPrefix(sub, "system:serviceaccount:")
	namespace, name, _ := strings.Cut(user, ":")
	if !ok || !objectName.MatchString(namespace) || !objectName.MatchString(name) {
		return account{}, errors.New(defaultToken + ": its sub is no service account")
	}
	a.namespace, a.name = namespace, name
	platform, _ := claims["kubernetes.io"].(map[string]any)
	pod, _ := platform["pod"].(map[string]any)
	podName, _ := pod["name"].(string)
	podUID, _ := pod["uid"].(string)
	if podName != "" && podUID != "" {
		a.podName, a.podUID = podName, podUID
	}
	return a, nil
}

// errForbidden is the API server's no to what the pod may not do.
var errForbidden = errors.New("the API server forbids it (403)")

// noCreated is the error for an answer that is not 201.
func noCreated(a answer) error {
	if err := checkStatus(a); err != nil {
		return err
	}
	return errors.New("it answered 200 where it had to create")
}

// mayCreate asks the API server whether the pod may create tokens for its own
// service account. Every authenticated user may ask that about himself, and it
// changes nothing. A no of any kind is false; the error wraps ErrUnreachable
// where there was no answer.
func (s apiServer) mayCreate(ctx context.Context, pod account) (bool, error) {
	status, err := s.post(ctx, pod, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"namespace": pod.namespace, "verb": "create", "resource": "serviceaccounts", "subresource": "token", "name": pod.name,
		}},
	})
	return string(status["allowed"]) == "true", err
}

// create creates a token for the audience. It is bound to the pod as a mounted
// one is: it says which pod asked, and ends with the pod.
func (s apiServer) create(ctx context.Context, audience string) (string, error) {
	pod, err := s.account()
	if err != nil {
		return "", err
	}
	spec := map[string]any{"audiences": []string{audience}, "expirationSeconds": requestedSeconds}
	if pod.podName != "" {
		spec["boundObjectRef"] = map[string]any{"apiVersion": "v1", "kind": "Pod", "name": pod.podName, "uid": pod.podUID}
	}
	path := "/api/v1/namespaces/" + pod.namespace + "/serviceaccounts/" + pod.name + "/token"
	status, err := s.post(ctx, pod, path, map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
	if errors.Is(err, errForbidden) {
		return "", &NoIdentityError{Looked: []Look{{Place: "POST " + path, Found: err.Error()}}, Advice: roleAdvice(pod)}
	}
	return status.secret("token"), err
}

// post creates a virtual object at the API server, and returns its status. The
// server must prove itself with the cluster's own authority: whoever could set
// the pod's variables could else have the default token sent to himself.
func (s apiServer) post(ctx context.Context, pod account, path string, object map[string]any) (members, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTime)
	defer cancel()
	u, err := s.url(path)
	if err != nil {
		return nil, err
	}
	authority, err := s.readFile(clusterCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, errors.New(clusterCA + ": holds no certificate")
	}
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(string(body)))
	if err != nil {
		return nil, errors.New("KUBERNETES_SERVICE_HOST: not a host")
	}
	req.Header.Set("Authorization", "Bearer "+pod.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	c := direct(s.http)
	t, ok := c.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("this HTTP transport cannot be told which authority to trust")
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	a, err := fetch(c, req)
	switch {
	case err != nil:
		return nil, err
	case a.status == http.StatusForbidden:
		return nil, errForbidden
	case a.status != http.StatusCreated:
		return nil, fmt.Errorf("the API server: %w", noCreated(a))
	}
	m, err := jsonAnswer(a)
	if err != nil {
		return nil, err
	}
	return parseMembers(m["status"])
}

// url is where the API server is, by the two variables that every container has.
func (s apiServer) url(path string) (string, error) {
	if s.host == "" || s.port == "" {
		return "", errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set")
	}
	if _, err := strconv.ParseUint(s.port, 10, 16); err != nil || strings.ContainsAny(s.host, "/?#@ \\[]%") {
		return "", errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: not a host and its port")
	}
	return (&url.URL{Scheme: "https", Host: net.JoinHostPort(s.host, s.port), Path: path}).String(), nil
}
