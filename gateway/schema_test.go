package gateway_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"cambio/gateway"
	"cambio/trust/strictyaml"

	generator "github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "cambio.schema.json"

// generate makes the schema from Config and its comments.
func generate(t *testing.T) []byte {
	t.Helper()
	r := generator.Reflector{
		FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, ExpandedStruct: true, Mapper: mapType,
	}
	if err := r.AddGoComments("cambio/gateway", "./", generator.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for _, v := range []any{gateway.Config{}, gateway.TLS{}, gateway.Redis{}, gateway.Journal{}, gateway.Limits{}, gateway.IdentityProvider{}, gateway.DeclaredClaim{}, gateway.Target{}} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			fields["cambio/gateway."+typ.Name()+"."+typ.Field(i).Name] = name
		}
	}
	for k, v := range r.CommentMap { // one line each, as editors show them
		words := strings.Fields(v)
		if name := fields[k]; name != "" && words[0] == k[strings.LastIndexByte(k, '.')+1:] {
			words[0] = name
		}
		r.CommentMap[k] = strings.Join(words, " ")
	}
	s := r.Reflect(gateway.Config{})
	s.ID = ""
	s.Title = "cambio.yaml"
	names := &generator.Schema{Pattern: "^[a-z0-9-]{1,63}$"}
	for _, field := range []string{"identity_providers", "targets"} {
		p, _ := s.Properties.Get(field)
		p.PropertyNames = names
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// mapType gives the types that read themselves their form. Each form also
// takes a reference, which only the parser can resolve.
func mapType(t reflect.Type) *generator.Schema {
	const orReference = `|.*\$\{(env|file):[^{}]+\}.*`
	text := func(pattern string) *generator.Schema {
		return &generator.Schema{Type: "string", Pattern: "^(" + pattern + orReference + ")$"}
	}
	switch t {
	case reflect.TypeFor[strictyaml.Duration]():
		return text(`(0|[1-9][0-9]{0,9})[smhd]`)
	case reflect.TypeFor[gateway.Rate]():
		return text(`[1-9][0-9]{0,5}/s|none`)
	case reflect.TypeFor[gateway.Prefix]():
		return text(`[0-9a-f.:]+/[0-9]{1,3}`)
	case reflect.TypeFor[gateway.Dial]():
		return text(`[^ ]+:[0-9]{1,5} [0-9a-f.:]+/[0-9]{1,3}`)
	case reflect.TypeFor[gateway.Secret]():
		return &generator.Schema{Type: "string", MinLength: ptr(uint64(1))}
	case reflect.TypeFor[gateway.OneOrMany]():
		one := &generator.Schema{Type: "string", MinLength: ptr(uint64(1))}
		return &generator.Schema{OneOf: []*generator.Schema{
			one, {Type: "array", Items: one, MinItems: ptr(uint64(1)), UniqueItems: true},
		}}
	}
	return nil
}

func ptr[T any](v T) *T { return &v }

// TestSchemaIsCurrent compares the committed schema with Config; UPDATE=1
// rewrites it.
func TestSchemaIsCurrent(t *testing.T) {
	want := generate(t)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(schemaFile, want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(gateway.Schema(), want) {
		t.Error("cambio.schema.json is not what Config gives: run make golden")
	}
}

// TestSchemaAgrees holds that the schema takes what the parser takes, and
// refuses what can be seen in one field.
func TestSchemaAgrees(t *testing.T) {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(gateway.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("cambio.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("cambio.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(src string) error {
		n, fs := strictyaml.Parse("f.yaml", []byte(src))
		if fs.HasErrors() {
			t.Fatal(fs)
		}
		v, ok := n.Value()
		if !ok {
			t.Fatalf("no value: %s", src)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := validator.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(instance)
	}
	for name, src := range map[string]string{
		"valid":      validConfig,
		"references": "issuer: https://${env:HOST}\ntargets: {t: {type: jwt, audience: x, max_ttl: \"${env:TTL}\"}}\n",
		"every field": validConfig + `  other: {type: jwt, audience: a, profile: rfc9068}
trust_domain: acme
tls: {terminated_by: [10.0.0.0/8, "fd00::/8"]}
admin_listen: 127.0.0.1:1
trusted_proxies: [10.0.0.0/8]
trust: a
state: b
keys: c
journal: {keep: 30d}
limits: {per_address: none, per_workload: 1/s}
`,
		"what only a later version takes": "issuer: https://a.example\nredis: {mode: cluster, addrs: [\"a:1\"], password: \"${env:P}\", tls: true}\ntargets: {a: {type: aws, account: \"111122223333\", region: eu-central-1, audience: sts.amazonaws.com, endpoint: null, max_ttl: 1h, subject: workload}}\n",
	} {
		if err := validate(src); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, src := range map[string]string{
		"no issuer":            "targets: {}\n",
		"an unknown field":     validConfig + "debug: true\n",
		"a nested one":         edit(t, "max_ttl: 30m", "maxttl: 30m"),
		"a wrong unit":         edit(t, "max_ttl: 30m", "max_ttl: 30min"),
		"a number":             edit(t, "max_ttl: 30m", "max_ttl: 30"),
		"a wrong type":         edit(t, "type: github-actions", "type: github"),
		"a wrong profile":      edit(t, "max_ttl: 30m", "profile: at+jwt"),
		"a wrong name":         edit(t, "  orders-api:", "  orders_api:"),
		"an empty audience":    edit(t, "audience: [https://id.acme.example, other]", "audience: []"),
		"a switch as text":     edit(t, "anchor: true", "anchor: \"true\""),
		"an address":           validConfig + "trusted_proxies: [10.0.0.1]\n",
		"a rate":               validConfig + "limits: {per_address: 50}\n",
		"a dial without range": edit(t, "kubernetes.default.svc:443 10.0.0.0/8", "kubernetes.default.svc:443"),
		"a claim's type":       edit(t, "shard: {type: string}", "shard: {type: integer}"),
		"an algorithm":         edit(t, "type: github-actions", "type: github-actions\n    algs: [HS256]"),
		"no type":              edit(t, "    type: oidc\n", ""),
	} {
		if err := validate(src); err == nil {
			t.Errorf("%s: the schema takes it", name)
		}
		if _, fs := parse(src); !fs.HasErrors() {
			t.Errorf("%s: the parser takes it", name)
		}
	}
}
