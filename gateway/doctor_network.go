package gateway

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"cambio/exchange"
	"cambio/issuer"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/providers/x509"
	"cambio/trust"
)

const (
	whoIssuer     = "issuer"
	discoveryPath = "/.well-known/openid-configuration"
	// longCache is a max-age of the key set beyond which a revocation is not worth
	// its name.
	longCache = time.Hour
)

// issuer looks at our own issuer as relying parties do.
func (e *examination) issuer(ctx context.Context) []DoctorCheck {
	v, keys := begin("issuer"), begin("issuer-keys")
	const unreachable = "serve ISSUER/.well-known/openid-configuration and the key set there, by the gateway or with cambio keys publish; behind a private authority set SSL_CERT_FILE"
	a, err := e.fetch(ctx, e.c.Issuer+discoveryPath, whoIssuer)
	if err != nil {
		return []DoctorCheck{failed(v.Name, unreachable, "discovery: %s", err), skipped(keys.Name, "see the check issuer")}
	}
	v.note("discovery in %s", a.took.Round(time.Millisecond))
	keysAt, ok := e.discovery(v, a.body)
	if !ok {
		return []DoctorCheck{v.end(), skipped(keys.Name, "see the check issuer")}
	}
	a, err = e.fetch(ctx, keysAt, "")
	if err != nil {
		return []DoctorCheck{v.end(), failed(keys.Name, unreachable, "key set: %s", err)}
	}
	e.published(keys, a.body)
	if age := maxAge(a.header); age > longCache {
		keys.add(DoctorWarn, "serve it with max-age=300", "caches may keep it for %s: a revoked key stays accepted as long", age)
	}
	return []DoctorCheck{v.end(), keys.end()}
}

// discovery compares the discovery document that others see with ours, and
// returns where it sends them for the keys; false where nobody could call that.
func (e *examination) discovery(v *verdict, body []byte) (keysAt string, ok bool) {
	const next = "publish the documents anew (cambio keys publish DIR, where a bucket publishes), and find out who changed them"
	document, err := oidc.ReadObject(body)
	if err != nil {
		v.add(DoctorFail, next, "discovery is not JSON in which each name stands once")
		return "", false
	}
	if document["issuer"] != e.c.Issuer {
		v.add(DoctorFail, "make issuer: and what is published one and the same", "the document's issuer is %.200q, configured is %q: every relying party refuses", document["issuer"], e.c.Issuer)
	}
	keysAt, _ = document["jwks_uri"].(string)
	at, err := url.Parse(keysAt)
	if err != nil || at.Host == "" || at.User != nil || at.Scheme != "https" && !strings.HasPrefix(e.c.Issuer, at.Scheme+":") {
		v.add(DoctorFail, next, "jwks_uri is no URL that a relying party would call")
		return "", false
	}
	// Whoever answers there decides whose signature counts as ours, today with our
	// keys, tomorrow with his.
	if keysAt != e.c.Issuer+"/keys" {
		v.add(DoctorFail, next, "it sends relying parties to %.200q for the keys, not to %s/keys", keysAt, e.c.Issuer)
	}
	e.members(v, next, document)
	if v.Status == DoctorPass {
		v.note("it is member for member ours")
	}
	return keysAt, true
}

// members compares what else discovery says, such as the algorithms, with what
// this program publishes.
func (e *examination) members(v *verdict, next string, shown map[string]any) {
	ring, err := e.ring()
	if err != nil {
		v.note("beside issuer and jwks_uri it was not compared: there are no keys to publish with")
		return
	}
	raw, _, err := issuer.Publication(e.c.Issuer, ring, e.env.Now())
	if err != nil {
		v.add(DoctorFail, "see the check keys", "what to publish cannot be said: %s", err)
		return
	}
	ours, err := oidc.ReadObject(raw)
	if err != nil {
		v.add(DoctorFail, "report this", "our own discovery document: %s", err)
		return
	}
	delete(ours, "issuer") // compared before
	delete(ours, "jwks_uri")
	var differ []string
	for name, value := range ours {
		if !reflect.DeepEqual(value, shown[name]) {
			differ = append(differ, name)
		}
	}
	for name := range shown {
		if _, known := ours[name]; !known && name != "issuer" && name != "jwks_uri" {
			differ = append(differ, fmt.Sprintf("%.40q", name))
		}
	}
	if slices.Sort(differ); len(differ) > 0 {
		v.add(DoctorFail, next, "it is not what this version publishes: %s", strings.Join(differ[:min(len(differ), 5)], ", "))
	}
}

// fetch gets a document of the issuer.
func (e *examination) fetch(ctx context.Context, target, who string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return answer{}, errors.New("the URL is malformed")
	}
	req.Header.Set("Accept", "application/json")
	a, err := e.call(req, who)
	switch {
	case err != nil:
		return a, cause(err)
	case a.status >= 300 && a.status < 400:
		return a, fmt.Errorf("the answer is a redirect (%d), which relying parties do not follow", a.status)
	case a.status != http.StatusOK:
		return a, fmt.Errorf("the answer is %d", a.status)
	}
	return a, nil
}

// cause is an error of a call without the URL, which the check names.
func cause(err error) error {
	var call *url.Error
	if errors.As(err, &call) {
		err = call.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", checkTime)
	}
	return err
}

// maxAge reads Cache-Control (RFC 9111 section 5.2.2.1); 0: it says none.
func maxAge(h http.Header) time.Duration {
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		if digits, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(part)), "max-age="); ok {
			if n, err := strconv.ParseUint(digits, 10, 31); err == nil {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 0
}

// providerSteps are a step for each identity provider.
func (e *examination) providerSteps() []step {
	all := e.c.Verified()
	if len(all) == 0 {
		return []step{{func(context.Context) []DoctorCheck {
			return []DoctorCheck{warned("identity_providers", "write identity_providers:", "none is configured: every token is refused")}
		}, DoctorCheck{}}}
	}
	var steps []step
	for _, p := range all {
		name := "identity_providers." + p.Name
		steps = append(steps, step{
			func(ctx context.Context) []DoctorCheck { return []DoctorCheck{e.provider(ctx, name, p)} },
			failed(name, "see whether it answers from here", "no answer within %s", checkTime),
		})
		if p.Review != nil {
			asked := name + ".token_review"
			steps = append(steps, step{
				func(ctx context.Context) []DoctorCheck { return []DoctorCheck{e.review(ctx, asked, p)} },
				failed(asked, "see whether the cluster answers from here", "no answer within %s", checkTime),
			})
		}
	}
	return steps
}

func (e *examination) provider(ctx context.Context, name string, p oidc.Provider) DoctorCheck {
	platform, _ := providers.Platform(p.Type)
	switch platform.Proof {
	case exchange.SubjectMTLS:
		return e.clientAuthorities(name, p)
	case exchange.SubjectAWS:
		return passed(name, "nothing is fetched: AWS is asked about each signed request")
	case exchange.SubjectJWT:
	}
	probed := oidc.Probe(ctx, p, platform, e.env.Resolver, e.env.Now)
	if !probed.Date.IsZero() {
		e.sample(name, probed.Date, probed.Seen)
	}
	keys := fmt.Sprintf("%d of %s usable", probed.Usable, countOf(probed.Total, "key"))
	switch {
	case probed.Err != nil && probed.Pinned:
		return failed(name, "write its file anew", "the pinned keys: %s", probed.Err)
	case probed.Err != nil:
		return failed(name, providerNext(probed.Err), "%s: tokens of it get 503 once the last key set is an hour old", probed.Err)
	case probed.Pinned:
		return passed(name, "pinned: %s", keys)
	}
	return passed(name, "%s, in %s", keys, probed.Took.Round(time.Millisecond))
}

// clientAuthorities looks at who vouches for client certificates.
func (e *examination) clientAuthorities(name string, p oidc.Provider) DoctorCheck {
	all, err := x509.ClientAuthorities(p.ClientCA)
	if err != nil {
		return failed(name, "write client_ca_file: anew", "%s", err)
	}
	v := begin(name)
	v.note("clients are verified by %s; nothing is fetched", countOf(len(all), "certificate"))
	for i, c := range all {
		switch left := c.NotAfter.Sub(e.env.Now()); {
		case left <= 0:
			v.add(DoctorWarn, "take it out of client_ca_file:, or write its successor beside it", "certificate %d expired at %s", i+1, c.NotAfter.UTC().Format(time.RFC3339))
		case left < soonOver:
			v.add(DoctorWarn, "write its successor beside it in client_ca_file:", "certificate %d expires at %s", i+1, c.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return v.end()
}

// soonOver is how long before its end an authority is worth a warning.
const soonOver = 30 * 24 * time.Hour

// review asks the cluster about a token that is none, which it must refuse.
func (e *examination) review(ctx context.Context, name string, p oidc.Provider) DoctorCheck {
	platform, _ := providers.Platform(p.Type)
	start := e.env.Now()
	if err := oidc.ProbeReview(ctx, p, platform, e.env.Resolver); err != nil {
		return failed(name, "let the account of token_file create tokenreviews (ClusterRole system:auth-delegator), and open the way to the API server with dial and ca_file",
			"%s: every token of this identity provider gets 503", err)
	}
	return passed(name, "the cluster answers, and refuses what is no token, in %s", e.env.Now().Sub(start).Round(time.Millisecond))
}

// providerNext is what to do about a provider whose keys cannot be had.
func providerNext(err error) string {
	var refused *exchange.Error
	switch {
	case errors.As(err, &refused) && refused.Reason == trust.ReasonDiscoveryMismatch:
		return "make issuer: of this identity provider what its discovery document says, byte for byte"
	case strings.Contains(err.Error(), "must not be called"):
		return `open the address with dial: ["host:port CIDR"], if it is the right one`
	case strings.Contains(err.Error(), "not trusted"):
		return "name its authority with ca_file"
	}
	return "see whether its key set answers from here; jwks_url, jwks_file, dial and ca_file say where it is"
}

// targetSteps are a step for each target.
func (e *examination) targetSteps() []step {
	names := slices.Sorted(maps.Keys(e.c.Targets))
	if len(names) == 0 {
		return []step{{func(context.Context) []DoctorCheck {
			return []DoctorCheck{warned("targets", "write targets:", "none is configured: nothing is issued")}
		}, DoctorCheck{}}}
	}
	var steps []step
	for _, target := range names {
		name := "targets." + target
		steps = append(steps, step{
			func(ctx context.Context) []DoctorCheck {
				return []DoctorCheck{e.target(ctx, name, e.c.Targets[target])}
			},
			failed(name, "see whether it answers from here", "no answer within %s", checkTime),
		})
	}
	return steps
}

// awsTarget asks STS for nothing: an AssumeRoleWithWebIdentity without a role and
// a token, which whoever speaks STS refuses with an error document of its own.
func (e *examination) awsTarget(ctx context.Context, name string, t Target) DoctorCheck {
	const next = "open the way from here to the endpoint (HTTPS, without a proxy), or mend region and endpoint"
	endpoint, err := stsEndpoint(ctx, t)
	if err != nil {
		return failed(name, "mend region:", "%s", err)
	}
	form := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return failed(name, "mend endpoint:", "the endpoint is no URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := e.call(req, name)
	if err != nil {
		return failed(name, next, "%s: %s", req.URL.Host, cause(err))
	}
	code, ok := stsError(a.body)
	if !ok || a.status < 400 || a.status > 499 {
		return failed(name, next, "%s answers %d, and not as STS does", req.URL.Host, a.status)
	}
	v := begin(name)
	v.note("STS answers at %s in %s (%d %.40s)", req.URL.Host, a.took.Round(time.Millisecond), a.status, code)
	if t.Endpoint != nil && *t.Endpoint != "" {
		v.add(DoctorWarn, "nothing, where this is a store that speaks STS; for AWS itself leave endpoint out", "endpoint is set: the ARN of what it issues is not checked")
	}
	return v.end()
}

// stsEndpoint is where the SDK would call.
func stsEndpoint(ctx context.Context, t Target) (string, error) {
	if t.Endpoint != nil && *t.Endpoint != "" {
		return *t.Endpoint, nil
	}
	at, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{
		Region: aws.String(t.Region), UseDualStack: aws.Bool(false), UseFIPS: aws.Bool(false), UseGlobalEndpoint: aws.Bool(false),
	})
	if err != nil {
		return "", fmt.Errorf("no endpoint of STS for region %q", t.Region)
	}
	return strings.TrimSuffix(at.URI.String(), "/") + "/", nil
}

// stsError reads the error document of STS: ErrorResponse, Error, Code.
func stsError(body []byte) (code string, ok bool) {
	var document struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Code    string   `xml:"Error>Code"`
	}
	if xml.NewDecoder(bytes.NewReader(body)).Decode(&document) != nil || document.Code == "" {
		return "", false
	}
	return document.Code, true
}
