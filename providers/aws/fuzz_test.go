package aws_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cambio/providers/aws"
	"cambio/providers/oidc"
	"cambio/standin"
	"cambio/trust"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// FuzzAnswer holds that whatever AWS's endpoint answers, what leaves is whole and
// what was asked for.
func FuzzAnswer(f *testing.F) {
	good := `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>` +
		`<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/deployer/` + decision + `</Arn></AssumedRoleUser>` +
		`<Credentials><SessionToken>CANARYTOKEN</SessionToken><SecretAccessKey>CANARYSECRETCANARY</SecretAccessKey><Expiration>2026-09-01T12:15:00Z</Expiration>` +
		`<AccessKeyId>ASIAAAAAAAAAAAAAAAAA</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`
	f.Add(byte(0), []byte(good))
	f.Add(byte(0), []byte(good[:len(good)/2]))
	f.Add(byte(1), []byte(`<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>`))
	f.Add(byte(0), []byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Add(byte(2), []byte(``))
	statuses := []int{200, 403, 302, 204, 400}
	var status int
	var body []byte
	m, err := aws.New(aws.Config{Region: "eu-central-1", Audience: audience, Now: start, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return answer(status, body), nil
	})})
	if err != nil {
		f.Fatal(err)
	}
	o := order(f)
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		status, body = statuses[int(which)%len(statuses)], b
		got, err := m.Mint(t.Context(), o)
		if err != nil {
			if e := fails(t, err); e.Issued == (status >= 400 && len(b) <= 256<<10) {
				t.Errorf("status %d: issued is %v", status, e.Issued)
			} else if e.Issued && strings.Contains(e.Error(), "CANARY") {
				t.Errorf("a secret in %q", e.Error())
			}
			return
		}
		var value struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
		if err := json.Unmarshal([]byte(got.Value.Reveal()), &value); err != nil {
			t.Fatal(err)
		}
		expires, err := time.Parse(time.RFC3339, value.Expiration)
		if err != nil || !expires.After(start()) || expires.After(start().Add(16*time.Minute)) || !expires.Equal(got.Expires) {
			t.Errorf("expires %s", value.Expiration)
		}
		if status != 200 || value.AccessKeyId == "" || value.SecretAccessKey == "" || value.SessionToken == "" || got.Handle != value.AccessKeyId ||
			strings.ContainsFunc(value.AccessKeyId+value.SecretAccessKey+value.SessionToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%+v", value)
		}
	})
}

// FuzzGrant holds that a grant which passes can be said to AWS.
func FuzzGrant(f *testing.F) {
	f.Add(deployer, `{"Statement":[]}`, "arn:aws:iam::aws:policy/ReadOnlyAccess", "repository", "acme/app", "octocat")
	f.Add("arn:aws:iam::111122223333:role/*", "{", "arn:aws:iam::aws:policy/", "aws:x", "\u2028", "a")
	f.Add("arn:aws:iam::111122223333:role//x\n", `{"Statement":null}`, "", "", "\xff", "aws:ab")
	kind := aws.TargetType(account, "")
	f.Fuzz(func(t *testing.T, role, policy, arn, key, value, source string) {
		if kind.Fields["resource"].Pattern.MatchString(role) {
			if !strings.HasPrefix(role, "arn:aws") || !strings.Contains(role, "::"+account+":role/") || strings.ContainsAny(role, "*?$ \n\t") || strings.Contains(role, "//") {
				t.Errorf("%q is taken for a role", role)
			}
		}
		field, problem := kind.Misfit(trust.Grant{Resource: role, Extra: map[string]any{
			"policy": policy, "policy_arns": []string{arn}, "tags": map[string]string{key: value}, "source_identity": source,
		}})
		if (field == "") != (problem == "") {
			t.Errorf("%q: %q", field, problem)
		}
		if problem != "" {
			return
		}
		if len([]rune(policy)) > 2048 || len([]rune(key)) > 128 || len([]rune(value)) > 256 || len(source) > 64 || strings.HasPrefix(strings.ToLower(key), "aws:") ||
			!json.Valid([]byte(policy)) || len(policy)+len(arn)+len(key)+len(value) > 2700 {
			t.Errorf("%q %q %q %q passed", policy, key, value, source)
		}
	})
}

func BenchmarkMint(b *testing.B) {
	s := openSTS(b, standin.STSConfig{})
	m, err := aws.New(aws.Config{Account: account, Audience: audience, Endpoint: s.URL(), Now: start})
	if err != nil {
		b.Fatal(err)
	}
	o := order(b)
	for b.Loop() {
		if _, err := m.Mint(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzCallers: whatever is shown, AWS is asked exactly one question or none, and
// nothing but a signature that it knows proves anything.
func FuzzCallers(f *testing.F) {
	s := deploySession()
	at := openRealm(f, s)
	c := at.callers(f, start)
	good := textOf(f, s.asked(f, regional, "eu-central-1", gateway, start()))
	for _, seed := range []string{good, url.QueryEscape(good), "{}", `{"url":"","method":"POST","headers":[]}`, good + "{}", good[:len(good)/2]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		proof, err := c.Verify(t.Context(), token)
		if err == nil && proof.Workload != "spiffe://gw.test/aws/111122223333/AROA2EXAMPLE2EXAMPLE2" {
			t.Errorf("proves %s", proof.Workload)
		}
		if err != nil && proof.Workload != "" {
			t.Error("proves something all the same")
		}
	})
}

// FuzzCallerAnswer: no answer but a plain document of a role proves anything.
func FuzzCallerAnswer(f *testing.F) {
	s := deploySession()
	for _, seed := range []string{s.document(), "<a/>", strings.ReplaceAll(s.document(), "Arn", "arn"), s.document() + "<!-- -->"} {
		f.Add(seed)
	}
	token := textOf(f, s.asked(f, regional, "eu-central-1", gateway, start()))
	f.Fuzz(func(t *testing.T, body string) {
		c, err := aws.NewCallers(aws.CallersConfig{
			TrustDomain: "gw.test", Now: start,
			Providers: []oidc.Provider{{Name: "aws", Type: "aws-caller-identity", Audiences: []string{gateway}}},
			Transport: roundTrip(func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, []byte(body)), nil }),
		})
		if err != nil {
			t.Fatal(err)
		}
		proof, err := c.Verify(t.Context(), token)
		if err == nil && !proven.MatchString(proof.Subject+" "+proof.Workload) {
			t.Errorf("proves %q, %q", proof.Subject, proof.Workload)
		}
		if err != nil && proof.Workload != "" {
			t.Error("proves something all the same")
		}
	})
}

var proven = regexp.MustCompile(`^arn:aws:iam::[0-9]{12}:role/[\w+=,.@-]{1,64} spiffe://gw\.test/aws/[0-9]{12}/AROA[A-Z0-9]{12,124}$`)
