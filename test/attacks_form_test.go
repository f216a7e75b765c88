package test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cambio/test/rig"
)

// The other types of RFC 8693 section 3, and ours.
const (
	idTokenType = "urn:ietf:params:oauth:token-type:id_token"
	accessType  = "urn:ietf:params:oauth:token-type:access_token"
	refreshType = "urn:ietf:params:oauth:token-type:refresh_token"
	saml2Type   = "urn:ietf:params:oauth:token-type:saml2"
	awsType     = "urn:cambio:token-type:aws-credentials"
)

// formAttacks are the cases on the form of an exchange.
func formAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"TEX-01": formShape, "TEX-02": grantTypes, "TEX-03": tokenTypes,
		"TEX-07": audiencesAndResources, "TEX-08": scopes, "TEX-11": trustParameter,
	}
}

// form is the good form with one parameter set; an empty list takes it away.
func form(r *rig.Rig, name string, values ...string) url.Values {
	f := rig.Form(r.Token(nil))
	if f[name] = values; len(values) == 0 {
		delete(f, name)
	}
	return f
}

// told fails the test unless the answer is a refusal of the form, which names
// the parameter.
func told(t *testing.T, a rig.Answer, status int, code, name string) {
	t.Helper()
	if a.Status != status || a.Text("error") != code || !strings.Contains(a.Text("error_description"), name) {
		t.Errorf("got %d %s, want %d %s that names %q", a.Status, a.Raw, status, code, name)
	}
	if a.Decision == "" || a.Text("decision_id") != a.Decision || a.Header.Get("Cache-Control") != "no-store" ||
		a.Header.Get("Content-Type") != "application/json" || a.Body["access_token"] != nil {
		t.Errorf("answer %s with headers %v", a.Raw, a.Header)
	}
}

// request is a request to the token endpoint with headers in pairs.
func request(r *rig.Rig, method, query, body string, headers ...string) *http.Request {
	r.T.Helper()
	req, err := http.NewRequest(method, r.URL+"/token"+query, strings.NewReader(body))
	if err != nil {
		r.T.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

const formMedia = "application/x-www-form-urlencoded"

func formShape(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	for _, name := range []string{"grant_type", "subject_token", "subject_token_type", "audience"} {
		told(t, r.Post(form(r, name)), 400, "invalid_request", name)
		told(t, r.Post(form(r, name, "")), 400, "invalid_request", name)
	}
	for _, name := range []string{
		"grant_type", "subject_token", "subject_token_type", "audience", "resource", "scope",
		"requested_token_type", "ttl", "trust", "dry_run", "actor_token", "client_id",
	} {
		value := rig.Form(r.Token(nil)).Get(name)
		if value == "" {
			value = "x"
		}
		code, shown := "invalid_request", name
		if name == "audience" {
			code, shown = "invalid_target", ""
		}
		told(t, r.Post(form(r, name, value, value)), 400, code, shown)
		told(t, r.Post(form(r, name, value, "")), 400, code, shown)
		told(t, r.Post(form(r, name, "", value)), 400, code, shown)
	}
	for _, name := range []string{"requested_token_type", "resource", "ttl", "trust", "dry_run"} {
		told(t, r.Post(form(r, name, "")), 400, "invalid_request", name)
	}
	for _, name := range []string{"foo", "client_id", "Scope", "AUDIENCE", "subject_token[]"} {
		if a := r.Post(form(r, name, "bar")); a.Status != 200 {
			t.Errorf("with %s: %d %s", name, a.Status, a.Raw)
		}
	}
	told(t, r.Post(form(r, "actor_token", r.Token(nil))), 400, "invalid_request", "actor_token")
	told(t, r.Post(form(r, "actor_token_type", rig.JWTType)), 400, "invalid_request", "actor_token_type")
	aroundTheForm(t, r)
	r.Control()
}

// aroundTheForm is TEX-01's media types, methods and query strings.
func aroundTheForm(t *testing.T, r *rig.Rig) {
	t.Helper()
	token := r.Token(nil)
	body := rig.Form(token).Encode()
	asJSON, err := json.Marshal(map[string]string{"grant_type": rig.GrantType, "subject_token": token, "subject_token_type": rig.JWTType, "audience": "t1"})
	if err != nil {
		t.Fatal(err)
	}
	told(t, r.Do(request(r, "POST", "", string(asJSON), "Content-Type", "application/json")), 415, "invalid_request", "")
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded, application/json", "multipart/form-data; boundary=x", "*/*", "application/x-www-form-urlencodedx", ";"} {
		told(t, r.Do(request(r, "POST", "", body, "Content-Type", media)), 415, "invalid_request", "")
	}
	told(t, r.Do(request(r, "POST", "", body)), 415, "invalid_request", "")
	told(t, r.Do(request(r, "POST", "", body, "Content-Type", formMedia, "Content-Type", formMedia)), 415, "invalid_request", "")
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"} {
		a := r.Do(request(r, method, "?"+body, ""))
		told(t, a, 405, "invalid_request", "")
		if a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", method, a.Header.Get("Allow"))
		}
	}
	if a := r.Do(request(r, "HEAD", "", "")); a.Status != 405 || a.Header.Get("Allow") != "POST" || a.Decision == "" {
		t.Errorf("HEAD: %d %v", a.Status, a.Header)
	}
	for _, query := range []string{"?" + body, "?x", "?", "?audience=t2", "?;", "?access_token=" + token} {
		told(t, r.Do(request(r, "POST", query, body, "Content-Type", formMedia)), 400, "invalid_request", "query")
	}
	for _, header := range []string{"Bearer " + token, "Basic eDp5", "x", "DPoP a.b.c"} {
		a := r.Do(request(r, "POST", "", body, "Content-Type", formMedia, "Authorization", header))
		told(t, a, 401, "invalid_client", "")
		if a.Header.Get("Www-Authenticate") == "" {
			t.Error("401 without WWW-Authenticate")
		}
	}
	if strings.Contains(r.Log.String(), token) || strings.Contains(r.Log.String(), strings.Split(token, ".")[1]) {
		t.Error("a token in a query string reached the log")
	}
	// None of it used the token up.
	if a := r.Do(request(r, "POST", "", body, "Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")); a.Status != 200 {
		t.Errorf("the same token in a good form: %d %s", a.Status, a.Raw)
	}
}

func grantTypes(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	for _, grant := range []string{
		"password", "refresh_token", "authorization_code", "implicit", "Client_Credentials",
		"urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:Token-Exchange", strings.ToUpper(rig.GrantType), rig.GrantType + " ", " " + rig.GrantType,
		rig.GrantType + "\n", rig.GrantType + "\x00", "token-exchange", rig.GrantType + "#", "null",
	} {
		a := r.Post(form(r, "grant_type", grant))
		told(t, a, 400, "unsupported_grant_type", "grant_type")
	}
	// The other two grants want a proof of their own; a subject_token is none.
	told(t, r.Post(form(r, "grant_type", "client_credentials")), 400, "invalid_request", "client_assertion")
	told(t, r.Post(form(r, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")), 400, "invalid_request", "assertion")
	assertion := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {r.Token(nil)}}
	told(t, r.Post(assertion), 400, "invalid_request", "audience")
	client := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {r.Token(nil)}, "audience": {"t1"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
	}
	told(t, r.Post(client), 400, "invalid_request", "client_assertion_type")
	r.Control()
}

func tokenTypes(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	for _, typ := range []string{accessType, refreshType, saml2Type, "urn:ietf:params:oauth:token-type:saml1", "jwt", "JWT", strings.ToUpper(rig.JWTType), rig.JWTType + " ", awsType, "id_token"} {
		told(t, r.Post(form(r, "subject_token_type", typ)), 400, "invalid_request", "subject_token_type")
	}
	for _, typ := range []string{"unknown", saml2Type, refreshType, "jwt", rig.JWTType + " "} {
		told(t, r.Post(form(r, "requested_token_type", typ)), 400, "invalid_request", "requested_token_type")
	}
	for _, typ := range []string{awsType, idTokenType} { // of other targets
		r.Deny(r.Post(form(r, "requested_token_type", typ)), "token-type")
	}
	for _, typ := range []string{rig.JWTType, accessType} {
		if a := r.Post(form(r, "requested_token_type", typ)); a.Status != 200 || a.Text("issued_token_type") != typ || a.Text("token_type") != "Bearer" {
			t.Errorf("requested %s: %d %s", typ, a.Status, a.Raw)
		}
	}
	if a := r.Post(form(r, "subject_token_type", idTokenType)); a.Status != 200 {
		t.Errorf("id_token: %d %s", a.Status, a.Raw)
	}
	// An id_token is verified as a jwt is: its one use is the same.
	used := r.Token(nil)
	if a := r.Exchange(used); a.Status != 200 {
		t.Fatal(a.Raw)
	}
	again := rig.Form(used)
	again.Set("subject_token_type", idTokenType)
	r.Refused(r.Post(again), 400, "invalid_request", usedSentence, "replayed")
	for _, opaque := range []string{
		"opaque", "gho_16C7e42F292c6912E7710c838347Ae178B4a", "a.b", "a.b.c.d", "a.b.c.d.e", "..", "....", `{"payload":"e30"}`,
		"PHNhbWw6QXNzZXJ0aW9uPg==", base64.StdEncoding.EncodeToString([]byte("<saml:Assertion/>")), " " + r.Token(nil), r.Token(nil) + "\n", r.Token(nil) + "=",
	} {
		for _, typ := range []string{rig.JWTType, idTokenType} {
			f := rig.Form(opaque)
			f.Set("subject_token_type", typ)
			if a := r.Post(f); a.Status != 400 || a.Text("error") != "invalid_request" || a.Text("error_description") != rig.Fixed {
				t.Errorf("opaque token %q: %d %s", opaque, a.Status, a.Raw)
			}
		}
	}
	r.Control()
}

// usedSentence is what a proven token that was used is told.
const usedSentence = "This token was already used; fetch a fresh one for each exchange."

func audiencesAndResources(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	var bodies []string
	for _, audience := range []string{
		"t2", "nobody", "https://gw.test", "https://gw.test/", "*", "T1", "t1 ", "t1,t2", "t1 t2", "api://t1", "api://t2", "t1\x00", "t", "t1*", "../t1",
	} {
		a := r.Post(form(r, "audience", audience))
		r.Refused(a, 400, "invalid_target", rig.Fixed)
		bodies = append(bodies, strings.ReplaceAll(a.Raw, a.Decision, ""))
	}
	if slices.ContainsFunc(bodies, func(b string) bool { return b != bodies[0] }) {
		t.Errorf("a target that is not granted and one that does not exist answer differently: %q", bodies)
	}
	r.Refused(r.Post(form(r, "audience", "t1", "t2")), 400, "invalid_target", rig.Fixed)
	r.Refused(r.Post(form(r, "audience", "t2", "t1")), 400, "invalid_target", rig.Fixed)
	fifty := make([]string, 50)
	for i := range fifty {
		fifty[i] = "t1"
	}
	r.Refused(r.Post(form(r, "audience", fifty...)), 400, "invalid_target", rig.Fixed)
	for _, resource := range []string{"https://orders.test/", "arn:aws:iam::111122223333:role/x", "urn:x:y", "HTTPS://a.test"} {
		r.Refused(r.Post(form(r, "resource", resource)), 400, "invalid_target", rig.Fixed, "resource-not-granted")
	}
	for _, resource := range []string{
		"/role/x", "role", "//a.test/x", "?x", "https://a.test/#", "https://a.test/x#y", "", " https://a.test", "https://a.test/ x", "https://a.test/\n", "a:", ":a", "https://a.test/é",
	} {
		told(t, r.Post(form(r, "resource", resource)), 400, "invalid_request", "resource")
	}
	told(t, r.Post(form(r, "resource", "urn:x:y", "urn:x:z")), 400, "invalid_request", "resource")
	r.Control()
	sameGrantTwice(t)
}

// sameGrantTwice is TEX-07 where the resource does decide: two grants of one
// trust to one target.
func sameGrantTwice(t *testing.T) {
	t.Helper()
	r := rig.New(t, rig.Setup{Trusts: map[string]string{"tr1.yaml": strings.Replace(rig.TR1,
		"grants: [{to: t1, scopes: [read], ttl: 15m}]", "grants: [{to: t1, resource: \"urn:a:one\", scopes: [read]}, {to: t1, resource: \"urn:a:two\", scopes: [write]}]", 1)}})
	ask := func(resource ...string) rig.Answer { return r.Post(form(r, "resource", resource...)) }
	if a := ask("urn:a:two"); a.Status != 200 || a.Text("scope") != "write" {
		t.Errorf("the second grant: %d %s", a.Status, a.Raw)
	}
	r.Deny(ask(), "ambiguous-trust")
	for _, resource := range []string{"urn:a:One", "URN:a:one", "urn:a:%6fne", "urn:a:one/", "urn:a:tw", "urn:a:two2"} {
		r.Refused(ask(resource), 400, "invalid_target", rig.Fixed, "resource-not-granted")
	}
}

func scopes(t *testing.T) {
	r := rig.New(t, rig.Setup{Trusts: map[string]string{"tr1.yaml": strings.Replace(rig.TR1, "[read]", "[read, list]", 1)}})
	r.Control()
	for _, scope := range []string{"read list admin", "admin", "*", "READ", "read:all", "rea", "reads"} {
		r.Refused(r.Post(form(r, "scope", scope)), 400, "invalid_scope", rig.Fixed, "scope-not-granted")
	}
	for _, scope := range []string{"read\nlist", "read\n", `read "list"`, `"`, `read\list`, "read,list", "read\tlist", "read  list", " read", "read ", " ", "lésen", "read\x00", "read\u00a0list"} {
		if a := r.Post(form(r, "scope", scope)); a.Status != 400 || a.Text("error") != "invalid_scope" || a.Body["access_token"] != nil {
			t.Errorf("scope %q: %d %s", scope, a.Status, a.Raw)
		}
	}
	for asked, want := range map[string]string{"read": "read", "list": "list", "": "read list", "absent": "read list", "read list": "read list", "list read": "", "read read": "read"} {
		f := form(r, "scope", asked)
		if asked == "absent" {
			f.Del("scope")
		}
		a := r.Post(f)
		if want == "" { // the same set; the order is ours
			if want = "read list"; a.Text("scope") == "list read" {
				want = "list read"
			}
		}
		if a.Status != 200 || a.Text("scope") != want {
			t.Errorf("scope %q: %d %s, want %q", asked, a.Status, a.Raw, want)
			continue
		}
		if _, claims := jwtParts(t, a.Text("access_token")); claims["scope"] != want {
			t.Errorf("scope %q: the token holds %v, want %q", asked, claims["scope"], want)
		}
	}
	r.Control()
}

// jwtParts are header and claims of a JWT, unverified.
func jwtParts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, to := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, to); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func trustParameter(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	var bodies []string
	for _, name := range []string{"tr2", "nobody", "TR1", "tr1 ", "tr", "*", "../tr1", "trust/tr1.yaml"} {
		a := r.Post(form(r, "trust", name))
		r.Refused(a, 400, "invalid_target", rig.Fixed, "no-matching-trust")
		bodies = append(bodies, strings.ReplaceAll(a.Raw, a.Decision, ""))
		dry := form(r, "trust", name)
		dry.Set("dry_run", "true")
		if a := r.Post(dry); a.Status != 400 || a.Text("error") != "invalid_target" {
			t.Errorf("dry run of %s: %d %s", name, a.Status, a.Raw)
		}
	}
	if slices.ContainsFunc(bodies, func(b string) bool { return b != bodies[0] }) {
		t.Errorf("a trust that does not fit and one that does not exist answer differently: %q", bodies)
	}
	if a := r.Post(form(r, "trust", "tr1")); a.Status != 200 {
		t.Errorf("trust=tr1: %d %s", a.Status, a.Raw)
	}
	// Identity first: who is nobody is told nothing about trusts.
	other := rig.Form(r.Token(map[string]any{"repository_id": "3", "sub": "repo:acme@1/app@3:ref:refs/heads/main"}))
	r.Deny(r.Post(other), "condition-false")
	other = rig.Form(r.Token(map[string]any{"repository_id": "3", "sub": "repo:acme@1/app@3:ref:refs/heads/main"}))
	other.Set("trust", "tr1")
	r.Deny(r.Post(other), "condition-false")
	r.Control()

	two := rig.New(t, rig.Setup{Trusts: map[string]string{
		"tr1.yaml": rig.TR1,
		"tr3.yaml": strings.NewReplacer("name: tr1", "name: tr3", "[read]", "[write]").Replace(rig.TR1),
	}})
	two.Deny(two.Exchange(two.Token(nil)), "ambiguous-trust")
	for name, scope := range map[string]string{"tr1": "read", "tr3": "write"} {
		a := two.Post(form(two, "trust", name))
		if a.Status != 200 || a.Text("scope") != scope {
			t.Errorf("trust=%s: %d %s, want scope %s alone", name, a.Status, a.Raw, scope)
			continue
		}
		for _, rec := range two.Records(a.Decision) {
			if rec.Trust != name {
				t.Errorf("recorded with trust %s, want %s", rec.Trust, name)
			}
		}
	}
	// A scope that only one of the two gives leaves one candidate; both: none.
	if a := two.Post(form(two, "scope", "write")); a.Status != 200 || a.Text("scope") != "write" {
		t.Errorf("scope=write: %d %s", a.Status, a.Raw)
	}
	if a := two.Post(form(two, "scope", "read write")); a.Status != 400 || a.Text("error") != "invalid_scope" {
		t.Errorf("the union: %d %s", a.Status, a.Raw)
	}
}
