package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"cambio/exchange"
	"cambio/providers/spiffe/spiffetest"
	"cambio/test/rig"
)

// emptySHA256 is the hash of a body without a byte, as SigV4 wants it.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// signedHeader is one header of a signed request, as it is shown to a gateway.
type signedHeader struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// signedRequest is what a workload of AWS shows.
type signedRequest struct {
	URL     string         `json:"url"`
	Method  string         `json:"method"`
	Headers []signedHeader `json:"headers"`
}

// signCaller has AWS's own SDK sign who the usual role is.
func signCaller(t *testing.T, at time.Time, audience string) signedRequest {
	t.Helper()
	const host = "sts.eu-central-1.amazonaws.com"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/?"+callerQuery, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Cambio-Audience", audience)
	credentials := sdk.Credentials{AccessKeyID: roleKey, SecretAccessKey: roleSecret, SessionToken: roleSession}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, req, emptySHA256, "sts", "eu-central-1", at); err != nil {
		t.Fatal(err)
	}
	return signedRequest{URL: req.URL.String(), Method: http.MethodPost, Headers: []signedHeader{
		{"authorization", req.Header.Get("Authorization")},
		{"host", host},
		{"x-amz-date", req.Header.Get("X-Amz-Date")},
		{"x-amz-security-token", roleSession},
		{"x-cambio-audience", audience},
	}}
}

// attackCLD01: the caller composes a request for AWS that is another one.
func attackCLD01(t *testing.T) {
	var account atomic.Value
	account.Store("111122223333")
	var evil atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evil.Add(1) }))
	t.Cleanup(collector.Close)
	trust := strings.Replace(callerTrust, "require_nonce: true\n", "", 1)
	r := rig.New(t, rig.Setup{Config: strings.ReplaceAll(callerConfig, "{{STS}}", callerRealm(t, &account).URL), Trusts: map[string]string{"p.yaml": trust}})
	show := func(change func(*signedRequest)) rig.Answer {
		t.Helper()
		s := signCaller(t, r.Clock.Now(), "https://gw.test")
		if change != nil {
			change(&s)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		r.Move(time.Second) // a signature has the second that it was made in
		form := rig.Form(string(text))
		form.Set("subject_token_type", string(exchange.SubjectAWS))
		form.Set("audience", "api-a")
		return r.Post(form)
	}
	taken(t, r, show(nil))
	at := strings.TrimPrefix(collector.URL, "http://")
	for name, change := range map[string]func(*signedRequest){
		"Host: evil":               func(s *signedRequest) { s.Headers[1].Value = at },
		"another address":          func(s *signedRequest) { s.URL = collector.URL + "/?" + callerQuery },
		"an address below evil.io": func(s *signedRequest) { s.URL = "https://sts.amazonaws.com.evil.io/?" + callerQuery },
		"user information":         func(s *signedRequest) { s.URL = "https://sts.amazonaws.com@" + at + "/?" + callerQuery },
		"Action=AssumeRole":        func(s *signedRequest) { s.URL = strings.Replace(s.URL, "GetCallerIdentity", "AssumeRole", 1) },
		"a second action":          func(s *signedRequest) { s.URL += "&Action=AssumeRole" },
		"GET":                      func(s *signedRequest) { s.Method = http.MethodGet },
		"presigned":                func(s *signedRequest) { s.URL += "&X-Amz-Signature=0"; s.Headers = s.Headers[1:2] },
		"an extra header":          func(s *signedRequest) { s.Headers = append(s.Headers, signedHeader{"x-evil", "1"}) },
		"Accept: application/json": func(s *signedRequest) { s.Headers = append(s.Headers, signedHeader{"accept", "application/json"}) },
		"without the audience":     func(s *signedRequest) { s.Headers = s.Headers[:4] },
		"an audience of another":   func(s *signedRequest) { *s = signCaller(t, r.Clock.Now(), "https://other.test") },
		"an audience that is unsigned": func(s *signedRequest) {
			s.Headers[0].Value = strings.Replace(s.Headers[0].Value, ";x-cambio-audience", "", 1)
		},
		"a line in a header": func(s *signedRequest) { s.Headers[3].Value += "\r\nx-evil: 1" },
	} {
		t.Run(name, func(t *testing.T) { r.Deny(show(change), "aws-request-invalid") })
	}
	taken(t, r, show(nil))
	if n := evil.Load(); n > 0 {
		t.Errorf("%d calls to where a caller said", n)
	}
}

// domain is a gateway that trusts td1, whose bundle endpoint tests change.
type domain struct {
	*rig.Rig
	*spiffetest.Authority
	mu  sync.Mutex
	doc []byte
}

func newDomain(t *testing.T) *domain {
	t.Helper()
	d := &domain{Authority: spiffetest.New(t, "td1", time.Now())}
	d.say(5, d.Keys())
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		_, _ = w.Write(d.doc) // the gateway may have hung up
	}))
	t.Cleanup(endpoint.Close)
	d.Rig = rig.New(t, rig.Setup{
		Providers: fmt.Sprintf("td1: {type: spiffe, trust_domain: td1, audience: \"https://gw.test/td1\", bundle_url: %q, insecure_loopback: true}", endpoint.URL+"/bundle"),
		Trusts:    besides(platformTrust("td1", "match: {sub: \"spiffe://td1/x\"}")),
	})
	return d
}

func (d *domain) say(sequence int, keys []map[string]any) {
	doc := d.Bundle(func(b map[string]any) { b["keys"], b["spiffe_sequence"], b["spiffe_refresh_hint"] = keys, sequence, 1 })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doc = doc
}

func (d *domain) show(a *spiffetest.Authority, sub string) rig.Answer {
	claims := a.Claims(sub, "https://gw.test/td1")
	claims["iat"], claims["exp"] = d.Clock.Now().Unix(), d.Clock.Now().Unix()+300
	return d.Exchange(a.JWT(claims, nil))
}

// attackSPF01: an id is taken to the letter, or not at all.
func attackSPF01(t *testing.T) {
	d := newDomain(t)
	taken(t, d.Rig, d.show(d.Authority, "spiffe://td1/x"))
	for _, id := range []string{
		"spiffe://td1/../td2/x", "spiffe://td1/./x", "spiffe://td1//x", "spiffe://td1/x/", "spiffe://td1/x?y", "spiffe://td1/x#y",
		"spiffe://td1/%78", "spiffe://td1/x%2Fy", "spiffe://td1/x y", "spiffe://td1/é", "SPIFFE://td1/x", "spiffe://td1/" + strings.Repeat("x", 2049-len("spiffe://td1/")),
	} {
		d.Deny(d.show(d.Authority, id), "spiffe-id-invalid")
	}
	for _, id := range []string{"spiffe://TD1/x", "spiffe://td1:8080/x", "spiffe://u@td1/x", "spiffe://td2/x", "spiffe:/td1/x", "https://td1/x", "td1/x"} {
		// Of no trust domain that is configured, or of none at all.
		d.Deny(d.show(d.Authority, id), "spiffe-id-invalid", "issuer-unknown")
	}
	taken(t, d.Rig, d.show(d.Authority, "spiffe://td1/x"))
}

// attackSPF04: a bundle goes back in time, and asks to be fetched all the time.
func attackSPF04(t *testing.T) {
	d := newDomain(t)
	taken(t, d.Rig, d.show(d.Authority, "spiffe://td1/x"))
	withdrawn := spiffetest.New(t, "td1", time.Now())
	withdrawn.Kid = "withdrawn"
	d.say(4, withdrawn.Keys())
	d.Move(2 * time.Minute)
	taken(t, d.Rig, d.show(d.Authority, "spiffe://td1/x")) // and asks for a newer one
	rig.Eventually(t, "the refusal of the older bundle", func() bool {
		return strings.Contains(d.Log.String(), "level=ERROR") && strings.Contains(d.Log.String(), "bundle-rollback") &&
			strings.Contains(d.Get(d.AdminURL, "/metrics").Raw, "bundle-rollback")
	})
	d.Unavailable(d.show(withdrawn, "spiffe://td1/x"), "bundle-rollback")
	taken(t, d.Rig, d.show(d.Authority, "spiffe://td1/x"))
	// Who answers at an endpoint that is called by a SPIFFE ID, and at one of the Web:
	// package spiffe's TestProfiles, with the certificates of each.
}
