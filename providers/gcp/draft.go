package gcp

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cambio/providers/internal/draft"
)

var (
	uniqueID = regexp.MustCompile(`^[1-9][0-9]{14,29}$`)
	email    = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,126}[a-z0-9])?@[a-z0-9](?:[a-z0-9.-]{0,126}[a-z0-9])?$`)
)

// ErrUniqueID says that an e-mail address alone was given.
var ErrUniqueID = errors.New("a service account is pinned by its unique number: the address can be deleted and created again by somebody else")

// CheckAccount refuses what is neither a service account's e-mail address nor its
// unique number.
func CheckAccount(account string) error {
	if !uniqueID.MatchString(account) && !email.MatchString(account) {
		return fmt.Errorf("%s is neither a service account's e-mail address nor its unique number", draft.Show(account))
	}
	return nil
}

// LookUp is the command that finds the unique number of a service account.
func LookUp(account string) string {
	return "gcloud iam service-accounts describe " + draft.ShellWord(account) + " --format='value(uniqueId)'"
}

// Draft is a trust for one service account, by its unique number, or by its
// e-mail address and the claims of a token of it. Without such claims an address
// is ErrUniqueID.
func Draft(account string, claims map[string]any) (draft.Document, error) {
	if err := CheckAccount(account); err != nil {
		return draft.Document{}, err
	}
	byNumber := uniqueID.MatchString(account)
	number, address := account, ""
	if claims != nil {
		number, _ = claims["sub"].(string)
		address, _ = claims["email"].(string)
	}
	switch {
	case claims == nil && !byNumber:
		return draft.Document{}, ErrUniqueID
	case !uniqueID.MatchString(number):
		return draft.Document{}, errors.New("the claim sub is no service account's unique number")
	case byNumber && number != account, !byNumber && address != account:
		return draft.Document{}, fmt.Errorf("the claims are not of the service account %s", account)
	case claims["email_verified"] == false:
		return draft.Document{}, errors.New("the claims' e-mail address is not verified")
	}
	if !email.MatchString(address) {
		address = ""
	}
	shown, _, _ := strings.Cut(address, "@")
	if shown == "" {
		shown = "sa-" + number
	}
	of := "the Google service account " + number
	if address != "" {
		of = "the Google service account " + address
	}
	return draft.Document{
		Head: []string{
			"Workloads of " + of + ". Review each line before you merge it.",
			"Its number is pinned, not its address, which can be deleted and created again by somebody else.",
		},
		Name:    draft.Name(shown),
		Purpose: "Workloads of " + of,
		Match:   []draft.Line{{Claim: "sub", Values: []draft.Value{{Text: number}}, Comment: address}},
		Tests: []draft.Test{
			{Name: "what is meant may", Allow: true},
			{Name: "another account may not", Claims: []draft.Claim{{Name: "sub", Value: number + "1"}}},
		},
	}, nil
}
