package aws_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/aws"
	"cambio/trust"
)

const (
	endpoint = "orders.cabc123.eu-central-1.rds.amazonaws.com"
	// awsProgram is Debian's package awscli; another one in PATH has other defaults.
	awsProgram = "/usr/bin/aws"
)

// TestDatabase: what comes out is what RDS takes for a password, byte for byte what
// AWS's own client makes with the same credentials at the same time. The role's
// credentials stay here.
func TestDatabase(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	o := order(t)
	o.Type = "urn:cambio:token-type:database-credentials"
	o.Grant.Extra = map[string]any{"database": `{"engine":"postgres","host":"` + endpoint + `","user":"orders_app"}`}
	got, err := m.Mint(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Requests()[0]
	issued := r.Issued
	var value map[string]any
	if err := json.Unmarshal([]byte(got.Value.Reveal()), &value); err != nil {
		t.Fatal(err)
	}
	password, _ := value["Password"].(string)
	value["Password"] = nil
	want := map[string]any{
		"Version": 1.0, "Engine": "postgres", "Host": endpoint, "Port": 5432.0, "User": "orders_app",
		"Password": nil, "Expiration": "2026-09-01T12:15:00Z",
	}
	if diff := cmp.Diff(want, value); diff != "" {
		t.Error(diff)
	}
	if !got.Structured || got.Type != o.Type || got.Handle != issued.AccessKeyID || !got.Expires.Equal(start().Add(15*time.Minute)) {
		t.Errorf("%+v", got)
	}
	if strings.Contains(got.Value.Reveal(), issued.SecretKey) {
		t.Error("the role's secret leaves")
	}
	// The session that signed it can log in as that user, and do nothing else.
	policy := `{"Statement":[{"Action":"rds-db:connect","Effect":"Allow","Resource":"arn:aws:rds-db:eu-central-1:111122223333:dbuser:*/orders_app"}],"Version":"2012-10-17"}`
	if r.Form.Get("Policy") != policy || r.Form.Get("DurationSeconds") != "900" {
		t.Errorf("asked for %s s with %s", r.Form.Get("DurationSeconds"), r.Form.Get("Policy"))
	}
	host, query := apart(t, password)
	if host != endpoint+":5432/" || query.Get("X-Amz-Date") != "20260901T120000Z" || query.Get("X-Amz-Security-Token") != issued.SessionToken {
		t.Errorf("the password is for %s at %s", host, query.Get("X-Amz-Date"))
	}
}

func apart(tb testing.TB, password string) (host string, query url.Values) {
	tb.Helper()
	host, raw, _ := strings.Cut(password, "?")
	query, err := url.ParseQuery(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return host, query
}

// TestDatabaseOracle compares with AWS's own client. It reads the clock itself, so
// that ours is set to the time that it wrote down.
func TestDatabaseOracle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ engine, host, port, user string }{
		{"postgres", endpoint, "5432", "orders_app"},
		{"mysql", "orders.cluster-cabc123.us-east-1.rds.amazonaws.com", "3307", "a.b@c-d"},
		{"postgres", "orders.proxy-cabc123.cn-north-1.rds.amazonaws.com.cn", "5432", "app"},
	} {
		m, s := atAWS(t, nil)
		o := order(t)
		o.Grant.Extra = map[string]any{"database": `{"engine":"` + c.engine + `","host":"` + c.host + `","port":` + c.port + `,"user":"` + c.user + `"}`}
		made, err := m.Mint(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Requests()[0].Issued
		var value struct{ Password string }
		if err := json.Unmarshal([]byte(made.Value.Reveal()), &value); err != nil {
			t.Fatal(err)
		}
		_, ours := apart(t, value.Password)
		region := strings.Split(c.host, ".")[2]
		run := exec.CommandContext(t.Context(), awsProgram, "rds", "generate-db-auth-token", "--hostname", c.host, "--port", c.port, "--username", c.user, "--region", region)
		run.Env = []string{
			"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
			"AWS_ACCESS_KEY_ID=" + got.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + got.SecretKey, "AWS_SESSION_TOKEN=" + got.SessionToken,
		}
		var stdout, stderr bytes.Buffer
		run.Stdout, run.Stderr = &stdout, &stderr
		if err := run.Run(); err != nil {
			t.Fatalf("%s (Debian's package awscli): %v: %s", awsProgram, err, &stderr)
		}
		host, theirs := apart(t, strings.TrimSpace(stdout.String()))
		at, err := time.Parse("20060102T150405Z", theirs.Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := aws.Password(t.Context(), c.engine, c.host, c.port, c.user, got.AccessKeyID, got.SecretKey, got.SessionToken, at)
		if err != nil {
			t.Fatal(err)
		}
		ourHost, same := apart(t, again)
		if diff := cmp.Diff(theirs, same); diff != "" || host != ourHost {
			t.Errorf("%s: %s\n%s", c.host, ourHost, diff)
		}
		for name := range theirs {
			if !ours.Has(name) {
				t.Errorf("ours lacks %s", name)
			}
		}
	}
}

func TestDatabaseMisfit(t *testing.T) {
	t.Parallel()
	misfit := aws.TargetType(account, "").Misfit
	good := `{"engine":"postgres","host":"` + endpoint + `","user":"app"}`
	grant := func(database any, ttl time.Duration) trust.Grant {
		return trust.Grant{Resource: deployer, TTL: ttl, Extra: map[string]any{"database": database}}
	}
	for name, c := range map[string]struct {
		grant trust.Grant
		field string
	}{
		"good":                {grant(good, 15*time.Minute), ""},
		"with a port":         {grant(strings.Replace(good, `"user"`, `"port":6432,"user"`, 1), 15*time.Minute), ""},
		"longer":              {grant(good, 16*time.Minute), "ttl"},
		"no object":           {grant(`[]`, 0), "database"},
		"empty":               {grant(``, 0), "database"},
		"no text":             {grant(int64(1), 0), "database"},
		"no engine":           {grant(strings.Replace(good, `"engine":"postgres",`, "", 1), 0), "database"},
		"another engine":      {grant(strings.Replace(good, "postgres", "oracle", 1), 0), "database"},
		"no user":             {grant(strings.Replace(good, `,"user":"app"`, "", 1), 0), "database"},
		"every user":          {grant(strings.Replace(good, `"app"`, `"*"`, 1), 0), "database"},
		"a variable":          {grant(strings.Replace(good, `"app"`, `"${aws:username}"`, 1), 0), "database"},
		"a claim":             {grant(strings.Replace(good, `"app"`, `"${claims.sub}"`, 1), 0), "database"},
		"a user too long":     {grant(strings.Replace(good, `"app"`, `"`+strings.Repeat("a", 64)+`"`, 1), 0), "database"},
		"mysql's are shorter": {grant(strings.NewReplacer("postgres", "mysql", `"app"`, `"`+strings.Repeat("a", 33)+`"`).Replace(good), 0), "database"},
		"a name of one's own": {grant(strings.Replace(good, endpoint, "orders.acme.example", 1), 0), "database"},
		"another service":     {grant(strings.Replace(good, endpoint, "sts.eu-central-1.amazonaws.com", 1), 0), "database"},
		"another host inside": {grant(strings.Replace(good, endpoint, "evil.example/orders.cabc.eu-central-1.rds.amazonaws.com", 1), 0), "database"},
		"a host behind":       {grant(strings.Replace(good, endpoint, endpoint+".evil.example", 1), 0), "database"},
		"capitals":            {grant(strings.Replace(good, endpoint, strings.ToUpper(endpoint), 1), 0), "database"},
		"a port as text":      {grant(strings.Replace(good, `"user"`, `"port":"5432","user"`, 1), 0), "database"},
		"a port too high":     {grant(strings.Replace(good, `"user"`, `"port":65536,"user"`, 1), 0), "database"},
		"a fraction":          {grant(strings.Replace(good, `"user"`, `"port":5432.5,"user"`, 1), 0), "database"},
		"a member more":       {grant(strings.Replace(good, `"user"`, `"password":"x","user"`, 1), 0), "database"},
	} {
		if field, problem := misfit(c.grant); field != c.field {
			t.Errorf("%s: %s %s, want %q", name, field, problem, c.field)
		}
	}
	if got := aws.TypesOf(grant(good, 0)); len(got) != 1 || got[0] != "urn:cambio:token-type:database-credentials" {
		t.Errorf("gives %v", got)
	}
	if got := aws.TypesOf(trust.Grant{}); len(got) != 1 || got[0] != "urn:cambio:token-type:aws-credentials" {
		t.Errorf("gives %v", got)
	}
}

// A grant's own policy is sent as it is: whoever wrote it means something.
func TestDatabasePolicy(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	o := order(t)
	const own = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"rds-db:connect","Resource":"arn:aws:rds-db:eu-central-1:111122223333:dbuser:db-ABC/app"}]}`
	o.Grant.Extra = map[string]any{"database": `{"engine":"mysql","host":"` + endpoint + `","user":"app"}`, "policy": own}
	if _, err := m.Mint(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[0].Form.Get("Policy"); got != own {
		t.Errorf("sent %s", got)
	}
}
