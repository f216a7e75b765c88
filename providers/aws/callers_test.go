package aws_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/providers/aws"
	"cambio/providers/oidc"
	"cambio/providers/providertest"
	"cambio/trust"
)

const (
	gateway = "https://id.acme.example"
	query   = "?Action=GetCallerIdentity&Version=2011-06-15"
)

// session is a role's temporary credentials, as AWS knows them.
type session struct {
	keyID, secret, token string
	arn, id, account     string
}

func deploySession() session {
	return session{
		keyID: "ASIA2EXAMPLE2EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token: strings.Repeat("FwoGZXIvYXdzEXAMPLE//", 20) + "==",
		arn: "arn:aws:sts::111122223333:assumed-role/payments-deploy/i-0abc1234def567890", id: "AROA2EXAMPLE2EXAMPLE2:i-0abc1234def567890", account: "111122223333",
	}
}

// sign is what AWS's own SDK makes of a request: the oracle.
func (s session) sign(tb testing.TB, method, address, service, region string, at time.Time, headers map[string]string) *http.Request { //nolint:thelper // asked within a fuzz target too, where the outer Helper panics
	req, err := http.NewRequestWithContext(context.Background(), method, address, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	sum := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(context.Background(), sdk.Credentials{AccessKeyID: s.keyID, SecretAccessKey: s.secret, SessionToken: s.token}, req, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		tb.Fatal(err)
	}
	return req
}

// envelope is what a workload sends, with its members in a fixed order.
type envelope struct {
	URL     string   `json:"url"`
	Method  string   `json:"method"`
	Headers []header `json:"headers"`
}

type header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (e *envelope) text(tb testing.TB) string {
	tb.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func textOf(tb testing.TB, e envelope) string {
	tb.Helper()
	return e.text(tb)
}

func (e *envelope) header(name string) *header {
	i := slices.IndexFunc(e.Headers, func(h header) bool { return h.Key == name })
	if i < 0 {
		e.Headers = append(e.Headers, header{Key: name})
		i = len(e.Headers) - 1
	}
	return &e.Headers[i]
}

// asked is a request for one region and audience, signed by the SDK.
func (s session) asked(tb testing.TB, host, region, audience string, at time.Time) envelope {
	tb.Helper()
	req := s.sign(tb, http.MethodPost, "https://"+host+"/"+query, "sts", region, at, map[string]string{"X-Cambio-Audience": audience})
	return envelope{URL: "https://" + host + "/" + query, Method: http.MethodPost, Headers: []header{
		{"authorization", req.Header.Get("Authorization")},
		{"host", host},
		{"x-amz-date", req.Header.Get("X-Amz-Date")},
		{"x-amz-security-token", req.Header.Get("X-Amz-Security-Token")},
		{"x-cambio-audience", audience},
	}}
}

// realm is AWS's Security Token Service as far as GetCallerIdentity goes: it proves the
// signature with what it knows, and takes nothing that the gateway has no reason to
// send.
type realm struct {
	*httptest.Server
	tb       testing.TB
	sessions map[string]session
	mu       sync.Mutex
	calls    int
	hosts    []string
	answer   func(w http.ResponseWriter, r *http.Request) bool // true: it answered
}

func openRealm(tb testing.TB, sessions ...session) *realm {
	tb.Helper()
	s := &realm{tb: tb, sessions: map[string]session{}}
	for _, one := range sessions {
		s.sessions[one.keyID] = one
	}
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

func (s *realm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls++
	s.hosts = append(s.hosts, r.Host)
	answer := s.answer
	s.mu.Unlock()
	known := map[string]bool{"Authorization": true, "X-Amz-Date": true, "X-Amz-Security-Token": true, "X-Cambio-Audience": true, "User-Agent": true, "Accept-Encoding": true, "Content-Length": true}
	for name, values := range r.Header {
		if !known[name] || len(values) != 1 {
			s.tb.Errorf("AWS got the header %s: %q", name, values)
		}
	}
	if r.Method != http.MethodPost || r.URL.Path != "/" || "?"+r.URL.RawQuery != query || r.ContentLength > 0 {
		s.tb.Errorf("AWS was asked %s %s with %d bytes", r.Method, r.URL, r.ContentLength)
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	if answer != nil && answer(w, r) {
		return
	}
	keyID, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
	one, found := s.sessions[keyID]
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if !found || err != nil || one.token != r.Header.Get("X-Amz-Security-Token") {
		fault(w, http.StatusForbidden, "InvalidClientTokenId")
		return
	}
	region := "us-east-1"
	if parts := strings.Split(r.Host, "."); len(parts) > 3 {
		region = parts[1]
	}
	again := one.sign(s.tb, http.MethodPost, "https://"+r.Host+"/"+query, "sts", region, at, map[string]string{"X-Cambio-Audience": r.Header.Get("X-Cambio-Audience")})
	if again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		fault(w, http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	one.write(w)
}

func fault(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>`, code)
}

func (s session) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprint(w, s.document())
}

func (s session) document() string {
	return `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>` + s.arn +
		`</Arn><UserId>` + s.id + `</UserId><Account>` + s.account + `</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>`
}

func (s *realm) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// callers is a gateway's verifier whose requests go to the stand-in.
func (s *realm) callers(tb testing.TB, now func() time.Time, change ...func(*oidc.Provider)) *aws.Callers {
	tb.Helper()
	p := oidc.Provider{Name: "aws", Type: "aws-caller-identity", Audiences: []string{gateway}, Endpoint: s.URL, InsecureLoopback: true}
	for _, f := range change {
		f(&p)
	}
	c, err := aws.NewCallers(aws.CallersConfig{TrustDomain: "gw.test", Providers: []oidc.Provider{p}, Now: now, Timeout: 5 * time.Second})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// only is the verifier as the catalogue's set is one, for what is of no other type.
type only struct{ *aws.Callers }

func (o only) Verify(ctx context.Context, s exchange.Subject) (exchange.Proof, error) {
	if s.Type != exchange.SubjectAWS {
		return exchange.Proof{}, exchange.Refuse(trust.ReasonTokenType, nil)
	}
	return o.Callers.Verify(ctx, s.Token)
}

func refused(tb testing.TB, err error) *exchange.Error {
	tb.Helper()
	var e *exchange.Error
	if !errors.As(err, &e) {
		tb.Fatalf("%v is no refusal", err)
	}
	return e
}

const regional = "sts.eu-central-1.amazonaws.com"

// TestCallers runs the suite of verifiers; its rows are CLD-01: each is a request that
// is not exactly the one form.
func TestCallers(t *testing.T) {
	t.Parallel()
	s := deploySession()
	at := openRealm(t, s)
	good := func() envelope { return s.asked(t, regional, "eu-central-1", gateway, start()) }
	broken := map[string]providertest.Broken{}
	wrong := func(name string, reason trust.Reason, change func(e *envelope)) {
		e := good()
		e.Headers = slices.Clone(e.Headers)
		change(&e)
		broken[name] = providertest.Broken{Subject: exchange.Subject{Type: exchange.SubjectAWS, Token: e.text(t)}, Reason: reason}
	}
	invalid := func(name string, change func(e *envelope)) {
		wrong("CLD-01 "+name, trust.ReasonAWSRequestInvalid, change)
	}
	text := func(name, token string) {
		broken["CLD-01 "+name] = providertest.Broken{Subject: exchange.Subject{Type: exchange.SubjectAWS, Token: token}, Reason: trust.ReasonAWSRequestInvalid}
	}

	for _, host := range []string{
		"evil.example", "sts.amazonaws.com.evil.io", "evil-sts.amazonaws.com", "sts.amazonaws.com:8443", "STS.amazonaws.com", "sts.amazonaws.com.",
		"sts.s3-eu-west-1.amazonaws.com", "sts.eu-central-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com", "sts.a.b.amazonaws.com", "sts..amazonaws.com",
		"sts.evil-west-1.amazonaws.com", "iam.amazonaws.com", "sts.amazonaws.com@evil.io", "169.254.169.254", "", "sts.amazonaws.com\r\nX: y",
	} {
		invalid("host "+host, func(e *envelope) { e.header("host").Value, e.URL = host, "https://"+host+"/"+query })
		invalid("host header "+host, func(e *envelope) { e.header("host").Value = host })
	}
	for _, address := range []string{
		"https://sts.amazonaws.com.evil.io/" + query, "https://evil.example/" + query, "http://" + regional + "/" + query, "https://" + regional,
		"https://" + regional + "/?Action=AssumeRole&Version=2011-06-15", "https://" + regional + "/x" + query, "https://" + regional + "//" + query,
		"https://" + regional + "/?Version=2011-06-15&Action=GetCallerIdentity", "https://" + regional + "/" + query + "&Action=AssumeRole",
		"https://" + regional + "/" + query + "#x", "https://u:p@" + regional + "/" + query, "HTTPS://" + regional + "/" + query,
		"https://" + regional + "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + strings.Repeat("0", 64),
		"https://" + regional + "/%3FAction=GetCallerIdentity&Version=2011-06-15", "",
	} {
		invalid("url "+address, func(e *envelope) { e.URL = address })
	}
	for _, method := range []string{"GET", "post", "PUT", "POST ", ""} {
		invalid("method "+method, func(e *envelope) { e.Method = method })
	}
	for _, extra := range []header{
		{"accept", "application/json"},
		{"Accept", "application/json"},
		{"content-type", "application/json"},
		{"x-amz-target", "x"},
		{"x-goog-cloud-target-resource", gateway},
		{"cookie", "a=b"},
		{"", ""},
		{"x-amz-content-sha256", strings.Repeat("0", 64)},
		{"transfer-encoding", "chunked"},
	} {
		invalid("extra header "+extra.Key, func(e *envelope) { e.Headers = append(e.Headers, extra) })
		invalid("in place of the date: "+extra.Key, func(e *envelope) { *e.header("x-amz-date") = extra })
	}
	for _, name := range []string{"authorization", "host", "x-amz-date", "x-amz-security-token", "x-cambio-audience"} {
		invalid("without "+name, func(e *envelope) {
			e.Headers = slices.DeleteFunc(e.Headers, func(h header) bool { return h.Key == name })
		})
		invalid("twice "+name, func(e *envelope) { e.Headers = append(e.Headers, *e.header(name)) })
		invalid("twice in other letters "+name, func(e *envelope) {
			e.Headers = append(e.Headers, header{strings.ToUpper(name), e.header(name).Value})
		})
		invalid("empty "+name, func(e *envelope) { e.header(name).Value = "" })
		invalid("two lines "+name, func(e *envelope) { e.header(name).Value += "\r\nx-evil: 1" })
		invalid("beyond ASCII "+name, func(e *envelope) { e.header(name).Value += "é" })
	}
	authorization := func(name string, change func(a string) string) {
		invalid("authorization "+name, func(e *envelope) { h := e.header("authorization"); h.Value = change(h.Value) })
	}
	swap := func(old, now string) func(string) string {
		return func(a string) string { return strings.Replace(a, old, now, 1) }
	}
	authorization("without our audience", swap(";x-cambio-audience", ""))
	authorization("without the session", swap(";x-amz-security-token", ""))
	authorization("over one more", swap("SignedHeaders=", "SignedHeaders=accept;"))
	authorization("over one twice", swap("SignedHeaders=host", "SignedHeaders=host;host"))
	authorization("of another service", swap("/sts/", "/iam/"))
	authorization("of another region", swap("/eu-central-1/", "/us-east-1/"))
	authorization("of a user's key", swap("=ASIA", "=AKIA"))
	authorization("of another day", swap("/20260901/", "/20260831/"))
	authorization("of another algorithm", swap("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"))
	authorization("in capitals", strings.ToUpper)
	authorization("a signature in capitals", func(a string) string {
		i := strings.LastIndex(a, "=") + 1
		return a[:i] + strings.Repeat("A", 64)
	})
	authorization("a short signature", func(a string) string { return a[:len(a)-1] })
	authorization("a long signature", func(a string) string { return a + "0" })
	authorization("two", func(a string) string { return a + ", " + a })
	for _, stamp := range []string{"20260901T120000", "20260901T126000Z", "2026-09-01T12:00:00Z", "20260901T120000Z ", "1795320000"} {
		invalid("date "+stamp, func(e *envelope) { e.header("x-amz-date").Value = stamp })
	}
	invalid("a session token with a comma", func(e *envelope) { e.header("x-amz-security-token").Value += "," })
	invalid("an endless session token", func(e *envelope) { e.header("x-amz-security-token").Value = strings.Repeat("a", 9<<10) })
	invalid("an endless nonce", func(e *envelope) { e.header("x-cambio-audience").Value += "?nonce=" + strings.Repeat("a", 257) })
	invalid("a nonce that is none", func(e *envelope) { e.header("x-cambio-audience").Value += "?nonce=a b" })
	plain := textOf(t, good())
	text("a body", strings.Replace(plain, `{"url"`, `{"body":"Action=AssumeRole","url"`, 1))
	text("a member twice", strings.Replace(plain, `{"url"`, `{"url":"https://evil.example","url"`, 1))
	text("a member in capitals", strings.Replace(plain, `"url"`, `"URL"`, 1))
	text("headers as an object", `{"url":"https://`+regional+`/`+query+`","method":"POST","headers":{"host":"x"}}`)
	text("a header with more", strings.Replace(plain, `{"key":"host"`, `{"more":"x","key":"host"`, 1))
	text("a header's value that is no text", strings.Replace(plain, `"value":"`+regional+`"`, `"value":["`+regional+`"]`, 1))
	text("a header as a text", strings.Replace(plain, `"headers":[`, `"headers":["host",`, 1))
	text("something behind it", plain+"{}")
	text("something before it", " "+plain)
	text("encoded twice", url.QueryEscape(url.QueryEscape(plain)))
	text("half an escape", url.QueryEscape(plain)[:len(url.QueryEscape(plain))-1])
	text("a presigned URL", "https://"+regional+"/"+query+"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host&X-Amz-Signature="+strings.Repeat("0", 64))
	text("a JWT", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA")
	text("nothing", "{}")

	wrong("another audience", trust.ReasonAWSRequestInvalid, func(e *envelope) { e.header("x-cambio-audience").Value = "https://id.evil.example" })
	wrong("our audience in capitals", trust.ReasonAWSRequestInvalid, func(e *envelope) { e.header("x-cambio-audience").Value = strings.ToUpper(gateway) })
	wrong("a nonce of ours that is too long", trust.ReasonAWSRequestInvalid, func(e *envelope) { e.header("x-cambio-audience").Value += "?nonce=cn1.x?nonce=y" })
	signed := func(name string, reason trust.Reason, e envelope) {
		broken[name] = providertest.Broken{Subject: exchange.Subject{Type: exchange.SubjectAWS, Token: e.text(t)}, Reason: reason}
	}
	signed("too old", trust.ReasonTooOld, s.asked(t, regional, "eu-central-1", gateway, start().Add(-5*time.Minute-31*time.Second)))
	signed("from the future", trust.ReasonIatFuture, s.asked(t, regional, "eu-central-1", gateway, start().Add(31*time.Second)))
	// What AWS alone can see.
	wrong("the audience was changed", trust.ReasonAWSSignature, func(e *envelope) { e.header("x-cambio-audience").Value += "?nonce=x" })
	wrong("the date was changed", trust.ReasonAWSSignature, func(e *envelope) { e.header("x-amz-date").Value = "20260901T120001Z" })
	wrong("the session was changed", trust.ReasonAWSSignature, func(e *envelope) { e.header("x-amz-security-token").Value += "A" })
	stranger := s
	stranger.secret = "another+secret/another+secret/another+secr"
	signed("another secret", trust.ReasonAWSSignature, stranger.asked(t, regional, "eu-central-1", gateway, start()))
	stranger.keyID = "ASIA2EXAMPLE2UNKNOWN"
	signed("an unknown key", trust.ReasonAWSSignature, stranger.asked(t, regional, "eu-central-1", gateway, start()))
	forGoogle := s.sign(t, http.MethodPost, "https://"+regional+"/"+query, "sts", "eu-central-1", start(), nil)
	e := good()
	e.header("authorization").Value = forGoogle.Header.Get("Authorization")
	broken["CLD-01 made for another relying party"] = providertest.Broken{Subject: exchange.Subject{Type: exchange.SubjectAWS, Token: e.text(t)}, Reason: trust.ReasonAWSRequestInvalid}

	providertest.Verifier{
		Set:     only{at.callers(t, start)},
		Good:    exchange.Subject{Type: exchange.SubjectAWS, Token: textOf(t, good())},
		Broken:  broken,
		Secrets: []string{s.token, s.secret, s.token[10:60]},
		Check: func(tb testing.TB, proof exchange.Proof) {
			tb.Helper()
			want := map[string]any{
				"iss": "https://sts.amazonaws.com", "aud": gateway, "sub": "arn:aws:iam::111122223333:role/payments-deploy",
				"iat": start().Unix(), "exp": start().Add(15 * time.Minute).Unix(), "account": "111122223333", "partition": "aws",
				"role": "payments-deploy", "session": "i-0abc1234def567890", "unique_id": "AROA2EXAMPLE2EXAMPLE2",
			}
			if diff := cmp.Diff(want, proof.Claims); diff != "" {
				tb.Error(diff)
			}
			if proof.Workload != "spiffe://gw.test/aws/111122223333/AROA2EXAMPLE2EXAMPLE2" || strings.Contains(proof.Workload, proof.Claims["session"].(string)) { //nolint:forcetypeassert // compared above
				tb.Errorf("the workload is %s", proof.Workload)
			}
		},
	}.Run(t)
	for _, host := range at.hosts {
		if host != regional {
			t.Errorf("AWS was asked as %s", host)
		}
	}
}

// The envelope has several spellings; what it proves, and the key of its one use, has
// one.
func TestCallerSpellings(t *testing.T) {
	t.Parallel()
	s := deploySession()
	at := openRealm(t, s)
	c := at.callers(t, start)
	e := s.asked(t, regional, "eu-central-1", gateway, start())
	first, err := c.Verify(t.Context(), e.text(t))
	if err != nil {
		t.Fatal(err)
	}
	google := e // as Google's libraries write it
	google.URL = "https://" + regional + query
	reversed := e
	reversed.Headers = slices.Clone(e.Headers)
	slices.Reverse(reversed.Headers)
	capitals := e
	capitals.Headers = slices.Clone(e.Headers)
	for i := range capitals.Headers {
		capitals.Headers[i].Key = http.CanonicalHeaderKey(capitals.Headers[i].Key)
	}
	spaced := e
	spaced.Headers = slices.Clone(e.Headers)
	spaced.header("authorization").Value = strings.ReplaceAll(e.header("authorization").Value, ", ", ",")
	for name, token := range map[string]string{
		"URL-encoded": url.QueryEscape(e.text(t)), "as encodeURIComponent": strings.ReplaceAll(url.QueryEscape(e.text(t)), "+", "%20"),
		"Google's URL": google.text(t), "another order": reversed.text(t), "capitals": capitals.text(t), "without spaces": spaced.text(t),
	} {
		proof, err := c.Verify(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if proof.ReplayKey != first.ReplayKey {
			t.Errorf("%s: one request has two uses", name)
		}
	}
	if at.asked() != 1 {
		t.Errorf("AWS was asked %d times about one request", at.asked())
	}
}

// Each partition has its own names, and its signatures are good there alone.
func TestCallerPartitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, region, partition string }{
		{"sts.amazonaws.com", "us-east-1", "aws"},
		{"sts.us-east-1.amazonaws.com", "us-east-1", "aws"},
		{"sts.ap-southeast-2.amazonaws.com", "ap-southeast-2", "aws"},
		{"sts.il-central-1.amazonaws.com", "il-central-1", "aws"},
		{"sts.us-gov-west-1.amazonaws.com", "us-gov-west-1", "aws-us-gov"},
		{"sts.cn-north-1.amazonaws.com.cn", "cn-north-1", "aws-cn"},
	} {
		s := deploySession()
		s.arn = strings.Replace(s.arn, "arn:aws:", "arn:"+c.partition+":", 1)
		at := openRealm(t, s)
		e := s.asked(t, c.host, c.region, gateway, start())
		proof, err := at.callers(t, start).Verify(t.Context(), e.text(t))
		if err != nil || proof.Subject != "arn:"+c.partition+":iam::111122223333:role/payments-deploy" {
			t.Errorf("%s: %v, %s", c.host, err, proof.Subject)
		}
		at.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			other := s
			other.arn = strings.Replace(s.arn, "arn:"+c.partition+":", map[bool]string{true: "arn:aws-cn:", false: "arn:aws:"}[c.partition == "aws"], 1)
			other.write(w)
			return true
		}
		if _, err := at.callers(t, start).Verify(t.Context(), e.text(t)); refused(t, err).Reason != trust.ReasonProofUnavailable {
			t.Errorf("%s: an answer of another partition: %v", c.host, err)
		}
	}
}

// Each row is a way in which AWS, or who poses as it, answers otherwise. Only AWS's
// own no is a refusal; everything that is not a clear yes is nobody's answer.
func TestCallerAnswers(t *testing.T) {
	t.Parallel()
	s := deploySession()
	document := s.document()
	xml := func(body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, body)
		}
	}
	instead := func(old, now string) func(http.ResponseWriter) {
		return xml(strings.ReplaceAll(document, old, now))
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}
	says := func(code int, word string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { fault(w, code, word) }
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		reason trust.Reason
	}{
		"denied":                {says(403, "AccessDenied"), trust.ReasonAWSSignature},
		"denied without a word": {status(403), trust.ReasonAWSSignature},
		"expired":               {says(403, "ExpiredToken"), trust.ReasonAWSSignature},
		"incomplete":            {says(400, "IncompleteSignature"), trust.ReasonAWSSignature},
		"throttled":             {says(400, "Throttling"), trust.ReasonProofUnavailable},
		"429":                   {status(429), trust.ReasonProofUnavailable},
		"500":                   {says(500, "InternalFailure"), trust.ReasonProofUnavailable},
		"502":                   {status(502), trust.ReasonProofUnavailable},
		"503":                   {says(503, "ServiceUnavailable"), trust.ReasonProofUnavailable},
		"201": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/xml")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, document)
		}, trust.ReasonProofUnavailable},
		"401": {status(401), trust.ReasonProofUnavailable},
		"redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, trust.ReasonProofUnavailable},
		"JSON": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"GetCallerIdentityResponse":{}}`)
		}, trust.ReasonProofUnavailable},
		"CLD-01 XML said as JSON": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, document)
		}, trust.ReasonProofUnavailable},
		"XML said as nothing":      {func(w http.ResponseWriter) { w.Header()["Content-Type"] = nil; fmt.Fprint(w, document) }, trust.ReasonProofUnavailable},
		"HTML":                     {func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html"); fmt.Fprint(w, document) }, trust.ReasonProofUnavailable},
		"another document":         {xml(strings.ReplaceAll(document, "GetCallerIdentityResponse", "AssumeRoleResponse")), trust.ReasonProofUnavailable},
		"another result":           {xml(strings.ReplaceAll(document, "GetCallerIdentityResult", "AssumeRoleResult")), trust.ReasonProofUnavailable},
		"nothing":                  {xml(""), trust.ReasonProofUnavailable},
		"half":                     {xml(document[:len(document)-40]), trust.ReasonProofUnavailable},
		"two documents":            {xml(document + document), trust.ReasonProofUnavailable},
		"a DTD":                    {xml(`<!DOCTYPE x [<!ENTITY a "b">]>` + document), trust.ReasonProofUnavailable},
		"two ARNs":                 {instead("<Account>", "<Arn>arn:aws:sts::111122223333:assumed-role/admin/x</Arn><Account>"), trust.ReasonProofUnavailable},
		"the answer in a comment":  {xml("<GetCallerIdentityResponse><!--" + s.arn + "--></GetCallerIdentityResponse>"), trust.ReasonProofUnavailable},
		"an element in the ARN":    {instead("<Arn>", "<Arn><b/>"), trust.ReasonProofUnavailable},
		"no ARN":                   {instead("Arn>", "Other>"), trust.ReasonProofUnavailable},
		"no account":               {instead("Account>", "Other>"), trust.ReasonProofUnavailable},
		"no id":                    {instead("UserId>", "Other>"), trust.ReasonProofUnavailable},
		"another account":          {instead("<Account>111122223333", "<Account>999999999999"), trust.ReasonProofUnavailable},
		"another session":          {instead(s.id, "AROA2EXAMPLE2EXAMPLE2:other"), trust.ReasonProofUnavailable},
		"an id that is none":       {instead(s.id, "AIDA2EXAMPLE2EXAMPLE2:i-0abc1234def567890"), trust.ReasonProofUnavailable},
		"an ARN of no form":        {instead(s.arn, "arn:aws:sts::111122223333:assumed-role/a/b/c"), trust.ReasonProofUnavailable},
		"spaces in the ARN":        {instead(s.arn, " "+s.arn), trust.ReasonProofUnavailable},
		"an endless ARN":           {instead(s.arn, s.arn+strings.Repeat("a", 4000)), trust.ReasonProofUnavailable},
		"the account itself":       {instead(s.arn, "arn:aws:iam::111122223333:root"), trust.ReasonClaimInvalid},
		"a user":                   {instead(s.arn, "arn:aws:iam::111122223333:user/deployer"), trust.ReasonClaimInvalid},
		"a federated user":         {instead(s.arn, "arn:aws:sts::111122223333:federated-user/deployer"), trust.ReasonClaimInvalid},
		"nothing but more of that": {xml(strings.Repeat("<a>", 100)), trust.ReasonProofUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := openRealm(t, s)
			at.answer = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			verifier := at.callers(t, start)
			token := textOf(t, s.asked(t, regional, "eu-central-1", gateway, start()))
			proof, err := verifier.Verify(t.Context(), token)
			e := refused(t, err)
			if e.Reason != c.reason || proof.Workload != "" || proof.Provider != "aws" {
				t.Errorf("%v, %+v", e, proof)
			}
			if want := map[bool]exchange.Code{true: exchange.Unavailable, false: exchange.InvalidRequest}[c.reason == trust.ReasonProofUnavailable]; e.Code != want {
				t.Errorf("%s, want %s", e.Code, want)
			}
			if at.asked() != 1 {
				t.Errorf("AWS was asked %d times for one request", at.asked())
			}
			if strings.Contains(e.Error(), "deployer") || strings.Contains(e.Error(), s.token[:40]) {
				t.Errorf("the error repeats the answer: %v", e)
			}
			// A no is remembered; silence is not, and the next attempt asks again.
			at.mu.Lock()
			at.answer = nil
			at.mu.Unlock()
			_, err = verifier.Verify(t.Context(), token)
			if remembered := c.reason != trust.ReasonProofUnavailable; remembered != (err != nil) || remembered != (at.asked() == 1) {
				t.Errorf("again: %v after %d questions", err, at.asked())
			}
		})
	}
}

// CLD-01, in part: what a caller who has proven nothing can make us do.
func TestCallerLimits(t *testing.T) {
	t.Parallel()
	s := deploySession()
	at := openRealm(t, s)
	entered, release := make(chan struct{}, 64), make(chan struct{})
	at.answer = func(http.ResponseWriter, *http.Request) bool {
		entered <- struct{}{}
		<-release
		return false
	}
	c := at.callers(t, start)
	token := func(n int) string {
		return textOf(t, s.asked(t, regional, "eu-central-1", fmt.Sprintf("%s?nonce=%d", gateway, n), start()))
	}
	done := make(chan error, 32)
	for n := range 32 {
		go func() {
			_, err := c.Verify(context.Background(), token(n))
			done <- err
		}()
	}
	for range 32 {
		<-entered
	}
	// The same once more, while it is under way, and one more than may be.
	for _, n := range []int{0, 32} {
		_, err := c.Verify(t.Context(), token(n))
		if e := refused(t, err); e.Reason != trust.ReasonProofBusy || e.Code != exchange.Unavailable || e.RetryAfter <= 0 {
			t.Errorf("%d: %v", n, e)
		}
	}
	if at.asked() != 32 {
		t.Errorf("%d questions", at.asked())
	}
	close(release)
	for range 32 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	// A second holds no more than the burst, whoever signed.
	at.mu.Lock()
	at.answer = func(w http.ResponseWriter, _ *http.Request) bool { fault(w, 403, "SignatureDoesNotMatch"); return true }
	at.mu.Unlock()
	now := start()
	c = at.callers(t, func() time.Time { return now })
	before, busy := at.asked(), 0
	for n := range 300 {
		_, err := c.Verify(t.Context(), token(1000+n))
		if refused(t, err).Reason == trust.ReasonProofBusy {
			busy++
		}
	}
	if asked := at.asked() - before; asked != 200 || busy != 100 {
		t.Errorf("%d questions, %d refused", asked, busy)
	}
	now = now.Add(time.Second)
	if _, err := c.Verify(t.Context(), token(5000)); refused(t, err).Reason != trust.ReasonAWSSignature {
		t.Errorf("a second later: %v", err)
	}
}

// A good answer is one for its very request: another audience, or another session
// token, under the same signature is asked about, and refused.
func TestCallerMemory(t *testing.T) {
	t.Parallel()
	s := deploySession()
	at := openRealm(t, s)
	c := at.callers(t, start, func(p *oidc.Provider) { p.Audiences = append(p.Audiences, "https://other.acme.example") })
	e := s.asked(t, regional, "eu-central-1", gateway, start())
	if _, err := c.Verify(t.Context(), e.text(t)); err != nil {
		t.Fatal(err)
	}
	e.header("x-cambio-audience").Value = "https://other.acme.example"
	if _, err := c.Verify(t.Context(), e.text(t)); refused(t, err).Reason != trust.ReasonAWSSignature {
		t.Errorf("another audience has the answer of the first: %v", err)
	}
	e.header("x-cambio-audience").Value = gateway
	e.header("x-amz-security-token").Value = "AAAA" + s.token
	if _, err := c.Verify(t.Context(), e.text(t)); refused(t, err).Reason != trust.ReasonAWSSignature {
		t.Errorf("another session has the answer of the first: %v", err)
	}
}

func TestCallerNonce(t *testing.T) {
	t.Parallel()
	s := deploySession()
	c := openRealm(t, s).callers(t, start)
	for audience, want := range map[string]string{
		gateway: "", gateway + "?nonce=deadbeef": "", gateway + "?nonce=cn1.abc": "cn1.abc",
	} {
		proof, err := c.Verify(t.Context(), textOf(t, s.asked(t, regional, "eu-central-1", audience, start())))
		if err != nil || proof.Nonce != want || proof.Audience != gateway || proof.Claims["aud"] != gateway {
			t.Errorf("%s: %v, nonce %q, audience %q", audience, err, proof.Nonce, proof.Audience)
		}
	}
}

// A stalled AWS is one that did not answer, and its place is free again.
func TestCallerTimeOut(t *testing.T) {
	t.Parallel()
	s := deploySession()
	at := openRealm(t, s)
	release := make(chan struct{})
	at.answer = func(http.ResponseWriter, *http.Request) bool { <-release; return true }
	defer close(release)
	p := oidc.Provider{Name: "aws", Type: "aws-caller-identity", Audiences: []string{gateway}, Endpoint: at.URL, InsecureLoopback: true}
	c, err := aws.NewCallers(aws.CallersConfig{TrustDomain: "gw.test", Providers: []oidc.Provider{p}, Now: start, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := c.Verify(t.Context(), textOf(t, s.asked(t, regional, "eu-central-1", gateway, start())))
		if e := refused(t, err); e.Reason != trust.ReasonProofUnavailable || e.RetryAfter <= 0 {
			t.Error(e)
		}
	}
}

func TestNewCallers(t *testing.T) {
	t.Parallel()
	good := oidc.Provider{Name: "aws", Type: "aws-caller-identity", Audiences: []string{gateway}}
	for name, change := range map[string]func(*oidc.Provider){
		"http":        func(p *oidc.Provider) { p.Endpoint = "http://sts.acme.example" },
		"loopback":    func(p *oidc.Provider) { p.Endpoint = "http://127.0.0.1:1" },
		"a query":     func(p *oidc.Provider) { p.Endpoint = "https://sts.acme.example/?x" },
		"no audience": func(p *oidc.Provider) { p.Audiences = nil },
		"keys":        func(p *oidc.Provider) { p.JWKSURL = "https://sts.acme.example/keys" },
		"algorithms":  func(p *oidc.Provider) { p.Algs = []string{"RS256"} },
		"a bad CA":    func(p *oidc.Provider) { p.CA = []byte("x") },
	} {
		p := good
		change(&p)
		if _, err := aws.NewCallers(aws.CallersConfig{TrustDomain: "gw.test", Now: start, Providers: []oidc.Provider{p}}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	twin := good
	twin.Name = "twin"
	if _, err := aws.NewCallers(aws.CallersConfig{TrustDomain: "gw.test", Now: start, Providers: []oidc.Provider{good, twin}}); err == nil {
		t.Error("two of one audience are taken")
	}
	if _, err := aws.NewCallers(aws.CallersConfig{TrustDomain: "gw.test", Now: start, Providers: []oidc.Provider{good}}); err != nil {
		t.Error(err)
	}
}
