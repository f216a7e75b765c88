package standin

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	googleMaxBody = 64 << 10
	googleSubject = 127 // bytes of google.subject
	googleLife    = time.Hour

	googleExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	googleAccess   = "urn:ietf:params:oauth:token-type:access_token"
	googleJWT      = "urn:ietf:params:oauth:token-type:jwt"
	googlePlatform = "https://www.googleapis.com/auth/cloud-platform"
)

// googleError is an error of one of the two services, each in its own form.
type googleError struct {
	status        int
	code, message string
	oauth         bool
}

func (e *googleError) document() map[string]any {
	if e.oauth {
		return map[string]any{"error": e.code, "error_description": e.message}
	}
	return map[string]any{"error": map[string]any{"code": e.status, "message": e.message, "status": e.code}}
}

func googleUnknown(format string, args ...any) *googleError {
	return &googleError{http.StatusNotImplemented, "UNIMPLEMENTED", fmt.Sprintf(format, args...), false}
}

func googleGrant(format string, args ...any) *googleError {
	return &googleError{http.StatusBadRequest, "invalid_grant", fmt.Sprintf(format, args...), true}
}

func googleInvalid(message string) *googleError {
	return &googleError{http.StatusBadRequest, "INVALID_ARGUMENT", message, false}
}

var googleMethod = regexp.MustCompile(`^/v1/projects/-/serviceAccounts/([^/:]+@[^/:]+):(generateAccessToken|generateIdToken)$`)

// ServeHTTP answers one request.
func (g *Google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := g.next(r.URL.Path)
	body, err := io.ReadAll(io.LimitReader(r.Body, googleMaxBody+1))
	rec := GoogleRequest{Path: r.URL.Path, Body: body, Header: r.Header.Clone(), Status: http.StatusOK}
	var answer map[string]any
	fail := googleUnknown("a body above %d bytes, or a broken one", googleMaxBody)
	if err == nil && len(body) <= googleMaxBody {
		answer, fail = g.answer(r, body, &rec)
	}
	if fail != nil {
		rec.Status, answer = fail.status, fail.document()
	}
	g.mu.Lock()
	g.requests = append(g.requests, rec)
	if rec.Status == http.StatusNotImplemented {
		g.unknown = append(g.unknown, fail.message)
	}
	g.mu.Unlock()
	if fail == nil && fault.Edit != nil {
		fault.Edit(answer)
	}
	fault.send(w, r, rec.Status, encode(answer))
}

func (g *Google) next(path string) GoogleFault {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.faults, func(f GoogleFault) bool { return strings.Contains(path, f.Path) })
	if i < 0 {
		return GoogleFault{}
	}
	f := g.faults[i]
	if len(g.faults) > 1 {
		g.faults = slices.Delete(slices.Clone(g.faults), i, i+1)
	}
	return f
}

func (f GoogleFault) send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if !f.wait(r) {
		return
	}
	if f.Drop {
		panic(http.ErrAbortHandler) // closes the connection
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	status, body = f.change(w, status, body)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (g *Google) answer(r *http.Request, body []byte, rec *GoogleRequest) (map[string]any, *googleError) {
	if r.Method != http.MethodPost || r.URL.RawQuery != "" {
		return nil, googleUnknown("%s %s?%s", r.Method, r.URL.Path, r.URL.RawQuery)
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.URL.Path == "/v1/token" {
		if r.Header.Get("Authorization") != "" {
			return nil, googleUnknown("an Authorization header at the Security Token Service")
		}
		form, err := url.ParseQuery(string(body))
		if err != nil || media != "application/x-www-form-urlencoded" {
			return nil, googleUnknown("a body that is no form")
		}
		rec.Form = form
		return g.exchange(r, form, rec)
	}
	m := googleMethod.FindStringSubmatch(r.URL.Path)
	if m == nil || media != "application/json" {
		return nil, googleUnknown("%s with %s", r.URL.Path, media)
	}
	return g.impersonate(m[1], m[2], r.Header.Get("Authorization"), body)
}

// exchange is the Security Token Service.
func (g *Google) exchange(r *http.Request, form url.Values, rec *GoogleRequest) (map[string]any, *googleError) {
	known := []string{"grant_type", "requested_token_type", "subject_token", "subject_token_type", "audience", "scope"}
	narrow := form.Get("subject_token_type") == googleAccess
	if narrow {
		known = []string{"grant_type", "requested_token_type", "subject_token", "subject_token_type", "options"}
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if !slices.Contains(known, name) || len(form[name]) != 1 {
			return nil, googleUnknown("the parameter %s, %d times", name, len(form[name]))
		}
	}
	for _, name := range known {
		if form.Get(name) == "" {
			return nil, &googleError{http.StatusBadRequest, "invalid_request", "Invalid value for \"" + name + "\".", true}
		}
	}
	if form.Get("grant_type") != googleExchange || form.Get("requested_token_type") != googleAccess {
		return nil, googleUnknown("grant_type %q for %q", form.Get("grant_type"), form.Get("requested_token_type"))
	}
	if narrow {
		return g.narrow(form)
	}
	if form.Get("subject_token_type") != googleJWT {
		return nil, googleUnknown("subject_token_type %q", form.Get("subject_token_type"))
	}
	rec.Claims = decodeClaims(form.Get("subject_token"))
	i := slices.IndexFunc(g.config.Providers, func(p GoogleProvider) bool { return p.Name == form.Get("audience") })
	if i < 0 {
		return nil, &googleError{http.StatusBadRequest, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid.", true}
	}
	p := g.config.Providers[i]
	token, fail := g.prove(r, p, form.Get("subject_token"))
	if fail != nil {
		return nil, fail
	}
	expires := g.now().Add(googleLife)
	if token.Expiry.Before(expires) {
		expires = token.Expiry // a federated token ends with the credential that it is for
	}
	value := g.issue(GoogleToken{Principal: p.PrincipalOf(token.Subject), Scopes: strings.Fields(form.Get("scope")), Expires: expires})
	return map[string]any{
		"access_token": value, "issued_token_type": googleAccess, "token_type": "Bearer",
		"expires_in": int64(expires.Sub(g.now()) / time.Second),
	}, nil
}

// prove verifies an assertion as the pool's provider is set up to.
func (g *Google) prove(r *http.Request, p GoogleProvider, raw string) (*gooidc.IDToken, *googleError) {
	set, err := p.Keys(r.Context())
	if err != nil {
		return nil, googleGrant("Error connecting to the given credential's issuer.")
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(set, &keys); err != nil {
		return nil, googleGrant("Error parsing the issuer's keys.")
	}
	static := &gooidc.StaticKeySet{}
	for _, k := range keys.Keys {
		static.PublicKeys = append(static.PublicKeys, k.Key)
	}
	token, err := gooidc.NewVerifier(p.Issuer, static, &gooidc.Config{
		SkipClientIDCheck: true, Now: g.now, SupportedSigningAlgs: []string{gooidc.RS256, gooidc.ES256},
	}).Verify(r.Context(), raw)
	if err != nil {
		return nil, googleGrant("The given credential is rejected: %v", err)
	}
	allowed := p.Audiences
	if len(allowed) == 0 {
		allowed = []string{p.Name, "https:" + p.Name}
	}
	switch {
	case len(token.Audience) != 1 || !slices.Contains(allowed, token.Audience[0]):
		return nil, googleGrant("The audience in ID Token %v does not match the expected audience.", token.Audience)
	case token.Expiry.Sub(token.IssuedAt) > 24*time.Hour:
		return nil, googleGrant("The credential lives longer than a day.")
	case token.Subject == "" || len(token.Subject) > googleSubject:
		return nil, googleGrant("The size of mapped attribute google.subject exceeds the %d bytes limit.", googleSubject)
	case p.Subjects != nil && !slices.Contains(p.Subjects, token.Subject):
		return nil, &googleError{http.StatusForbidden, "unauthorized_client", "The given credential is rejected by the attribute condition.", true}
	}
	return token, nil
}

// narrow is a Credential Access Boundary.
func (g *Google) narrow(form url.Values) (map[string]any, *googleError) {
	whole, ok := g.Token(form.Get("subject_token"))
	if !ok || whole.Account == "" || whole.Audience != "" || whole.Boundary != "" || !g.now().Before(whole.Expires) {
		return nil, &googleError{http.StatusBadRequest, "invalid_request", "The subject token is no access token that can be narrowed.", true}
	}
	type condition struct{ Expression, Title, Description string }
	var options struct {
		AccessBoundary *struct {
			AccessBoundaryRules []struct {
				AvailableResource     string
				AvailablePermissions  []string
				AvailabilityCondition *condition
			}
		}
	}
	d := json.NewDecoder(strings.NewReader(form.Get("options")))
	d.DisallowUnknownFields()
	if err := d.Decode(&options); err != nil || options.AccessBoundary == nil {
		return nil, googleUnknown("options %s: %v", form.Get("options"), err)
	}
	rules := options.AccessBoundary.AccessBoundaryRules
	if len(rules) == 0 || len(rules) > 10 {
		return nil, &googleError{http.StatusBadRequest, "invalid_request", "Access boundary rules: 1 to 10.", true}
	}
	for _, rule := range rules {
		if !strings.HasPrefix(rule.AvailableResource, "//storage.googleapis.com/projects/_/buckets/") || len(rule.AvailablePermissions) == 0 {
			return nil, &googleError{http.StatusBadRequest, "invalid_request", "Invalid access boundary rule.", true}
		}
	}
	whole.Boundary = form.Get("options")
	return map[string]any{
		"access_token": g.issue(whole), "issued_token_type": googleAccess, "token_type": "Bearer",
		"expires_in": int64(whole.Expires.Sub(g.now()) / time.Second),
	}, nil
}

// googleWish is a request of the IAM Service Account Credentials API.
type googleWish struct {
	Delegates    []string `json:"delegates"`
	Scope        []string `json:"scope"`
	Lifetime     string   `json:"lifetime"`
	Audience     string   `json:"audience"`
	IncludeEmail bool     `json:"includeEmail"`
}

var googleLifetime = regexp.MustCompile(`^([1-9][0-9]{0,5})s$`)

// impersonate is the IAM Service Account Credentials API.
func (g *Google) impersonate(email, method, authorization string, body []byte) (map[string]any, *googleError) {
	var wish googleWish
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&wish); err != nil {
		return nil, googleUnknown("a request %s: %v", body, err)
	}
	bearer, isBearer := strings.CutPrefix(authorization, "Bearer ")
	caller, ok := g.Token(bearer)
	if !isBearer || !ok || !g.now().Before(caller.Expires) {
		return nil, &googleError{http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials.", false}
	}
	if !slices.Contains(caller.Scopes, googlePlatform) && !slices.Contains(caller.Scopes, "https://www.googleapis.com/auth/iam") {
		return nil, &googleError{http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", false}
	}
	account, fail := g.chain(caller, email, wish.Delegates)
	if fail != nil {
		return nil, fail
	}
	if method == "generateIdToken" {
		if wish.Audience == "" || wish.Scope != nil || wish.Lifetime != "" {
			return nil, googleInvalid("audience is required, and scope and lifetime are nothing of generateIdToken")
		}
		return g.idToken(account, wish)
	}
	m := googleLifetime.FindStringSubmatch(wish.Lifetime)
	if m == nil || len(wish.Scope) == 0 || wish.Audience != "" || wish.IncludeEmail {
		return nil, googleInvalid("scope and lifetime are required, and audience is nothing of generateAccessToken")
	}
	seconds, _ := strconv.Atoi(m[1]) // at most six digits
	lifetime := time.Duration(seconds) * time.Second
	limit := account.MaxLifetime
	if limit == 0 {
		limit = googleLife
	}
	if lifetime > limit {
		return nil, googleInvalid("The token lifetime is above the maximum.")
	}
	expires := g.now().UTC().Truncate(time.Second).Add(lifetime)
	value := g.issue(GoogleToken{Account: email, Scopes: wish.Scope, Expires: expires})
	return map[string]any{"accessToken": value, "expireTime": expires.Format(time.RFC3339)}, nil
}

// chain walks from the caller over the delegates to the account.
func (g *Google) chain(caller GoogleToken, email string, delegates []string) (GoogleAccount, *googleError) {
	denied := &googleError{http.StatusForbidden, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).", false}
	who := caller.Principal
	var account GoogleAccount
	for i, name := range append(slices.Clone(delegates), email) {
		if i < len(delegates) {
			var ok bool
			if name, ok = strings.CutPrefix(name, "projects/-/serviceAccounts/"); !ok {
				return account, googleInvalid("Invalid form of a delegate.")
			}
		}
		at := slices.IndexFunc(g.config.Accounts, func(a GoogleAccount) bool { return a.Email == name })
		if at < 0 {
			return account, denied
		}
		account = g.config.Accounts[at]
		// A chain needs more than the role of a workload identity: implicitDelegation.
		if !slices.Contains(account.Creators, who) && (len(delegates) > 0 || !slices.Contains(account.Users, who)) {
			return account, denied
		}
		who = name
	}
	return account, nil
}

// idToken signs an ID token as accounts.google.com does.
func (g *Google) idToken(account GoogleAccount, wish googleWish) (map[string]any, *googleError) {
	key, err := g.key()
	if err != nil {
		return nil, googleUnknown("no key: %v", err)
	}
	now := g.now()
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": wish.Audience, "sub": "113000000000000000001", "azp": "113000000000000000001",
		"iat": now.Unix(), "exp": now.Add(googleLife).Unix(),
	}
	if wish.IncludeEmail {
		claims["email"], claims["email_verified"] = account.Email, true
	}
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString(encode(map[string]any{"alg": "RS256", "kid": "google-1", "typ": "JWT"})) + "." + b64.EncodeToString(encode(claims))
	digest := sha256.Sum256([]byte(text))
	g.mu.Lock()
	sig, err := rsa.SignPKCS1v15(g.rand, key, crypto.SHA256, digest[:])
	g.mu.Unlock()
	if err != nil {
		return nil, googleUnknown("no signature: %v", err)
	}
	token := text + "." + b64.EncodeToString(sig)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[token] = GoogleToken{Account: account.Email, Audience: wish.Audience, Expires: now.Add(googleLife)}
	return map[string]any{"token": token}, nil
}

// issue makes an opaque token.
func (g *Google) issue(t GoogleToken) string {
	value := "ya29.d." + base64.RawURLEncoding.EncodeToString(g.random(96))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[value] = t
	return value
}
