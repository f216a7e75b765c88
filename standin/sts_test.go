package standin_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"cambio/standin"
)

const (
	account  = "111122223333"
	deployer = "arn:aws:iam::111122223333:role/ci/deployer"
	audience = "sts.amazonaws.com"
	workload = "spiffe://gw.test/github/1/2"
)

// cloud is an account that trusts a stand-in identity provider, now.
type cloud struct {
	idp *standin.IdentityProvider
	sts *standin.STS
}

func openCloud(t *testing.T, more ...string) cloud {
	t.Helper()
	idp := open(t, func(c *standin.Config) { c.Now = time.Now })
	s, err := standin.NewSTS(standin.STSConfig{
		Now: time.Now, Rand: rand.Reader,
		OIDC: []standin.OIDCProvider{{Account: account, URL: idp.Issuer(), Audiences: []string{audience}}},
		Roles: []standin.Role{{
			ARN: deployer, Trust: []standin.Statement{standin.Admit(account, idp.Issuer(), audience, []string{workload}, more...)},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return cloud{idp: idp, sts: s}
}

func (c cloud) token(claims map[string]any) string {
	all := map[string]any{"sub": workload, "aud": audience}
	maps.Copy(all, claims)
	return c.idp.Token(all)
}

func (c cloud) client(provider aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{Region: "eu-central-1", BaseEndpoint: aws.String(c.sts.URL()), Credentials: provider, RetryMaxAttempts: 1})
}

func (c cloud) assume(t *testing.T, change func(*sts.AssumeRoleWithWebIdentityInput)) (*sts.AssumeRoleWithWebIdentityOutput, string) {
	t.Helper()
	in := &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(deployer), RoleSessionName: aws.String("job-1"), WebIdentityToken: aws.String(c.token(nil)),
		DurationSeconds: aws.Int32(900),
	}
	if change != nil {
		change(in)
	}
	out, err := c.client(aws.AnonymousCredentials{}).AssumeRoleWithWebIdentity(t.Context(), in)
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		return nil, api.ErrorCode()
	case err != nil:
		t.Fatal(err)
	}
	return out, ""
}

func TestSTSIssuesAndKnowsItsSessions(t *testing.T) {
	t.Parallel()
	c := openCloud(t, "sts:TagSession", "sts:SetSourceIdentity")
	out, code := c.assume(t, func(in *sts.AssumeRoleWithWebIdentityInput) {
		in.Policy = aws.String(`{"Version":"2012-10-17","Statement":[]}`)
		in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}}
		in.WebIdentityToken = aws.String(c.token(map[string]any{
			"https://aws.amazon.com/tags":            map[string]any{"principal_tags": map[string]any{"team": []string{"pay"}}},
			"https://aws.amazon.com/source_identity": "octocat",
		}))
	})
	if code != "" {
		t.Fatal(code)
	}
	const arn = "arn:aws:sts::111122223333:assumed-role/deployer/job-1"
	if got := aws.ToString(out.AssumedRoleUser.Arn); got != arn {
		t.Errorf("ARN %s", got)
	}
	got := out.Credentials
	session := c.sts.Sessions()[*got.AccessKeyId]
	want := standin.STSSession{
		ARN: arn, AccessKeyID: *got.AccessKeyId, SecretKey: *got.SecretAccessKey, SessionToken: *got.SessionToken,
		Expires: *got.Expiration, RoleID: *out.AssumedRoleUser.AssumedRoleId,
		Tags: map[string]string{"team": "pay"}, SourceID: "octocat",
		Policy: `{"Version":"2012-10-17","Statement":[]}`, PolicyARNs: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"},
	}
	if diff := cmp.Diff(want, session); diff != "" {
		t.Error(diff)
	}
	static := func(id, secret, token string) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}, nil
		})
	}
	who, err := c.client(static(*got.AccessKeyId, *got.SecretAccessKey, *got.SessionToken)).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.Arn != arn || *who.Account != account {
		t.Errorf("caller %s in %s", *who.Arn, *who.Account)
	}
	for name, tt := range map[string]struct {
		provider aws.CredentialsProvider
		code     string
	}{
		"another secret": {static(*got.AccessKeyId, strings.Repeat("x", 40), *got.SessionToken), "SignatureDoesNotMatch"},
		"another token":  {static(*got.AccessKeyId, *got.SecretAccessKey, "x"), "InvalidClientTokenId"},
		"another key":    {static("ASIAXXXXXXXXXXXXXXXX", *got.SecretAccessKey, *got.SessionToken), "InvalidClientTokenId"},
	} {
		_, err := c.client(tt.provider).GetCallerIdentity(t.Context(), nil)
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != tt.code {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
	}
	if u := c.sts.Unknown(); len(u) > 0 {
		t.Errorf("unknown: %v", u)
	}
	requests := c.sts.Requests()
	if len(requests) != 5 || requests[0].Claims["sub"] != workload || requests[0].Issued.AccessKeyID != *got.AccessKeyId {
		t.Errorf("%d requests, the first by %v", len(requests), requests[0].Claims["sub"])
	}
}

func TestSTSRefusesAsAWS(t *testing.T) {
	t.Parallel()
	c := openCloud(t)
	type input = sts.AssumeRoleWithWebIdentityInput
	with := func(claims map[string]any) func(*input) {
		return func(in *input) { in.WebIdentityToken = aws.String(c.token(claims)) }
	}
	now := time.Now().Unix()
	tags := func(tags map[string]any) func(*input) {
		return with(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": tags}})
	}
	for name, tt := range map[string]struct {
		change func(*input)
		code   string
	}{
		"nothing wrong":       {nil, ""},
		"another subject":     {with(map[string]any{"sub": workload + "3"}), "AccessDenied"},
		"another audience":    {with(map[string]any{"aud": "https://gw.test"}), "InvalidIdentityToken"},
		"two audiences":       {with(map[string]any{"aud": []string{audience, "x"}}), "InvalidIdentityToken"},
		"another issuer":      {with(map[string]any{"iss": "https://evil.test"}), "InvalidIdentityToken"},
		"no subject":          {with(map[string]any{"sub": nil}), "InvalidIdentityToken"},
		"no iat":              {with(map[string]any{"iat": nil}), "InvalidIdentityToken"},
		"expired":             {with(map[string]any{"exp": now - 1}), "ExpiredTokenException"},
		"not yet valid":       {with(map[string]any{"nbf": now + 100}), "InvalidIdentityToken"},
		"tags not allowed":    {tags(map[string]any{"a": []string{"b"}}), "AccessDenied"},
		"two values of a tag": {tags(map[string]any{"a": []string{"b", "c"}}), "InvalidIdentityToken"},
		"keys that fold":      {tags(map[string]any{"a": []string{"b"}, "A": []string{"b"}}), "InvalidIdentityToken"},
		"source not allowed":  {with(map[string]any{"https://aws.amazon.com/source_identity": "octocat"}), "AccessDenied"},
		"a forged signature": {func(in *input) {
			token := *in.WebIdentityToken
			dot := strings.LastIndexByte(token, '.')
			in.WebIdentityToken = aws.String(token[:dot+1] + strings.Repeat("A", len(token)-dot-1))
		}, "InvalidIdentityToken"},
		"no token":         {func(in *input) { in.WebIdentityToken = aws.String("abcd") }, "InvalidIdentityToken"},
		"no such role":     {func(in *input) { in.RoleArn = aws.String(deployer + "2") }, "AccessDenied"},
		"another account":  {func(in *input) { in.RoleArn = aws.String("arn:aws:iam::444455556666:role/deployer") }, "InvalidIdentityToken"},
		"no role":          {func(in *input) { in.RoleArn = aws.String("payments-deployer-role") }, "ValidationError"},
		"a session name":   {func(in *input) { in.RoleSessionName = aws.String("a b") }, "ValidationError"},
		"too short":        {func(in *input) { in.DurationSeconds = aws.Int32(899) }, "ValidationError"},
		"above the role's": {func(in *input) { in.DurationSeconds = aws.Int32(3601) }, "ValidationError"},
		"no policy":        {func(in *input) { in.Policy = aws.String("{}") }, "MalformedPolicyDocument"},
		"long policies":    {func(in *input) { in.Policy = aws.String(`{"Statement":"` + strings.Repeat("x", 2040) + `"}`) }, "ValidationError"},
		"a foreign ARN": {func(in *input) {
			in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:s3:::bucket-of-somebody")}}
		}, "ValidationError"},
		"eleven policies": {func(in *input) {
			in.PolicyArns = slices.Repeat([]types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/A1")}}, 11)
		}, "ValidationError"},
		"and again nothing": {nil, ""},
	} {
		if _, code := c.assume(t, tt.change); code != tt.code {
			t.Errorf("%s: %q, want %q", name, code, tt.code)
		}
	}
	if u := c.sts.Unknown(); len(u) > 0 {
		t.Errorf("unknown: %v", u)
	}
}

func TestSTSRemembersWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	c := openCloud(t)
	good := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {deployer},
		"RoleSessionName": {"job-1"}, "WebIdentityToken": {c.token(nil)},
	}
	send := func(change func(*http.Request, url.Values)) int {
		form := maps.Clone(good)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.sts.URL()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		change(req, form)
		req.Body = io.NopCloser(strings.NewReader(form.Encode()))
		client := http.Client{Timeout: 10 * time.Second}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := send(func(*http.Request, url.Values) {}); got != http.StatusOK {
		t.Fatalf("the request itself: %d", got)
	}
	for i, change := range []func(*http.Request, url.Values){
		func(r *http.Request, _ url.Values) { r.Method = http.MethodGet },
		func(r *http.Request, _ url.Values) { r.URL.Path = "/other" },
		func(r *http.Request, _ url.Values) { r.URL.RawQuery = "Action=GetCallerIdentity" },
		func(r *http.Request, _ url.Values) { r.Header.Set("Content-Type", "application/json") },
		func(r *http.Request, _ url.Values) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") },
		func(r *http.Request, _ url.Values) { r.Header.Set("X-Amz-Security-Token", "x") },
		func(_ *http.Request, f url.Values) { f.Set("Action", "AssumeRole") },
		func(_ *http.Request, f url.Values) { f.Set("Version", "2012-10-17") },
		func(_ *http.Request, f url.Values) { f.Set("ProviderId", "www.amazon.com") },
		func(_ *http.Request, f url.Values) { f.Add("RoleArn", deployer) },
		func(_ *http.Request, f url.Values) { f.Set("PolicyArns.member.2.arn", "arn:aws:iam::aws:policy/A1") },
		func(_ *http.Request, f url.Values) { f.Set("PolicyArns.member.1.Arn", "arn:aws:iam::aws:policy/A1") },
	} {
		if got := send(change); got != http.StatusNotImplemented {
			t.Errorf("change %d: %d", i, got)
		}
		if got := len(c.sts.Unknown()); got != i+1 {
			t.Errorf("change %d: %d complaints", i, got)
		}
	}
}

func TestSTSFaultsInTurn(t *testing.T) {
	t.Parallel()
	c := openCloud(t)
	c.sts.Fail(
		standin.STSFault{Code: "Throttling", Message: "Rate exceeded"},
		standin.STSFault{Edit: func(a *standin.STSAnswer) { a.ARN = "arn:aws:sts::111122223333:assumed-role/admin/x" }},
		standin.STSFault{},
	)
	if _, code := c.assume(t, nil); code != "Throttling" {
		t.Errorf("first: %q", code)
	}
	out, _ := c.assume(t, nil)
	if !strings.Contains(*out.AssumedRoleUser.Arn, "/admin/") {
		t.Errorf("second: %s", *out.AssumedRoleUser.Arn)
	}
	for range 2 {
		if _, code := c.assume(t, nil); code != "" {
			t.Errorf("then: %q", code)
		}
	}
	if got := len(c.sts.Sessions()); got != 3 {
		t.Errorf("%d sessions", got)
	}
}

const trustPolicy = `{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "Cambio",
    "Effect": "Allow",
    "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/id.acme.example"},
    "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
    "Condition": {"StringEquals": {
      "id.acme.example:aud": "sts.amazonaws.com",
      "id.acme.example:sub": ["spiffe://id.acme.example/github/1/2", "spiffe://id.acme.example/github/1/3"]
    }}
  }]
}`

func TestParseRoleTrust(t *testing.T) {
	t.Parallel()
	got, err := standin.ParseRoleTrust([]byte(trustPolicy))
	if err != nil {
		t.Fatal(err)
	}
	want := []standin.Statement{{
		Provider: "arn:aws:iam::111122223333:oidc-provider/id.acme.example",
		Actions:  []string{"sts:AssumeRoleWithWebIdentity", "sts:TagSession"}, Audiences: []string{"sts.amazonaws.com"},
		Subjects: []string{"spiffe://id.acme.example/github/1/2", "spiffe://id.acme.example/github/1/3"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[0], standin.Admit(account, "https://id.acme.example", audience, want[0].Subjects, "sts:TagSession")); diff != "" {
		t.Errorf("Admit: %s", diff)
	}
	for name, swap := range map[string][2]string{
		"another version":   {"2012-10-17", "2008-10-17"},
		"no version":        {`"Version": "2012-10-17",`, ""},
		"a deny":            {`"Allow"`, `"Deny"`},
		"everybody":         {`{"Federated": "arn:aws:iam::111122223333:oidc-provider/id.acme.example"}`, `"*"`},
		"an account":        {`"Federated": "arn:aws:iam::111122223333:oidc-provider/id.acme.example"`, `"AWS": "111122223333"`},
		"another action":    {`"sts:TagSession"`, `"sts:*"`},
		"any value":         {`StringEquals`, `ForAllValues:StringEquals`},
		"a pattern":         {`StringEquals`, `StringLike`},
		"a wildcard":        {`github/1/2"`, `github/1/*"`},
		"another provider":  {`"id.acme.example:sub"`, `"evil.example:sub"`},
		"no sub":            {`"id.acme.example:sub"`, `"id.acme.example:amr"`},
		"no aud":            {`"id.acme.example:aud": "sts.amazonaws.com",`, ""},
		"an empty list":     {`"sts.amazonaws.com"`, "[]"},
		"twice":             {`"Sid": "Cambio",`, `"Effect": "Allow",`},
		"twice by case":     {`"Sid": "Cambio",`, `"effect": "Allow",`},
		"a second document": {"}]\n}", "}]\n} {}"},
		"an unknown member": {`"Sid"`, `"NotAction"`},
		"no statement":      {`"Statement": [`, `"Statement": [], "Id": [`},
	} {
		broken := strings.Replace(trustPolicy, swap[0], swap[1], 1)
		if broken == trustPolicy {
			t.Fatalf("%s: nothing swapped", name)
		}
		if got, err := standin.ParseRoleTrust([]byte(broken)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzParseRoleTrust(f *testing.F) {
	f.Add([]byte(trustPolicy))
	f.Add([]byte(`{"Version":"2012-10-17","Statement":{}}`))
	f.Add([]byte(`[{"a":[[{}]]}]`))
	f.Fuzz(func(t *testing.T, policy []byte) {
		statements, err := standin.ParseRoleTrust(policy)
		if err != nil {
			return
		}
		for _, s := range statements {
			if len(s.Actions) == 0 || len(s.Audiences) == 0 || len(s.Subjects) == 0 || slices.ContainsFunc(s.Subjects, func(v string) bool { return strings.Contains(v, "*") }) {
				t.Errorf("%+v", s)
			}
		}
	})
}
