package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/strictyaml"

	"github.com/google/go-cmp/cmp"
)

// validConfig breaks no rule and draws no warning; each test breaks one.
const validConfig = `issuer: https://id.acme.example
listen: 127.0.0.1:8080
identity_providers:
  github:
    type: github-actions
    audience: https://id.acme.example
  cluster:
    type: kubernetes
    issuer: https://kubernetes.default.svc
    audience: https://id.acme.example
    dial: ["kubernetes.default.svc:443 10.0.0.0/8"]
  ci:
    type: oidc
    issuer: https://ci.acme.example/
    audience: [https://id.acme.example, other]
    claims:
      project: {type: string, anchor: true}
      shard: {type: string}
    workload: [project, shard]
targets:
  orders-api:
    type: jwt
    audience: https://orders.acme.example
    max_ttl: 30m
`

var errMissing = errors.New("no such file")

// variables and files of the tests.
func lookup(name string) (string, bool) {
	v, ok := map[string]string{
		"HOST": "id.acme.example", "EMPTY": "", "SECRET": "hunter2", "LINES": "hunter2\nx", "HOST_ONLY_ISSUER": "https://10.77.88.99", "PASSWORD": "hunter2", "IAM_VARIABLE": "${aws:username}",
	}[name]
	return v, ok
}

func readFile(path string) ([]byte, error) {
	files := map[string]string{
		"/etc/cambio/secret":   "hunter2\n",
		"/etc/cambio/crlf":     "https://id.acme.example\r\n",
		"/etc/cambio/bad.json": "{",
		"/etc/cambio/empty":    "",
	}
	if b, ok := files[path]; ok {
		return []byte(b), nil
	}
	return nil, errMissing
}

func parse(src string) (gateway.Config, strictyaml.Findings) {
	return gateway.ParseConfig("/etc/cambio/cambio.yaml", []byte(src), lookup, readFile)
}

// edit replaces the one place of old in the valid configuration.
func edit(t *testing.T, old, replacement string) string {
	t.Helper()
	if strings.Count(validConfig, old) != 1 {
		t.Fatalf("%q stands %d times in the valid configuration", old, strings.Count(validConfig, old))
	}
	return strings.Replace(validConfig, old, replacement, 1)
}

func TestParseConfig(t *testing.T) {
	c, fs := parse(validConfig)
	if len(fs) > 0 {
		t.Fatal(fs)
	}
	for _, tc := range []struct{ name, got, want string }{
		{"issuer", c.Issuer, "https://id.acme.example"},
		{"trust_domain", c.TrustDomain, "id.acme.example"},
		{"admin_listen", c.AdminListen, "127.0.0.1:8081"},
		{"trust", c.Trust, "/etc/cambio/trust"},
		{"state", c.State, "/etc/cambio/state"},
		{"keys", c.Keys, "/etc/cambio/state/keys"},
		{"keep", c.Journal.Keep.String(), "400d"},
		{"per_address", fmt.Sprint(c.Limits.PerAddress), "{50 false}"},
		{"per_workload", fmt.Sprint(c.Limits.PerWorkload), "{10 false}"},
		{"github issuer", c.IdentityProviders["github"].Issuer, "https://token.actions.githubusercontent.com"},
		{"github skew", c.IdentityProviders["github"].ClockSkew.String(), "30s"},
		{"github lifetime", c.IdentityProviders["github"].MaxTokenLifetime.String(), "1d"},
		{"ci audience", strings.Join(c.IdentityProviders["ci"].Audience, " "), "https://id.acme.example other"},
		{"ci claim", string(c.IdentityProviders["ci"].Claims["shard"].Type), string(trust.StringClaim)},
		{"cluster dial", c.IdentityProviders["cluster"].Dial[0].Prefix.String(), "10.0.0.0/8"},
		{"target ttl", c.Targets["orders-api"].MaxTTL.String(), "30m"},
		{"target profile", c.Targets["orders-api"].Profile, "jwt"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	var names []string
	for _, p := range c.Verified() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"ci", "cluster", "github"}) {
		t.Errorf("verified providers %v", names)
	}
}

func TestEverySetting(t *testing.T) {
	c, fs := parse(`issuer: https://id.acme.example/base
trust_domain: acme
listen: "[::]:8443"
tls: {cert: cert.pem, key: /run/key.pem}
admin_listen: 127.0.0.1:9000
trusted_proxies: [10.0.0.0/8, fd00::/8, 192.0.2.1/32]
trust: /srv/trust
state: ../state
keys: k
journal: {keep: 30d}
limits: {per_address: 5/s, per_workload: none}
identity_providers:
  github:
    type: github-actions
    issuer: https://ghe.acme.example/_services/token
    audience: [a, b]
    jwks_url: https://ghe.acme.example/keys
    algs: [RS256, PS256]
    token_use: once
    clock_skew: 1s
    max_token_age: 10m
    max_token_lifetime: 1h
    allow_multi_audience: true
    claims: {repo_property_tier: {type: string}}
targets:
  t: {type: jwt, audience: t, profile: rfc9068}
`)
	var ids []string
	for _, f := range fs {
		ids = append(ids, f.ID)
	}
	if fs.HasErrors() || !slices.Equal(ids, []string{"limit-off"}) {
		t.Fatal(fs)
	}
	if c.TLS.Cert != "/etc/cambio/cert.pem" || c.TLS.Key != "/run/key.pem" || c.Keys != "/etc/cambio/k" || c.State != "/etc/state" || c.Trust != "/srv/trust" {
		t.Errorf("paths: %+v", c)
	}
	if p := c.IdentityProviders["github"]; p.ClockSkew.String() != "1s" || time.Duration(p.MaxTokenAge) != 10*time.Minute || !p.AllowMultiAudience {
		t.Errorf("provider: %+v", p)
	}
	if !c.Limits.PerWorkload.Off || c.Limits.PerAddress.PerSecond != 5 || len(c.TrustedProxies) != 3 {
		t.Errorf("limits %+v, proxies %v", c.Limits, c.TrustedProxies)
	}
	if c.Targets["t"].MaxTTL.String() != "1h" || c.Targets["t"].Profile != "rfc9068" {
		t.Errorf("target: %+v", c.Targets["t"])
	}
}

// TestLoopback holds that http works where nobody but this machine listens.
func TestLoopback(t *testing.T) {
	for _, issuer := range []string{"http://127.0.0.1:8080", "http://localhost:8080", "http://localhost"} {
		c, fs := parse(edit(t, "https://id.acme.example\nlisten", issuer+"\nlisten"))
		if fs.HasErrors() {
			t.Errorf("%s: %v", issuer, fs)
		} else if strings.Contains(c.TrustDomain, ":") {
			t.Errorf("%s: trust domain %s", issuer, c.TrustDomain)
		}
	}
	_, fs := parse(edit(t, "https://ci.acme.example/\n", "http://127.0.0.1:4000\n    insecure_loopback: true\n"))
	if fs.HasErrors() {
		t.Error(fs)
	}
}

// TestCheckIssuer: what is an issuer in a configuration is one elsewhere.
func TestCheckIssuer(t *testing.T) {
	for s, ok := range map[string]bool{
		"https://id.acme.example": true, "https://id.acme.example/realm": true, "http://127.0.0.1:8080": true, "http://localhost:8080": true,
		"": false, "id.acme.example": false, "https://id.acme.example/": false, "https://ID.acme.example": false, "https://id.acme.example:443": false,
		"http://id.acme.example": false, "https://a@id.acme.example": false, " https://id.acme.example": false,
	} {
		if err := gateway.CheckIssuer(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	add := func(lines string) string { return validConfig + lines }
	issuer := func(s string) string {
		return edit(t, "issuer: https://id.acme.example\nlisten", "issuer: "+s+"\nlisten")
	}
	listen := func(s string) string { return edit(t, "listen: 127.0.0.1:8080", s) }
	foreign := func(s string) string { return edit(t, "issuer: https://ci.acme.example/", s) }
	github := func(s string) string {
		return edit(t, "type: github-actions\n    audience: https://id.acme.example", "type: github-actions\n    "+s)
	}
	ci := func(s string) string { return edit(t, "    workload: [project, shard]", s) }
	cluster := func(s string) string {
		return edit(t, "    issuer: https://kubernetes.default.svc\n    audience: https://id.acme.example\n    dial: [\"kubernetes.default.svc:443 10.0.0.0/8\"]", s)
	}
	target := func(s string) string {
		return edit(t, "type: jwt\n    audience: https://orders.acme.example\n    max_ttl: 30m", s)
	}
	aws := func(s string) string { return target("type: aws\n    " + s) }
	for name, tc := range map[string]struct {
		src  string
		want string // "line id", comma-separated
	}{
		"no issuer":                  {edit(t, "issuer: https://id.acme.example\nlisten", "listen"), "1 required"},
		"an empty issuer":            {issuer(`""`), "1 empty"},
		"issuer with a slash":        {issuer("https://id.acme.example/"), "1 issuer-invalid"},
		"issuer with a query":        {issuer("https://id.acme.example?x"), "1 issuer-invalid"},
		"issuer with a fragment":     {issuer(`"https://id.acme.example#"`), "1 issuer-invalid"},
		"issuer with a user":         {issuer("https://a@id.acme.example"), "1 issuer-invalid"},
		"issuer in upper case":       {issuer("https://ID.acme.example"), "1 issuer-invalid"},
		"issuer with its port":       {issuer("https://id.acme.example:443"), "1 issuer-invalid"},
		"issuer with port 0":         {issuer("https://id.acme.example:0"), "1 issuer-invalid"},
		"issuer with a dot":          {issuer("https://id.acme.example."), "1 issuer-invalid"},
		"issuer with dots":           {issuer("https://id.acme.example/a/../b"), "1 issuer-invalid"},
		"issuer with an escape":      {issuer("https://id.acme.example/%61"), "1 issuer-invalid"},
		"issuer in Unicode":          {issuer("https://id.äcme.example"), "1 issuer-invalid"},
		"issuer as decimal address":  {issuer("https://2130706433"), "1 issuer-invalid"},
		"issuer with another scheme": {issuer("ftp://id.acme.example"), "1 issuer-invalid"},
		"issuer with Scheme":         {issuer("HTTPS://id.acme.example"), "1 issuer-invalid"},
		"issuer without a scheme":    {issuer("id.acme.example"), "1 issuer-invalid"},
		"issuer http off loopback":   {issuer("http://id.acme.example"), "1 issuer-not-https"},
		"http issuer, open listener": {strings.Replace(issuer("http://localhost:8080"), "listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080\ntls: {terminated_by: [10.0.0.0/8]}", 1), "1 issuer-not-https"},
		"issuer without domain":      {issuer(`"https://[2001:db8::1]"`), "1 trust-domain"},
		"an empty trust domain":      {add("trust_domain: \"\"\n"), "25 empty"},
		"trust domain in upper case": {add("trust_domain: ACME\n"), "25 trust-domain"},
		"trust domain as a URI":      {add("trust_domain: spiffe://acme\n"), "25 trust-domain"},

		"no tls off loopback":        {listen("listen: 0.0.0.0:8080"), "2 listen-without-tls"},
		"no address":                 {listen("listen: :8080"), "2 listen"},
		"a name":                     {listen("listen: example.org:8080"), "2 listen"},
		"no port":                    {listen("listen: 127.0.0.1"), "2 listen"},
		"a port beyond":              {listen("listen: 127.0.0.1:70000"), "2 listen"},
		"an octal address":           {listen("listen: 0177.0.0.1:80"), "2 listen"},
		"the same twice":             {add("admin_listen: 127.0.0.1:8080\n"), "25 listen"},
		"cert without key":           {add("tls: {cert: a}\n"), "25 tls"},
		"an empty tls":               {add("tls: {}\n"), "25 tls"},
		"a null tls":                 {add("tls:\n"), "25 tls"},
		"both forms of tls":          {add("tls: {cert: a, key: b, terminated_by: [10.0.0.0/8]}\n"), "25 tls"},
		"terminated by nobody":       {add("tls: {terminated_by: []}\n"), "25 tls"},
		"terminated by all":          {add("tls: {terminated_by: [0.0.0.0/0]}\n"), "25 address-range-too-wide"},
		"all proxies trusted":        {add("trusted_proxies: [0.0.0.0/0, \"::/0\"]\n"), "25 address-range-too-wide,25 address-range-too-wide"},
		"half of all trusted":        {add("trusted_proxies: [128.0.0.0/1]\n"), "25 address-range-too-wide"},
		"host bits":                  {add("trusted_proxies: [10.0.0.1/8]\n"), "25 address-range"},
		"an address for a range":     {add("trusted_proxies: [10.0.0.1]\n"), "25 address-range"},
		"a mapped range":             {add("trusted_proxies: [\"::ffff:10.0.0.0/104\"]\n"), "25 address-range"},
		"an empty path":              {add("trust: \"\"\n"), "25 empty"},
		"a short journal":            {add("journal: {keep: 23h}\n"), "25 journal-keep"},
		"no journal time":            {add("journal: {keep: 0d}\n"), "25 journal-keep"},
		"journal claims":             {add("journal: {claims: everything}\n"), "25 journal-claims"},
		"no journal claims":          {add("journal: {claims: \"\"}\n"), "25 empty"},
		"journal off":                {add("journal: none\n"), "25 wrong-type"},
		"a rate a minute":            {add("limits: {per_address: 50/m}\n"), "25 rate"},
		"a rate of nothing":          {add("limits: {per_address: 0/s}\n"), "25 rate"},
		"a rate as a number":         {add("limits: {per_workload: 10}\n"), "25 rate"},
		"redis without addresses":    {add("redis: {}\n"), "25 required"},
		"a bare redis":               {add("redis: {addrs: [\"redis:6379\"]}\n"), "25 redis-insecure"},
		"redis with a wrong mode":    {add("redis: {mode: sentinal, addrs: [\"a:1\"], tls: true}\n"), "25 redis-mode"},
		"redis with a wrong field":   {add("redis: {addr: [\"a:1\"], addrs: [\"127.0.0.1:1\"]}\n"), "25 unknown-field"},
		"redis twice in mode single": {add("redis: {addrs: [\"127.0.0.1:1\", \"127.0.0.1:2\"]}\n"), "25 redis-mode"},
		"redis with a master's name": {add("redis: {addrs: [\"127.0.0.1:1\"], master_name: x}\n"), "25 redis-mode"},
		"redis without its master":   {add("redis: {mode: sentinel, addrs: [\"127.0.0.1:1\"]}\n"), "25 required"},
		"fields that do not exist":   {add("debug: true\nadmin_password: x\nsigning_key: x\nreplay: off\n"), "25 unknown-field,26 unknown-field,27 unknown-field,28 unknown-field"},
		"a wrong type":               {github("audience: x\n    allow_multi_audience: yes"), "7 wrong-type"},
		"an alias":                   {add("trust: &t x\nstate: *t\n"), "25 yaml-anchor,26 yaml-alias"},
		"a wrong unit":               {edit(t, "max_ttl: 30m", "max_ttl: 30min"), "24 duration"},

		"a name in upper case":        {edit(t, "  github:", "  GitHub:"), "4 name"},
		"the reserved name":           {edit(t, "  github:", "  trust:"), "4 name-reserved"},
		"a name of a target":          {edit(t, "  orders-api:", "  orders_api:"), "21 name"},
		"a type misspelt":             {edit(t, "type: github-actions", "type: github_actions"), "5 provider-type"},
		"no type":                     {edit(t, "type: github-actions\n    ", ""), "5 required"},
		"no audience":                 {github("algs: [RS256]"), "5 required"},
		"an empty audience":           {github("audience: []"), "6 empty-list,6 provider-setting"},
		"a wildcard audience":         {github("audience: \"*\""), "6 audience-invalid"},
		"an audience twice":           {github("audience: [a, a]"), "6 repeated"},
		"no issuer, no default":       {foreign("# none"), "13 required"},
		"a wildcard issuer":           {foreign("issuer: https://oidc.eks.*.amazonaws.com/id/*"), "14 issuer-url-invalid"},
		"any issuer":                  {foreign("issuer: https://*"), "14 issuer-url-invalid"},
		"a template":                  {foreign("issuer: \"https://login.example/{tenant}\""), "14 issuer-url-invalid"},
		"an issuer in upper case":     {foreign("issuer: https://CI.acme.example"), "14 issuer-url-invalid"},
		"an issuer with a user":       {foreign("issuer: https://a@ci.acme.example"), "14 issuer-url-invalid"},
		"an issuer with a dot":        {foreign("issuer: https://ci.acme.example."), "14 issuer-url-invalid"},
		"an http issuer":              {foreign("issuer: http://ci.acme.example"), "14 issuer-url-invalid"},
		"our own issuer":              {foreign("issuer: https://id.acme.example"), "14 issuer-own"},
		"loopback without the switch": {foreign("issuer: http://127.0.0.1:4000"), "14 issuer-address-forbidden"},
		"two ways to the keys":        {foreign("issuer: https://ci.acme.example\n    jwks_url: https://ci.acme.example/keys\n    discovery_url: https://ci.acme.example/d"), "15 provider-setting"},
		"a missing key file":          {foreign("issuer: https://ci.acme.example\n    jwks_file: nowhere"), "15 file-unreadable"},
		"a broken key file":           {foreign("issuer: https://ci.acme.example\n    jwks_file: bad.json"), "15 keys-unreachable"},
		"an empty CA file":            {foreign("issuer: https://ci.acme.example\n    ca_file: empty"), "15 file-unreadable"},
		"a broken CA file":            {foreign("issuer: https://ci.acme.example\n    ca_file: bad.json"), "15 keys-unreachable"},
		"jwks_url at an address":      {foreign("issuer: https://ci.acme.example\n    jwks_url: https://10.0.0.1/keys"), "15 issuer-address-forbidden"},
		"discovery_url at an address": {foreign("issuer: https://ci.acme.example\n    discovery_url: https://169.254.169.254/"), "15 issuer-address-forbidden"},
		"a dial without a range":      {foreign("issuer: https://ci.acme.example\n    dial: [\"ci.acme.example:443\"]"), "15 dial"},
		"a dial of everything":        {foreign("issuer: https://ci.acme.example\n    dial: [\"ci.acme.example:443 0.0.0.0/0\"]"), "15 address-range-too-wide"},
		"HS256":                       {github("audience: x\n    algs: [HS256, none, RS256]"), "7 alg-not-allowed,7 alg-not-allowed"},
		"no algorithm":                {github("audience: x\n    algs: []"), "7 empty-list"},
		"a wrong token_use":           {github("audience: x\n    token_use: always"), "7 token-use"},
		"a large skew":                {github("audience: x\n    clock_skew: 6m"), "7 clock-skew"},
		"no skew":                     {github("audience: x\n    clock_skew: 0s"), "7 clock-skew"},
		"no age":                      {github("audience: x\n    max_token_age: 0s"), "7 token-time"},
		"no lifetime":                 {github("audience: x\n    max_token_lifetime: 0s"), "7 token-time"},
		"a provider twice":            {edit(t, "    issuer: https://ci.acme.example/", "    issuer: https://kubernetes.default.svc"), "15 provider-duplicate"},
		"the cluster's audience":      {cluster("    issuer: https://kubernetes.default.svc\n    audience: https://kubernetes.default.svc\n    dial: [\"kubernetes.default.svc:443 10.0.0.0/8\"]"), "10 audience-reserved"},
		"an in-cluster issuer alone":  {cluster("    issuer: https://kubernetes.default.svc.cluster.local\n    audience: x"), "8 keys-unreachable"},
		"no anchor":                   {edit(t, "{type: string, anchor: true}", "{type: string}"), "17 anchor-required"},
		"an anchor of github":         {github("audience: x\n    claims: {x: {type: string, anchor: true}}"), "7 anchor"},
		"a boolean anchor":            {edit(t, "{type: string, anchor: true}", "{type: bool, anchor: true}"), "17 anchor,19 workload-claim"},
		"a wrong claim type":          {edit(t, "shard: {type: string}", "shard: {type: integer}"), "18 claim-type,19 workload-claim"},
		"a claim of the platform":     {github("audience: x\n    claims: {repository: {type: string}}"), "7 claim-known"},
		"a claim of another form":     {edit(t, "shard: {type: string}", "iss: {type: string}\n      shard: {type: string}"), "18 claim-known"},
		"one claim by two names":      {edit(t, "shard: {type: string}", "shard: {type: string}\n      /shard: {type: string}"), "19 claim-name"},
		"a claim without a name":      {edit(t, "shard: {type: string}", "\"\": {type: int}\n      shard: {type: string}"), "18 claim-name"},
		"a platform's by pointer":     {github("audience: x\n    claims: {/repository_id: {type: int}}"), "7 claim-known"},
		"act by pointer":              {edit(t, "shard: {type: string}", "/act: {type: string}\n      shard: {type: string}"), "18 claim-known"},
		"sub by pointer":              {edit(t, "shard: {type: string}", "/sub: {type: int}\n      shard: {type: string}"), "18 claim-type"},
		"sub of another type":         {edit(t, "shard: {type: string}", "sub: {type: int}\n      shard: {type: string}"), "18 claim-type"},
		"a broken pointer":            {edit(t, "shard: {type: string}", "/a~b: {type: int}\n      shard: {type: string}"), "18 claim-name"},
		"a number as workload":        {edit(t, "shard: {type: string}", "shard: {type: int}"), "19 workload-claim"},
		"an undeclared workload":      {ci("    workload: [project, team]"), "19 workload-claim"},
		"an empty workload":           {ci("    workload: []"), "19 empty-list"},
		"a workload twice":            {ci("    workload: [project, project]"), "19 repeated"},
		"a workload of github":        {github("audience: x\n    workload: [sub]"), "7 provider-setting"},
		"loopback switch, open listener": {
			strings.Replace(foreign("issuer: https://ci.acme.example\n    insecure_loopback: true"), "listen: 127.0.0.1:8080", "listen: 0.0.0.0:8443\ntls: {terminated_by: [10.0.0.0/8]}", 1),
			"16 insecure-loopback",
		},

		"aws without account":         {target("type: aws\n    region: eu-central-1"), "22 required"},
		"aws without region":          {target("type: aws\n    account: \"111122223333\""), "22 required"},
		"aws with a short account":    {aws("account: \"11112222333\"\n    region: eu-central-1"), "23 aws-account"},
		"aws with a number":           {aws("account: 111122223333\n    region: eu-central-1"), "23 wrong-type"},
		"aws with a wrong region":     {aws("account: \"111122223333\"\n    region: Frankfurt"), "24 aws-region"},
		"aws with a profile":          {aws("account: \"111122223333\"\n    region: eu-central-1\n    profile: jwt"), "25 unknown-field"},
		"aws with a wrong subject":    {aws("account: \"111122223333\"\n    region: eu-central-1\n    subject: role"), "25 target-subject"},
		"aws with an empty audience":  {aws("account: \"111122223333\"\n    region: eu-central-1\n    audience: \"\""), "25 empty"},
		"aws with a wild audience":    {aws("account: \"111122223333\"\n    region: eu-central-1\n    audience: \"*\""), "25 audience-invalid"},
		"aws for a minute":            {aws("account: \"111122223333\"\n    region: eu-central-1\n    max_ttl: 1m"), "25 max-ttl"},
		"aws for a day":               {aws("account: \"111122223333\"\n    region: eu-central-1\n    max_ttl: 13h"), "25 max-ttl"},
		"aws at a plain endpoint":     {aws("endpoint: http://sts.acme.example"), "23 aws-endpoint"},
		"aws at an endpoint and user": {aws("endpoint: https://u@sts.acme.example"), "23 aws-endpoint"},
		"aws at an endpoint's query":  {aws("endpoint: https://sts.acme.example/?x"), "23 aws-endpoint"},
		"aws at an empty endpoint":    {aws("endpoint: \"\""), "23 empty"},
		"a store beside AWS": {
			aws("endpoint: https://sts.store.example\n    audience: sts.amazonaws.com\n  other: {type: aws, account: \"111122223333\", region: eu-central-1}"), "24 audience-reserved",
		},
		"a store below amazonaws.com": {
			aws("endpoint: https://abc123.execute-api.eu-central-1.amazonaws.com\n  other: {type: aws, account: \"111122223333\", region: eu-central-1}"), "22 audience-reserved",
		},
		"a store with our own issuer": {aws("endpoint: https://sts.store.example\n    audience: https://id.acme.example/"), "24 audience-reserved"},
		"a jwt for a store, and a slash": {
			aws("endpoint: https://sts.store.example\n    audience: https://store.example\n  other: {type: jwt, audience: https://STORE.example/}"), "25 audience-reserved",
		},
		"two stores, one audience": {
			aws("endpoint: https://sts.store.example\n    audience: https://stores.example\n  other: {type: aws, endpoint: \"https://sts.other.example\", audience: https://stores.example}"),
			"24 audience-reserved,25 audience-reserved",
		},
		"an IAM variable as audience": {aws("endpoint: https://sts.store.example\n    audience: \"${env:IAM_VARIABLE}\""), "24 audience-invalid"},
		"a jwt for an aws target":     {aws("account: \"111122223333\"\n    region: eu-central-1\n    audience: https://aws.acme.example\n  other: {type: jwt, audience: https://aws.acme.example}"), "26 audience-reserved"},
		"an unknown target":           {target("type: jtw\n    audience: x"), "22 target-type"},
		"a target without audience":   {target("type: jwt"), "22 required"},
		"a target with aws fields":    {target("type: jwt\n    audience: x\n    account: \"1\""), "24 unknown-field"},
		"a long ttl":                  {edit(t, "max_ttl: 30m", "max_ttl: 61m"), "24 max-ttl"},
		"no ttl":                      {edit(t, "max_ttl: 30m", "max_ttl: 0s"), "24 max-ttl"},
		"a wrong profile":             {target("type: jwt\n    audience: x\n    profile: at+jwt"), "24 profile"},

		"an unset variable":         {issuer("https://${env:NOWHERE}"), "1 reference"},
		"an empty variable":         {issuer("${env:EMPTY}"), "1 empty"},
		"a variable with two lines": {issuer("${env:LINES}"), "1 reference"},
		"an unreadable file":        {issuer("${file:nowhere}"), "1 reference"},
		"an unknown reference":      {issuer("https://${HOST}"), "1 reference"},
		"an open reference":         {issuer("\"https://${env:HOST\""), "1 reference"},
		"a variable's strange name": {issuer("https://${env:A-B}"), "1 reference"},
		"a reference in a name":     {add("${env:HOST}: x\n"), "25 reference,25 unknown-field"},
		"a secret as an issuer":     {issuer("${env:SECRET}"), "1 issuer-invalid"},
		"a secret as a type":        {edit(t, "type: github-actions", "type: ${env:SECRET}"), "5 provider-type"},
		"a secret as a foreign one": {foreign("issuer: ${env:SECRET}"), "14 issuer-url-invalid"},
		"a secret as a switch":      {github("audience: x\n    allow_multi_audience: ${env:SECRET}"), "7 wrong-type"},
		"a secret as a duration":    {edit(t, "max_ttl: 30m", "max_ttl: ${file:secret}"), "24 duration"},
		"a secret as a password":    {add("redis: {addrs: [\"127.0.0.1:1\"], password: \"${env:PASSWORD}\", mode: \"${env:PASSWORD}\"}\n"), "25 redis-mode"},
		"an address by a variable":  {foreign("issuer: ${env:HOST_ONLY_ISSUER}"), "14 issuer-address-forbidden"},

		"all at once": {
			"isuer: http://x\nlisten: 0.0.0.0:80\ntrusted_proxies: [0.0.0.0/0]\nidentity_providers:\n  g: {type: gihub, audience: a}\ntargets: {t: {type: jwt, audience: sts.amazonaws.com, max_ttl: 2h}}\n",
			"1 unknown-field,2 listen-without-tls,3 address-range-too-wide,5 provider-type,6 audience-reserved,6 max-ttl",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, fs := parse(tc.src)
			var got []string
			for _, f := range fs {
				if f.Severity == strictyaml.Error {
					got = append(got, fmt.Sprintf("%d %s", f.Line, f.ID))
				}
				if f.Column < 1 || f.File != "/etc/cambio/cambio.yaml" || f.Fix == "" {
					t.Errorf("a finding lacks its place or fix: %+v", f)
				}
			}
			slices.SortStableFunc(got, func(a, b string) int {
				return strings.Compare(fmt.Sprintf("%8s", strings.Fields(a)[0])+a, fmt.Sprintf("%8s", strings.Fields(b)[0])+b)
			})
			want := strings.Split(tc.want, ",")
			slices.SortStableFunc(want, func(a, b string) int {
				return strings.Compare(fmt.Sprintf("%8s", strings.Fields(a)[0])+a, fmt.Sprintf("%8s", strings.Fields(b)[0])+b)
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s%v", diff, fs)
			}
			if c.Issuer != "" || c.Trust != "" {
				t.Errorf("a configuration came back beside errors: %+v", c)
			}
			if strings.Contains(fs.Error(), "hunter2") || strings.Contains(fs.Error(), "10.77.88.99") {
				t.Errorf("a finding shows a variable's value: %v", fs)
			}
		})
	}
}

// TestAddressLiterals holds SSRF-01 at load: no spelling of an address gets in.
func TestAddressLiterals(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "[::1]", "0.0.0.0", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1",
		"[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "2852039166", "0251.0376.0251.0376", "0xa9fea9fe", "0xa9.254.0251.254",
		"127.1", "8.8.8.8", "127.0.0.1.",
	} {
		for _, field := range []string{"issuer: %s", "issuer: https://ci.acme.example\n    jwks_url: %s/k", "issuer: https://ci.acme.example\n    discovery_url: %s/d"} {
			lines := fmt.Sprintf(field, "https://"+host)
			_, fs := parse(edit(t, "issuer: https://ci.acme.example/", lines))
			if len(fs) != 1 || fs[0].ID != "issuer-address-forbidden" {
				t.Errorf("%s: %v", lines, fs)
			}
		}
	}
	// dial opens exactly that host and port.
	for rule, ok := range map[string]bool{"10.0.0.1:443 10.0.0.0/8": true, "10.0.0.1:444 10.0.0.0/8": false, "10.0.0.2:443 10.0.0.0/8": false} {
		_, fs := parse(edit(t, "issuer: https://ci.acme.example/", "issuer: https://10.0.0.1\n    dial: [\""+rule+"\"]"))
		if fs.HasErrors() == ok {
			t.Errorf("%s: %v", rule, fs)
		}
	}
}

func TestReservedAudiencesOfTargets(t *testing.T) {
	for _, aud := range []string{
		"sts.amazonaws.com", "STS.amazonaws.com", "sts.eu-central-1.amazonaws.com", "sts.cn-north-1.amazonaws.com.cn", "https://sts.amazonaws.com/",
		"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
		"https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
		"api://AzureADTokenExchange", "api://AzureADTokenExchangeChina", "api://azureadtokenexchange",
		"https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "kubernetes.default.svc",
		"https://id.acme.example", "https://id.acme.example/", "https://ID.acme.example",
	} {
		_, fs := parse(edit(t, "audience: https://orders.acme.example", `audience: "`+aud+`"`))
		if len(fs) != 1 || fs[0].ID != "audience-reserved" || fs[0].Line != 23 {
			t.Errorf("%s: %v", aud, fs)
		}
	}
}

func TestConfigWarns(t *testing.T) {
	for name, tc := range map[string]struct{ src, want string }{
		"no providers":     {"issuer: https://id.acme.example\ntargets: {t: {type: jwt, audience: t}}\n", "no-identity-provider"},
		"no targets":       {validConfig[:strings.Index(validConfig, "targets:")], "no-target"},
		"empty targets":    {validConfig[:strings.Index(validConfig, "targets:")] + "targets: {}\n", "no-target"},
		"a shared target":  {validConfig + "  other: {type: jwt, audience: https://orders.acme.example}\n", "target-audience-shared"},
		"a cloud audience": {edit(t, "type: github-actions\n    audience: https://id.acme.example", "type: github-actions\n    audience: sts.amazonaws.com"), "audience-shared"},
		"looser use":       {edit(t, "type: github-actions", "type: github-actions\n    token_use: until-expiry"), "token-use-looser"},
		"older tokens":     {edit(t, "type: github-actions", "type: github-actions\n    max_token_age: 2h"), "max-token-age-longer"},
		"no limit":         {validConfig + "limits: {per_address: none}\n", "limit-off"},
		"an open admin":    {validConfig + "admin_listen: 0.0.0.0:8081\n", "admin-off-loopback"},
	} {
		_, fs := parse(tc.src)
		if len(fs) != 1 || fs[0].ID != tc.want || fs[0].Severity == strictyaml.Error {
			t.Errorf("%s: %v", name, fs)
		}
	}
}

// TestIssuerForms: an issuer that does not look like its platform's draws a warning.
func TestIssuerForms(t *testing.T) {
	for settings, want := range map[string]bool{
		"type: circleci, issuer: https://oidc.circleci.com/org/0b3c6f1e-5f42-4b7a-9d3e-6a1f2c8d7e90":              false,
		"type: circleci, issuer: https://oidc.circleci.com.evil.example/org/0b3c6f1e-5f42-4b7a-9d3e-6a1f2c8d7e90": true,
		"type: circleci, issuer: https://oidc.circleci.com/org/acme":                                              true,
		"type: azure-devops, issuer: https://login.microsoftonline.com/common/v2.0":                               true,
		"type: azure-devops, issuer: https://login.microsoftonline.com/5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c/v2.0": false,
		"type: buildkite": false,
		"type: env0":      false,
		"type: env0, issuer: https://login.app.env0.com":                         true, // without its slash it is another one
		"type: circleci, issuer: http://127.0.0.1:8085, insecure_loopback: true": false,
	} {
		_, fs := parse(validConfig[:strings.Index(validConfig, "targets:")] + "  other: {" + settings + ", audience: https://id.acme.example}\n" + validConfig[strings.Index(validConfig, "targets:"):])
		got := len(fs) == 1 && fs[0].ID == "issuer-form" && fs[0].Severity == strictyaml.Warning
		if got != want || !want && len(fs) > 0 {
			t.Errorf("%s: %v", settings, fs)
		}
	}
}

// TestSharedAudiences: the audience that a platform's tokens have where nobody asks
// for one draws a warning, and one that nobody can choose does not.
func TestSharedAudiences(t *testing.T) {
	const (
		org    = "0b3c6f1e-5f42-4b7a-9d3e-6a1f2c8d7e90"
		tenant = "https://login.microsoftonline.com/5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c/v2.0"
		bucket = "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"
	)
	for name, c := range map[string]struct {
		settings string
		want     bool
	}{
		"CircleCI, the organization": {"type: circleci, issuer: https://oidc.circleci.com/org/" + org + ", audience: " + org, true},
		"CircleCI, of its own":       {"type: circleci, issuer: https://oidc.circleci.com/org/" + org + ", audience: https://id.acme.example", false},
		"Buildkite":                  {"type: buildkite, audience: https://buildkite.com/acme", true},
		"GitLab":                     {"type: gitlab-ci, audience: https://gitlab.com", true},
		"GitLab, self-managed":       {"type: gitlab-ci, issuer: https://git.acme.example, audience: https://git.acme.example", true},
		"GitLab, of its own":         {"type: gitlab-ci, audience: https://id.acme.example", false},
		"Bitbucket":                  {"type: bitbucket-pipelines, issuer: " + bucket + `, audience: "ari:cloud:bitbucket::workspace/5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928"`, true},
		"Azure DevOps":               {"type: azure-devops, issuer: " + tenant + `, audience: "api://AzureADTokenExchange"`, false},
		"Spacelift":                  {"type: spacelift, issuer: https://acme.app.spacelift.io, audience: acme.app.spacelift.io", false},
		"env0":                       {"type: env0, audience: https://prod.env0.com", false},
	} {
		_, fs := parse(validConfig[:strings.Index(validConfig, "targets:")] + "  other: {" + c.settings + "}\n" + validConfig[strings.Index(validConfig, "targets:"):])
		got := len(fs) == 1 && fs[0].ID == "audience-shared" && fs[0].Severity == strictyaml.Warning
		if got != c.want || !c.want && len(fs) > 0 {
			t.Errorf("%s: %v", name, fs)
		}
	}
}

func TestReferences(t *testing.T) {
	for _, issuer := range []string{"https://${env:HOST}", "${file:crlf}", "${file:/etc/cambio/crlf}", "\"https://${env:HOST}\""} {
		c, fs := parse(edit(t, "issuer: https://id.acme.example\nlisten", "issuer: "+issuer+"\nlisten"))
		if len(fs) > 0 || c.Issuer != "https://id.acme.example" {
			t.Errorf("%s: %q %v", issuer, c.Issuer, fs)
		}
	}
}

// TestSecretsAreHidden holds promise 5 for the configuration itself.
func TestSecretsAreHidden(t *testing.T) {
	c := gateway.Config{Redis: &gateway.Redis{Password: "hunter2"}}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", *c.Redis, *c.Redis, *c.Redis, c.Redis.Password), string(b), c.Redis.Password.LogValue().String()} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("shown: %s", s)
		}
	}
	if c.Redis.Password.Reveal() != "hunter2" {
		t.Error("the secret is lost")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(validConfig))
	f.Add([]byte("issuer: ${env:SECRET}\nredis: {password: \"${file:secret}\"}\ntargets: {a: {type: ${env:SECRET}}}\n"))
	f.Add([]byte("identity_providers: &x {a: {type: oidc, issuer: \"https://0x7f.1\", dial: [\"a:1 ::/0\"], claims: {a: []}}}\ntargets: [1]\n"))
	f.Add([]byte("identity_providers: {a: {claims: [x], workload: {a: b}, algs: x}}\ntargets: {a: x}\ntls: [x]\nredis: []\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, fs := parse(string(src))
		if fs.HasErrors() != (c.Issuer == "") {
			t.Errorf("issuer %q beside %v", c.Issuer, fs)
		}
		if strings.Contains(fs.Error(), "hunter2") && !strings.Contains(string(src), "hunter2") {
			t.Errorf("a finding shows a variable's value: %v", fs)
		}
	})
}
