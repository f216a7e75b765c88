package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/client"
)

const awsObject = `{"Version":1,"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"canary/secret+key","SessionToken":"canary/session==","Expiration":"2026-11-22T06:15:00Z"}`

// awsGranted is a gateway's answer with AWS credentials in both of its forms.
func awsGranted(object, text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return `{"access_token":` + string(quoted) + `,"issued_token_type":"urn:cambio:token-type:aws-credentials","token_type":"N_A","expires_in":900,"decision_id":"d-1","credentials":` + object + `}`
}

func exchangeAWS(t *testing.T, body string, r client.Request) (client.Credential, error) {
	t.Helper()
	r.Target = "aws-prod"
	return connect(gateway(t, func(w http.ResponseWriter, f url.Values, _ int) {
		if f.Get("requested_token_type") != r.Type {
			t.Errorf("form: %v", f)
		}
		answer(w, http.StatusOK, body)
	})).Exchange(t.Context(), r, counting())
}

func TestAWS(t *testing.T) {
	for _, kind := range []string{"", client.TypeAWS} {
		got, err := exchangeAWS(t, awsGranted(awsObject, awsObject), client.Request{Type: kind})
		if err != nil {
			t.Fatal(err)
		}
		want := &client.AWSCredentials{
			Version: 1, AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "canary/secret+key", SessionToken: "canary/session==",
			Expiration: time.Date(2026, 11, 22, 6, 15, 0, 0, time.UTC),
		}
		if diff := cmp.Diff(want, got.AWS); diff != "" || got.IssuedTokenType != client.TypeAWS || got.TokenType != "N_A" {
			t.Errorf("%s %s %s", got.IssuedTokenType, got.TokenType, diff)
		}
		// What an AWS client reads is exactly this.
		text, err := json.Marshal(got.AWS)
		if err != nil || string(text) != awsObject {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// The same in another order, and with what a later gateway adds, is the same.
func TestAWSFormsOfTheSame(t *testing.T) {
	other := strings.Replace(strings.Replace(awsObject, `"Version":1,`, ``, 1), `}`, `, "AccountId":"111122223333", "Version":1}`, 1)
	other = strings.Replace(other, "06:15:00Z", "07:15:00.5+01:00", 1)
	got, err := exchangeAWS(t, awsGranted(awsObject, other), client.Request{})
	if err != nil || got.AWS == nil {
		t.Errorf("%v, %v", got.AWS, err)
	}
}

func TestMalformedAWS(t *testing.T) {
	for name, change := range map[string][2]string{
		"version 2":              {`"Version":1`, `"Version":2`},
		"version a string":       {`"Version":1`, `"Version":"1"`},
		"version a fraction":     {`"Version":1`, `"Version":1.0`},
		"no version":             {`"Version":1,`, ``},
		"no access key":          {`"AccessKeyId"`, `"accessKeyId"`},
		"empty access key":       {`ASIAIOSFODNN7EXAMPLE`, ``},
		"access key with line":   {`ASIAIOSFODNN7EXAMPLE`, `ASIA\nAWS_PROFILE=evil`},
		"long access key":        {`ASIAIOSFODNN7EXAMPLE`, strings.Repeat("A", 513)},
		"no secret key":          {`"canary/secret+key"`, `null`},
		"secret key no string":   {`"canary/secret+key"`, `{}`},
		"secret key with NUL":    {`canary/secret+key`, `canary\u0000`},
		"secret key no ASCII":    {`canary/secret+key`, `canaryü`},
		"empty session token":    {`canary/session==`, ``},
		"no session token":       {`"SessionToken"`, `"Token"`},
		"long session token":     {`canary/session==`, strings.Repeat("A", 16<<10+1)},
		"no expiration":          {`,"Expiration":"2026-11-22T06:15:00Z"`, ``},
		"expiration a number":    {`"2026-11-22T06:15:00Z"`, `1795328100`},
		"expiration no time":     {`2026-11-22T06:15:00Z`, `tomorrow`},
		"expiration no zone":     {`2026-11-22T06:15:00Z`, `2026-11-22T06:15:00`},
		"expiration the zero":    {`2026-11-22T06:15:00Z`, `0001-01-01T00:00:00Z`},
		"a member twice":         {`"Version":1`, `"Version":1,"AccessKeyId":"ASIAEVIL"`},
		"trailing data":          {`Z"}`, `Z"}{}`},
		"an array":               {awsObject, `[` + awsObject + `]`},
		"null":                   {awsObject, `null`},
		"a string for an object": {awsObject, `"{}"`},
	} {
		bad := strings.Replace(awsObject, change[0], change[1], 1)
		if bad == awsObject {
			t.Fatalf("%s: the case changes nothing", name)
		}
		for which, body := range map[string]string{"both": awsGranted(bad, bad), "object": awsGranted(bad, awsObject), "text": awsGranted(awsObject, bad)} {
			got, err := exchangeAWS(t, body, client.Request{})
			var refusal *client.Refusal
			if err == nil || errors.As(err, &refusal) || got != (client.Credential{}) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s in %s: %v, %v", name, which, got, err)
			}
		}
	}
}

func TestMisleadingAWS(t *testing.T) {
	whole := awsGranted(awsObject, awsObject)
	for name, tt := range map[string]struct{ body, kind string }{
		"two access keys":               {body: awsGranted(awsObject, strings.Replace(awsObject, "ASIA", "ASIB", 1))},
		"two ends":                      {body: awsGranted(awsObject, strings.Replace(awsObject, "06:15", "08:15", 1))},
		"no object":                     {body: strings.Replace(whole, `,"credentials":`+awsObject, ``, 1)},
		"a bearer token":                {body: strings.Replace(whole, "N_A", "Bearer", 1)},
		"a JWT where AWS was asked for": {body: granted, kind: client.TypeAWS},
		"AWS where a JWT was asked for": {body: whole, kind: "urn:ietf:params:oauth:token-type:jwt"},
	} {
		got, err := exchangeAWS(t, tt.body, client.Request{Type: tt.kind})
		if err == nil || got != (client.Credential{}) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// What is no AWS credential carries none, whatever comes beside it.
	got, err := exchangeAWS(t, strings.Replace(granted, `"d-1"}`, `"d-1","credentials":`+awsObject+`}`, 1), client.Request{})
	if err != nil || got.AWS != nil {
		t.Errorf("%v, %v", got.AWS, err)
	}
}

func TestAWSHidesItself(t *testing.T) {
	c := client.Credential{AccessToken: "canary", DecisionID: "d-1", AWS: &client.AWSCredentials{AccessKeyID: "canary", SecretAccessKey: "canary", SessionToken: "canary"}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).InfoContext(t.Context(), "issued", slog.Any("credential", c), slog.Any("aws", c.AWS), slog.Any("value", *c.AWS))
	for _, text := range []string{fmt.Sprint(c.AWS, *c.AWS), fmt.Sprintf("%+v %#v %s %q", c.AWS, c.AWS, c.AWS, *c.AWS), fmt.Sprintf("%#v %+v", *c.AWS, c), log.String()} {
		if strings.Contains(text, "canary") || text == "" {
			t.Errorf("printed as %s", text)
		}
	}
}

func FuzzAWS(f *testing.F) {
	for _, seed := range []string{awsObject, `{}`, `null`, `[]`, `{"Version":1}`, strings.Replace(awsObject, "Z", "+00:00", 1)} {
		f.Add(seed, seed)
		f.Add(awsObject, seed)
	}
	f.Fuzz(func(t *testing.T, object, text string) {
		got, err := exchangeAWS(t, awsGranted(object, text), client.Request{})
		if err != nil {
			if got != (client.Credential{}) {
				t.Errorf("an error came with %#v", got)
			}
			return
		}
		if got.AWS == nil || got.AWS.Version != 1 || got.AWS.AccessKeyID == "" || got.AWS.SecretAccessKey == "" || got.AWS.SessionToken == "" || got.AWS.Expiration.Year() < 2000 {
			t.Errorf("accepted half of them from %q", object)
		}
		again, err := json.Marshal(got.AWS)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := exchangeAWS(t, awsGranted(string(again), string(again)), client.Request{}); err != nil || *same.AWS != *got.AWS {
			t.Errorf("%s does not read as it was written: %v", again, err)
		}
	})
}
