package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"cambio/client"
)

// execVersions are the versions of kubectl's exec plugins that have the same form.
func execVersions() []string {
	return []string{"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}
}

// printExecCredential writes what kubectl expects of an exec plugin, in the version
// that it asks for in KUBERNETES_EXEC_INFO; it refuses any other.
func (c *common) printExecCredential(cred client.Credential) error {
	if !strings.EqualFold(cred.TokenType, "Bearer") {
		return &failure{code: exitError, err: errors.New("the target gives no token for kubectl"), next: "name a Kubernetes target, or leave out --output kubernetes"}
	}
	version, err := execVersion(c.io.getenv("KUBERNETES_EXEC_INFO"))
	if err != nil {
		return err
	}
	enc := json.NewEncoder(c.io.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{
		"apiVersion": version, "kind": "ExecCredential",
		"status": map[string]any{"token": cred.AccessToken, "expirationTimestamp": cred.ExpiresAt.UTC().Format(time.RFC3339)},
	})
}

// execVersion is the version that kubectl asks for; without kubectl, the newest.
func execVersion(info string) (string, error) {
	if info == "" {
		return execVersions()[0], nil
	}
	var asked struct {
		Version string `json:"apiVersion"`
	}
	if json.Unmarshal([]byte(info), &asked) != nil || !slices.Contains(execVersions(), asked.Version) {
		return "", &failure{
			code: exitError, err: errors.New("KUBERNETES_EXEC_INFO asks for a version that is not known"),
			next: "in the kubeconfig, write apiVersion: " + execVersions()[0] + " at users[].user.exec",
		}
	}
	return asked.Version, nil
}
