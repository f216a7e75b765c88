package test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/standin"
	"cambio/test/rig"
)

const inClusterIssuer = "https://kubernetes.default.svc.cluster.local"

// aCluster is a cluster with TLS of its own authority, whose tokens have the issuer
// that every cluster has.
func aCluster(t *testing.T, keysOf func(ctx context.Context, issuer string) ([]byte, error)) *standin.Cluster {
	t.Helper()
	k, err := standin.NewCluster(standin.ClusterConfig{Now: time.Now, Rand: rand.Reader, Issuer: inClusterIssuer, TLS: &standin.TLS{}, KeysOf: keysOf})
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

// TestTokenReviewOfAGateway: with token_review a deleted pod's token is refused, a
// dry run asks too, and a cluster that does not answer is a 503 which burns nothing.
func TestTokenReviewOfAGateway(t *testing.T) {
	k := aCluster(t, nil)
	if err := k.Apply([]byte(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cambio-token-review}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: cambio, namespace: cambio}]
`)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := write("token", []byte(k.Token("cambio", "cambio", "gw-1", nil, nil)+"\n"))
	hostport := strings.TrimPrefix(k.URL(), "https://")
	r := rig.New(t, rig.Setup{
		Dir: dir,
		Config: strings.Replace(withProviders(), "targets:", `  k8s:
    type: kubernetes
    issuer: `+inClusterIssuer+`
    audience: https://gw.test
    jwks_url: `+k.URL()+standin.ClusterKeysPath+`
    ca_file: `+write("ca.pem", k.CA())+`
    dial: ["`+hostport+` 127.0.0.0/8"]
    token_review: {url: "`+k.URL()+`", token_file: `+own+`}
targets:`, 1),
		Trusts: map[string]string{"tr1.yaml": rig.TR1, "k8s.yaml": `name: k8s
owner: t1-team@acme.test
purpose: the api of payments reads t1
from: k8s
match: {namespace: payments, service_account: api}
grants: [{to: t1, scopes: [read], ttl: 15m}]
`},
	})
	r.Control()
	token := k.Token("payments", "api", "api-1", []string{"https://gw.test"}, nil)
	if a := r.Exchange(token); a.Status != 200 {
		t.Fatalf("the pod: %d %s\n%s", a.Status, a.Raw, r.Log)
	}
	dry := rig.Form(token)
	dry.Set("dry_run", "true")
	if a := r.Post(dry); a.Status != 200 || k.Requests(standin.ClusterReviewPath) != 2 {
		t.Errorf("a dry run: %d %s, %d questions", a.Status, a.Raw, k.Requests(standin.ClusterReviewPath))
	}
	k.Fail(standin.ClusterReviewPath, standin.Fault{Status: 500})
	if a := r.Exchange(token); a.Status != 503 || a.Text("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" {
		t.Errorf("a broken cluster: %d %s", a.Status, a.Raw)
	}
	k.Heal(standin.ClusterReviewPath)
	if a := r.Exchange(token); a.Status != 200 {
		t.Errorf("healed: %d %s", a.Status, a.Raw)
	}
	before := k.Requests(standin.ClusterReviewPath)
	denied(t, r, "another cluster's key", r.Exchange(aCluster(t, nil).Token("payments", "api", "api-1", []string{"https://gw.test"}, nil)), "signature-invalid")
	if k.Requests(standin.ClusterReviewPath) != before {
		t.Error("a token that was not proven made the gateway call the cluster")
	}
	// The probe of the doctor.
	said := gateway.Doctor(t.Context(), r.Config, gateway.DoctorEnv{Now: time.Now, Rand: rand.Reader})
	probed := false
	for _, c := range said.Checks {
		if c.Name == "identity_providers.k8s.token_review" {
			probed = c.Status == gateway.DoctorPass
		}
	}
	if !probed {
		t.Errorf("the doctor says %+v", said.Checks)
	}
	k.Delete(standin.PodUID("payments", "api-1"))
	denied(t, r, "a deleted pod", r.Exchange(token), "review-refused")
	if a := r.Post(dry); a.Status != 400 {
		t.Errorf("a dry run of a deleted pod: %d %s", a.Status, a.Raw)
	}
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := r.Exchange(k.Token("payments", "api", "api-2", []string{"https://gw.test"}, nil)); a.Status != 503 {
		t.Errorf("without a token of our own: %d %s", a.Status, a.Raw)
	}
	for _, secret := range []string{token, strings.Split(token, ".")[2]} {
		if strings.Contains(r.Log.String(), secret) {
			t.Error("the log shows a token")
		}
	}
	r.Control()
}

// TestClusterTargets: both ways into a cluster, set up with what connect prints, of
// one gateway; a stop of the target ends them.
func TestClusterTargets(t *testing.T) {
	var r *rig.Rig
	k := aCluster(t, func(ctx context.Context, issuer string) ([]byte, error) {
		if issuer != "https://gw.test" {
			t.Errorf("the cluster was sent to %s", issuer)
		}
		return published(ctx, r.URL+"/keys")
	})
	dir := t.TempDir()
	ca := filepath.Join(dir, "cluster.pem")
	if err := os.WriteFile(ca, k.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	r = rig.New(t, rig.Setup{
		Dir: dir,
		Targets: `plain: {type: kubernetes, audience: "https://gw.test/plain"}
accounts: {type: kubernetes, audience: "https://gw.test/accounts", server: "` + k.URL() + `", ca_file: ` + ca + `}`,
		Trusts: map[string]string{"tr1.yaml": rig.TR1, "deploy.yaml": `name: deploy
owner: t1-team@acme.test
purpose: main of app deploys
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
grants:
  - {to: plain, groups: [deployers], ttl: 10m}
  - {to: accounts, resource: "k8s:payments/deployer", ttl: 20m}
`},
	})
	policy, findings := gateway.LoadPolicy(r.Config, time.Now())
	if policy == nil {
		t.Fatal(findings)
	}
	connect := func(target string) {
		t.Helper()
		connection, findings, err := gateway.Connect(r.Config, policy, target, time.Now())
		if err != nil || connection == nil {
			t.Fatal(err, findings)
		}
		text, _ := connection.Form("yaml")
		if err := k.Apply([]byte(text)); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	exchange := func(target string) rig.Answer {
		t.Helper()
		form := rig.Form(r.Token(nil))
		form.Set("audience", target)
		return r.Post(form)
	}
	// Nobody told the cluster yet.
	if a := exchange("accounts"); a.Status != 503 {
		t.Errorf("a cluster that does not know us: %d %s", a.Status, a.Raw)
	}
	connect("accounts")
	a := exchange("accounts")
	if a.Status != 200 || a.Text("token_type") != "Bearer" || a.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:jwt" {
		t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
	}
	if claims := claimsOf(t, a.Text("access_token")); claims["sub"] != "system:serviceaccount:payments:deployer" || claims["iss"] != inClusterIssuer {
		t.Errorf("%v", claims)
	}
	connect("plain")
	a = exchange("plain")
	if a.Status != 200 {
		t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
	}
	claims := claimsOf(t, a.Text("access_token"))
	if claims["sub"] != "spiffe://gw.test/iss1/1/2" || claims["aud"] != "https://gw.test/plain" || headerOf(t, a.Text("access_token"))["alg"] != "RS256" {
		t.Errorf("%v", claims)
	}
	issued, _ := claims["iat"].(float64)
	expires, _ := claims["exp"].(float64)
	if expires <= issued || expires-issued > 301 { // the token's own end
		t.Error("the JWT outlives the token that it was issued for")
	}
	// Its outcome names it by its id, and nothing has a part of it.
	named := false
	for _, rec := range r.Records(a.Decision) {
		named = named || rec.Handle == claims["jti"]
	}
	if !named {
		t.Errorf("no record names %v", claims["jti"])
	}
	untold(t, r, a.Text("access_token"))
}
