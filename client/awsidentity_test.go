package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"cambio/client"
)

const (
	awsKey      = "ASIA2EXAMPLE2EXAMPLE"
	awsSecret   = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYsecret-canary"
	awsSession  = "FwoGZXIvYXdzEXAMPLE//session=="
	ourAudience = "https://id.acme.example"
)

// signedRequest is the envelope that a workload of AWS shows.
type signedRequest struct {
	URL     string
	Method  string
	Headers []struct{ Key, Value string }
}

func (r signedRequest) header(name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return h.Value
		}
	}
	return ""
}

// proveSigned compares the envelope with what AWS's own SDK signs: the oracle.
func proveSigned(t *testing.T, token, host, region string) (audience string) {
	t.Helper()
	var r signedRequest
	if err := json.Unmarshal([]byte(token), &r); err != nil {
		t.Fatal(err)
	}
	if r.Method != http.MethodPost || r.URL != "https://"+host+"/?Action=GetCallerIdentity&Version=2011-06-15" || r.header("host") != host || len(r.Headers) != 5 {
		t.Errorf("it is %s %s with %d headers", r.Method, r.URL, len(r.Headers))
	}
	at, err := time.Parse("20060102T150405Z", r.header("x-amz-date"))
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("signed at %s", r.header("x-amz-date"))
	}
	req, err := http.NewRequestWithContext(context.Background(), r.Method, r.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	audience = r.header("x-cambio-audience")
	req.Header.Set("X-Cambio-Audience", audience)
	sum := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(t.Context(), sdk.Credentials{AccessKeyID: awsKey, SecretAccessKey: awsSecret, SessionToken: awsSession}, req, hex.EncodeToString(sum[:]), "sts", region, at); err != nil {
		t.Fatal(err)
	}
	if got, want := r.header("authorization"), req.Header.Get("Authorization"); got != want {
		t.Errorf("signed\n%s, the SDK\n%s", got, want)
	}
	if r.header("x-amz-security-token") != awsSession {
		t.Error("the session's token is not there")
	}
	if strings.Contains(token, "canary") {
		t.Error("the secret is sent")
	}
	return audience
}

// ec2 is the instance's metadata server, version 2, and nothing else.
func ec2(t *testing.T) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := r.Header.Get("X-Aws-Ec2-Metadata-Token")
		switch r.Method + " " + r.URL.String() {
		case "PUT http://169.254.169.254/latest/api/token":
			if r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" || session != "" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fmt.Fprint(w, "imds-canary==")
			return
		case "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/":
			fmt.Fprint(w, "payments-deploy")
		case "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/payments-deploy":
			answer(w, http.StatusOK, keysDocument(awsKey))
		case "GET http://169.254.169.254/latest/meta-data/placement/region":
			fmt.Fprint(w, "eu-central-1")
		default:
			// Google's and Azure's, which are looked for first.
			if r.Header.Get("Metadata-Flavor") == "" && r.Header.Get("Metadata") == "" {
				t.Errorf("unexpected request: %s %s", r.Method, r.URL)
			}
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if session != "imds-canary==" {
			t.Errorf("asked without a session: %s", r.URL)
		}
	})
}

func keysDocument(key string) string {
	return `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"` + key + `","SecretAccessKey":"` + awsSecret + `","Token":"` + awsSession + `","Expiration":"2030-01-01T00:00:00Z"}`
}

func TestAWSIdentity(t *testing.T) {
	own := map[string]string{"AWS_ACCESS_KEY_ID": awsKey, "AWS_SECRET_ACCESS_KEY": awsSecret, "AWS_SESSION_TOKEN": awsSession}
	vars := func(more ...string) map[string]string {
		all := map[string]string{}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	meant := vars("CAMBIO_AWS_IDENTITY", "1", "AWS_REGION", "eu-central-1")
	for k, v := range own {
		meant[k] = v
	}
	container := func(address, authorization string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.String() != address || r.Header.Get("Authorization") != authorization {
				if r.Header.Get("Metadata-Flavor") == "" && r.Header.Get("Metadata") == "" {
					t.Errorf("unexpected request: %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"))
				}
				w.WriteHeader(http.StatusNotFound)
				return
			}
			answer(w, http.StatusOK, keysDocument(awsKey))
		})
	}
	china := vars("AWS_REGION", "cn-north-1", "CAMBIO_AWS_IDENTITY", "1")
	nowhere := vars("CAMBIO_AWS_IDENTITY", "1")
	for k, v := range own {
		china[k], nowhere[k] = v, v
	}
	for _, tt := range []struct {
		name, place, host, region string
		machine                   machine
	}{
		{"the environment", "AWS_ACCESS_KEY_ID", "sts.eu-central-1.amazonaws.com", "eu-central-1", machine{vars: meant}},
		{"China", "AWS_ACCESS_KEY_ID", "sts.cn-north-1.amazonaws.com.cn", "cn-north-1", machine{vars: china}},
		{"no region", "AWS_ACCESS_KEY_ID", "sts.amazonaws.com", "us-east-1", machine{vars: nowhere}},
		{
			"ECS", "169.254.170.2", "sts.eu-west-1.amazonaws.com", "eu-west-1",
			machine{vars: vars("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x?id=y", "AWS_REGION", "eu-west-1"), net: container("http://169.254.170.2/v2/credentials/x?id=y", "")},
		},
		{
			"EKS", "169.254.170.23", "sts.eu-west-1.amazonaws.com", "eu-west-1",
			machine{
				vars:  vars("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/eks", "AWS_DEFAULT_REGION", "eu-west-1"),
				files: map[string]string{"/eks": "pod-canary\n"}, net: container("http://169.254.170.23/v1/credentials", "pod-canary"),
			},
		},
		{
			"EKS, IPv6", "[fd00:ec2::23]", "sts.eu-west-1.amazonaws.com", "eu-west-1",
			machine{
				vars: vars("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-canary", "AWS_REGION", "eu-west-1"),
				net:  container("http://[fd00:ec2::23]/v1/credentials", "pod-canary"),
			},
		},
		{"an instance", "169.254.169.254", "sts.eu-central-1.amazonaws.com", "eu-central-1", machine{net: ec2(t)}},
		{"an instance that is meant", "169.254.169.254", "sts.eu-central-1.amazonaws.com", "eu-central-1", machine{vars: vars("CAMBIO_AWS_IDENTITY", "1"), net: ec2(t), files: map[string]string{"/var/run/secrets/cambio/token": token}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := client.Detect(t.Context(), tt.machine.env())
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != "AWS" || s.Place != tt.place || s.TokenType != "urn:ietf:params:aws:token-type:aws4_request" || !s.PerAudience {
				t.Errorf("found %+v", s)
			}
			shown, err := s.Token(t.Context(), ourAudience+"?nonce=cn1.abc")
			if err != nil {
				t.Fatal(err)
			}
			if got := proveSigned(t, shown, tt.host, tt.region); got != ourAudience+"?nonce=cn1.abc" {
				t.Errorf("signed for %s", got)
			}
			// Without a nonce of the gateway's, no two are alike all the same.
			seen := map[string]bool{}
			for range 2 {
				if shown, err = s.Token(t.Context(), ourAudience); err != nil {
					t.Fatal(err)
				}
				audience := proveSigned(t, shown, tt.host, tt.region)
				if seen[audience] || !strings.HasPrefix(audience, ourAudience+"?nonce=") {
					t.Errorf("signed for %s", audience)
				}
				seen[audience] = true
			}
		})
	}
}

// What is not clearly the workload's own is not shown: keys in an environment may be
// anybody's.
func TestAWSIdentityNot(t *testing.T) {
	own := map[string]string{"AWS_ACCESS_KEY_ID": awsKey, "AWS_SECRET_ACCESS_KEY": awsSecret, "AWS_SESSION_TOKEN": awsSession}
	with := func(more ...string) map[string]string {
		all := map[string]string{}
		for k, v := range own {
			all[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	status := func(code int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, code, body) })
	}
	const full = "http://169.254.170.23/v1"
	for _, tt := range []struct {
		name       string
		machine    machine
		noIdentity bool
	}{
		{"keys that nobody means", machine{vars: own}, true},
		{"keys that are not meant", machine{vars: with("CAMBIO_AWS_IDENTITY", "0"), net: ec2(t)}, true},
		{"a word of another kind", machine{vars: with("CAMBIO_AWS_IDENTITY", "yes")}, false},
		{"a user's key", machine{vars: with("CAMBIO_AWS_IDENTITY", "1", "AWS_ACCESS_KEY_ID", "AKIA2EXAMPLE2EXAMPLE")}, true},
		{"no session", machine{vars: with("CAMBIO_AWS_IDENTITY", "1", "AWS_SESSION_TOKEN", "")}, true},
		{"two lines", machine{vars: with("CAMBIO_AWS_IDENTITY", "1", "AWS_SESSION_TOKEN", "a\nb")}, true},
		{"no region of AWS", machine{vars: with("CAMBIO_AWS_IDENTITY", "1", "AWS_REGION", "evil.example/")}, false},
		{"an instance that is switched off", machine{vars: map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, net: ec2(t)}, true},
		{"a container's endpoint in the clear", machine{vars: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/canary"}}, false},
		{"a path that is none", machine{vars: map[string]string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "@evil.example/"}}, false},
		{"a metadata server in the clear", machine{vars: map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://evil.example"}}, false},
		{"a container that answers otherwise", machine{vars: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": full}, net: status(200, `{"AccessKeyId":"canary"}`)}, true},
		{"a container that answers no JSON", machine{vars: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": full}, net: status(200, `canary`)}, false},
		{"a container that answers 403", machine{vars: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": full}, net: status(403, `canary`)}, false},
		{"a container whose token is not there", machine{vars: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": full, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/gone"}}, false},
		{"a captive portal", machine{net: status(200, `<html>welcome`)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := client.Detect(t.Context(), tt.machine.env())
			if err == nil {
				var shown string
				if shown, err = s.Token(t.Context(), ourAudience); err == nil {
					t.Fatalf("signed by %s: %d bytes", s.Place, len(shown))
				}
			}
			if errors.Is(err, client.ErrNoIdentity) != tt.noIdentity {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}
