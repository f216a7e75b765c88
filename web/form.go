package web

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// The token types of RFC 8693 section 3, and ours.
//
//nolint:gosec // names of token types, no credentials
const (
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

// issuedTypes are the values of requested_token_type that some target issues.
func issuedTypes() []string {
	return []string{
		typeJWT, typeIDToken, typeAccessToken,
		"urn:cambio:token-type:aws-credentials", "urn:cambio:token-type:database-credentials",
		"urn:cambio:token-type:x509-certificate", "urn:cambio:token-type:ssh-certificate",
	}
}

// usualBody is as long as the forms of most callers, in bytes.
const usualBody = 8 << 10

// form is the token endpoint's form, in its one canonical meaning.
type form struct {
	values        url.Values // for the OAuth binding: what it knows, normalised
	grant         grant
	token         string // the token that is exchanged, whichever grant brought it
	subjectType   exchange.SubjectType
	target        string
	resource      string
	requestedType string
	trust         string
	scopes        []string
	ttl           time.Duration
	dryRun        bool
	certify       string // what the caller wants certified
	certifies     exchange.Certifies
}

// malformed refuses a form and names the parameter: the caller wrote it, so this
// tells him nothing that he did not know.
func malformed(param, what string) *exchange.Error {
	e := exchange.Refuse(trust.ReasonFormInvalid, nil)
	e.Tell = "The parameter " + param + " " + what + "."
	return e
}

// readForm is the strict normaliser before the OAuth library, which takes the
// last of repeated parameters and merges the query into the form: a proxy that
// checked the first value, or the body, would have checked another request than
// the one that is served.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	values, err := readBody(w, r)
	if err != nil {
		return form{}, err
	}
	return normalise(values)
}

// readBody reads a form's parameters, each of which is there once.
func readBody(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if err := checkEnvelope(r); err != nil {
		return nil, err
	}
	// Room at once for a usual form; one that announces more gets its room as its
	// bytes arrive.
	body := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), usualBody)+bytes.MinRead))
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, &exchange.Error{Code: bodyTooLarge, Reason: trust.ReasonTooLarge, Tell: "The body is above 64 KiB."}
		}
		return nil, malformed("body", "could not be read")
	}
	return parseForm(body.String())
}

// checkEnvelope refuses by method, query, media type and coding, before a byte
// of the body is read.
func checkEnvelope(r *http.Request) error {
	if len(r.Header.Values("Authorization")) > 0 { // an empty first one must not hide a second
		return &exchange.Error{Code: authorizationSent, Reason: trust.ReasonClientAuth, Tell: "A token exchange takes no Authorization header; the subject_token is the proof."}
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" || len(r.Header.Values("Content-Type")) > 1 {
		return &exchange.Error{Code: unsupportedMedia, Reason: trust.ReasonFormInvalid, Tell: "Send application/x-www-form-urlencoded."}
	}
	// A compressed body could unfold to any size; an honest form has no need.
	if r.Header.Get("Content-Encoding") != "" {
		return &exchange.Error{Code: unsupportedMedia, Reason: trust.ReasonFormInvalid, Tell: "Send the form without Content-Encoding."}
	}
	// A token in a URL ends up in proxies' logs (RFC 9700 section 4.2), and a
	// query must not add to what the body says.
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return malformed("query string", "is not allowed; send everything in the body")
	}
	return nil
}

// parseForm splits an urlencoded body. It counts while it splits and stops at
// the bound, and refuses what has two readings: a repeated parameter, a bad
// escape, a semicolon. So that fifty audiences are told what two are, the repeat
// is found first.
func parseForm(body string) (url.Values, error) {
	values, entries := url.Values{}, 0
	for pair := range strings.SplitSeq(body, "&") {
		if entries++; entries > maxParams {
			return nil, malformed("list", "has more than 32 entries")
		}
		if pair == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(rawKey)
		if err != nil || strings.Contains(pair, ";") {
			return nil, malformed("list", "is not urlencoded")
		}
		name := shownName(key)
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return nil, malformed(name, "is not urlencoded")
		}
		if _, twice := values[key]; twice {
			if key == "audience" {
				return nil, &exchange.Error{Code: exchange.InvalidTarget, Reason: trust.ReasonAudienceRepeated}
			}
			return nil, malformed(name, "is given more than once")
		}
		values[key] = []string{value}
	}
	return values, nil
}

// knownParams are those whose names an answer may repeat; an unknown name is the
// caller's own text and is not echoed.
func knownParams() []string {
	return []string{
		"grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "audience",
		"resource", "scope", "requested_token_type", "ttl", "trust", "dry_run", "client_id",
		"client_assertion", "client_assertion_type", "client_secret", "assertion", "provider",
		string(exchange.CertifiesRequest), string(exchange.CertifiesSSHKey),
	}
}

func shownName(key string) string {
	if slices.Contains(knownParams(), key) {
		return key
	}
	return "list"
}

// normalise checks each parameter and leaves to the OAuth binding only what has
// exactly one meaning.
func normalise(v url.Values) (form, error) {
	g, err := grantOf(v)
	if err != nil {
		return form{}, err
	}
	f := form{grant: g, token: v.Get(g.proof), target: v.Get("audience"), resource: v.Get("resource")}
	for _, check := range []func(url.Values, *form) error{
		checkTypes, checkActor, checkResource, checkScope, checkTTL, checkTrust, checkDryRun, checkCertify,
	} {
		if err := check(v, &f); err != nil {
			return form{}, err
		}
	}
	if err := exchange.CheckBounds(f.subjectType, f.token); err != nil {
		return form{}, g.refused(err)
	}
	f.values = url.Values{"grant_type": {g.name}, g.proof: {f.token}, "client_id": {anonymousClient}}
	for _, name := range g.required {
		f.values[name] = v[name]
	}
	if f.subjectType != exchange.SubjectJWT {
		// The library knows tokens alone; what is shown, and how it is read, goes to the
		// exchange past it.
		f.values.Set("subject_token_type", typeJWT)
	}
	return f, nil
}

func require(v url.Values, name string) error {
	if v.Get(name) == "" {
		return malformed(name, "is missing or empty")
	}
	return nil
}

// checkTypes takes the subject token types that are verified alike, and the
// types that some target issues; nothing is detected from the token itself.
func checkTypes(v url.Values, f *form) error {
	if f.grant.name == tokenExchangeGrant {
		switch t := v.Get("subject_token_type"); t {
		case typeJWT, typeIDToken:
		case string(exchange.SubjectAWS), string(exchange.SubjectMTLS):
			f.subjectType = exchange.SubjectType(t)
		default:
			e := malformed("subject_token_type", "must be "+typeJWT+", "+typeIDToken+", "+string(exchange.SubjectAWS)+" or "+string(exchange.SubjectMTLS))
			e.Reason = trust.ReasonTokenType
			return e
		}
	}
	if !v.Has("requested_token_type") {
		return nil
	}
	f.requestedType = v.Get("requested_token_type")
	if slices.Contains(issuedTypes(), f.requestedType) {
		return nil
	}
	e := malformed("requested_token_type", "is not one that a target issues")
	e.Reason = trust.ReasonTokenType
	return e
}

// checkActor refuses delegation until it is judged: an actor that is ignored
// would leave a record without the one who acted.
func checkActor(v url.Values, _ *form) error {
	for _, name := range []string{"actor_token", "actor_token_type"} {
		if v.Has(name) {
			e := malformed(name, "is not supported yet")
			e.Reason = trust.ReasonActorUnsupported
			return e
		}
	}
	return nil
}

// absoluteURI is RFC 3986 section 4.3: a scheme, no fragment. The value is
// compared byte for byte later, so only the alphabet matters here.
var absoluteURI = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]|%[0-9A-Fa-f]{2})+$`)

// maxResource is twice the longest ARN.
const maxResource = 4096

func checkResource(v url.Values, _ *form) error {
	if v.Has("resource") && (len(v.Get("resource")) > maxResource || !absoluteURI.MatchString(v.Get("resource"))) {
		return malformed("resource", "must be one absolute URI without a fragment")
	}
	return nil
}

// scopeToken is RFC 6749 section 3.3.
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

// checkScope reads the scopes; an empty value asks for all that the grant gives,
// as an absent one does.
func checkScope(v url.Values, f *form) error {
	if v.Get("scope") == "" {
		return nil
	}
	// A set, as the body has room for 20,000 scopes: to search a list for each of
	// them would cost an unproven caller's request half a second.
	seen := map[string]struct{}{}
	for scope := range strings.SplitSeq(v.Get("scope"), " ") {
		if !scopeToken.MatchString(scope) {
			return &exchange.Error{Code: exchange.InvalidScope, Reason: trust.ReasonScopeMalformed, Tell: "The parameter scope must be scopes with one space between them."}
		}
		if _, twice := seen[scope]; !twice {
			seen[scope] = struct{}{}
			f.scopes = append(f.scopes, scope)
		}
	}
	return nil
}

var positiveInteger = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)

func checkTTL(v url.Values, f *form) error {
	if !v.Has("ttl") {
		return nil
	}
	if !positiveInteger.MatchString(v.Get("ttl")) {
		return malformed("ttl", "must be a positive whole number of seconds")
	}
	seconds, err := strconv.Atoi(v.Get("ttl"))
	if err != nil {
		return malformed("ttl", "must be a positive whole number of seconds")
	}
	f.ttl = time.Duration(seconds) * time.Second
	return nil
}

func checkTrust(v url.Values, f *form) error {
	if !v.Has("trust") {
		return nil
	}
	f.trust = v.Get("trust")
	return require(v, "trust")
}

func checkDryRun(v url.Values, f *form) error {
	if !v.Has("dry_run") {
		return nil
	}
	f.dryRun = true
	if v.Get("dry_run") != "true" {
		return malformed("dry_run", "must be true, or be left out")
	}
	return nil
}

// maxCertify is twice what a certificate request for an RSA key of 8192 bits has
// as PEM, and four times such a key's SSH line, in bytes.
const maxCertify = 8 << 10

// checkCertify takes what is to be certified as it came; whether it can be is for
// the target to say, once the caller is proven.
func checkCertify(v url.Values, f *form) error {
	for _, kind := range []exchange.Certifies{exchange.CertifiesRequest, exchange.CertifiesSSHKey} {
		name := string(kind)
		if !v.Has(name) {
			continue
		}
		if f.certifies != exchange.CertifiesNothing {
			return malformed(name, "must not stand beside "+string(f.certifies))
		}
		f.certify, f.certifies = v.Get(name), kind
		if len(f.certify) > maxCertify {
			return malformed(name, "is above 8 KiB")
		}
		if err := require(v, name); err != nil {
			return err
		}
	}
	return nil
}
