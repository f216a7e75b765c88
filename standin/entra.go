package standin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// EntraConfig says what an Entra knows.
type EntraConfig struct {
	Now  func() time.Time
	Rand io.Reader
	TLS  *TLS // serve https; default http
	Apps []EntraApp
	// Resources are those that tokens are given for, such as https://vault.azure.net.
	Resources []string
	Lifetime  time.Duration // of access tokens; default 75 min
}

// EntraApp is an application, or a managed identity.
type EntraApp struct {
	Tenant, ClientID string
	Credentials      []EntraCredential // 20 at most, as at Entra
}

// EntraCredential is a federated identity credential: what an assertion must say,
// byte for byte.
type EntraCredential struct {
	Issuer   OIDCProvider // URL, Keys and Client of it
	Subject  string
	Audience string
}

// Entra is a strict stand-in on 127.0.0.1 for the token endpoint of Microsoft Entra,
// for client credentials with a client assertion. It proves assertions for real, and
// answers 501 to all that it does not know, and remembers it: see Unknown. Safe for
// concurrent use.
type Entra struct {
	service
	c EntraConfig
}

// NewEntra starts one on a free port of 127.0.0.1. End it with Close.
func NewEntra(c EntraConfig) (*Entra, error) {
	for _, app := range c.Apps {
		if len(app.Credentials) > 20 {
			return nil, fmt.Errorf("standin: %s has %d federated credentials; Entra takes 20", app.ClientID, len(app.Credentials))
		}
	}
	if c.Lifetime == 0 {
		c.Lifetime = 75 * time.Minute
	}
	e := &Entra{service: service{server: server{now: c.Now, rand: c.Rand}}, c: c}
	return e, e.start(e, c.TLS)
}

// ServeHTTP answers one request.
func (e *Entra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return
	}
	tenant, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet && path == "v2.0/.well-known/openid-configuration":
		base := "http://" + r.Host + "/" + tenant
		if r.TLS != nil {
			base = "https://" + r.Host + "/" + tenant
		}
		e.send(w, r, body, nil, answer{status: http.StatusOK, body: map[string]any{
			"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"token_endpoint": base + "/oauth2/v2.0/token", "jwks_uri": base + "/discovery/v2.0/keys",
		}})
	case r.Method == http.MethodPost && path == "oauth2/v2.0/token" && r.URL.RawQuery == "":
		form, a := entraForm(r, body)
		if form != nil {
			a = e.token(r, tenant, form)
		}
		e.send(w, r, body, decodeClaims(form.Get("client_assertion")), a)
	default:
		e.send(w, r, body, nil, unknown("no such endpoint"))
	}
}

// entraForm reads the form; nil: the answer says why not.
func entraForm(r *http.Request, body []byte) (url.Values, answer) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, unknown("Content-Type %s", r.Header.Get("Content-Type"))
	}
	if r.Header.Get("Authorization") != "" {
		return nil, unknown("an Authorization header")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, unknown("a body that is no form")
	}
	// client_info is Microsoft's own library's.
	known := []string{"client_id", "scope", "grant_type", "client_assertion_type", "client_assertion", "client_info"}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if !slices.Contains(known, name) || len(form[name]) != 1 {
			return nil, unknown("the parameter %s %d times", name, len(form[name]))
		}
	}
	return form, answer{}
}

// entraError is an error of Entra's.
func entraError(status int, kind string, code int, format string, args ...any) answer {
	return answer{status: status, body: map[string]any{
		"error":             kind,
		"error_description": fmt.Sprintf("AADSTS%d: ", code) + fmt.Sprintf(format, args...) + " Trace ID: 0d244990-db94-dd34-c870-27411f628813 Correlation ID: 7b1f2d3e-0000-4000-8000-000000000000 Timestamp: 2026-09-01 12:00:00Z",
		"error_codes":       []int{code}, "timestamp": "2026-09-01 12:00:00Z",
		"trace_id": "0d244990-db94-dd34-c870-27411f628813", "correlation_id": "7b1f2d3e-0000-4000-8000-000000000000",
	}}
}

// token is the token endpoint.
func (e *Entra) token(r *http.Request, tenant string, form url.Values) answer {
	invalidClient := func(code int, format string, args ...any) answer {
		return entraError(http.StatusUnauthorized, "invalid_client", code, format, args...)
	}
	if form.Get("grant_type") != "client_credentials" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return unknown("grant_type %q, client_assertion_type %q", form.Get("grant_type"), form.Get("client_assertion_type"))
	}
	i := slices.IndexFunc(e.c.Apps, func(a EntraApp) bool {
		return a.Tenant == tenant && strings.EqualFold(a.ClientID, form.Get("client_id"))
	})
	if i < 0 {
		return entraError(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory '%s'.", form.Get("client_id"), tenant)
	}
	app, raw := e.c.Apps[i], form.Get("client_assertion")
	claims := decodeClaims(raw)
	if claims == nil || algOf(raw) != "RS256" {
		return invalidClient(50027, "JWT token is invalid or malformed, or its algorithm is not RS256.")
	}
	credential, refused := app.match(claims)
	if credential == nil {
		return invalidClient(refused.code, "%s", refused.text)
	}
	set, err := credential.Issuer.keys(r.Context())
	if err != nil {
		return invalidClient(70021, "The keys of the issuer cannot be fetched.")
	}
	if err := verifyToken(raw, set); err != nil {
		return invalidClient(700027, "The client assertion failed signature validation.")
	}
	if fail := timely(claims, e.now()); fail != nil {
		return invalidClient(700024, "Client assertion is not within its valid time range.")
	}
	of, ok := strings.CutSuffix(strings.TrimSuffix(form.Get("scope"), " openid offline_access profile"), "/.default")
	if !ok || strings.Contains(of, " ") {
		return entraError(http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope is not valid.")
	}
	if !slices.Contains(e.c.Resources, of) {
		return entraError(http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named %s was not found in the tenant.", of)
	}
	return e.issue(tenant, app.ClientID, of)
}

// mismatch is why no credential fits.
type mismatch struct {
	code int
	text string
}

// match finds the credential whose issuer, subject and audience are the assertion's,
// byte for byte; the mismatch is that of the one that came nearest.
func (a EntraApp) match(claims map[string]any) (*EntraCredential, mismatch) {
	issuer, _ := claims["iss"].(string)
	subject, _ := claims["sub"].(string)
	audience, _ := claims["aud"].(string)
	worst := mismatch{700211, "No matching federated identity record found for presented assertion issuer '" + issuer + "'."}
	if len(a.Credentials) == 0 {
		worst = mismatch{70021, "No matching federated identity record found for presented assertion."}
	}
	for i := range a.Credentials {
		c := &a.Credentials[i]
		switch {
		case c.Issuer.URL != issuer:
		case c.Subject != subject && strings.EqualFold(c.Subject, subject):
			worst = mismatch{7002138, "No matching federated identity record found: the subject differs by case."}
		case c.Subject != subject:
			if worst.code != 7002138 {
				worst = mismatch{700213, "No matching federated identity record found for presented assertion subject '" + subject + "'."}
			}
		case c.Audience != audience:
			worst = mismatch{700212, "No matching federated identity record found for presented assertion audience '" + audience + "'."}
		default:
			return c, mismatch{}
		}
	}
	return nil, worst
}

// issue makes an access token: a JWS whose signature is of nobody's concern here.
func (e *Entra) issue(tenant, client, resource string) answer {
	now := e.now()
	claims, err := json.Marshal(map[string]any{
		"aud": resource, "iss": "https://sts.windows.net/" + tenant + "/", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(e.c.Lifetime).Unix(),
		"appid": client, "tid": tenant, "idtyp": "app", "uti": base64.RawURLEncoding.EncodeToString(e.random(16)), "ver": "1.0",
	})
	if err != nil {
		return unknown("%v", err)
	}
	enc := base64.RawURLEncoding
	token := enc.EncodeToString([]byte(`{"typ":"JWT","alg":"RS256","kid":"entra"}`)) + "." + enc.EncodeToString(claims) + "." + enc.EncodeToString(e.random(256))
	seconds := int64(e.c.Lifetime / time.Second)
	return answer{status: http.StatusOK, body: map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}}
}
