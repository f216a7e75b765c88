package kubernetes_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/kubernetes"
	"cambio/providers/providertest"
	"cambio/standin"
)

const (
	clusterAudience = "https://gw.test/clusters/prod"
	deployer        = "k8s:payments/deployer"
)

// trusting is a cluster that was set up with what connect prints, by the clock of
// the orders.
func trusting(t *testing.T, c *kubernetes.Connection) *standin.Cluster {
	t.Helper()
	voice := exchangetest.Voice(t)
	k := apiServer(t, standin.ClusterConfig{
		Now: exchangetest.Now, Issuer: localIssuer,
		KeysOf: func(_ context.Context, issuer string) ([]byte, error) {
			if issuer != exchangetest.Issuer {
				t.Errorf("asked for the keys of %s", issuer)
			}
			return voice.JWKS(), nil
		},
	})
	c.Issuer, c.Audience = exchangetest.Issuer, clusterAudience
	c.Finish()
	if err := k.Apply([]byte(c.YAML())); err != nil {
		t.Fatalf("the cluster does not take what connect prints: %v\n%s", err, c.YAML())
	}
	return k
}

// ordering is a cluster where the usual workload may order tokens of deployer.
func ordering(t *testing.T) *standin.Cluster {
	t.Helper()
	c := &kubernetes.Connection{Target: "prod", Server: "https://cluster.test:6443"}
	c.Grant(exchangetest.Trust, deployer, []string{exchangetest.Workload, exchangetest.Workload + "-0", exchangetest.Workload + "-1"}, nil, false)
	return trusting(t, c)
}

// tokenIn is the token of an answer, and its claims.
func tokenIn(body string) (string, map[string]any) {
	var answer struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil {
		return "", nil
	}
	parts := strings.Split(answer.Status.Token, ".")
	if len(parts) != 3 {
		return answer.Status.Token, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return answer.Status.Token, nil
	}
	return answer.Status.Token, claims
}

// with changes the token of an answer, and leaves the rest.
func with(change func(claims map[string]any)) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		token, claims := tokenIn(good.Body)
		change(claims)
		raw, err := json.Marshal(claims)
		if err != nil {
			panic(err)
		}
		parts := strings.Split(token, ".")
		good.Body = strings.Replace(good.Body, token, parts[0]+"."+base64.RawURLEncoding.EncodeToString(raw)+"."+parts[2], 1)
		return good
	}
}

func claim(name string, value any) func(providertest.Response) providertest.Response {
	return with(func(claims map[string]any) {
		if value == nil {
			delete(claims, name)
			return
		}
		claims[name] = value
	})
}

func textFor(old, with string) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		good.Body = strings.Replace(good.Body, old, with, 1)
		return good
	}
}

// TestMinter: the API server makes a token of the one account, for us alone.
func TestMinter(t *testing.T) {
	k := ordering(t)
	now := exchangetest.Now()
	providertest.Minter{
		Ask: exchangetest.Ask{
			Type: kubernetes.TargetType("https://cluster.test"), Target: exchange.Target{Types: kubernetes.Types(), Cloud: true},
			Grant: `resource: "` + deployer + `", ttl: 20m, audiences: ["https://registry.acme.test"]`,
		},
		New: func(tb testing.TB, endpoint string, timeout time.Duration, maxInFlight int) exchange.Minter {
			tb.Helper()
			m, err := kubernetes.New(kubernetes.Config{
				Server: endpoint, Audience: clusterAudience, Now: exchangetest.Now, Timeout: timeout, MaxInFlight: maxInFlight,
			})
			if err != nil {
				tb.Fatal(err)
			}
			return m
		},
		Answer: func(r providertest.Request) (providertest.Response, bool) {
			answer, known := providertest.Play(k, r)
			if answer.Status != http.StatusCreated {
				t.Errorf("the cluster refused: %d %s", answer.Status, answer.Body)
			}
			return answer, known
		},
		Lies: map[string]func(providertest.Response) providertest.Response{
			"another account":    claim("sub", "system:serviceaccount:payments:admin"),
			"another namespace":  claim("sub", "system:serviceaccount:kube-system:deployer"),
			"no sub":             claim("sub", nil),
			"a user":             claim("sub", "admin"),
			"another audience":   claim("aud", []string{localIssuer}),
			"one audience more":  claim("aud", []string{"https://registry.acme.test", localIssuer}),
			"no audience":        claim("aud", nil),
			"a year":             claim("exp", now.Add(365*24*time.Hour).Unix()),
			"a little longer":    claim("exp", now.Add(20*time.Minute+61*time.Second).Unix()),
			"expired":            claim("exp", now.Unix()),
			"no exp":             claim("exp", nil),
			"exp as a text":      claim("exp", "1795320000"),
			"no details":         claim("kubernetes.io", nil),
			"details of another": claim("kubernetes.io", map[string]any{"namespace": "payments", "serviceaccount": map[string]any{"name": "admin"}}),
			"a timestamp beyond": textFor(now.Add(20*time.Minute).Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339)),
			"no timestamp":       textFor(`"expirationTimestamp"`, `"x"`),
			"no token":           textFor(`"token"`, `"x"`),
			"two parts": func(g providertest.Response) providertest.Response {
				token, _ := tokenIn(g.Body)
				return textFor(token, token[:strings.LastIndex(token, ".")])(g)
			},
			"a line in the token": func(g providertest.Response) providertest.Response {
				token, _ := tokenIn(g.Body)
				return textFor(token, token+`\nX: y`)(g)
			},
			"202":    func(g providertest.Response) providertest.Response { g.Status = 202; return g },
			"a list": func(g providertest.Response) providertest.Response { g.Body = "[" + g.Body + "]"; return g },
			"claims with two meanings": func(g providertest.Response) providertest.Response {
				token, _ := tokenIn(g.Body)
				parts := strings.Split(token, ".")
				return textFor(parts[1], base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:payments:deployer","sub":"x"}`)))(g)
			},
			"a media type that is none": func(g providertest.Response) providertest.Response {
				g.Header = http.Header{"Content-Type": {"text/html"}}
				return g
			},
		},
		Secrets: func(good providertest.Response) []string {
			token, _ := tokenIn(good.Body)
			return append([]string{token}, strings.Split(token, ".")[1:]...)
		},
		Check: func(tb testing.TB, got exchange.Credential) {
			tb.Helper()
			_, claims := tokenIn(`{"status":{"token":"` + got.Value.Reveal() + `"}}`)
			if got.Handle != claims["jti"] || !got.Expires.Equal(now.Add(20*time.Minute)) || got.Structured {
				tb.Errorf("handle %s, expires %s", got.Handle, got.Expires)
			}
			if u := k.User(); u.Username != "cambio:"+exchangetest.Workload || !cmp.Equal(u.Groups, []string{"system:authenticated"}) {
				tb.Errorf("the cluster saw %+v", u)
			}
		},
	}.Run(t)
}

// TestMinterOwnAudience: without audiences the token is for the API server, and a
// cluster that gives no jti has a handle all the same.
func TestMinterOwnAudience(t *testing.T) {
	k := ordering(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		k.ServeHTTP(rec, r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		_, _ = w.Write([]byte(claim("jti", nil)(providertest.Response{Body: rec.Body.String()}).Body))
	}))
	defer server.Close()
	m, err := kubernetes.New(kubernetes.Config{Server: server.URL + "/", Audience: clusterAudience, Now: exchangetest.Now})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Mint(t.Context(), exchangetest.Order(t, exchangetest.Ask{
		Type: kubernetes.TargetType("x"), Target: exchange.Target{Types: kubernetes.Types(), Cloud: true}, Grant: `resource: "` + deployer + `"`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	_, claims := tokenIn(`{"status":{"token":"` + got.Value.Reveal() + `"}}`)
	if !cmp.Equal(claims["aud"], []any{localIssuer}) || !strings.HasPrefix(got.Handle, "sha256:") || len(got.Handle) != len("sha256:")+64 {
		t.Errorf("aud %v, handle %s", claims["aud"], got.Handle)
	}
}

// TestClusterRefuses: what connect prints lets in the listed workloads, for the one
// account, and nobody else.
func TestClusterRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		ask      exchangetest.Ask
		audience string
		want     string
	}{
		"another workload": {exchangetest.Ask{Grant: `resource: "` + deployer + `"`, Workload: "spiffe://gw.test/ci/1/3"}, clusterAudience, "401"},
		"another audience": {exchangetest.Ask{Grant: `resource: "` + deployer + `"`}, "https://gw.test/clusters/dev", "401"},
		"another account":  {exchangetest.Ask{Grant: `resource: "k8s:payments/admin"`}, clusterAudience, "403"},
		"another place":    {exchangetest.Ask{Grant: `resource: "k8s:kube-system/deployer"`}, clusterAudience, "403"},
		"who is meant":     {exchangetest.Ask{Grant: `resource: "` + deployer + `"`}, clusterAudience, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := ordering(t)
			server := httptest.NewServer(k)
			defer server.Close()
			m, err := kubernetes.New(kubernetes.Config{Server: server.URL, Audience: c.audience, Now: exchangetest.Now})
			if err != nil {
				t.Fatal(err)
			}
			c.ask.Type, c.ask.Target = kubernetes.TargetType("x"), exchange.Target{Types: kubernetes.Types(), Cloud: true}
			_, err = m.Mint(t.Context(), exchangetest.Order(t, c.ask))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && err == nil:
				t.Error("a token was made")
			case c.want != "":
				if e := refusal(t, err); e.Issued || !strings.Contains(e.Error(), "answered "+c.want) {
					t.Errorf("%v, issued %t", e, e.Issued)
				}
			}
		})
	}
}

// TestJWTConformance: what needs no call to the cluster.
func TestJWTConformance(t *testing.T) {
	providertest.Local{
		Ask: exchangetest.Ask{Type: kubernetes.TargetType(""), Target: exchange.Target{Types: kubernetes.Types()}, Grant: `groups: [deployers], ttl: 15m`},
		New: func(testing.TB) exchange.Minter { return kubernetes.JWTMinter{Audience: clusterAudience} },
		BadGrants: map[string]string{
			"a group of the system": `groups: ["system:masters"]`, "another's field": `principals: [a]`, "an account, without a server": `resource: "` + deployer + `"`,
		},
		Broken: map[string]func(testing.TB, exchange.Order) (exchange.Minter, exchange.Order){
			"no audience": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				return kubernetes.JWTMinter{}, o
			},
			"no end": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.Expires = o.Issued
				return kubernetes.JWTMinter{Audience: clusterAudience}, o
			},
		},
	}.Run(t)
}

// TestJWTMinter: a JWT of ours is what the cluster takes, as the user and with the
// groups that connect said, and with no others.
func TestJWTMinter(t *testing.T) {
	c := &kubernetes.Connection{Target: "prod"}
	c.Grant("deploy", "", []string{exchangetest.Workload}, []string{"deployers", "payments/deployers"}, false)
	c.Grant("read", "", []string{"spiffe://gw.test/ci/1/9"}, nil, false)
	k := trusting(t, c)
	mint := func(grant, workload string) (exchange.Credential, map[string]any) {
		t.Helper()
		o := exchangetest.Order(t, exchangetest.Ask{
			Type: kubernetes.TargetType(""), Target: exchange.Target{Types: kubernetes.Types()}, Grant: grant, Workload: workload,
		})
		got, err := kubernetes.JWTMinter{Audience: clusterAudience}.Mint(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, claims := tokenIn(`{"status":{"token":"` + got.Value.Reveal() + `"}}`)
		if got.Handle != o.ID || claims["jti"] != o.ID || !got.Expires.Equal(o.Expires) || got.Type != kubernetes.Types()[0] {
			t.Errorf("handle %s, expires %s, type %s", got.Handle, got.Expires, got.Type)
		}
		return got, claims
	}
	// show asks the cluster for a review, which nobody may: the refusal says who asked.
	show := func(token string) int {
		req := httptest.NewRequest(http.MethodPost, standin.ClusterReviewPath, strings.NewReader("{}"))
		req.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		w := httptest.NewRecorder()
		k.ServeHTTP(w, req)
		return w.Code
	}
	got, claims := mint(`groups: [deployers, payments/deployers], ttl: 10m`, "")
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(got.Value.Reveal(), ".")[0])
	if !strings.Contains(string(header), `"RS256"`) || claims["aud"] != clusterAudience || claims["sub"] != exchangetest.Workload {
		t.Errorf("%s %v", header, claims)
	}
	if !got.Expires.Equal(exchangetest.Now().Add(10 * time.Minute)) {
		t.Errorf("expires %s", got.Expires)
	}
	want := standin.ClusterUser{
		Username: "cambio:" + exchangetest.Workload,
		Groups:   []string{"cambio:deployers", "cambio:payments/deployers", "system:authenticated"},
	}
	if code := show(got.Value.Reveal()); code != http.StatusForbidden || !cmp.Equal(k.User(), want) {
		t.Errorf("%d %s", code, cmp.Diff(want, k.User()))
	}
	fewer, _ := mint(`groups: [deployers]`, "")
	if code := show(fewer.Value.Reveal()); code != http.StatusForbidden || len(k.User().Groups) != 2 {
		t.Errorf("fewer groups: %d %v", code, k.User())
	}
	none, claims := mint("ttl: 5m", "spiffe://gw.test/ci/1/9")
	if _, has := claims["groups"]; has || show(none.Value.Reveal()) != http.StatusForbidden {
		t.Errorf("without groups: %v", claims)
	}
	for name, c := range map[string]struct{ grant, workload string }{
		"groups that are not its own":   {"groups: [admins]", ""},
		"one more":                      {"groups: [deployers, admins]", ""},
		"those of another":              {"groups: [deployers]", "spiffe://gw.test/ci/1/9"},
		"a workload that is not listed": {"ttl: 5m", "spiffe://gw.test/ci/1/3"},
	} {
		got, _ := mint(c.grant, c.workload)
		if code := show(got.Value.Reveal()); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, code)
		}
	}
}

// TestGrants: what a document may grant, and what is refused when it loads.
func TestGrants(t *testing.T) {
	server, plain := kubernetes.TargetType("https://cluster.test"), kubernetes.TargetType("")
	if server.MinTTL != 10*time.Minute || plain.MaxTTL != time.Hour || !server.Fields["resource"].Required {
		t.Errorf("%v %v", server.MinTTL, plain.MaxTTL)
	}
	for _, good := range []string{deployer, "k8s:a/b", "k8s:kube-system/a.b-c"} {
		if !server.Fields["resource"].Pattern.MatchString(good) {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{
		"", "k8s:", "k8s:payments", "k8s:payments/", "k8s:/deployer", "k8s:payments/deployer/token", "k8s:Payments/deployer", "k8s:payments/..", "payments/deployer",
		"k8s:payments/a%2fb", "k8s:payments/a b", "k8s:pay.ments/a", "k8s:payments/deployer\n", "k8s:" + strings.Repeat("a", 64) + "/b", "k8s:a/" + strings.Repeat("b", 254),
	} {
		if server.Fields["resource"].Pattern.MatchString(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
	for name, c := range map[string]struct {
		groups, audiences []string
		fits              bool
	}{
		"groups":             {[]string{"a", "team:b/c@d"}, nil, true},
		"system:masters":     {[]string{"system:masters"}, nil, false},
		"SYSTEM:masters":     {[]string{"SYSTEM:masters"}, nil, false},
		"a blank":            {[]string{"a b"}, nil, false},
		"nothing":            {[]string{""}, nil, false},
		"a quote":            {[]string{`a"b`}, nil, false},
		"twice":              {[]string{"a", "a"}, nil, false},
		"too long":           {[]string{strings.Repeat("a", 254)}, nil, false},
		"too many":           {strings.Split(strings.Repeat("a,", 40), ","), nil, false},
		"audiences":          {nil, []string{"https://a", "b"}, true},
		"an audience twice":  {nil, []string{"a", "a"}, false},
		"a line's end":       {nil, []string{"a\nb"}, false},
		"too many audiences": {nil, strings.Split("a,b,c,d,e,f,g,h,i", ","), false},
	} {
		g := exchangetest.Order(t, exchangetest.Ask{Type: plain, Target: exchange.Target{Types: kubernetes.Types()}}).Grant
		g.Extra = map[string]any{}
		typ := plain
		if c.groups != nil {
			g.Extra["groups"] = c.groups
		} else {
			g.Extra["audiences"] = c.audiences
			typ = server
		}
		if field, problem := typ.Misfit(g); (problem == "") != c.fits {
			t.Errorf("%s: %s %s", name, field, problem)
		}
	}
}

// TestNewRefuses: assertions go to a checked address only.
func TestNewRefuses(t *testing.T) {
	good := kubernetes.Config{Server: "https://cluster.test:6443", Audience: clusterAudience, Now: exchangetest.Now}
	if _, err := kubernetes.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*kubernetes.Config){
		"no clock":        func(c *kubernetes.Config) { c.Now = nil },
		"no audience":     func(c *kubernetes.Config) { c.Audience = "" },
		"no server":       func(c *kubernetes.Config) { c.Server = "" },
		"http":            func(c *kubernetes.Config) { c.Server = "http://cluster.test" },
		"a query":         func(c *kubernetes.Config) { c.Server = "https://cluster.test?x=y" },
		"no certificates": func(c *kubernetes.Config) { c.CA = []byte("x") },
	} {
		c := good
		change(&c)
		if _, err := kubernetes.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
