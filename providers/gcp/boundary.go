package gcp

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"cambio/providers/oidc"
)

// The limits of a Credential Access Boundary, as Google documents them.
const (
	maxRules       = 10
	maxPermissions = 50
)

var (
	bucketForm     = regexp.MustCompile(`^//storage\.googleapis\.com/projects/_/buckets/[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	permissionForm = regexp.MustCompile(`^inRole:(?:roles|(?:projects|organizations)/[a-z0-9:.-]{1,63}/roles)/[A-Za-z0-9_.]{1,64}$`)
)

// checkBoundary says what is wrong with a Credential Access Boundary in JSON: the
// object that holds accessBoundaryRules. What Google would overlook is refused
// too: a rule with a misspelt condition is one without a condition.
func checkBoundary(text string) string {
	m, err := oidc.ReadObject([]byte(text))
	if err != nil {
		return "is too large or too deep"
	}
	if problem := only(m, "accessBoundaryRules"); problem != "" {
		return problem
	}
	rules, _ := m["accessBoundaryRules"].([]any)
	if len(rules) == 0 || len(rules) > maxRules {
		return fmt.Sprintf("accessBoundaryRules is a list of 1 to %d rules", maxRules)
	}
	for i, v := range rules {
		if problem := checkRule(v); problem != "" {
			return fmt.Sprintf("rule %d: %s", i+1, problem)
		}
	}
	return ""
}

func checkRule(v any) string {
	rule, ok := v.(map[string]any)
	if !ok {
		return "is no object"
	}
	if problem := only(rule, "availableResource", "availablePermissions", "availabilityCondition"); problem != "" {
		return problem
	}
	if resource, _ := rule["availableResource"].(string); !bucketForm.MatchString(resource) {
		return "availableResource is a bucket, such as //storage.googleapis.com/projects/_/buckets/acme-reports: Google narrows access to Cloud Storage only"
	}
	permissions, _ := rule["availablePermissions"].([]any)
	if len(permissions) == 0 || len(permissions) > maxPermissions {
		return fmt.Sprintf("availablePermissions is a list of 1 to %d roles", maxPermissions)
	}
	for _, p := range permissions {
		if s, _ := p.(string); !permissionForm.MatchString(s) {
			return "availablePermissions holds roles, such as inRole:roles/storage.objectViewer"
		}
	}
	condition, there := rule["availabilityCondition"]
	if !there {
		return ""
	}
	m, ok := condition.(map[string]any)
	if !ok {
		return "availabilityCondition is no object"
	}
	if problem := only(m, "expression", "title", "description"); problem != "" {
		return problem
	}
	for _, value := range m {
		if _, isText := value.(string); !isText {
			return "availabilityCondition holds texts"
		}
	}
	expression, _ := m["expression"].(string)
	if strings.TrimSpace(expression) == "" {
		return "availabilityCondition lacks its expression"
	}
	if _, err := parse(expression); err != nil {
		return "availabilityCondition: " + err.Error()
	}
	return ""
}

// only names a member that does not belong there.
func only(m map[string]any, known ...string) string {
	for name := range m {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return fmt.Sprintf("%q is nothing that Google knows there; it has %s", name, strings.Join(known, ", "))
		}
	}
	return ""
}

// options is what the Security Token Service is asked with to narrow a token.
func options(boundary string) (string, error) {
	b, err := json.Marshal(struct {
		AccessBoundary json.RawMessage `json:"accessBoundary"`
	}{json.RawMessage(boundary)})
	return string(b), err
}
