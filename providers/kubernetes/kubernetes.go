// Package kubernetes describes the tokens of Kubernetes service accounts.
package kubernetes

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// The nested claims (RFC 6901 pointers).
const (
	namespacePointer = "/kubernetes.io/namespace"
	accountPointer   = "/kubernetes.io/serviceaccount/name"
	accountUID       = "/kubernetes.io/serviceaccount/uid"
	podPointer       = "/kubernetes.io/pod/name"
	podUID           = "/kubernetes.io/pod/uid"
)

// Platform is configuration type kubernetes: projected service account tokens of
// one cluster. Tokens of the old kind, from secrets, never expire and have an
// issuer that no configuration can hold; they are refused.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"aud":                      {Type: trust.ListClaim, Always: true},
		"nbf":                      {Type: trust.IntClaim, Always: true},
		"kubernetes.io":            {Type: trust.MapClaim, Always: true},
		namespacePointer:           always,
		accountPointer:             always,
		accountUID:                 always,
		podPointer:                 {Type: trust.StringClaim, PinnedBy: podUID, Chosen: true}, // only for tokens of a pod
		podUID:                     text,
		"/kubernetes.io/node/name": text,
		"/kubernetes.io/node/uid":  text,
		"/kubernetes.io/warnafter": {Type: trust.IntClaim},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:   "kubernetes",
			Claims: claims,
			Aliases: map[string]string{
				"namespace":           namespacePointer,
				"service_account":     accountPointer,
				"service_account_uid": accountUID,
				"pod":                 podPointer,
				"pod_uid":             podUID,
			},
			Anchors: []string{"namespace", namespacePointer},
			Journal: []string{
				"iss", "iat", "exp", "namespace", "service_account", "service_account_uid", "pod", "pod_uid",
				"/kubernetes.io/node/name", "/kubernetes.io/node/uid",
			},
			Advised: []string{"service_account", accountPointer, "service_account_uid", accountUID},
			Sample: map[string]any{
				"iss": "https://kubernetes.acme.example",
				"aud": []any{"https://id.acme.example"},
				"sub": "system:serviceaccount:payments:api",
				"jti": "8d1a3b0e-2f57-4b8e-9a39-4b1f0f6d7c22",
				"iat": int64(1795320000),
				"nbf": int64(1795320000),
				"exp": int64(1795323600),
				"kubernetes.io": map[string]any{
					"namespace":      "payments",
					"node":           map[string]any{"name": "node-1", "uid": "1c6f3a52-9a6e-4d2c-8a70-0f1d2e3c4b5a"},
					"pod":            map[string]any{"name": "api-6d9c", "uid": "6a5b4c3d-2e1f-4a0b-9c8d-7e6f5a4b3c2d"},
					"serviceaccount": map[string]any{"name": "api", "uid": "0f9e8d7c-6b5a-4432-9110-aabbccddeeff"},
					"warnafter":      int64(1795323607),
				},
				"namespace":           "payments",
				"service_account":     "api",
				"service_account_uid": "0f9e8d7c-6b5a-4432-9110-aabbccddeeff",
				"pod":                 "api-6d9c",
				"pod_uid":             "6a5b4c3d-2e1f-4a0b-9c8d-7e6f5a4b3c2d",
			},
		},
		Algs:     []string{"RS256", "ES256"},
		TokenUse: trust.UntilExpiry,
		MaxAge:   24 * time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{
			{Literal: "ns"},
			{Claim: namespacePointer},
			{Literal: "sa"},
			{Claim: accountPointer},
		},
		Check:            check,
		ReservedAudience: ReservedAudience,
		LocalIssuer:      InCluster,
		Reviewer:         newReviewer,
		Settings:         []string{"token_review"},
		Facts: oidc.Facts{
			Title: "Kubernetes service accounts", Evidence: oidc.FromSource, Page: "kubernetes.md",
			Source: "k8s.io/kubernetes, pkg/serviceaccount/claims.go",
			Obtain: "reads a token that is projected for Cambio, or creates one by TokenRequest where the pod may",
			Risks: []string{
				"Whoever may create pods in a namespace may be any service account of it.",
				"A service account that is deleted and created again has the same name; its uid is new.",
				"A token outlives the deletion of its pod by its signature alone: token_review asks the cluster.",
			},
		},
	}
}

// check compares sub with the nested claims: what a policy matches must be what
// the cluster says that the token is for.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	namespace, _ := claims["namespace"].(string)
	account, _ := claims["service_account"].(string)
	if namespace == "" || account == "" {
		return nil // the workload id needs both, and refuses
	}
	if sub != "system:serviceaccount:"+namespace+":"+account {
		return errors.New("sub and the kubernetes.io claims name different service accounts")
	}
	return nil
}

// InCluster reports whether an issuer is the default one of a cluster, which
// every cluster has alike: only pinned keys, or a dial rule, say which is meant.
func InCluster(issuer string) bool {
	u, err := url.Parse(issuer)
	if err != nil {
		return false
	}
	return apiServer(u.Hostname())
}

// ReservedAudience reports whether tokens for aud are the API server's own: the
// issuer itself, or a name of the API server. Whoever receives such a token
// could call the cluster with it (CVE-2025-32963), and any pod has one.
func ReservedAudience(issuer, aud string) bool {
	if aud == issuer || aud == "api" || aud == "kubernetes" {
		return true
	}
	host := aud
	if u, err := url.Parse(aud); err == nil && u.Host != "" {
		host = u.Hostname()
	}
	return apiServer(host)
}

// apiServer reports the names of the API server inside a cluster.
func apiServer(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "kubernetes" || host == "kubernetes.default" ||
		host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}
