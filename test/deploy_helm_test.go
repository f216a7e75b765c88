package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"cambio/gateway"
)

const chart = "deploy/helm/cambio"

// yamlMap reads one document.
func yamlMap(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}

// overlay is Helm's way to put values over the chart's: maps are merged, all else
// is replaced.
func overlay(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	for key, value := range over {
		a, both := out[key].(map[string]any)
		b, ok := value.(map[string]any)
		if both && ok {
			value = overlay(a, b)
		}
		out[key] = value
	}
	return out
}

// chartValues are the chart's values under those of ci/values.yaml and under
// these changes.
func chartValues(t *testing.T, changes string) map[string]any {
	t.Helper()
	values := overlay(yamlMap(t, document(t, chart+"/values.yaml")), yamlMap(t, document(t, chart+"/ci/values.yaml")))
	return overlay(values, yamlMap(t, changes))
}

// chartFunctions are those of Helm's functions that the chart uses.
func chartFunctions(all *template.Template) template.FuncMap {
	text := func(v any) (string, error) {
		b, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	}
	empty := func(v any) bool { truth, _ := template.IsTrue(v); return !truth }
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml":  text,
		"nindent": func(n int, s string) string { return "\n" + indent(n, s) },
		"quote":   func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"default": func(d, v any) any {
			if empty(v) {
				return d
			}
			return v
		},
		"required": func(message string, v any) (any, error) {
			if empty(v) {
				return nil, errors.New(message)
			}
			return v, nil
		},
		"fail":      func(message string) (string, error) { return "", errors.New(message) },
		"sha256sum": func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
		"deepCopy":  func(m map[string]any) map[string]any { return overlay(m, m) },
		"set":       func(m map[string]any, key string, value any) map[string]any { m[key] = value; return m },
		"dict":      pairs,
		"list":      func(items ...any) []any { return items },
		"append":    func(list []any, v any) []any { return append(slices.Clone(list), v) },
		"uniq":      unique,
		"regexFind": func(expression, s string) string { return regexp.MustCompile(expression).FindString(s) },
		"int": func(v any) int {
			n, err := strconv.Atoi(fmt.Sprint(v))
			if err != nil {
				return 0 // as Helm has it
			}
			return n
		},
		"contains":   func(part, s string) bool { return strings.Contains(s, part) },
		"trunc":      func(n int, s string) string { return s[:min(n, len(s))] },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	}
}

// unique are the items, each once, in the order in which they first came.
func unique(items []any) []any {
	var out []any
	for _, item := range items {
		if !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// pairs makes a map of names and values in turn.
func pairs(items ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(items); i += 2 {
		m[fmt.Sprint(items[i])] = items[i+1]
	}
	return m
}

func indent(n int, s string) string {
	space := strings.Repeat(" ", n)
	return space + strings.ReplaceAll(s, "\n", "\n"+space)
}

// render renders the chart and returns its objects by kind and name, and the
// notes.
func render(t *testing.T, values map[string]any) (objects map[string]map[string]any, notes string, err error) {
	t.Helper()
	all := template.New(chart).Option("missingkey=zero")
	all.Funcs(chartFunctions(all))
	var names []string
	for _, name := range files(t) {
		if strings.HasPrefix(name, chart+"/templates/") {
			names = append(names, name)
			template.Must(all.New(name).Parse(document(t, name)))
		}
	}
	meta := yamlMap(t, document(t, chart+"/Chart.yaml"))
	data := map[string]any{
		"Values":  values,
		"Release": map[string]any{"Name": "cambio", "Namespace": "cambio", "Service": "Helm"},
		"Chart":   map[string]any{"Name": meta["name"], "Version": meta["version"], "AppVersion": meta["appVersion"]},
	}
	objects = map[string]map[string]any{}
	for _, name := range names {
		var out bytes.Buffer
		if err := all.ExecuteTemplate(&out, name, data); err != nil {
			return nil, "", err
		}
		switch path.Ext(name) {
		case ".txt":
			notes = out.String()
		case ".yaml":
			maps.Copy(objects, manifests(t, out.Bytes()))
		}
	}
	return objects, notes, nil
}

// manifests are the objects of a stream of documents, by kind and name.
func manifests(t *testing.T, stream []byte) map[string]map[string]any {
	t.Helper()
	objects := map[string]map[string]any{}
	for d := yaml.NewDecoder(bytes.NewReader(stream)); ; {
		var o map[string]any
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("%v\n%s", err, stream)
		}
		if o == nil {
			continue
		}
		name := fmt.Sprint(o["kind"], "/", at(o, "metadata", "name"))
		if objects[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		objects[name] = o
	}
}

// at walks down maps by name and lists by index; nil where there is nothing.
func at(v any, way ...any) any {
	for _, step := range way {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// withoutChecksum takes the annotation away that hashes text, which two writers
// of YAML break into lines differently.
func withoutChecksum(t *testing.T, objects map[string]map[string]any) string {
	t.Helper()
	annotations, _ := at(objects["StatefulSet/cambio"], "spec", "template", "metadata", "annotations").(map[string]any)
	sum := fmt.Sprint(annotations["checksum/config"])
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(sum) {
		t.Errorf("checksum/config is %q", sum)
	}
	delete(annotations, "checksum/config")
	// The text within is compared by what it says.
	for _, key := range []string{"cambio.yaml"} {
		data, _ := objects["ConfigMap/cambio"]["data"].(map[string]any)
		data[key] = yamlMap(t, fmt.Sprint(data[key]))
	}
	return sum
}

// TestChart compares the test's rendering with Helm's, which scripts/chart keeps.
func TestChart(t *testing.T) {
	t.Parallel()
	mine, notes, err := render(t, chartValues(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	helms := manifests(t, []byte(document(t, chart+"/ci/rendered.yaml")))
	first := withoutChecksum(t, mine)
	withoutChecksum(t, helms)
	if diff := cmp.Diff(helms, mine); diff != "" {
		t.Errorf("Helm renders otherwise; run UPDATE=1 scripts/chart (-Helm +here):\n%s", diff)
	}
	if !strings.Contains(notes, "rollout status statefulset/cambio") || !strings.Contains(notes, "https://id.acme.example") {
		t.Errorf("the notes:\n%s", notes)
	}
	want := []string{
		"ConfigMap/cambio", "ConfigMap/cambio-trust", "NetworkPolicy/cambio", "PodDisruptionBudget/cambio",
		"Service/cambio", "Service/cambio-replicas", "ServiceAccount/cambio", "StatefulSet/cambio",
	}
	if got := slices.Sorted(maps.Keys(mine)); !slices.Equal(got, want) {
		t.Errorf("objects %v", got)
	}
	other, _, err := render(t, chartValues(t, "config: {issuer: https://other.acme.example}"))
	if err != nil {
		t.Fatal(err)
	}
	if withoutChecksum(t, other) == first {
		t.Error("another configuration makes no new pods")
	}
}

// TestChartPods holds what a cluster's Restricted policy asks for, and what the
// gateway does.
func TestChartPods(t *testing.T) {
	t.Parallel()
	objects, _, err := render(t, chartValues(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	set := objects["StatefulSet/cambio"]
	pod := at(set, "spec", "template", "spec")
	container := at(pod, "containers", 0)
	for _, row := range []struct {
		of   any
		way  []any
		want any
	}{
		{pod, []any{"securityContext", "runAsNonRoot"}, true},
		{pod, []any{"securityContext", "runAsUser"}, 65532},
		{pod, []any{"securityContext", "fsGroupChangePolicy"}, "OnRootMismatch"},
		{pod, []any{"securityContext", "seccompProfile", "type"}, "RuntimeDefault"},
		{pod, []any{"automountServiceAccountToken"}, false},
		{pod, []any{"hostNetwork"}, nil},
		{container, []any{"securityContext", "allowPrivilegeEscalation"}, false},
		{container, []any{"securityContext", "readOnlyRootFilesystem"}, true},
		{container, []any{"securityContext", "capabilities", "drop", 0}, "ALL"},
		{container, []any{"securityContext", "privileged"}, nil},
		{container, []any{"readinessProbe", "httpGet", "path"}, "/readyz"},
		{container, []any{"livenessProbe", "httpGet", "path"}, "/healthz"},
		{container, []any{"env", 0, "name"}, "GOMEMLIMIT"},
		{container, []any{"image"}, "registry.acme.example/cambio:v0.2.0"},
		{set, []any{"spec", "volumeClaimTemplates", 0, "metadata", "name"}, "state"},
		{set, []any{"spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"}, "Retain"},
		{set, []any{"spec", "serviceName"}, "cambio-replicas"},
		{objects["Service/cambio-replicas"], []any{"spec", "clusterIP"}, "None"},
		{objects["PodDisruptionBudget/cambio"], []any{"spec", "maxUnavailable"}, 1},
	} {
		if got := at(row.of, row.way...); !cmp.Equal(got, row.want) {
			t.Errorf("%v is %v, want %v", row.way, got, row.want)
		}
	}
	// Draining takes 15 s after the sleep; the kubelet must not kill before.
	grace, _ := at(pod, "terminationGracePeriodSeconds").(int)
	sleep, _ := at(container, "lifecycle", "preStop", "sleep", "seconds").(int)
	if sleep < 1 || grace < sleep+15 {
		t.Errorf("%d s to end, of which %d s asleep, and 15 s of draining", grace, sleep)
	}
	// Every folder but the state is mounted for reading.
	mounts, _ := at(container, "volumeMounts").([]any)
	var writable []any
	for _, m := range mounts {
		if at(m, "readOnly") != true {
			writable = append(writable, at(m, "mountPath"))
		}
	}
	if !cmp.Equal(writable, []any{"/var/lib/cambio"}) || len(mounts) != 6 {
		t.Errorf("writable mounts: %v of %d", writable, len(mounts))
	}
	selector := at(set, "spec", "selector", "matchLabels")
	for _, o := range []struct {
		name string
		way  []any
	}{
		{"Service/cambio", []any{"spec", "selector"}},
		{"Service/cambio-replicas", []any{"spec", "selector"}},
		{"PodDisruptionBudget/cambio", []any{"spec", "selector", "matchLabels"}},
		{"NetworkPolicy/cambio", []any{"spec", "podSelector", "matchLabels"}},
	} {
		if got := at(objects[o.name], o.way...); !cmp.Equal(got, selector) {
			t.Errorf("%s selects %v, the pods have %v", o.name, got, selector)
		}
	}
	// The node's metadata service stays out of reach.
	if got := at(objects["NetworkPolicy/cambio"], "spec", "egress", 1, "to", 0, "ipBlock", "except"); !cmp.Equal(got, []any{"169.254.0.0/16"}) {
		t.Errorf("egress is open to %v", got)
	}
	one, _, err := render(t, chartValues(t, "replicaCount: 1\nnetworkPolicy: {enabled: false}\nimage: {digest: sha256:"+strings.Repeat("a", 64)+"}"))
	if err != nil || one["PodDisruptionBudget/cambio"] != nil || one["NetworkPolicy/cambio"] != nil {
		t.Errorf("one replica has a budget, or a policy that was switched off: %v", err)
	}
	if got := fmt.Sprint(at(one["StatefulSet/cambio"], "spec", "template", "spec", "containers", 0, "image")); !strings.HasSuffix(got, "/cambio@sha256:"+strings.Repeat("a", 64)) {
		t.Errorf("the image is %s", got)
	}
}

// TestChartConfiguration: the program takes what the chart makes.
func TestChartConfiguration(t *testing.T) {
	t.Parallel()
	objects, _, err := render(t, chartValues(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"trust", "tls", "redis"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeCertificate(t, filepath.Join(dir, "tls"))
	put := func(name string, content any) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fmt.Sprint(content)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("redis/password", "a-password-of-redis")
	config := fmt.Sprint(at(objects["ConfigMap/cambio"], "data", "cambio.yaml"))
	put("cambio.yaml", strings.NewReplacer("/etc/cambio/tls/tls.crt", dir+"/tls/cert.pem", "/etc/cambio/tls/tls.key", dir+"/tls/key.pem", "/etc/cambio", dir, "/var/lib/cambio", dir).Replace(config))
	documents, _ := at(objects["ConfigMap/cambio-trust"], "data").(map[string]any)
	if len(documents) == 0 {
		t.Error("no documents")
	}
	for name, text := range documents {
		put("trust/"+name, text)
	}
	if o := run(t, nil, "config", "check", "--config", filepath.Join(dir, "cambio.yaml")); o.code != 0 {
		t.Errorf("exit %d\n%s\n%s", o.code, o.stderr, config)
	}
}

// TestChartReachesRedis: each port that the configuration names is open, and that
// of the data, of which Sentinels only say where it is.
func TestChartReachesRedis(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values string
		want   []any
	}{
		{"", []any{6379, 26379}},
		{"networkPolicy: {redisPort: 6380}", []any{6380, 26379}},
		{`config: {redis: {addrs: ["a:26379", "b:26380", "a:6379", "[fd00::1]:26379"]}}`, []any{6379, 26379, 26380}},
		{`config: {redis: {mode: single, addrs: ["redis:6379"], master_name: null}}`, []any{6379}},
		{"replicaCount: 1\nconfig: {redis: null}\nredis: {existingSecret: \"\"}", nil},
	} {
		objects, _, err := render(t, chartValues(t, tt.values))
		if err != nil {
			t.Errorf("%s: %v", tt.values, err)
			continue
		}
		// Before it: DNS, also a node's own at a link-local address, and HTTPS.
		egress := at(objects["NetworkPolicy/cambio"], "spec", "egress")
		if at(egress, 0, "to") != nil || at(egress, 0, "ports", 0, "port") != 53 || at(egress, 0, "ports", 1, "port") != 53 || at(egress, 1, "ports", 0, "port") != 443 {
			t.Errorf("%s: %v", tt.values, egress)
		}
		ports, _ := at(egress, 2, "ports").([]any)
		var got []any
		for _, p := range ports {
			if at(p, "protocol") != "TCP" {
				t.Errorf("%s: %v", tt.values, p)
			}
			got = append(got, at(p, "port"))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.values, diff)
		}
	}
}

// TestChartValues: values.schema.json knows every value and no other, and what it
// cannot say, a template says.
func TestChartValues(t *testing.T) {
	t.Parallel()
	source := document(t, chart+"/values.schema.json")
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(source))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("values.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(values map[string]any) error {
		b, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	if err := valid(chartValues(t, "")); err != nil {
		t.Errorf("ci/values.yaml: %v", err)
	}
	properties, _ := at(doc, "properties").(map[string]any)
	sameNames(t, "values.yaml", slices.DeleteFunc(keysOf(properties), func(k string) bool { return k == "global" }), keysOf(yamlMap(t, document(t, chart+"/values.yaml"))))
	for _, bad := range []string{
		"unknown: 1", "image: {unknown: x}", "image: {repository: \"\"}", "image: {tag: latest}", "image: {digest: sha256:abc}",
		"replicaCount: 0", "replicaCount: \"2\"", "config: {issuer: \"\"}", "config: {issuer: \"http://id.acme.example\"}", "config: {issuer: \"https://id.acme.example/\"}",
		"config: {listen: \"0.0.0.0:1\"}", "config: {admin_listen: \"0.0.0.0:1\"}", "config: {tls: {}}", "config: {trust: x}", "config: {state: x}", "config: {keys: x}", "config: {unknown: x}",
		"config: {redis: {password: secret}}", "config: {redis: {addrs: []}}", "trust: {documents: {\"../x.yaml\": \"a\"}}", "trust: {documents: {\"x.yml\": \"a\"}}",
		"keys: {existingSecret: \"-x\"}", "keys: {existingSecret: \"\"}", "keys: {unknown: x}", "tls: {terminatedBy: [10.0.0.1]}", "tls: {terminatedBy: [10.0.0.0/8]}", "terminationGracePeriodSeconds: 10",
		"persistence: {accessModes: [ReadWriteMany]}", "persistence: {size: big}", "goMemLimit: \"400\"", "resources: {limits: {memory: lots}}", "service: {type: ExternalName}",
	} {
		if valid(chartValues(t, bad)) == nil {
			t.Errorf("%s passes", bad)
		}
	}
	for bad, says := range map[string]string{
		"config: {redis: null}":        "config.redis",
		"keys: {existingSecret: \"\"}": "keys.existingSecret",
		"tls: {existingSecret: \"\"}":  "tls:",
		"image: {repository: \"\"}":    "image.repository",
		"config: {issuer: \"\"}":       "config.issuer",
	} {
		if _, _, err := render(t, chartValues(t, bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, good := range []string{
		"tls: {existingSecret: \"\", terminatedBy: [10.0.0.0/8]}",
		"replicaCount: 1\nconfig: {redis: null}\nredis: {existingSecret: \"\"}", "fullnameOverride: x\nnameOverride: y", "trust: {documents: {}, existingConfigMap: mine}",
	} {
		values := chartValues(t, good)
		if config, _ := values["config"].(map[string]any); config["redis"] == nil {
			delete(config, "redis") // as Helm reads null
		}
		if err := valid(values); err != nil {
			t.Errorf("%s: %v", good, err)
		}
		if _, _, err := render(t, values); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	// The page shows values that work.
	page := document(t, "docs/how-to/deploy-helm.md")
	_, shown, _ := strings.Cut(page, "cat > values.yaml <<'EOF'\n")
	shown, _, found := strings.Cut(shown, "\nEOF\n")
	values := overlay(yamlMap(t, document(t, chart+"/values.yaml")), yamlMap(t, shown))
	if err := valid(values); err != nil || !found {
		t.Errorf("docs/how-to/deploy-helm.md: %v", err)
	}
	if _, _, err := render(t, values); err != nil {
		t.Errorf("docs/how-to/deploy-helm.md: %v", err)
	}
	// What cambio.yaml has, the chart sets or lets be set.
	var top struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(gateway.Schema(), &top); err != nil {
		t.Fatal(err)
	}
	config, _ := at(doc, "properties", "config", "properties").(map[string]any)
	sameNames(t, "config in values.schema.json", slices.Sorted(slices.Values(append(keysOf(config), "listen", "admin_listen", "tls", "trust", "state", "keys"))), keysOf(top.Properties))
}
