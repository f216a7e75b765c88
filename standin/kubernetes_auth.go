package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v4"
)

// authentication is AuthenticationConfiguration of apiserver.config.k8s.io/v1, with
// the fields that we print.
type authentication struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	JWT        []jwtAuthenticator `json:"jwt"`
}

type jwtAuthenticator struct {
	Issuer struct {
		URL                 string   `json:"url"`
		DiscoveryURL        string   `json:"discoveryURL"`
		Audiences           []string `json:"audiences"`
		AudienceMatchPolicy string   `json:"audienceMatchPolicy"`
	} `json:"issuer"`
	ClaimValidationRules []struct {
		Expression string `json:"expression"`
		Message    string `json:"message"`
	} `json:"claimValidationRules"`
	ClaimMappings struct {
		Username claimOrPrefix  `json:"username"`
		Groups   *claimOrPrefix `json:"groups"`
	} `json:"claimMappings"`
	UserValidationRules []struct {
		Expression string `json:"expression"`
		Message    string `json:"message"`
	} `json:"userValidationRules"`

	claimRules, userRules []cel.Program
}

type claimOrPrefix struct {
	Claim  string  `json:"claim"`
	Prefix *string `json:"prefix"`
}

type rbacRule struct {
	APIGroups     []string `json:"apiGroups"`
	Resources     []string `json:"resources"`
	ResourceNames []string `json:"resourceNames"`
	Verbs         []string `json:"verbs"`
}

type rbacRole struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   objectMeta `json:"metadata"`
	Rules      []rbacRule `json:"rules"`
}

type objectMeta struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type rbacBinding struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   objectMeta `json:"metadata"`
	RoleRef    struct {
		APIGroup string `json:"apiGroup"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
	} `json:"roleRef"`
	Subjects []struct {
		APIGroup  string `json:"apiGroup"`
		Kind      string `json:"kind"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"subjects"`
}

type rbacAsk struct{ verb, group, resource, namespace, name string }

const rbacGroup = "rbac.authorization.k8s.io"

// Apply takes the documents of a YAML stream: one AuthenticationConfiguration, which
// replaces the one before, and roles and bindings, which are added. An unknown
// field, an expression that does not compile, or another kind is an error.
func (k *Cluster) Apply(stream []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(stream))
	for {
		var document map[string]any
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("standin: %w", err)
		}
		if document == nil {
			continue
		}
		raw, err := json.Marshal(document)
		if err != nil {
			return fmt.Errorf("standin: %w", err)
		}
		kind, _ := document["kind"].(string)
		if err := k.apply(kind, raw); err != nil {
			return fmt.Errorf("standin: %s: %w", kind, err)
		}
	}
}

func (k *Cluster) apply(kind string, raw []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch kind {
	case "AuthenticationConfiguration":
		a := &authentication{}
		if err := strictJSON(raw, a); err != nil {
			return err
		}
		if err := a.compile(); err != nil {
			return err
		}
		k.authn = a
	case "Role", "ClusterRole":
		var role rbacRole
		if err := strictJSON(raw, &role); err != nil {
			return err
		}
		if role.APIVersion != rbacGroup+"/v1" || role.Metadata.Name == "" || (role.Metadata.Namespace == "") != (kind == "ClusterRole") {
			return errors.New("malformed")
		}
		k.roles[kind+"/"+role.Metadata.Namespace+"/"+role.Metadata.Name] = role.Rules
	case "RoleBinding", "ClusterRoleBinding":
		var b rbacBinding
		if err := strictJSON(raw, &b); err != nil {
			return err
		}
		if b.APIVersion != rbacGroup+"/v1" || b.Metadata.Name == "" || b.RoleRef.APIGroup != rbacGroup || (b.Metadata.Namespace == "") != (kind == "ClusterRoleBinding") {
			return errors.New("malformed")
		}
		for _, s := range b.Subjects {
			account := s.Kind == "ServiceAccount" && s.APIGroup == "" && s.Namespace != ""
			if s.Name == "" || !account && (s.APIGroup != rbacGroup || s.Kind != "User" && s.Kind != "Group" || s.Namespace != "") {
				return errors.New("a malformed subject")
			}
		}
		k.bindings = append(k.bindings, b)
	default:
		return errors.New("no such kind")
	}
	return nil
}

// compile checks the whole as the API server does when it starts.
func (a *authentication) compile() error {
	if a.APIVersion != "apiserver.config.k8s.io/v1" || len(a.JWT) == 0 {
		return errors.New("malformed")
	}
	claims, err := cel.NewEnv(cel.Variable("claims", cel.MapType(cel.StringType, cel.AnyType)))
	if err != nil {
		return err
	}
	user, err := cel.NewEnv(cel.Variable("user", cel.MapType(cel.StringType, cel.DynType)))
	if err != nil {
		return err
	}
	issuers := map[string]bool{}
	for i := range a.JWT {
		j := &a.JWT[i]
		switch {
		case !strings.HasPrefix(j.Issuer.URL, "https://") || issuers[j.Issuer.URL]:
			return errors.New("issuer.url is not https, or there twice")
		case len(j.Issuer.Audiences) == 0 || slices.Contains(j.Issuer.Audiences, ""):
			return errors.New("issuer.audiences is empty")
		case len(j.Issuer.Audiences) > 1 && j.Issuer.AudienceMatchPolicy != "MatchAny":
			return errors.New("issuer.audienceMatchPolicy must be MatchAny")
		case j.ClaimMappings.Username.Claim == "" || j.ClaimMappings.Username.Prefix == nil:
			return errors.New("claimMappings.username needs claim and prefix")
		case j.ClaimMappings.Groups != nil && (j.ClaimMappings.Groups.Claim == "" || j.ClaimMappings.Groups.Prefix == nil):
			return errors.New("claimMappings.groups needs claim and prefix")
		}
		issuers[j.Issuer.URL] = true
		seen := map[string]bool{}
		for _, rule := range j.ClaimValidationRules {
			p, err := compileRule(claims, rule.Expression, seen)
			if err != nil {
				return err
			}
			j.claimRules = append(j.claimRules, p)
		}
		for _, rule := range j.UserValidationRules {
			p, err := compileRule(user, rule.Expression, seen)
			if err != nil {
				return err
			}
			j.userRules = append(j.userRules, p)
		}
	}
	return nil
}

func compileRule(env *cel.Env, expression string, seen map[string]bool) (cel.Program, error) {
	if expression == "" || seen[expression] {
		return nil, errors.New("a rule without expression, or one that is there twice")
	}
	seen[expression] = true
	tree, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if tree.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("%s: must evaluate to bool", expression)
	}
	return env.Program(tree)
}

// user proves a token of another issuer, as the API server does.
func (a *authentication) user(ctx context.Context, token string, c ClusterConfig) (ClusterUser, error) {
	claims := decodeClaims(token)
	i := slices.IndexFunc(a.JWT, func(j jwtAuthenticator) bool { return j.Issuer.URL == claims["iss"] })
	if i < 0 || c.KeysOf == nil {
		return ClusterUser{}, errors.New("no such issuer")
	}
	j := a.JWT[i]
	keys, err := c.KeysOf(ctx, j.Issuer.URL)
	if err != nil {
		return ClusterUser{}, err
	}
	if err := verifyToken(token, keys); err != nil {
		return ClusterUser{}, err
	}
	if fail := timely(claims, c.Now()); fail != nil {
		return ClusterUser{}, errors.New("the token is not valid now")
	}
	if !slices.ContainsFunc(audiencesOf(claims), func(aud string) bool { return slices.Contains(j.Issuer.Audiences, aud) }) {
		return ClusterUser{}, errors.New("the token is for another audience")
	}
	delete(claims, "exp") // json.Number, which CEL does not know; no rule of ours reads them
	delete(claims, "iat")
	delete(claims, "nbf")
	if err := holds(j.claimRules, map[string]any{"claims": claims}); err != nil {
		return ClusterUser{}, err
	}
	name, _ := claims[j.ClaimMappings.Username.Claim].(string)
	if name == "" {
		return ClusterUser{}, errors.New("no username")
	}
	u := ClusterUser{Username: *j.ClaimMappings.Username.Prefix + name}
	if g := j.ClaimMappings.Groups; g != nil {
		switch groups := claims[g.Claim].(type) {
		case nil:
		case string:
			u.Groups = []string{*g.Prefix + groups}
		case []any:
			for _, group := range groups {
				text, ok := group.(string)
				if !ok {
					return ClusterUser{}, errors.New("a group that is no text")
				}
				u.Groups = append(u.Groups, *g.Prefix+text)
			}
		default:
			return ClusterUser{}, errors.New("groups that are none")
		}
	}
	if err := holds(j.userRules, map[string]any{"user": map[string]any{"username": u.Username, "groups": u.Groups}}); err != nil {
		return ClusterUser{}, err
	}
	u.Groups = append(u.Groups, "system:authenticated")
	return u, nil
}

func holds(rules []cel.Program, vars map[string]any) error {
	for _, rule := range rules {
		out, _, err := rule.Eval(vars)
		if err != nil {
			return err
		}
		if out.Value() != true {
			return errors.New("a validation rule failed")
		}
	}
	return nil
}

// allowed asks RBAC, which only ever adds.
func (k *Cluster) allowed(u ClusterUser, ask rbacAsk) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.bindings {
		if b.Metadata.Namespace != "" && b.Metadata.Namespace != ask.namespace {
			continue
		}
		bound := false
		for _, s := range b.Subjects {
			bound = bound || s.Kind == "User" && s.Name == u.Username || s.Kind == "Group" && slices.Contains(u.Groups, s.Name) ||
				s.Kind == "ServiceAccount" && u.Username == "system:serviceaccount:"+s.Namespace+":"+s.Name
		}
		if !bound {
			continue
		}
		namespace := b.Metadata.Namespace
		if b.RoleRef.Kind == "ClusterRole" {
			namespace = ""
		}
		rules := k.roles[b.RoleRef.Kind+"/"+namespace+"/"+b.RoleRef.Name]
		if b.RoleRef.Kind == "ClusterRole" && b.RoleRef.Name == "system:auth-delegator" { // every cluster has it
			rules = []rbacRule{{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}}}
		}
		for _, rule := range rules {
			if slices.Contains(rule.APIGroups, ask.group) && slices.Contains(rule.Resources, ask.resource) && slices.Contains(rule.Verbs, ask.verb) &&
				(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, ask.name)) {
				return true
			}
		}
	}
	return false
}
