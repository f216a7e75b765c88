package standin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// The actions that a role's trust policy may allow a web identity.
const (
	actionAssume   = "sts:AssumeRoleWithWebIdentity"
	actionTag      = "sts:TagSession"
	actionSourceID = "sts:SetSourceIdentity"
)

// Statement is one statement of a role's trust policy: it lets web identities of
// one OIDC provider, with one of these audiences and one of these subjects,
// take these actions.
type Statement struct {
	Provider  string // ARN of the OIDC provider
	Actions   []string
	Audiences []string
	Subjects  []string
}

// Admit is the statement of a role in this account that lets subjects of this
// issuer assume it, and with more say what else.
func Admit(account, issuer, audience string, subjects []string, more ...string) Statement {
	_, host, _ := strings.Cut(issuer, "://")
	return Statement{
		Provider: "arn:aws:iam::" + account + ":oidc-provider/" + host,
		Actions:  append([]string{actionAssume}, more...), Audiences: []string{audience}, Subjects: subjects,
	}
}

// admit reports what a role refuses a web identity, as AWS does: each action
// needs a statement that allows it.
func (r Role) admit(w webIdentity, partition, account string) *stsError {
	arn := "arn:" + partition + ":iam::" + account + ":oidc-provider/" + w.provider
	allowed := func(action string) bool {
		return slices.ContainsFunc(r.Trust, func(s Statement) bool {
			return s.Provider == arn && slices.Contains(s.Actions, action) &&
				slices.Contains(s.Audiences, w.audience) && slices.Contains(s.Subjects, w.subject)
		})
	}
	switch {
	case !allowed(actionAssume):
		return denied(actionAssume)
	case len(w.tags) > 0 && !allowed(actionTag):
		return denied(actionTag)
	case w.sourceID != "" && !allowed(actionSourceID):
		return denied(actionSourceID)
	}
	return nil
}

var oidcARN = regexp.MustCompile(`^arn:(?:aws|aws-cn|aws-us-gov):iam::[0-9]{12}:oidc-provider/([!-~]+)$`)

// ParseRoleTrust reads a role's trust policy: the Version of 2012, and statements
// that allow a federated principal by equality of aud and sub. It refuses all
// else, wildcards and other operators too: nobody can say whether this stand-in
// would judge them as AWS does.
func ParseRoleTrust(policy []byte) ([]Statement, error) {
	var p struct {
		Version   string
		ID        string `json:"Id"`
		Statement oneOrMany[json.RawMessage]
	}
	if err := strictJSON(policy, &p); err != nil {
		return nil, fmt.Errorf("standin: trust policy: %w", err)
	}
	if p.Version != "2012-10-17" {
		return nil, fmt.Errorf("standin: trust policy: Version %q", p.Version)
	}
	if len(p.Statement) == 0 {
		return nil, errors.New("standin: trust policy: no Statement")
	}
	var out []Statement
	for i, raw := range p.Statement {
		s, err := parseStatement(raw)
		if err != nil {
			return nil, fmt.Errorf("standin: trust policy: statement %d: %w", i+1, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parseStatement(raw json.RawMessage) (Statement, error) {
	var in struct {
		Sid       string
		Effect    string
		Principal struct{ Federated string }
		Action    oneOrMany[string]
		Condition struct {
			StringEquals map[string]oneOrMany[string]
		}
	}
	if err := strictJSON(raw, &in); err != nil {
		return Statement{}, err
	}
	m := oidcARN.FindStringSubmatch(in.Principal.Federated)
	switch {
	case in.Effect != "Allow":
		return Statement{}, fmt.Errorf("the Effect %q", in.Effect)
	case m == nil:
		return Statement{}, fmt.Errorf("the Principal %q is no OIDC provider", in.Principal.Federated)
	case len(in.Action) == 0:
		return Statement{}, errors.New("no Action")
	}
	out := Statement{Provider: in.Principal.Federated}
	for _, a := range in.Action {
		if a != actionAssume && a != actionTag && a != actionSourceID {
			return Statement{}, fmt.Errorf("the Action %q", a)
		}
		out.Actions = append(out.Actions, a)
	}
	for key, values := range in.Condition.StringEquals {
		if len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "*?") || v == "" }) {
			return Statement{}, fmt.Errorf("the values of the condition on %q", key)
		}
		switch key {
		case m[1] + ":aud":
			out.Audiences = values
		case m[1] + ":sub":
			out.Subjects = values
		default:
			return Statement{}, fmt.Errorf("a condition on %q", key)
		}
	}
	if out.Audiences == nil || out.Subjects == nil {
		// Without sub every workload of the issuer may have the role (the mistake of
		// many a role for GitHub Actions).
		return Statement{}, errors.New("aud and sub must both be pinned by StringEquals")
	}
	return out, nil
}

// oneOrMany is a value that policies write alone or in a list.
type oneOrMany[T any] []T

// UnmarshalJSON takes both.
func (l *oneOrMany[T]) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var many []T
		if err := json.Unmarshal(b, &many); err != nil {
			return err
		}
		*l = many
		return nil
	}
	if bytes.Equal(b, []byte("null")) {
		return errors.New("null")
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = []T{one}
	return nil
}

// strictJSON decodes one value, without members that v does not know or that are
// named twice.
func strictJSON(raw []byte, v any) error {
	if err := exactMembers(raw); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}

// exactMembers refuses objects that name a member twice, also by case: Go takes
// the last one, AWS may take the first.
func exactMembers(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	var objects []map[string]bool // nil for a list
	var isKey []bool
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		top := len(objects) - 1
		if key, ok := t.(string); ok && top >= 0 && objects[top] != nil && isKey[top] {
			if objects[top][strings.ToLower(key)] {
				return fmt.Errorf("%q twice", key)
			}
			objects[top][strings.ToLower(key)] = true
			isKey[top] = false
			continue
		}
		switch t {
		case json.Delim('{'):
			if top >= 0 {
				isKey[top] = true
			}
			objects, isKey = append(objects, map[string]bool{}), append(isKey, true)
			continue
		case json.Delim('['):
			if top >= 0 {
				isKey[top] = true
			}
			objects, isKey = append(objects, nil), append(isKey, false)
			continue
		case json.Delim('}'), json.Delim(']'):
			objects, isKey = objects[:top], isKey[:top]
			continue
		}
		if top >= 0 {
			isKey[top] = true
		}
	}
}
