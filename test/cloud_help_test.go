package test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

const (
	cloudWorkload = "spiffe://gw.test/iss1/1/2"
	cloudTarget   = `aws-prod: {type: aws, account: "111122223333", region: eu-central-1, max_ttl: 1h, endpoint: "{{STS0}}"}`
)

// cloud is a gateway with AWS targets, each at a stand-in that has its time.
type cloud struct {
	*rig.Rig
	sts []*standin.STS
}

// openCloud starts a gateway with n stand-ins for STS, {{STS0}} and so on in the
// targets. awsRole lets the workload in, for up to 12 h, and has no policy of its
// own.
func openCloud(t *testing.T, n int, s rig.Setup) *cloud {
	t.Helper()
	c := &cloud{}
	for i := range n {
		sts, err := standin.NewSTS(standin.STSConfig{Now: func() time.Time { return c.Clock.Now() }, Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = sts.Close() // requests that hang end with it
			for _, u := range sts.Unknown() {
				t.Errorf("STS was asked what nobody knows the answer to: %s", u)
			}
		})
		c.sts = append(c.sts, sts)
		s.Targets = strings.ReplaceAll(s.Targets, "{{STS"+strconv.Itoa(i)+"}}", sts.URL())
	}
	c.Rig = rig.New(t, s)
	for _, sts := range c.sts {
		sts.AddOIDC(standin.OIDCProvider{
			Account: awsAccount, URL: "https://gw.test", Audiences: []string{"sts.amazonaws.com"},
			Keys: func(ctx context.Context) ([]byte, error) { return published(ctx, c.URL+"/keys") },
		})
		c.role(awsRole, cloudWorkload, sts)
	}
	return c
}

// role lets a subject have a role.
func (c *cloud) role(arn, subject string, sts *standin.STS) {
	c.T.Helper()
	err := sts.SetRole(standin.Role{ARN: arn, MaxSession: 12 * time.Hour, Trust: []standin.Statement{
		standin.Admit(awsAccount, "https://gw.test", "sts.amazonaws.com", []string{subject}, "sts:TagSession", "sts:SetSourceIdentity"),
	}})
	if err != nil {
		c.T.Fatal(err)
	}
}

// deploys is a trust with this grant, beside the usual trust.
func deploys(grants ...string) map[string]string {
	return map[string]string{"tr1.yaml": rig.TR1, "deploy.yaml": `name: deploy
owner: t1-team@acme.test
purpose: main of app deploys
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
grants:
  - ` + strings.Join(grants, "\n  - ") + "\n"}
}

// roleFor is a grant of awsRole with these fields more.
func roleFor(more string) string {
	return `{to: aws-prod, resource: "` + awsRole + `", ` + more + "}"
}

// assume asks for the role with a token, and parameters in pairs.
func (c *cloud) assume(token string, parameters ...string) rig.Answer {
	c.T.Helper()
	return c.Post(cloudForm(token, parameters...))
}

func cloudForm(token string, parameters ...string) url.Values {
	f := rig.Form(token)
	f.Set("audience", "aws-prod")
	for i := 0; i < len(parameters); i += 2 {
		f.Set(parameters[i], parameters[i+1])
	}
	return f
}

// control fails the test unless a fresh token gets the role, and another one a
// JWT.
func (c *cloud) control() {
	c.T.Helper()
	c.Control()
	if a := c.assume(c.Token(nil)); a.Status != 200 {
		c.T.Fatalf("the control request got %d %s\n%s", a.Status, a.Raw, c.Log)
	}
}

// last is the last request to a stand-in.
func last(t *testing.T, sts *standin.STS) standin.STSRequest {
	t.Helper()
	all := sts.Requests()
	if len(all) == 0 {
		t.Fatal("STS was not called")
	}
	return all[len(all)-1]
}

// headerOf is the header of a compact JWS.
func headerOf(t *testing.T, token string) map[string]any {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.Unmarshal(b, &header); err != nil {
		t.Fatal(err)
	}
	return header
}

// seconds is a claim with a time.
func seconds(t *testing.T, claims map[string]any, name string) int64 {
	t.Helper()
	n, ok := claims[name].(json.Number)
	if !ok {
		t.Fatalf("%s is %v", name, claims[name])
	}
	v, err := n.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// postTo is a form for another path than the token endpoint.
func postTo(r *rig.Rig, path string, form url.Values) *http.Request {
	r.T.Helper()
	req, err := http.NewRequest(http.MethodPost, r.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.T.Fatal(err)
	}
	req.Header.Set("Content-Type", formType)
	return req
}
