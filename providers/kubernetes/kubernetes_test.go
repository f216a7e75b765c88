package kubernetes_test

import (
	"testing"

	"cambio/providers/kubernetes"
)

func TestReservedAudience(t *testing.T) {
	const issuer = "https://oidc.eks.eu-west-1.amazonaws.com/id/1"
	for _, a := range []string{
		issuer, "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "https://kubernetes.default.svc:443",
		"https://kubernetes.default.svc/", "kubernetes.default.svc", "https://kubernetes.default", "https://kubernetes", "https://Kubernetes.Default.SVC.",
		"api", "kubernetes",
	} {
		if !kubernetes.ReservedAudience(issuer, a) {
			t.Errorf("%s is not reserved", a)
		}
	}
	for _, a := range []string{"https://id.acme.example", "https://kubernetes.default.svcx.example", "https://kubernetes.acme.example", "gw"} {
		if kubernetes.ReservedAudience(issuer, a) {
			t.Errorf("%s is reserved", a)
		}
	}
}

func TestInCluster(t *testing.T) {
	for issuer, want := range map[string]bool{
		"https://kubernetes.default.svc":               true,
		"https://kubernetes.default.svc.cluster.local": true,
		"https://kubernetes.default.svc.my.domain":     true,
		"https://kubernetes.acme.example":              false,
		"https://oidc.prod-aks.azure.com/1/":           false,
	} {
		if got := kubernetes.InCluster(issuer); got != want {
			t.Errorf("%s: %v", issuer, got)
		}
	}
}
