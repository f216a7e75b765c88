package aws_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/providers/aws"
	"cambio/standin"
	"cambio/trust"
)

func TestMint(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	o := order(t)
	o.Grant.Extra = map[string]any{
		"policy":          `{"Version":"2012-10-17","Statement":[]}`,
		"policy_arns":     []string{"arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/ci/less"},
		"tags":            map[string]string{"repository": "acme/app", "team": ""},
		"source_identity": "octocat",
	}
	// A caller who hung up changes nothing.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := m.Mint(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Requests()); n != 1 {
		t.Fatalf("%d requests", n)
	}
	r := s.Requests()[0]
	issued := r.Issued
	var value map[string]any
	if err := json.Unmarshal([]byte(got.Value.Reveal()), &value); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"Version": 1.0, "AccessKeyId": issued.AccessKeyID, "SecretAccessKey": issued.SecretKey,
		"SessionToken": issued.SessionToken, "Expiration": "2026-09-01T12:15:00Z",
	}
	if diff := cmp.Diff(want, value); diff != "" {
		t.Error(diff)
	}
	if got.Handle != issued.AccessKeyID || !got.Expires.Equal(start().Add(15*time.Minute)) || got.Type != "urn:cambio:token-type:aws-credentials" {
		t.Errorf("handle %q, expires %s, type %q", got.Handle, got.Expires, got.Type)
	}
	form := map[string]string{}
	for name := range r.Form {
		form[name] = r.Form.Get(name)
	}
	delete(form, "WebIdentityToken")
	wantForm := map[string]string{
		"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": deployer, "RoleSessionName": decision,
		"DurationSeconds": "900", "Policy": `{"Version":"2012-10-17","Statement":[]}`,
		"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
		"PolicyArns.member.2.arn": "arn:aws:iam::111122223333:policy/ci/less",
	}
	if diff := cmp.Diff(wantForm, form); diff != "" {
		t.Error(diff)
	}
	wantTags := map[string]any{"principal_tags": map[string]any{"repository": []any{"acme/app"}, "team": []any{""}}}
	if diff := cmp.Diff(wantTags, r.Claims["https://aws.amazon.com/tags"]); diff != "" {
		t.Error(diff)
	}
	if r.Claims["https://aws.amazon.com/source_identity"] != "octocat" || r.Claims["jti"] != o.ID || r.Claims["sub"] != workload || r.Claims["aud"] != audience {
		t.Errorf("claims: %v", r.Claims)
	}
}

// What the grant does not name is not sent.
func TestMintSendsNoMore(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	o := order(t)
	o.Grant.Extra = map[string]any{"policy_arns": []string{}}
	if _, err := m.Mint(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r := s.Requests()[0]
	for _, name := range []string{"Policy", "ProviderId", "PolicyArns.member.1.arn"} {
		if r.Form.Has(name) {
			t.Errorf("%s was sent", name)
		}
	}
	names := map[string]bool{}
	for name := range r.Claims {
		names[name] = true
	}
	want := map[string]bool{"iss": true, "sub": true, "aud": true, "exp": true, "iat": true, "nbf": true, "jti": true}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

// Each row is one way in which AWS, or who poses as it, answers otherwise.
func TestMintFailures(t *testing.T) {
	t.Parallel()
	lie := func(edit func(*standin.STSAnswer)) []standin.STSFault { return []standin.STSFault{{Edit: edit}} }
	says := func(status int, code string) []standin.STSFault {
		return []standin.STSFault{{Fault: standin.Fault{Status: status}, Code: code, Message: "because"}}
	}
	body := func(status int, text string) []standin.STSFault {
		return []standin.STSFault{{Fault: standin.Fault{Status: status, Body: []byte(text)}}}
	}
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(evil.Close)
	const open = `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>`
	const closed = `</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`
	credentials := func(token string) string {
		return "<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/deployer/" + decision + "</Arn></AssumedRoleUser>" +
			"<Credentials><AccessKeyId>ASIAAAAAAAAAAAAAAAAA</AccessKeyId><SecretAccessKey>CANARYCANARYCANARYCANARYCANARYCANARY</SecretAccessKey>" +
			"<SessionToken>" + token + "</SessionToken><Expiration>2026-09-01T12:15:00Z</Expiration></Credentials>"
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 64 {
		_, _ = z.Write(make([]byte, 1<<20))
	}
	_ = z.Close()
	for name, tt := range map[string]struct {
		faults   []standin.STSFault
		issued   bool
		attempts int
	}{
		"denied":                  {says(403, "AccessDenied"), false, 1},
		"claim rejected":          {says(403, "IDPRejectedClaim"), false, 1},
		"token invalid":           {says(400, "InvalidIdentityToken"), false, 1},
		"token expired":           {says(400, "ExpiredTokenException"), false, 1},
		"packed too large":        {says(400, "PackedPolicyTooLarge"), false, 1},
		"throttled":               {says(400, "Throttling"), false, 3},
		"provider not reached":    {says(400, "IDPCommunicationError"), false, 3},
		"429":                     {says(429, "SomethingNew"), false, 3},
		"429 without a reason":    {body(429, ""), false, 3},
		"500":                     {says(500, "InternalFailure"), false, 3},
		"503":                     {says(503, "ServiceUnavailable"), false, 3},
		"503 of a load balancer":  {body(503, "<html>busy</html>"), true, 1},
		"403 without a reason":    {body(403, "no"), false, 1},
		"502 with AWS's document": {says(502, "InternalFailure"), false, 3},
		"504 with AWS's document": {says(504, "InternalFailure"), false, 3},
		"502 of one in between":   {body(502, "<html>bad gateway</html>"), true, 1},
		"504 of one in between":   {body(504, ""), true, 1},
		"599":                     {body(599, ""), true, 1},
		"a huge error":            {[]standin.STSFault{{Fault: standin.Fault{Status: 400, Size: 10 << 20}}}, true, 1},
		"half an error":           {[]standin.STSFault{{Code: "AccessDenied", Cut: true}}, true, 1},

		"another role":        {lie(func(a *standin.STSAnswer) { a.ARN = strings.Replace(a.ARN, "deployer", "admin", 1) }), true, 1},
		"another account":     {lie(func(a *standin.STSAnswer) { a.ARN = strings.Replace(a.ARN, account, "444455556666", 1) }), true, 1},
		"another session":     {lie(func(a *standin.STSAnswer) { a.ARN += "x" }), true, 1},
		"another partition":   {lie(func(a *standin.STSAnswer) { a.ARN = strings.Replace(a.ARN, "arn:aws:", "arn:aws-cn:", 1) }), true, 1},
		"the path kept":       {lie(func(a *standin.STSAnswer) { a.ARN = strings.Replace(a.ARN, "deployer", "ci/deployer", 1) }), true, 1},
		"no role":             {lie(func(a *standin.STSAnswer) { a.ARN, a.RoleID = "", "" }), true, 1},
		"no key":              {lie(func(a *standin.STSAnswer) { a.AccessKeyID = "" }), true, 1},
		"a short key":         {lie(func(a *standin.STSAnswer) { a.AccessKeyID = "ASIA" }), true, 1},
		"a broken key":        {lie(func(a *standin.STSAnswer) { a.AccessKeyID += "\nX" }), true, 1},
		"no secret":           {lie(func(a *standin.STSAnswer) { a.SecretKey = "" }), true, 1},
		"a broken secret":     {lie(func(a *standin.STSAnswer) { a.SecretKey += " x" }), true, 1},
		"a long secret":       {lie(func(a *standin.STSAnswer) { a.SecretKey = strings.Repeat("x", 257) }), true, 1},
		"no token":            {lie(func(a *standin.STSAnswer) { a.SessionToken = "" }), true, 1},
		"a broken token":      {lie(func(a *standin.STSAnswer) { a.SessionToken += "\r\nX: y" }), true, 1},
		"a long token":        {lie(func(a *standin.STSAnswer) { a.SessionToken = strings.Repeat("x", 17<<10) }), true, 1},
		"no expiry":           {lie(func(a *standin.STSAnswer) { a.Expiration = "" }), true, 1},
		"an expiry in words":  {lie(func(a *standin.STSAnswer) { a.Expiration = "tomorrow" }), true, 1},
		"a longer expiry":     {lie(func(a *standin.STSAnswer) { a.Expiration = "2026-09-01T12:16:01Z" }), true, 1},
		"an expiry far away":  {lie(func(a *standin.STSAnswer) { a.Expiration = "9999-12-31T23:59:59Z" }), true, 1},
		"expired credentials": {lie(func(a *standin.STSAnswer) { a.Expiration = "2026-09-01T12:00:00Z" }), true, 1},
		"no credentials": {lie(func(a *standin.STSAnswer) {
			a.AccessKeyID, a.SecretKey, a.SessionToken, a.Expiration = "", "", "", ""
		}), true, 1},

		"a redirect":           {[]standin.STSFault{{Fault: standin.Fault{Location: evil.URL}}}, true, 1},
		"a redirect with form": {[]standin.STSFault{{Fault: standin.Fault{Location: evil.URL, Status: 307}}}, true, 1},
		"201":                  {[]standin.STSFault{{Fault: standin.Fault{Status: 201}}}, true, 1},
		"nothing":              {body(200, ""), true, 1},
		"garbage":              {body(200, "\x00\xff garbage CANARY"), true, 1},
		"JSON":                 {body(200, `{"Credentials":{"SecretAccessKey":"CANARY"}}`), true, 1},
		"an error with 200":    {body(200, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"), true, 1},
		"another document":     {body(200, "<AssumeRoleResponse/>"), true, 1},
		"half an answer":       {[]standin.STSFault{{Cut: true}}, true, 1},
		"no answer":            {[]standin.STSFault{{Drop: true}}, true, 1},
		"half a document":      {body(200, open+credentials("CANARY")), true, 1},
		"no end":               {body(200, open+credentials("CANARY")+"</AssumeRoleWithWebIdentityResult>"), true, 1},
		"a member twice":       {body(200, open+credentials("CANARY</SessionToken><SessionToken>other")+closed), true, 1},
		"twice by case":        {body(200, open+credentials("CANARY</SessionToken><sessiontoken>other</sessiontoken><x>")+closed), true, 1},
		"two documents":        {body(200, open+credentials("CANARY")+closed+open+closed), true, 1},
		"text around":          {body(200, open+credentials("CANARY")+closed+"x"), true, 1},
		"an XML bomb": {body(200, `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`+
			open+credentials("&b;")+closed), true, 1},
		"an entity":         {body(200, open+credentials("&canary;")+closed), true, 1},
		"another charset":   {body(200, `<?xml version="1.0" encoding="utf-7"?>`+open+credentials("CANARY")+closed), true, 1},
		"deep nesting":      {body(200, open+strings.Repeat("<a>", 60_000)), true, 1},
		"many attributes":   {body(200, "<x "+strings.Repeat(`a="b" `, 30_000)+"/>"), true, 1},
		"10 MB":             {[]standin.STSFault{{Fault: standin.Fault{Size: 10 << 20}}}, true, 1},
		"50 MB":             {[]standin.STSFault{{Fault: standin.Fault{Size: 50 << 20}}}, true, 1},
		"a gzip bomb":       {[]standin.STSFault{{Fault: standin.Fault{Body: packed.Bytes(), Header: http.Header{"Content-Encoding": {"gzip"}}}}}, true, 1},
		"a broken encoding": {[]standin.STSFault{{Fault: standin.Fault{Header: http.Header{"Content-Encoding": {"br"}}}}}, true, 1},

		"throttled, then cut":    {[]standin.STSFault{says(400, "Throttling")[0], {Cut: true}}, true, 2},
		"500, then lies":         {[]standin.STSFault{says(500, "InternalFailure")[0], lie(func(a *standin.STSAnswer) { a.ARN += "x" })[0]}, true, 2},
		"cut, then it would say": {[]standin.STSFault{{Cut: true}, says(403, "AccessDenied")[0]}, true, 1},
		"500, then denied":       {[]standin.STSFault{says(500, "InternalFailure")[0], says(403, "AccessDenied")[0]}, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, s := atAWS(t, nil)
			s.Fail(tt.faults...)
			_, err := m.Mint(t.Context(), order(t))
			e := fails(t, err)
			if e.Code != exchange.Unavailable || e.Reason != trust.ReasonMintFailed || e.RetryAfter <= 0 || e.Err == nil || e.Tell != "" {
				t.Errorf("%+v", e)
			}
			if e.Issued != tt.issued {
				t.Errorf("issued: %v (%v)", e.Issued, e)
			}
			if n := len(s.Requests()); n != tt.attempts {
				t.Errorf("%d attempts (%v)", n, e)
			}
			tellsNoSecret(t, s, e)
		})
	}
}

// tellsNoSecret asserts that an error holds nothing that a thief could use.
func tellsNoSecret(t *testing.T, s *standin.STS, e *exchange.Error) {
	t.Helper()
	text := e.Error()
	secrets := []string{"CANARY", "eyJ"}
	for _, r := range s.Requests() {
		token := r.Form.Get("WebIdentityToken")
		secrets = append(secrets, token, token[strings.LastIndexByte(token, '.')+1:])
		if r.Issued.SecretKey != "" {
			secrets = append(secrets, r.Issued.SecretKey, r.Issued.SessionToken)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("a secret in %q", text)
		}
	}
	if len(text) > 1000 || strings.ContainsAny(text, "\r\n\x00") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

func TestMintRecovers(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	s.Fail(standin.STSFault{Code: "Throttling"}, standin.STSFault{Fault: standin.Fault{Status: 503}, Code: "ServiceUnavailable"}, standin.STSFault{})
	got, err := m.Mint(t.Context(), order(t))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Requests()); n != 3 || s.Sessions()[got.Handle].ARN == "" {
		t.Errorf("%d attempts, handle %q", n, got.Handle)
	}
}

// What AWS says reaches the journal whole, but for tokens and line breaks.
func TestMintTellsWhatAWSSaid(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	o := order(t)
	o.Grant.Extra = map[string]any{"tags": map[string]string{"a": "b", "repository": "acme/app"}}
	s.Fail(standin.STSFault{Code: "PackedPolicyTooLarge", Message: "Packed size\nconsumes 128% of eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.abc_-9 allotted space. " + strings.Repeat("é", 600)})
	_, err := m.Mint(t.Context(), o)
	e := fails(t, err)
	text := e.Err.Error()
	for _, want := range []string{"400", "PackedPolicyTooLarge", "Packed size consumes 128% of [removed] allotted space.", "(request ", "the largest tag is tags.repository"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	tellsNoSecret(t, s, e)
}

// A message that quotes our own assertion, whole or only its signature.
func TestMintHidesAnEcho(t *testing.T) {
	t.Parallel()
	o := order(t)
	echo := roundTrip(func(r *http.Request) (*http.Response, error) {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		token := r.PostForm.Get("WebIdentityToken")
		body := "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>bad: " + token + " signed " +
			token[strings.LastIndexByte(token, '.')+1:] + " end</Message></Error><RequestId>" + token + "</RequestId></ErrorResponse>"
		return answer(http.StatusBadRequest, []byte(body)), nil
	})
	m, err := aws.New(aws.Config{Account: account, Region: "eu-central-1", Audience: audience, Now: start, Transport: echo})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Mint(t.Context(), o)
	e := fails(t, err)
	if got, want := e.Err.Error(), "AWS answered 400 InvalidIdentityToken: bad: [removed] signed [removed] end (request [removed])"; got != want {
		t.Errorf("%q", got)
	}
}

func TestMintTimesOut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]standin.STSFault{
		"no answer":   {Fault: standin.Fault{Hang: true}},
		"late answer": {Fault: standin.Fault{Delay: time.Minute}},
	} {
		m, s := atAWS(t, func(c *aws.Config) { c.Timeout = 300 * time.Millisecond })
		s.Fail(fault)
		_, err := m.Mint(t.Context(), order(t))
		if e := fails(t, err); !e.Issued || e.Reason != trust.ReasonMintFailed {
			t.Errorf("%s: %+v", name, e)
		}
		if n := len(s.Requests()); n != 1 {
			t.Errorf("%s: %d attempts", name, n)
		}
	}
}

// Where nothing was sent, nothing was issued.
func TestMintNoConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // only to find a port that is closed
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	_ = l.Close()
	wrong := openSTS(t, standin.STSConfig{TLS: &standin.TLS{}})
	for name, endpoint := range map[string]string{"a closed port": gone, "a foreign certificate": wrong.URL()} {
		m, err := aws.New(aws.Config{Audience: audience, Now: start, Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Mint(t.Context(), order(t))
		if e := fails(t, err); e.Issued || e.Reason != trust.ReasonMintFailed || e.Code != exchange.Unavailable {
			t.Errorf("%s: %+v", name, e)
		}
	}
	// A transport that does not tell whether it had a connection may have sent.
	var calls atomic.Int64
	m, err := aws.New(aws.Config{Region: "eu-central-1", Audience: audience, Now: start, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		calls.Add(1)
		return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
	})})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Mint(t.Context(), order(t))
	if e := fails(t, err); !e.Issued || calls.Load() != 1 {
		t.Errorf("after %d calls: %+v", calls.Load(), e)
	}
}

func TestMintBulkhead(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, func(c *aws.Config) { c.MaxInFlight, c.Timeout = 1, 2*time.Second })
	s.Fail(standin.STSFault{Fault: standin.Fault{Hang: true}}, standin.STSFault{})
	stalled := make(chan error, 1)
	go func() {
		_, err := m.Mint(context.Background(), order(t))
		stalled <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); len(s.Requests()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first call never came")
		}
	}
	_, err := m.Mint(t.Context(), order(t))
	if e := fails(t, err); e.Issued || e.Code != exchange.Unavailable || e.Reason != trust.ReasonTargetBusy || e.RetryAfter <= 0 {
		t.Errorf("%+v", e)
	}
	if e := fails(t, <-stalled); !e.Issued {
		t.Errorf("the stalled one: %+v", e)
	}
	if _, err := m.Mint(t.Context(), order(t)); err != nil {
		t.Errorf("the place is not free again: %v", err)
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// With another endpoint the ARN is the store's own affair; all else is checked.
func TestMintOtherEndpoint(t *testing.T) {
	t.Parallel()
	s := openSTS(t, standin.STSConfig{})
	m, err := aws.New(aws.Config{Account: account, Audience: audience, Endpoint: s.URL(), Now: start})
	if err != nil {
		t.Fatal(err)
	}
	s.Fail(standin.STSFault{Edit: func(a *standin.STSAnswer) { a.ARN, a.RoleID = "", "" }})
	if _, err := m.Mint(t.Context(), order(t)); err != nil {
		t.Error(err)
	}
	s.Fail(standin.STSFault{Edit: func(a *standin.STSAnswer) { a.Expiration = "2027-09-01T12:00:00Z" }})
	_, err = m.Mint(t.Context(), order(t))
	if e := fails(t, err); !e.Issued {
		t.Errorf("%+v", e)
	}
}

// Nothing around the process changes where the call goes, or what goes with it.
func TestMintUsesNothingAmbient(t *testing.T) {
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s went elsewhere", r.Method, r.URL)
	}))
	defer evil.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAAMBIENTAMBIENTAM", "AWS_SECRET_ACCESS_KEY": "ambient", "AWS_SESSION_TOKEN": "ambient",
		"AWS_PROFILE": "ambient", "AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-2",
		"AWS_ENDPOINT_URL": evil.URL, "AWS_ENDPOINT_URL_STS": evil.URL,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": evil.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT": evil.URL,
		"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere", "AWS_ROLE_ARN": "arn:aws:iam::444455556666:role/ambient",
		"AWS_CONFIG_FILE": "/nowhere", "AWS_CA_BUNDLE": "/nowhere", "AWS_NEW_RETRIES_2026": "true",
		"AWS_LAMBDA_FUNCTION_NAME": "ambient", "_X_AMZN_TRACE_ID": "ambient",
		"HTTPS_PROXY": evil.URL, "HTTP_PROXY": evil.URL, "ALL_PROXY": evil.URL,
	} {
		t.Setenv(name, value)
	}
	m, s := atAWS(t, nil)
	if _, err := m.Mint(t.Context(), order(t)); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Requests()); n != 1 {
		t.Fatalf("%d requests", n)
	}
	for name, values := range s.Requests()[0].Header {
		if name == "Authorization" || name == "X-Amz-Security-Token" || strings.Contains(strings.Join(values, " "), "ambient") || strings.Contains(strings.Join(values, " "), "AMBIENT") {
			t.Errorf("%s: %v", name, values)
		}
	}
	s.Fail(standin.STSFault{Code: "Throttling"})
	if _, err := m.Mint(t.Context(), order(t)); fails(t, err).Issued {
		t.Error(err)
	}
	if n := len(s.Requests()); n != 1+3 {
		t.Errorf("%d requests", n)
	}
}

// An order that no decision could have led to is not sent.
func TestMintRefusesABrokenOrder(t *testing.T) {
	t.Parallel()
	m, s := atAWS(t, nil)
	for name, change := range map[string]func(*exchange.Order){
		"no role":             func(o *exchange.Order) { o.Grant.Resource = "" },
		"another account":     func(o *exchange.Order) { o.Grant.Resource = "arn:aws:iam::444455556666:role/deployer" },
		"a policy as a map":   func(o *exchange.Order) { o.Grant.Extra = map[string]any{"policy": map[string]any{}} },
		"an empty policy":     func(o *exchange.Order) { o.Grant.Extra = map[string]any{"policy": ""} },
		"ARNs as any":         func(o *exchange.Order) { o.Grant.Extra = map[string]any{"policy_arns": []any{"x"}} },
		"tags as any":         func(o *exchange.Order) { o.Grant.Extra = map[string]any{"tags": map[string]any{"a": "b"}} },
		"no source identity":  func(o *exchange.Order) { o.Grant.Extra = map[string]any{"source_identity": nil} },
		"a field of tomorrow": func(o *exchange.Order) { o.Grant.Extra = map[string]any{"boundary": "x"} },
		"an assertion that lives for ever": func(o *exchange.Order) {
			o.Expires = o.Issued.Add(100 * time.Hour)
		},
	} {
		o := order(t)
		change(&o)
		_, err := m.Mint(t.Context(), o)
		if e := fails(t, err); e.Code != exchange.ServerError || e.Reason != trust.ReasonMintFailed || e.Issued {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	good := aws.Config{Account: account, Region: "eu-central-1", Audience: audience, Now: start}
	if _, err := aws.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*aws.Config){
		"no clock":          func(c *aws.Config) { c.Now = nil },
		"no audience":       func(c *aws.Config) { c.Audience = "" },
		"a short account":   func(c *aws.Config) { c.Account = "1111" },
		"a pattern":         func(c *aws.Config) { c.Account = "............" },
		"no region":         func(c *aws.Config) { c.Region = "" },
		"a region's host":   func(c *aws.Config) { c.Region = "evil.example/x" },
		"plain http":        func(c *aws.Config) { c.Endpoint = "http://sts.example" },
		"looks like loop":   func(c *aws.Config) { c.Endpoint = "http://127.0.0.1.evil.example" },
		"a password":        func(c *aws.Config) { c.Endpoint = "https://user:password@sts.example" },
		"a query":           func(c *aws.Config) { c.Endpoint = "https://sts.example/?x=1" },
		"no host":           func(c *aws.Config) { c.Endpoint = "https://" },
		"another scheme":    func(c *aws.Config) { c.Endpoint = "ftp://127.0.0.1/" },
		"negative places":   func(c *aws.Config) { c.MaxInFlight = -1 },
		"negative time-out": func(c *aws.Config) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		if _, err := aws.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, endpoint := range []string{"https://minio.acme.example", "http://127.0.0.1:9000", "http://[::1]:9000/", "http://localhost:9000"} {
		c := good
		c.Region, c.Endpoint = "", endpoint
		if _, err := aws.New(c); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
