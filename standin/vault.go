package standin

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// VaultConfig says what a Vault knows: one JWT auth method.
type VaultConfig struct {
	Now       func() time.Time
	Rand      io.Reader
	TLS       *TLS         // serve https; default http
	Namespace string       // that the method is in; "": the root's
	Mount     string       // of the method
	Issuer    OIDCProvider // URL (bound_issuer), Keys and Client of it
	Roles     map[string]VaultRole
}

// VaultRole is a role of the method, in the words of Vault's API.
type VaultRole struct {
	BoundAudiences []string
	BoundSubject   string
	BoundSubjects  []string // bound_claims: {sub: [...]}
	Policies       []string // token_policies
	NoDefault      bool     // token_no_default_policy
	TTL            time.Duration
	ExplicitMax    time.Duration
	Batch          bool // token_type: batch
}

// VaultToken is what a Vault issued.
type VaultToken struct {
	Role, Accessor string
	Policies       []string
	Expires        time.Time
	Revoked        bool
}

// Vault is a strict stand-in on 127.0.0.1 for HashiCorp Vault and OpenBao, written
// from their documentation: the login of a JWT auth method, response wrapping, and
// what a token may do for itself. It proves assertions for real, and answers 501 to
// all that it does not know, and remembers it: see Unknown. Safe for concurrent use.
type Vault struct {
	service
	c        VaultConfig
	tokens   map[string]*VaultToken
	wrapping map[string]wrapping
}

// wrapping is a response that is to be opened once.
type wrapping struct {
	body    any
	expires time.Time
}

// NewVault starts one on a free port of 127.0.0.1. End it with Close.
func NewVault(c VaultConfig) (*Vault, error) {
	v := &Vault{service: service{server: server{now: c.Now, rand: c.Rand}}, c: c, tokens: map[string]*VaultToken{}, wrapping: map[string]wrapping{}}
	return v, v.start(v, c.TLS)
}

// Token says what a token is that it issued; false: it issued none such.
func (v *Vault) Token(token string) (VaultToken, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.tokens[token]
	if !ok {
		return VaultToken{}, false
	}
	return *t, true
}

// ServeHTTP answers one request.
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return
	}
	var a answer
	var claims map[string]any
	holder := r.Header.Get("X-Vault-Token")
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case r.URL.RawQuery != "" || r.Header.Get("X-Vault-Namespace") != v.c.Namespace || r.Method != http.MethodPost:
		a = unknown("namespace %q, query %q", r.Header.Get("X-Vault-Namespace"), r.URL.RawQuery)
	case path == "auth/"+v.c.Mount+"/login":
		if holder != "" {
			a = unknown("a login with a token")
			break
		}
		var in struct{ Role, JWT string }
		if err := strictJSON(body, &in); err != nil {
			a = unknown("a login's body: %v", err)
			break
		}
		claims = decodeClaims(in.JWT)
		a = v.login(r, in.Role, in.JWT, claims)
	case path == "auth/token/revoke-self":
		a = v.revoke(holder)
	case path == "sys/wrapping/unwrap":
		a = v.unwrap(holder)
	default:
		a = unknown("no such path")
	}
	v.send(w, r, body, claims, a)
}

func vaultError(status int, format string, args ...any) answer {
	return answer{status: status, body: map[string]any{"errors": []string{fmt.Sprintf(format, args...)}}}
}

// login is POST /auth/jwt/login.
func (v *Vault) login(r *http.Request, name, raw string, claims map[string]any) answer {
	role, ok := v.c.Roles[name]
	if !ok {
		return vaultError(http.StatusBadRequest, "role %q could not be found", name)
	}
	failed := func(why string) answer { return vaultError(http.StatusBadRequest, "error validating token: %s", why) }
	if alg := algOf(raw); claims == nil || alg != "RS256" && alg != "ES256" {
		return failed("not a JWT")
	}
	set, err := v.c.Issuer.keys(r.Context())
	if err != nil || verifyToken(raw, set) != nil {
		return failed("no known key successfully validated the token signature")
	}
	subject, _ := claims["sub"].(string)
	audience, _ := claims["aud"].(string)
	switch {
	case claims["iss"] != v.c.Issuer.URL:
		return failed("invalid issuer (iss) claim")
	case timely(claims, v.now()) != nil:
		return failed("invalid expiration time (exp) claim: token is expired")
	case !slices.Contains(role.BoundAudiences, audience):
		return failed("invalid audience (aud) claim: audience claim does not match any expected audience")
	case role.BoundSubject != "" && role.BoundSubject != subject:
		return failed("invalid subject (sub) claim")
	case role.BoundSubject == "" && !slices.Contains(role.BoundSubjects, subject):
		return vaultError(http.StatusBadRequest, `error validating claims: claim "sub" does not match any associated bound claim values`)
	}
	return v.issue(r, name, role)
}

func (v *Vault) issue(r *http.Request, name string, role VaultRole) answer {
	ttl := role.TTL
	if role.ExplicitMax > 0 && (ttl == 0 || ttl > role.ExplicitMax) {
		ttl = role.ExplicitMax
	}
	if ttl == 0 {
		ttl = 768 * time.Hour // Vault's own default
	}
	token, accessor, kind := "hvs."+base64.RawURLEncoding.EncodeToString(v.random(69)), base64.RawURLEncoding.EncodeToString(v.random(18)), "service"
	if role.Batch {
		token, accessor, kind = "hvb."+token[4:], "", "batch"
	}
	policies := slices.Clone(role.Policies)
	if !role.NoDefault && !slices.Contains(policies, "default") {
		policies = append(policies, "default")
	}
	slices.Sort(policies)
	v.mu.Lock()
	v.tokens[token] = &VaultToken{Role: name, Accessor: accessor, Policies: policies, Expires: v.now().Add(ttl)}
	v.mu.Unlock()
	out := vaultAnswer()
	out["auth"] = map[string]any{
		"client_token": token, "accessor": accessor, "policies": policies, "token_policies": policies,
		"metadata": map[string]any{"role": name}, "lease_duration": int64(ttl / time.Second), "renewable": !role.Batch,
		"entity_id": "7d2e3179-f69b-450c-7179-ac8ee8bd8ca9", "token_type": kind, "orphan": true, "mfa_requirement": nil, "num_uses": 0,
	}
	wrap := r.Header.Get("X-Vault-Wrap-TTL")
	if wrap == "" {
		return answer{status: http.StatusOK, body: out}
	}
	seconds, err := strconv.Atoi(wrap)
	if err != nil || seconds <= 0 {
		return unknown("X-Vault-Wrap-TTL %q", wrap)
	}
	opener := "hvs." + base64.RawURLEncoding.EncodeToString(v.random(69))
	v.mu.Lock()
	v.wrapping[opener] = wrapping{body: out, expires: v.now().Add(time.Duration(seconds) * time.Second)}
	v.mu.Unlock()
	wrapped := vaultAnswer()
	wrapped["wrap_info"] = map[string]any{
		"token": opener, "accessor": base64.RawURLEncoding.EncodeToString(v.random(18)), "ttl": seconds,
		"creation_time": v.now().UTC().Format(time.RFC3339Nano), "creation_path": "auth/" + v.c.Mount + "/login", "wrapped_accessor": accessor,
	}
	return answer{status: http.StatusOK, body: wrapped}
}

// vaultAnswer is an answer with nothing in it.
func vaultAnswer() map[string]any {
	return map[string]any{
		"request_id": "0d244990-db94-dd34-c870-27411f628813", "lease_id": "", "renewable": false, "lease_duration": 0,
		"data": nil, "wrap_info": nil, "warnings": nil, "auth": nil, "mount_type": "",
	}
}

func (v *Vault) revoke(holder string) answer {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.tokens[holder]
	if !ok || t.Revoked {
		return vaultError(http.StatusForbidden, "permission denied")
	}
	t.Revoked = true
	return answer{status: http.StatusNoContent}
}

// unwrap opens a wrapping, once.
func (v *Vault) unwrap(holder string) answer {
	v.mu.Lock()
	defer v.mu.Unlock()
	w, ok := v.wrapping[holder]
	delete(v.wrapping, holder)
	if !ok || !v.now().Before(w.expires) {
		return vaultError(http.StatusBadRequest, "wrapping token is not valid or does not exist")
	}
	return answer{status: http.StatusOK, body: w.body}
}

// ParseVaultRole reads a role as `cambio connect -o json` has it, for [VaultConfig].
func ParseVaultRole(raw []byte) (VaultRole, error) {
	var in struct {
		RoleType             string              `json:"role_type"`
		UserClaim            string              `json:"user_claim"`
		BoundAudiences       []string            `json:"bound_audiences"`
		BoundSubject         string              `json:"bound_subject"`
		BoundClaims          map[string][]string `json:"bound_claims"`
		BoundClaimsType      string              `json:"bound_claims_type"`
		TokenPolicies        []string            `json:"token_policies"`
		TokenNoDefaultPolicy bool                `json:"token_no_default_policy"`
		TokenType            string              `json:"token_type"`
		TokenTTL             int64               `json:"token_ttl"`
		TokenMaxTTL          int64               `json:"token_max_ttl"`
		TokenExplicitMaxTTL  int64               `json:"token_explicit_max_ttl"`
	}
	if err := strictJSON(raw, &in); err != nil {
		return VaultRole{}, fmt.Errorf("standin: role: %w", err)
	}
	if in.RoleType != "jwt" || in.UserClaim == "" || len(in.BoundAudiences) == 0 || in.BoundClaimsType == "glob" {
		return VaultRole{}, fmt.Errorf("standin: role: type %q, user_claim %q, %d audiences, claims by %q", in.RoleType, in.UserClaim, len(in.BoundAudiences), in.BoundClaimsType)
	}
	if names := slices.Collect(maps.Keys(in.BoundClaims)); len(names) > 1 || len(names) == 1 && names[0] != "sub" {
		return VaultRole{}, fmt.Errorf("standin: role: bound claims %v", names)
	}
	return VaultRole{
		BoundAudiences: in.BoundAudiences, BoundSubject: in.BoundSubject, BoundSubjects: in.BoundClaims["sub"],
		Policies: in.TokenPolicies, NoDefault: in.TokenNoDefaultPolicy, Batch: in.TokenType == "batch",
		TTL: time.Duration(in.TokenTTL) * time.Second, ExplicitMax: time.Duration(in.TokenExplicitMaxTTL) * time.Second,
	}, nil
}
