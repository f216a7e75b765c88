package aws

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

// The one form of a request that is taken. The action and its version stand in the
// query, as Google's libraries sign it, so that there is no body and no
// Content-Type that could be read in two ways. The role's session token and our
// audience are signed: nobody can add them later, or take them away.
const (
	callerQuery   = "?Action=GetCallerIdentity&Version=2011-06-15"
	signedHeaders = "host;x-amz-date;x-amz-security-token;x-cambio-audience"
	// nonceMark stands between the audience and what makes a request unlike any other
	// of the same second: a nonce of ours, or what the workload made up.
	nonceMark   = "?nonce="
	noncePrefix = "cn1." // of ours
	maxNonce    = 256    // of ours are shorter
	maxHeaders  = 5
	// maxSessionToken is twice what AWS's take with all the tags of a session.
	maxSessionToken = 8 << 10
)

// regionOf are regions of AWS's own names. A host of another form could be a
// customer's: whoever rents sts.s3-x.amazonaws.com answers as they like.
const regionOf = `(?:(?:us|eu|ap|sa|ca|me|af|il|mx)-(?:gov-)?(?:north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9])`

var (
	stsHost = regexp.MustCompile(`^sts(?:\.(` + regionOf + `))?\.amazonaws\.com$`)
	// stsChina is the partition whose names end otherwise.
	stsChina = regexp.MustCompile(`^sts\.(cn-(?:north|northwest)-[1-9])\.amazonaws\.com\.cn$`)

	authorizationForm = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=(ASIA[A-Z0-9]{12,124})/([0-9]{8})/([a-z0-9-]{5,32})/sts/aws4_request, ?SignedHeaders=` + signedHeaders + `, ?Signature=([0-9a-f]{64})$`)
	dateForm          = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z$`)
	sessionTokenForm  = regexp.MustCompile(`^[A-Za-z0-9+/=_-]+$`)
	nonceForm         = regexp.MustCompile(`^[A-Za-z0-9._-]{1,256}$`)
)

// globalRegion is the region that requests to STS's one name for all are signed for.
const globalRegion = "us-east-1"

// signedRequest is what is taken out of what a workload sent: the few values that
// its signature rests on. What goes to AWS is built from them, and from nothing else.
type signedRequest struct {
	host      string
	region    string
	partition string
	keyID     string
	date      time.Time
	token     exchange.Secret
	audience  string // without the nonce
	nonce     string
	signature string // 64 hex digits
}

// invalid is the refusal of a request that is not exactly one of a role's own
// GetCallerIdentity for us. Text of the request must not be in why.
func invalid(why string) *exchange.Error {
	return exchange.Refuse(trust.ReasonAWSRequestInvalid, errors.New(why))
}

// readSigned takes the envelope apart: JSON, as it is or URL-encoded, as Google's
// libraries make it for the token type aws4_request. Whatever has no place in the
// one form is refused and not dropped: a signature of more than we know of would be
// for something that we do not know (CVE-2020-16250).
func readSigned(token string) (signedRequest, error) {
	if len(token) > exchange.MaxToken {
		return signedRequest{}, invalid("the envelope is too large")
	}
	if !strings.HasPrefix(token, "{") {
		plain, err := url.QueryUnescape(token)
		if err != nil || !strings.HasPrefix(plain, "{") {
			return signedRequest{}, invalid("the envelope is no JSON object, as it is or URL-encoded")
		}
		token = plain
	}
	members, err := oidc.ReadObject([]byte(token))
	if err != nil {
		return signedRequest{}, invalid("the envelope is not one JSON object with one meaning")
	}
	if len(members) != 3 {
		return signedRequest{}, invalid("the envelope has other members than url, method and headers")
	}
	if members["method"] != "POST" {
		return signedRequest{}, invalid("the method is not POST")
	}
	headers, err := readHeaders(members["headers"])
	if err != nil {
		return signedRequest{}, err
	}
	address, _ := members["url"].(string)
	return newSigned(address, headers)
}

// readHeaders are the headers by their names in lower case, each there once.
func readHeaders(v any) (map[string]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) != maxHeaders {
		return nil, invalid("the headers are not exactly authorization, host, x-amz-date, x-amz-security-token and x-cambio-audience")
	}
	headers := make(map[string]string, maxHeaders)
	for _, item := range list {
		pair, ok := item.(map[string]any)
		key, isText := pair["key"].(string)
		value, isTextToo := pair["value"].(string)
		if !ok || len(pair) != 2 || !isText || !isTextToo {
			return nil, invalid("a header is no pair of key and value")
		}
		// A line break in a value would be a header of its own.
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, invalid("a header holds what is not visible ASCII")
		}
		name := strings.ToLower(key)
		switch name {
		case "authorization", "host", "x-amz-date", "x-amz-security-token", "x-cambio-audience":
		default:
			return nil, invalid("there is a header that has no place in the request")
		}
		if _, twice := headers[name]; twice {
			return nil, invalid("a header is there twice")
		}
		headers[name] = value
	}
	return headers, nil
}

// newSigned reads the values, and compares those that stand in two places.
func newSigned(address string, headers map[string]string) (signedRequest, error) {
	var r signedRequest
	r.host = headers["host"]
	switch hosts := stsHost.FindStringSubmatch(r.host); {
	case hosts != nil:
		r.region, r.partition = hosts[1], "aws"
		if strings.HasPrefix(r.region, "us-gov-") {
			r.partition = "aws-us-gov"
		}
		if r.region == "" {
			r.region = globalRegion
		}
	default:
		if hosts = stsChina.FindStringSubmatch(r.host); hosts == nil {
			return r, invalid("host is none of AWS's Security Token Service")
		}
		r.region, r.partition = hosts[1], "aws-cn"
	}
	if address != "https://"+r.host+"/"+callerQuery && address != "https://"+r.host+callerQuery {
		return r, invalid("url is not that of GetCallerIdentity at the host")
	}
	m := authorizationForm.FindStringSubmatch(headers["authorization"])
	if m == nil {
		return r, invalid("authorization is no signature of a role's session over exactly " + signedHeaders)
	}
	r.keyID, r.signature = m[1], m[4]
	stamp := headers["x-amz-date"]
	date, err := time.Parse("20060102T150405Z", stamp)
	switch {
	case !dateForm.MatchString(stamp) || err != nil || stamp[:8] != m[2]:
		return r, invalid("x-amz-date is no date, or another day's than the signature's")
	case m[3] != r.region:
		return r, invalid("the signature is for another region than the host's")
	case len(headers["x-amz-security-token"]) > maxSessionToken || !sessionTokenForm.MatchString(headers["x-amz-security-token"]):
		return r, invalid("x-amz-security-token is no session token")
	}
	r.date, r.token = date, exchange.Secret(headers["x-amz-security-token"])
	r.audience = headers["x-cambio-audience"]
	if i := strings.LastIndex(r.audience, nonceMark); i >= 0 {
		r.audience, r.nonce = r.audience[:i], r.audience[i+len(nonceMark):]
		if !nonceForm.MatchString(r.nonce) {
			return r, invalid("the audience's nonce is none")
		}
	}
	if r.audience == "" {
		return r, invalid("x-cambio-audience is empty")
	}
	return r, nil
}

// shownAudience is the audience as it was signed.
func (r signedRequest) shownAudience() string {
	if r.nonce == "" {
		return r.audience
	}
	return r.audience + nonceMark + r.nonce
}

func (r signedRequest) stamp() string { return r.date.Format("20060102T150405Z") }

func (r signedRequest) scope() string {
	return r.date.Format("20060102") + "/" + r.region + "/sts/aws4_request"
}

func (r signedRequest) authorization() string {
	return "AWS4-HMAC-SHA256 Credential=" + r.keyID + "/" + r.scope() + ", SignedHeaders=" + signedHeaders + ", Signature=" + r.signature
}

// ours is a nonce that claims to be ours, or "".
func (r signedRequest) ours() string {
	if strings.HasPrefix(r.nonce, noncePrefix) {
		return r.nonce
	}
	return ""
}

// replayKey names the signature. The envelope has many spellings, the signature has
// one: an HMAC in lower-case hexadecimal digits over one text.
func (r signedRequest) replayKey() string {
	return digest("aws4_request", r.keyID, r.scope(), r.stamp(), r.signature)
}

// memory names everything that AWS's answer depends on. A key of less would let
// another audience, or another token, have the answer of a good one
// (CVE-2025-11621).
func (r signedRequest) memory() string {
	return digest("answer", r.host, r.keyID, r.scope(), r.stamp(), r.signature, r.token.Reveal(), r.shownAudience())
}

// digest is over parts that hold no NUL.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
