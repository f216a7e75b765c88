package test

import (
	"maps"
	"strings"
	"testing"

	"cambio/standin"
	"cambio/test/rig"
)

// cluster is a gateway that takes service accounts of a cluster, too.
func cluster(t *testing.T) (*rig.Rig, func(changes map[string]any) rig.Answer) {
	t.Helper()
	idp := crowd(t, 1)[0]
	r := rig.New(t, rig.Setup{
		Config: strings.Replace(withProviders(), "targets:",
			"  k8s: {type: kubernetes, issuer: \""+idp.Issuer()+"\", audience: \"https://gw.test\", insecure_loopback: true}\ntargets:", 1),
		Trusts: map[string]string{"tr1.yaml": rig.TR1, "k8s.yaml": `name: k8s
owner: t1-team@acme.test
purpose: the api of payments reads t1
from: k8s
match: {namespace: payments, service_account: api}
grants: [{to: t1, scopes: [read], ttl: 15m}]
`},
	})
	r.Control()
	ask := func(changes map[string]any) rig.Answer {
		now := r.Clock.Now().Unix()
		c := map[string]any{
			"iss": idp.Issuer(), "aud": []string{"https://gw.test"}, "sub": "system:serviceaccount:payments:api", "jti": jobID(), "iat": now, "nbf": now, "exp": now + 3600,
			"kubernetes.io": map[string]any{"namespace": "payments", "serviceaccount": map[string]any{"name": "api", "uid": "u"}, "pod": map[string]any{"name": "api-1", "uid": "p"}},
		}
		maps.Copy(c, changes)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		return r.Exchange(r.Sign(idp, standin.JWS{Payload: jsonOf(t, c)}))
	}
	if a := ask(nil); a.Status != 200 {
		t.Fatalf("the service account: %s\n%s", a.Raw, r.Log)
	}
	return r, ask
}

func attackK8S01(t *testing.T) {
	r, ask := cluster(t)
	for _, aud := range []any{
		[]string{"https://kubernetes.default.svc"}, "https://kubernetes.default.svc", []string{"https://kubernetes.default.svc.cluster.local", "k3s"}, []string{"api"}, []string{"vault"},
	} {
		deniedSaying(t, r, "the audience of the API server", ask(map[string]any{"aud": aud}), "The token's audience is not ours; ask for https://gw.test.", "aud-mismatch")
	}
	denied(t, r, "both audiences", ask(map[string]any{"aud": []string{"https://kubernetes.default.svc", "https://gw.test"}}), "aud-multiple")
	config := func(issuer, audience, more string) string {
		return strings.Replace(offline(), "targets:", "  k8s: {type: kubernetes, issuer: \""+issuer+"\", audience: "+audience+more+"}\ntargets:", 1)
	}
	const issuer = "https://oidc.acme.test/cluster"
	loads(t, config(issuer, `"https://gw.test"`, ""), trusting(), "")
	for _, audience := range []string{
		`"https://kubernetes.default.svc"`, `"https://kubernetes.default.svc.cluster.local"`, `"https://kubernetes.default.svc/"`, `"https://kubernetes.default.svc:443"`,
		`"` + issuer + `"`, `["https://gw.test", "https://kubernetes.default.svc"]`, `"kubernetes.default.svc"`, `"https://kubernetes.default"`, `"https://kubernetes"`, `"api"`,
	} {
		loads(t, config(issuer, audience, ""), trusting(), "audience-reserved")
	}
	serveRefuses(t, config(issuer, `"https://kubernetes.default.svc"`, ""), trusting(), "audience-reserved", "k8s")
	// The issuer that every cluster has needs its own keys.
	loads(t, config("https://kubernetes.default.svc.cluster.local", `"https://gw.test"`, ""), trusting(), "keys-unreachable")
	loads(t, config("https://kubernetes.default.svc", `"https://gw.test"`, `, dial: ["kubernetes.default.svc:443 10.0.0.0/8"]`), trusting(), "")
	r.Control()
}

func attackK8S02(t *testing.T) {
	r, ask := cluster(t)
	legacy := map[string]any{
		"iss": "kubernetes/serviceaccount", "aud": nil, "exp": nil, "iat": nil, "nbf": nil, "jti": nil, "kubernetes.io": nil, "kubernetes.io/serviceaccount/namespace": "payments",
		"kubernetes.io/serviceaccount/service-account.name": "api", "kubernetes.io/serviceaccount/secret.name": "api-token", "kubernetes.io/serviceaccount/service-account.uid": "u",
	}
	denied(t, r, "a token of a secret", ask(legacy), "issuer-unknown")
	legacy["aud"] = []string{"https://gw.test"}
	denied(t, r, "with our audience", ask(legacy), "issuer-unknown")
	denied(t, r, "no exp", ask(map[string]any{"exp": nil}), "exp-missing")
	denied(t, r, "no iat", ask(map[string]any{"iat": nil}), "iat-missing")
	denied(t, r, "no exp, no aud", ask(map[string]any{"exp": nil, "aud": nil}), "aud-mismatch")
	// Flat claims of the old kind do not stand for the nested ones, nor do our aliases.
	denied(t, r, "flat claims", ask(map[string]any{"kubernetes.io": nil, "namespace": "payments", "service_account": "api"}), "any")
	denied(t, r, "another namespace", ask(map[string]any{"sub": "system:serviceaccount:other:api"}), "any")
	denied(t, r, "an alias beside", ask(map[string]any{
		"sub": "system:serviceaccount:other:api", "namespace": "payments",
		"kubernetes.io": map[string]any{"namespace": "other", "serviceaccount": map[string]any{"name": "api", "uid": "u"}},
	}), "condition-false")
	r.Control()
}
