package oauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

// The longest that a token may live here. Most live an hour or less.
const maxTTL = 24 * time.Hour

// fieldParameters is the own field of a grant, as documents and trust.Grant.Extra
// name it.
const fieldParameters = "parameters"

// The bounds of parameters: they are ids and names.
const (
	maxParameters = 16
	maxName       = 64
	maxValue      = 1024
)

var (
	// uriForm is an absolute URI without fragment (RFC 8707 section 2).
	uriForm  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[!-"$-~]+$`)
	nameForm = regexp.MustCompile(`^[a-z][A-Za-z0-9_.-]*$`)
)

// TargetType is configuration type oauth.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "oauth",
		Fields: map[string]trust.Field{
			"resource": {
				Type: trust.StringField, Narrows: trust.Equal,
				Pattern: uriForm, Example: "https://api.acme.example",
			},
			"scopes":        {Type: trust.StringsField, Narrows: trust.Subset},
			"ttl":           {Type: trust.DurationField, Narrows: trust.Max},
			fieldParameters: {Type: trust.DocumentField, Narrows: trust.Opaque},
		},
		MaxTTL: maxTTL,
		Misfit: misfit,
	}
}

// Types are the values of requested_token_type that an oauth target serves.
func Types() []string { return []string{typeAccessToken} }

// misfit is trust.TargetType.Misfit.
func misfit(g trust.Grant) (field, problem string) {
	if g.Resource != "" {
		if u, err := url.Parse(g.Resource); err != nil || !u.IsAbs() || !uriForm.MatchString(g.Resource) {
			return "resource", "is no absolute URI without fragment"
		}
	}
	parameters, problem := extra(g)
	if problem != "" {
		return fieldParameters, problem
	}
	if name, problem := Parameters(parameters); problem != "" {
		return fieldParameters + "." + name, problem
	}
	return "", ""
}

// extra reads a grant's own parameters. They are what the document says, word for
// word: one made of a claim would be chosen by who starts the workload.
func extra(g trust.Grant) (parameters map[string]string, problem string) {
	for name, v := range g.Extra {
		text, ok := v.(string)
		if name != fieldParameters || !ok {
			return nil, "cannot be read"
		}
		if json.Unmarshal([]byte(text), &parameters) != nil || parameters == nil {
			return nil, "is no map of names to texts"
		}
		if strings.Contains(text, "${") {
			return nil, "holds ${: parameters are what the document says, without claims"
		}
	}
	return parameters, ""
}

// Parameters says what of fixed parameters cannot be sent, and of which; "" where all
// can.
func Parameters(parameters map[string]string) (name, problem string) {
	if len(parameters) > maxParameters {
		return "", fmt.Sprintf("are %d; %d are taken", len(parameters), maxParameters)
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		switch {
		case len(name) > maxName || !nameForm.MatchString(name):
			return name, "is no name of a parameter"
		case alike(ours(), name):
			return name, "is set by Cambio"
		case alike(secrets(), name):
			return name, "would hold a secret: our assertion is the proof, and there is no other"
		case name == "requested_token_type" && !slices.Contains(issuedTypes(), value):
			return name, "is no access token's: " + strings.Join(issuedTypes(), ", ")
		case value == "" || len(value) > maxValue || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return name, "has no value, or one that is too long, or control characters"
		}
	}
	return "", ""
}

// alike reports a name that a server which does not look at the case takes for one of
// these.
func alike(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// ours are the parameters that follow from the configuration and the grant. Whoever
// could set them again would say something else than what was reviewed.
func ours() []string {
	return []string{
		"grant_type", "subject_token", "actor_token", "actor_token_type", "assertion", "client_assertion", "client_assertion_type", "scope", "resource",
	}
}

// secrets are parameters that are the secret of somebody.
func secrets() []string {
	return []string{"client_secret", "password", "username", "code", "code_verifier", "refresh_token", "device_code", "api_key", "token"}
}
