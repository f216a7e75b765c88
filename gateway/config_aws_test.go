package gateway_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust/strictyaml"
)

// TestConfigOfAWS: what may be left out has its default, and an endpoint that is
// not AWS's is told of.
func TestConfigOfAWS(t *testing.T) {
	const jwt = "type: jwt\n    audience: https://orders.acme.example\n    max_ttl: 30m"
	endpoint := "http://127.0.0.1:4566/sts"
	c, fs := parse(edit(t, jwt, "type: aws\n    account: \"111122223333\"\n    region: eu-central-1\n    endpoint: null"))
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	got := c.Targets["orders-api"]
	if got.Audience != "sts.amazonaws.com" || got.Subject != "workload" || time.Duration(got.MaxTTL) != time.Hour || got.Endpoint != nil {
		t.Errorf("defaults: %+v", got)
	}
	c, fs = parse(edit(t, jwt, "type: aws\n    endpoint: "+endpoint+"\n    max_ttl: 12h\n    subject: trust"))
	var infos []string
	for _, f := range fs {
		if f.Severity != strictyaml.Info {
			t.Errorf("%v", f)
		}
		infos = append(infos, f.ID)
	}
	if diff := cmp.Diff([]string{"aws-arn-unchecked"}, infos); diff != "" {
		t.Error(diff)
	}
	// Where no target is AWS itself, a store may have its audience, with a warning.
	_, fs = parse(edit(t, jwt, "type: aws\n    endpoint: https://sts.store.example\n    audience: sts.amazonaws.com"))
	if fs.HasErrors() || !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool {
		return f.ID == "target-audience-shared" && f.Severity == strictyaml.Warning
	}) {
		t.Errorf("a store with AWS's audience: %v", fs)
	}
	for _, own := range []string{"https://sts.eu-central-1.amazonaws.com", "https://sts.amazonaws.com", "https://vpce-0a1-b2.sts.eu-central-1.vpce.amazonaws.com"} {
		if _, fs := parse(edit(t, jwt, "type: aws\n    endpoint: "+own)); fs.HasErrors() {
			t.Errorf("%s: %v", own, fs)
		}
	}
	if got := c.Targets["orders-api"]; *got.Endpoint != endpoint || got.Subject != "trust" {
		t.Errorf("%+v", got)
	}
}

func TestConfigOfRedis(t *testing.T) {
	for src, mode := range map[string]string{
		"redis: {addrs: [\"127.0.0.1:6379\"]}\n":                                                         "single",
		"redis: {mode: cluster, addrs: [\"10.0.0.1:6379\", \"10.0.0.2:6379\"], tls: true}\n":             "cluster",
		"redis: {mode: sentinel, addrs: [\"[::1]:26379\"], master_name: cambio, insecure_redis: true}\n": "sentinel",
	} {
		c, fs := parse(edit(t, "\nidentity_providers:", "\n"+src+"identity_providers:"))
		if fs.HasErrors() || c.Redis == nil || c.Redis.Mode != mode {
			t.Errorf("%s: %v", src, fs)
		}
	}
}
