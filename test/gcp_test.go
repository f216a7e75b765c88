package test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

const (
	gcpProvider = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/gateway"
	gcpAccount  = "deploy@acme-prod.iam.gserviceaccount.com"
)

// openGoogle starts a gateway with a target at a stand-in of Google, which trusts
// the usual workload.
func openGoogle(t *testing.T, grants ...string) (*rig.Rig, *standin.Google) {
	t.Helper()
	var r *rig.Rig
	p := standin.GoogleProvider{
		Name: gcpProvider, Issuer: "https://gw.test", Subjects: []string{cloudWorkload},
		Keys: func(ctx context.Context) ([]byte, error) { return published(ctx, r.URL+"/keys") },
	}
	g, err := standin.NewGoogle(standin.GoogleConfig{
		Now: func() time.Time { return r.Clock.Now() }, Rand: rand.Reader, Providers: []standin.GoogleProvider{p},
		Accounts: []standin.GoogleAccount{{Email: gcpAccount, Users: []string{p.PrincipalOf(cloudWorkload)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Close()
		for _, u := range g.Unknown() {
			t.Errorf("Google was asked what nobody knows the answer to: %s", u)
		}
	})
	r = rig.New(t, rig.Setup{
		Targets: `gcp-prod: {type: gcp, audience: "` + gcpProvider + `", max_ttl: 1h, endpoint: "` + g.URL() + `"}`,
		Trusts:  deploys(grants...),
	})
	return r, g
}

// TestGoogle follows exchanges from a workload's token to what Google takes.
func TestGoogle(t *testing.T) {
	t.Parallel()
	as := `{to: gcp-prod, resource: "gcp:` + gcpAccount + `", `
	for name, c := range map[string]struct {
		grant, kind, tokenType string
		seconds                float64
		account                string
	}{
		"direct":        {`{to: gcp-prod, ttl: 5m}`, "urn:ietf:params:oauth:token-type:access_token", "Bearer", 300, ""},
		"as an account": {as + `ttl: 15m}`, "urn:ietf:params:oauth:token-type:access_token", "Bearer", 900, gcpAccount},
		"an ID token":   {as + `ttl: 1h, id_token_audience: "https://orders.a.run.app"}`, "urn:ietf:params:oauth:token-type:id_token", "Bearer", 3600, gcpAccount},
		"a database":    {as + `ttl: 15m, database: {engine: mysql, host: db.acme.test}}`, "urn:cambio:token-type:database-credentials", "N_A", 900, gcpAccount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, g := openGoogle(t, c.grant)
			form := cloudForm(r.Token(nil))
			form.Set("audience", "gcp-prod")
			a := r.Post(form)
			var answer map[string]any
			if err := json.Unmarshal([]byte(a.Raw), &answer); err != nil || a.Status != 200 {
				t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
			}
			left, _ := answer["expires_in"].(float64) // the clock went on
			if answer["issued_token_type"] != c.kind || answer["token_type"] != c.tokenType || left > c.seconds || left < c.seconds-10 {
				t.Errorf("%v %v %v", answer["issued_token_type"], answer["token_type"], left)
			}
			token, _ := answer["access_token"].(string)
			if credentials, structured := answer["credentials"].(map[string]any); structured {
				if credentials["User"] != "deploy" || credentials["Port"] != 3306.0 || credentials["Engine"] != "mysql" {
					t.Errorf("%v", credentials["User"])
				}
				token, _ = credentials["Password"].(string)
			}
			issued, ok := g.Token(token)
			if !ok || issued.Account != c.account || c.account == "" && !strings.HasSuffix(issued.Principal, "/subject/"+cloudWorkload) {
				t.Errorf("%+v", issued)
			}
			untold(t, r, token)
			for _, request := range g.Requests() {
				if claims := request.Claims; claims != nil && (claims["aud"] != "https:"+gcpProvider || claims["sub"] != cloudWorkload) {
					t.Errorf("the assertion is for %v, of %v", claims["aud"], claims["sub"])
				}
			}
		})
	}
}

// TestGoogleRefuses: a workload that Google does not let in gets nothing, and its
// token is free again; one that asks for another type is refused before Google is
// asked.
func TestGoogleRefuses(t *testing.T) {
	t.Parallel()
	r, g := openGoogle(t, `{to: gcp-prod, resource: "gcp:other@acme-prod.iam.gserviceaccount.com"}`)
	form := cloudForm(r.Token(nil))
	form.Set("audience", "gcp-prod")
	form.Set("requested_token_type", "urn:ietf:params:oauth:token-type:id_token")
	if a := r.Post(form); a.Status != 400 || len(g.Requests()) != 0 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	form.Del("requested_token_type")
	for range 2 { // the second one with the same token: Google answered that it issued nothing
		if a := r.Post(form); a.Status != 503 || strings.Contains(a.Raw, "PERMISSION") {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	}
}
