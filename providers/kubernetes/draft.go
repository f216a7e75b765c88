package kubernetes

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cambio/providers/internal/draft"
)

// The names of Kubernetes objects (RFC 1123: a label for a namespace, a
// subdomain for a service account).
var (
	label     = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// CheckAccount refuses what is not of the form NAMESPACE/SERVICE_ACCOUNT.
func CheckAccount(account string) error {
	namespace, name, _ := strings.Cut(account, "/")
	if !label.MatchString(namespace) || !subdomain.MatchString(name) {
		return fmt.Errorf("%s is not of the form NAMESPACE/SERVICE_ACCOUNT", draft.Show(account))
	}
	return nil
}

// Draft is a trust for one service account, NAMESPACE/SERVICE_ACCOUNT. The names
// are the identity; with claims, which must be of that account, its uid is pinned
// too, and an account that is created again under the name is another one.
func Draft(account string, claims map[string]any) (draft.Document, error) {
	if err := CheckAccount(account); err != nil {
		return draft.Document{}, err
	}
	namespace, name, _ := strings.Cut(account, "/")
	d := draft.Document{
		Head: []string{
			"Pods with the service account " + account + ". Review each line before you merge it.",
			"The identity provider in from is one cluster; another cluster may have the same names.",
		},
		Name:    draft.Name(namespace + "-" + name),
		Purpose: "Pods of " + account,
		Match: []draft.Line{
			{Claim: "namespace", Values: one(namespace), Comment: "who may create pods here, and use this account, has what is granted"},
			{Claim: "service_account", Values: one(name)},
		},
		Tests: []draft.Test{
			{Name: "what is meant may", Allow: true},
			{Name: "another namespace may not", Claims: []draft.Claim{{Name: "namespace", Value: namespace + "-not"}}},
			{Name: "another account may not", Claims: []draft.Claim{{Name: "service_account", Value: name + "-not"}}},
		},
	}
	if claims == nil {
		return d, nil
	}
	if sub := claims["sub"]; sub != "system:serviceaccount:"+namespace+":"+name {
		return draft.Document{}, fmt.Errorf("the claims are not of the service account %s", account)
	}
	uid, err := accountUIDOf(claims, namespace, name)
	if err != nil {
		return draft.Document{}, err
	}
	if uid != "" {
		d.Match = append(d.Match, draft.Line{
			Claim: "service_account_uid", Values: one(uid),
			Comment: "the account as it is now; leave this out if it is deleted and created again by your deployment",
		})
	}
	return d, nil
}

// accountUIDOf is the service account's uid, or "" where the claims have none.
func accountUIDOf(claims map[string]any, namespace, name string) (string, error) {
	details, _ := claims["kubernetes.io"].(map[string]any)
	if details == nil {
		return "", nil
	}
	account, _ := details["serviceaccount"].(map[string]any)
	if details["namespace"] != namespace || account["name"] != name {
		return "", errors.New("sub and the kubernetes.io claims name different service accounts")
	}
	uid, _ := account["uid"].(string)
	return uid, nil
}

func one(text string) []draft.Value { return []draft.Value{{Text: text}} }
