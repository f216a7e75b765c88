package github_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/github"
	"cambio/providers/providertest"
	"cambio/trust"
)

// appKey is made once for all tests: RSA keys take their time.
var appKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func key(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	k, err := appKey()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// hub is GitHub as the documentation has it: one App with one installation in two
// repositories. It proves the App by its public key, and is strict about all else.
type hub struct {
	tb          testing.TB
	public      *rsa.PublicKey
	permissions map[string]string
	made        int
}

const installed = "/app/installations/4242/access_tokens"

func newHub(tb testing.TB) *hub {
	tb.Helper()
	return &hub{tb: tb, public: &key(tb).PublicKey, permissions: map[string]string{"contents": "write", "issues": "write", "checks": "read"}}
}

// app proves the App's JWT.
func (h *hub) app(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "no JWT"
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(p); err != nil {
			return "not base64url"
		}
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(h.public, crypto.SHA256, digest[:], raw[2]) != nil {
		return "the signature"
	}
	var header, claims map[string]any
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil {
		return "no JSON"
	}
	now := float64(exchangetest.Now().Unix())
	iat, _ := claims["iat"].(float64)
	exp, _ := claims["exp"].(float64)
	switch {
	case !cmp.Equal(header, map[string]any{"alg": "RS256", "typ": "JWT"}):
		return "the header"
	case len(claims) != 3 || claims["iss"] != "12345":
		return "the issuer"
	case iat > now || iat < now-120 || exp <= now || exp > now+600:
		return "the times"
	}
	return ""
}

func (h *hub) answer(r providertest.Request) (providertest.Response, bool) {
	if r.Method != http.MethodPost || r.Path != installed || len(r.Query) > 0 {
		return providertest.Response{}, false
	}
	if r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28" || r.Header.Get("User-Agent") == "" {
		return providertest.Response{}, false
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if why := h.app(token); !ok || why != "" {
		return providertest.JSON(401, `{"message":"A JSON web token could not be decoded: `+why+`"}`), true
	}
	var in struct {
		Repositories  []string          `json:"repositories"`
		RepositoryIDs []int64           `json:"repository_ids"`
		Permissions   map[string]string `json:"permissions"`
	}
	d := json.NewDecoder(strings.NewReader(string(r.Body)))
	d.DisallowUnknownFields()
	if d.Decode(&in) != nil || len(in.Permissions) == 0 || (len(in.Repositories) == 0) == (len(in.RepositoryIDs) == 0) {
		h.tb.Errorf("GitHub was asked for everything, or for nothing: %s", r.Body)
		return providertest.Response{}, false
	}
	levels := []string{"read", "write", "admin"}
	granted := map[string]string{"metadata": "read"}
	for name, l := range in.Permissions {
		if name != "metadata" && slices.Index(levels, l) > slices.Index(levels, h.permissions[name]) {
			return providertest.JSON(422, `{"message":"The permissions requested are not granted to this installation."}`), true
		}
		granted[name] = l
	}
	var repositories []map[string]any
	for id, name := range map[int64]string{1: "app", 2: "infra"} {
		if slices.Contains(in.Repositories, name) || slices.Contains(in.RepositoryIDs, id) {
			repositories = append(repositories, map[string]any{"id": id, "name": name, "full_name": "acme/" + name, "private": true, "owner": map[string]any{"login": "acme", "id": 7}})
		}
	}
	if len(repositories) != len(in.Repositories)+len(in.RepositoryIDs) {
		return providertest.JSON(422, `{"message":"There is at least one repository that does not exist or is not accessible to the parent installation."}`), true
	}
	h.made++
	out, err := json.Marshal(map[string]any{
		"token": fmt.Sprintf("ghs_12345_%s.%d.sig", strings.Repeat("A1b2", 20), h.made), "expires_at": exchangetest.Now().Add(time.Hour).Format(time.RFC3339),
		"permissions": granted, "repository_selection": "selected", "repositories": repositories,
	})
	if err != nil {
		h.tb.Error(err)
	}
	return providertest.Response{Status: 201, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: string(out)}, true
}

func minter(tb testing.TB, endpoint string, change func(*github.Config)) *github.Minter {
	tb.Helper()
	c := github.Config{App: "12345", Installation: "4242", Key: key(tb), Endpoint: endpoint, Rand: rand.Reader, Now: exchangetest.Now}
	if change != nil {
		change(&c)
	}
	m, err := github.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func asking(grant string, scopes ...string) exchangetest.Ask {
	return exchangetest.Ask{
		Type: github.TargetType(), Target: exchange.Target{Types: github.Types(), Cloud: true}, Grant: grant,
		Request: exchange.Request{Ask: trust.Request{Scopes: scopes}},
	}
}

const usual = `resource: "github:acme/app", scopes: ["contents:read", "issues:write"]`

// edit changes members of an answer.
func edit(change func(answer map[string]any)) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		var answer map[string]any
		if err := json.Unmarshal([]byte(good.Body), &answer); err != nil {
			panic(err)
		}
		change(answer)
		raw, err := json.Marshal(answer)
		if err != nil {
			panic(err)
		}
		good.Body = string(raw)
		return good
	}
}

func member(name string, value any) func(providertest.Response) providertest.Response {
	return edit(func(answer map[string]any) {
		if value == nil {
			delete(answer, name)
			return
		}
		answer[name] = value
	})
}

func tokenOf(good providertest.Response) string {
	var answer struct {
		Token string `json:"token"`
	}
	_ = json.Unmarshal([]byte(good.Body), &answer)
	return answer.Token
}

func repo(id int, full string) map[string]any {
	_, name, _ := strings.Cut(full, "/")
	return map[string]any{"id": id, "name": name, "full_name": full}
}

// TestMinter: one repository and two permissions, and an answer that gives more of
// either is a lie.
func TestMinter(t *testing.T) {
	h := newHub(t)
	given := func(permissions map[string]any) func(providertest.Response) providertest.Response {
		return member("permissions", permissions)
	}
	providertest.Minter{
		Ask: asking(usual),
		New: func(tb testing.TB, endpoint string, timeout time.Duration, maxInFlight int) exchange.Minter {
			tb.Helper()
			return minter(tb, endpoint, func(c *github.Config) { c.Timeout, c.MaxInFlight = timeout, maxInFlight })
		},
		Answer: func(r providertest.Request) (providertest.Response, bool) {
			answer, known := h.answer(r)
			if known && answer.Status != 201 {
				t.Errorf("GitHub refused: %d %s", answer.Status, answer.Body)
			}
			return answer, known
		},
		Lies: map[string]func(providertest.Response) providertest.Response{
			"200":                     func(g providertest.Response) providertest.Response { g.Status = 200; return g },
			"no token":                member("token", nil),
			"another kind of token":   member("token", "ghp_"+strings.Repeat("a", 36)),
			"a line in the token":     member("token", "ghs_"+strings.Repeat("a", 36)+"\nX: y"),
			"an empty token":          member("token", "ghs_"),
			"no end":                  member("expires_at", nil),
			"an end that is none":     member("expires_at", "tomorrow"),
			"ended":                   member("expires_at", exchangetest.Now().Format(time.RFC3339)),
			"two hours":               member("expires_at", exchangetest.Now().Add(2*time.Hour).Format(time.RFC3339)),
			"a little longer":         member("expires_at", exchangetest.Now().Add(time.Hour+61*time.Second).Format(time.RFC3339)),
			"no permissions said":     member("permissions", nil),
			"no permissions":          given(map[string]any{}),
			"a higher one":            given(map[string]any{"metadata": "read", "contents": "write", "issues": "write"}),
			"one more":                given(map[string]any{"metadata": "read", "contents": "read", "issues": "write", "actions": "read"}),
			"one less":                given(map[string]any{"metadata": "read", "contents": "read"}),
			"metadata written":        given(map[string]any{"metadata": "write", "contents": "read", "issues": "write"}),
			"an unknown level":        given(map[string]any{"contents": "owner", "issues": "write"}),
			"a level that is no text": given(map[string]any{"contents": 1, "issues": "write"}),
			"all repositories":        member("repository_selection", "all"),
			"no selection":            member("repository_selection", nil),
			"no repositories":         member("repositories", []any{}),
			"repositories unsaid":     member("repositories", nil),
			"another repository":      member("repositories", []any{repo(2, "acme/infra")}),
			"one repository more":     member("repositories", []any{repo(1, "acme/app"), repo(2, "acme/infra")}),
			"one twice":               member("repositories", []any{repo(1, "acme/app"), repo(1, "acme/app")}),
			"of another owner":        member("repositories", []any{repo(1, "evil/app")}),
		},
		Secrets: func(good providertest.Response) []string { return []string{tokenOf(good)} },
		Check: func(tb testing.TB, got exchange.Credential) {
			tb.Helper()
			sum := sha256.Sum256([]byte(got.Value.Reveal()))
			if got.Handle != base64.StdEncoding.EncodeToString(sum[:]) || !got.Expires.Equal(exchangetest.Now().Add(time.Hour)) || got.Type != github.Types()[0] || got.Structured {
				tb.Errorf("%s %s %s", got.Handle, got.Expires, got.Type)
			}
		},
	}.Run(t)
}

// TestOrders: what is sent is the grant, narrowed by the caller, and nothing else.
func TestOrders(t *testing.T) {
	for name, c := range map[string]struct {
		ask  exchangetest.Ask
		want string
	}{
		"a resource":       {asking(usual), `{"repositories":["app"],"permissions":{"contents":"read","issues":"write"}}`},
		"narrowed":         {asking(usual, "contents:read"), `{"repositories":["app"],"permissions":{"contents":"read"}}`},
		"names":            {asking(`repositories: [app, infra], scopes: ["checks:read"]`), `{"repositories":["app","infra"],"permissions":{"checks":"read"}}`},
		"ids":              {asking(`repository_ids: ["1", "2"], scopes: ["checks:read"]`), `{"repository_ids":[1,2],"permissions":{"checks":"read"}}`},
		"two levels":       {asking(`repositories: [app], scopes: ["contents:read", "contents:write"]`), `{"repositories":["app"],"permissions":{"contents":"write"}}`},
		"the lower of two": {asking(`repositories: [app], scopes: ["contents:read", "contents:write"]`, "contents:read"), `{"repositories":["app"],"permissions":{"contents":"read"}}`},
		"another case":     {asking(`resource: "github:Acme/app", scopes: ["contents:read"]`), `{"repositories":["app"],"permissions":{"contents":"read"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			server, sent := serve(t, h)
			if _, err := minter(t, server, nil).Mint(t.Context(), exchangetest.Order(t, c.ask)); err != nil {
				t.Fatal(err)
			}
			if sent() != c.want {
				t.Errorf("sent %s", sent())
			}
		})
	}
	if _, err := exchangetest.Try(t, asking(usual, "contents:write")); err == nil {
		t.Error("more than the grant was asked for, and given")
	}
}

// serve runs a hub, and tells the last body that it was sent.
func serve(t *testing.T, h *hub) (endpoint string, sent func() string) {
	t.Helper()
	var last string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		last = string(body)
		answer, known := h.answer(providertest.Request{Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, "/api/v3"), Query: r.URL.Query(), Header: r.Header, Body: body})
		if !known {
			t.Errorf("GitHub was asked what nobody knows the answer to: %s %s %s", r.Method, r.URL, body)
			answer.Status = 501
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Status)
		_, _ = w.Write([]byte(answer.Body))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/api/v3/", func() string { return last }
}

// TestRefused: GitHub's no is a no, after which nothing was issued.
func TestRefused(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ask    exchangetest.Ask
		change func(*github.Config)
		want   string
	}{
		"a permission that the App lacks": {asking(`resource: "github:acme/app", scopes: ["actions:write"]`), nil, "422"},
		"a repository that it is not in":  {asking(`resource: "github:acme/other", scopes: ["contents:read"]`), nil, "422"},
		"another key":                     {asking(usual), func(c *github.Config) { c.Key = other }, "401"},
		"another App":                     {asking(usual), func(c *github.Config) { c.App = "54321" }, "401"},
		"a clock that is off":             {asking(usual), func(c *github.Config) { c.Now = func() time.Time { return exchangetest.Now().Add(10 * time.Minute) } }, "401"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint, _ := serve(t, newHub(t))
			_, err := minter(t, endpoint, c.change).Mint(t.Context(), exchangetest.Order(t, c.ask))
			var e *exchange.Error
			if !errors.As(err, &e) || e.Issued || e.Reason != trust.ReasonMintFailed || !strings.Contains(e.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// broken is a key in a KMS that does not do its part.
type broken struct {
	crypto.Signer
	sig []byte
}

func (b broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	if b.sig == nil {
		return nil, errors.New("the KMS does not answer")
	}
	return b.sig, nil
}

// TestKeyThatFails: without a signature of the App's nothing is sent.
func TestKeyThatFails(t *testing.T) {
	for name, sig := range map[string][]byte{"no answer": nil, "a wrong one": make([]byte, 256)} {
		endpoint, sent := serve(t, newHub(t))
		m := minter(t, endpoint, func(c *github.Config) { c.Key = broken{key(t), sig} })
		_, err := m.Mint(t.Context(), exchangetest.Order(t, asking(usual)))
		var e *exchange.Error
		if !errors.As(err, &e) || e.Issued || e.Code != exchange.Unavailable || e.RetryAfter <= 0 || sent() != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGrants: a grant without repositories or permissions would be for everything,
// and does not load.
func TestGrants(t *testing.T) {
	typ := github.TargetType()
	if typ.MinTTL != time.Hour || typ.MaxTTL != time.Hour {
		t.Errorf("%s to %s", typ.MinTTL, typ.MaxTTL)
	}
	g := func(resource string, names, ids, scopes []string) trust.Grant {
		out := trust.Grant{Target: "target", Resource: resource, Scopes: scopes, TTL: time.Hour, Extra: map[string]any{}}
		if names != nil {
			out.Extra["repositories"] = names
		}
		if ids != nil {
			out.Extra["repository_ids"] = ids
		}
		return out
	}
	read := []string{"contents:read"}
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("r", i)
	}
	for name, c := range map[string]struct {
		grant trust.Grant
		field string // "" fits
	}{
		"a resource":             {g("github:acme/app", nil, nil, read), ""},
		"a dotted name":          {g("github:acme/.github", nil, nil, read), ""},
		"names":                  {g("", []string{"app"}, nil, read), ""},
		"ids":                    {g("", nil, []string{"41881900"}, read), ""},
		"nothing":                {g("", nil, nil, read), "repositories"},
		"no permissions":         {g("github:acme/app", nil, nil, nil), "scopes"},
		"two ways":               {g("github:acme/app", []string{"app"}, nil, read), "repositories"},
		"two other ways":         {g("", []string{"app"}, []string{"1"}, read), "repositories"},
		"a resource and ids":     {g("github:acme/app", nil, []string{"1"}, read), "repositories"},
		"a folder":               {g("github:acme/..", nil, nil, read), "resource"},
		"another scheme":         {g("k8s:acme/app", nil, nil, read), "resource"},
		"a path":                 {g("github:acme/app/x", nil, nil, read), "resource"},
		"an owner in a name":     {g("", []string{"acme/app"}, nil, read), "repositories"},
		"a star":                 {g("", []string{"*"}, nil, read), "repositories"},
		"a folder's name":        {g("", []string{".."}, nil, read), "repositories"},
		"twice":                  {g("", []string{"app", "App"}, nil, read), "repositories"},
		"too many":               {g("", many, nil, read), "repositories"},
		"an id that is none":     {g("", nil, []string{"0x1"}, read), "repository_ids"},
		"an id of zero":          {g("", nil, []string{"0"}, read), "repository_ids"},
		"an id that is too long": {g("", nil, []string{strings.Repeat("9", 19)}, read), "repository_ids"},
		"no level":               {g("github:acme/app", nil, nil, []string{"contents"}), "scopes"},
		"an unknown level":       {g("github:acme/app", nil, nil, []string{"contents:owner"}), "scopes"},
		"an upper case":          {g("github:acme/app", nil, nil, []string{"Contents:read"}), "scopes"},
		"a star's permission":    {g("github:acme/app", nil, nil, []string{"*:read"}), "scopes"},
	} {
		field, problem := typ.Misfit(c.grant)
		if field != c.field || (problem == "") != (c.field == "") {
			t.Errorf("%s: %q %s", name, field, problem)
		}
		if c.field == "" {
			continue
		}
		// What slipped through the load is not sent either.
		endpoint, sent := serve(t, newHub(t))
		o := exchangetest.Order(t, asking(usual))
		o.Grant = c.grant
		if _, err := minter(t, endpoint, nil).Mint(t.Context(), o); err == nil || sent() != "" {
			t.Errorf("%s: %v, sent %s", name, err, sent())
		}
	}
}

// TestConnection: the highest level of each permission, and each repository once.
func TestConnection(t *testing.T) {
	c := &github.Connection{Target: "gh", App: "12345", Installation: "4242"}
	c.Grant("release", "github:acme/app", nil, nil, []string{"contents:write"}, false)
	c.Grant("bot", "", []string{"infra"}, nil, []string{"contents:read", "issues:write"}, true)
	c.Grant("audit", "", nil, []string{"41881900"}, []string{"checks:read"}, false)
	c.Finish()
	if d := cmp.Diff(map[string]string{"contents": "write", "issues": "write", "checks": "read"}, c.Permissions); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"acme/app", "infra"}, c.Repositories); d != "" {
		t.Error(d)
	}
	var back github.Connection
	if err := json.Unmarshal([]byte(c.JSON()), &back); err != nil || cmp.Diff(*c, back) != "" {
		t.Errorf("%v %s", err, cmp.Diff(*c, back))
	}
	for _, line := range []string{"  contents: write\n", "  acme/app\n", "  #41881900\n", "https://api.github.com", "Trust bot (in mode shadow"} {
		if !strings.Contains(c.Text(), line) {
			t.Errorf("the text lacks %q:\n%s", line, c.Text())
		}
	}
}

// TestNewRefuses: the App's token goes to a checked address only.
func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*github.Config){
		"no key":         func(c *github.Config) { c.Key = nil },
		"no clock":       func(c *github.Config) { c.Now = nil },
		"no App":         func(c *github.Config) { c.App = "" },
		"a path":         func(c *github.Config) { c.Installation = "1/../2" },
		"http":           func(c *github.Config) { c.Endpoint = "http://ghe.test/api/v3" },
		"a query":        func(c *github.Config) { c.Endpoint = "https://ghe.test/api/v3?x" },
		"no certificate": func(c *github.Config) { c.CA = []byte("x") },
	} {
		c := github.Config{App: "12345", Installation: "4242", Key: key(t), Rand: rand.Reader, Now: exchangetest.Now}
		change(&c)
		if _, err := github.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
