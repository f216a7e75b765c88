package client

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// typeAWSRequest is a signed request of sts:GetCallerIdentity, for the gateway to
// have answered.
const typeAWSRequest = "urn:ietf:params:aws:token-type:aws4_request"

const (
	// ec2Metadata is the instance's own server, the same address on every one.
	ec2Metadata = "http://169.254.169.254"
	// ecsMetadata is where a relative URI of ECS is.
	ecsMetadata = "http://169.254.170.2"
	// eksMetadataV6 is EKS's in a cluster of IPv6; it is of no link.
	eksMetadataV6 = "fd00:ec2::23"
	// ec2TokenLife is how long the session with the instance's server may last: as long
	// as the few questions take.
	ec2TokenLife = "60"
	// callerQuery is what is signed, all of it: there is no body.
	callerQuery   = "Action=GetCallerIdentity&Version=2011-06-15"
	signedHeaders = "host;x-amz-date;x-amz-security-token;x-cambio-audience"
	nonceQuery    = "?nonce="
)

// awsKeys are a role's temporary credentials. They sign, and stay here.
type awsKeys struct{ id, secret, session, region string }

var (
	awsKeyID   = regexp.MustCompile(`^ASIA[A-Z0-9]{12,124}$`)
	awsRegion  = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}$`)
	awsRole    = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	awsVisible = regexp.MustCompile(`^[!-~]+$`)
)

// errAWSKeys says that keys are not those of a role.
var errAWSKeys = fmt.Errorf("%w: the keys are no temporary credentials of a role; a user's own key proves no workload", ErrNoIdentity)

// amazonNamed is a role of AWS where CAMBIO_AWS_IDENTITY=1 says that it is meant.
// Then, and only then, the keys in the environment are it: elsewhere they may be
// anybody's, such as those that `cambio exec` put there.
func (d *detection) amazonNamed(context.Context) (*Source, error) {
	switch v := d.getenv("CAMBIO_AWS_IDENTITY"); v {
	case "", "0":
		return nil, nil
	case "1":
	default:
		return nil, errors.New("CAMBIO_AWS_IDENTITY is neither 1 nor 0")
	}
	if d.getenv("AWS_ACCESS_KEY_ID") != "" {
		return d.amazonSource("AWS_ACCESS_KEY_ID", d.awsEnvironment), nil
	}
	if at, err := d.awsContainer(); at != nil || err != nil {
		return d.amazonContainer(at, err)
	}
	server, err := d.ec2Server()
	if err != nil {
		return nil, err
	}
	return d.amazonSource(server.Host, d.awsInstance(server)), nil
}

// amazon is a role of AWS that the platform itself gives the workload: a container's
// (ECS, EKS), else an instance's. It is the last place, as whoever has another
// identity means that one.
func (d *detection) amazon(ctx context.Context) (*Source, error) {
	const name = "AWS"
	if d.getenv("CAMBIO_AWS_IDENTITY") == "0" {
		d.missed(name, "CAMBIO_AWS_IDENTITY=0")
		return nil, nil
	}
	if at, err := d.awsContainer(); at != nil || err != nil {
		return d.amazonContainer(at, err)
	}
	if strings.EqualFold(d.getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		d.missed(name, "no container's endpoint is named, and AWS_EC2_METADATA_DISABLED is set")
		return nil, nil
	}
	server, err := d.ec2Server()
	if err != nil {
		return nil, err
	}
	probe, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if _, _, err := d.ec2Role(probe, server); err != nil {
		d.missed(name, fmt.Sprintf("no container's endpoint is named; %s: %v", server.Host, err))
		return nil, nil // almost every machine has none; why is listed
	}
	return d.amazonSource(server.Host, d.awsInstance(server)), nil
}

// amazonSource signs a request with fresh keys for every attempt.
func (d *detection) amazonSource(place string, keys func(context.Context) (awsKeys, error)) *Source {
	return &Source{Name: "AWS", Place: place, PerAudience: true, TokenType: typeAWSRequest, fetch: func(ctx context.Context, audience string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, metadataTime)
		defer cancel()
		k, err := keys(ctx)
		if err != nil {
			return "", err
		}
		if !awsKeyID.MatchString(k.id) || !awsVisible.MatchString(k.secret) || !awsVisible.MatchString(k.session) {
			return "", errAWSKeys
		}
		if !strings.Contains(audience, nonceQuery) {
			// Without it, two workloads of one role would sign the same in the same second,
			// and the gateway would take one of them for the other's thief.
			audience += nonceQuery + rand.Text()
		}
		return k.sign(audience, time.Now())
	}}
}

// awsEnvironment are the keys that stand in the environment.
func (d *detection) awsEnvironment(context.Context) (awsKeys, error) {
	return awsKeys{
		id: d.getenv("AWS_ACCESS_KEY_ID"), secret: d.getenv("AWS_SECRET_ACCESS_KEY"), session: d.getenv("AWS_SESSION_TOKEN"), region: d.awsRegion(),
	}, nil
}

func (d *detection) awsRegion() string {
	return cmp.Or(d.getenv("AWS_REGION"), d.getenv("AWS_DEFAULT_REGION"))
}

// awsContainer is the endpoint of a container's credentials, or nil.
func (d *detection) awsContainer() (*url.URL, error) {
	if path := d.getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		u, err := url.Parse(ecsMetadata + path)
		if err != nil || !strings.HasPrefix(path, "/") || u.Host != strings.TrimPrefix(ecsMetadata, "http://") {
			return nil, errors.New("AWS: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: not a path")
		}
		return u, nil
	}
	full := d.getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if full == "" {
		return nil, nil
	}
	if u, err := url.Parse(full); err == nil && u.Scheme == "http" && u.User == nil && u.Hostname() == eksMetadataV6 {
		return u, nil
	}
	u, err := nearURL(full)
	if err != nil {
		return nil, fmt.Errorf("AWS: AWS_CONTAINER_CREDENTIALS_FULL_URI: %w", err)
	}
	return u, nil
}

func (d *detection) amazonContainer(at *url.URL, err error) (*Source, error) {
	if err != nil {
		return nil, err
	}
	return d.amazonSource(at.Host, func(ctx context.Context) (awsKeys, error) {
		authorization := d.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if file := d.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			content, err := d.readFile(file) // the platform renews it
			if err != nil {
				return awsKeys{}, fmt.Errorf("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %w", err)
			}
			authorization = strings.TrimSpace(string(content))
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return awsKeys{}, errors.New("the container's endpoint: not a URL")
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		k, err := d.awsDocument(req)
		k.region = d.awsRegion()
		return k, err
	}), nil
}

// ec2Server is the instance's metadata server, or what stands in for it.
func (d *detection) ec2Server() (*url.URL, error) {
	server, err := nearURL(cmp.Or(d.getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), ec2Metadata))
	if err != nil {
		return nil, fmt.Errorf("AWS: AWS_EC2_METADATA_SERVICE_ENDPOINT: %w", err)
	}
	return server, nil
}

// ec2Role opens a session with the instance's server (version 2 of it, which takes
// no request that somebody else made the machine send), and asks for the role.
func (d *detection) ec2Role(ctx context.Context, server *url.URL) (session, role string, err error) {
	session, err = d.ec2Text(ctx, http.MethodPut, server, "latest/api/token", "")
	if err != nil {
		return "", "", err
	}
	if !awsVisible.MatchString(session) {
		return "", "", errors.New("what answered is not AWS's metadata server")
	}
	if role, err = d.ec2Text(ctx, http.MethodGet, server, "latest/meta-data/iam/security-credentials/", session); err != nil {
		return "", "", err
	}
	if !awsRole.MatchString(role) {
		return "", "", errors.New("what answered is not AWS's metadata server")
	}
	return session, role, nil
}

func (d *detection) ec2Request(ctx context.Context, method string, server *url.URL, path, session string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, server.JoinPath(path).String(), nil)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if session == "" {
		req.Header.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ec2TokenLife)
	} else {
		req.Header.Set("X-Aws-Ec2-Metadata-Token", session)
	}
	return req, nil
}

func (d *detection) ec2Text(ctx context.Context, method string, server *url.URL, path, session string) (string, error) {
	req, err := d.ec2Request(ctx, method, server, path, session)
	if err != nil {
		return "", err
	}
	a, err := fetch(direct(d.env.HTTP), req)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(a.body)), checkStatus(a)
}

// awsInstance are the keys of the instance's role.
func (d *detection) awsInstance(server *url.URL) func(context.Context) (awsKeys, error) {
	return func(ctx context.Context) (awsKeys, error) {
		session, role, err := d.ec2Role(ctx, server)
		if err != nil {
			return awsKeys{}, err
		}
		req, err := d.ec2Request(ctx, http.MethodGet, server, "latest/meta-data/iam/security-credentials/"+role, session)
		if err != nil {
			return awsKeys{}, err
		}
		k, err := d.awsDocument(req)
		if err != nil {
			return awsKeys{}, err
		}
		if k.region = d.awsRegion(); k.region == "" {
			k.region, err = d.ec2Text(ctx, http.MethodGet, server, "latest/meta-data/placement/region", session)
		}
		return k, err
	}
}

// awsDocument reads the keys that an endpoint of AWS answers with. No error holds
// any of them.
func (d *detection) awsDocument(req *http.Request) (awsKeys, error) {
	a, err := fetch(direct(d.env.HTTP), req)
	if err != nil {
		return awsKeys{}, err
	}
	if err := checkStatus(a); err != nil {
		return awsKeys{}, err
	}
	m, err := parseMembers(a.body)
	if err != nil {
		return awsKeys{}, errors.New("what answered is no endpoint of AWS's credentials")
	}
	return awsKeys{id: m.secret("AccessKeyId"), secret: m.secret("SecretAccessKey"), session: m.secret("Token")}, nil
}

// sign makes the request for an audience: the one form that a gateway takes
// (Signature Version 4, over exactly four headers, no body). The result is the
// envelope that carries it; the keys are not in it.
func (k awsKeys) sign(audience string, at time.Time) (string, error) {
	region, host := k.region, "sts."+k.region+".amazonaws.com"
	switch {
	case region == "":
		region, host = "us-east-1", "sts.amazonaws.com"
	case !awsRegion.MatchString(region):
		return "", errors.New("the region is none; set AWS_REGION")
	case strings.HasPrefix(region, "cn-"):
		host += ".cn"
	}
	if !awsVisible.MatchString(audience) {
		return "", errors.New("the audience cannot be signed: it is not visible ASCII")
	}
	stamp := at.UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/" + region + "/sts/aws4_request"
	nothing := sha256.Sum256(nil)
	canonical := sha256.Sum256([]byte(strings.Join([]string{
		http.MethodPost, "/", callerQuery,
		"host:" + host, "x-amz-date:" + stamp, "x-amz-security-token:" + k.session, "x-cambio-audience:" + audience, "",
		signedHeaders, hex.EncodeToString(nothing[:]),
	}, "\n")))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + k.secret)
	for _, part := range append(strings.Split(scope, "/"), text) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	type header struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	envelope, err := json.Marshal(struct {
		URL     string   `json:"url"`
		Method  string   `json:"method"`
		Headers []header `json:"headers"`
	}{"https://" + host + "/?" + callerQuery, http.MethodPost, []header{
		{"authorization", "AWS4-HMAC-SHA256 Credential=" + k.id + "/" + scope + ", SignedHeaders=" + signedHeaders + ", Signature=" + hex.EncodeToString(key)},
		{"host", host},
		{"x-amz-date", stamp},
		{"x-amz-security-token", k.session},
		{"x-cambio-audience", audience},
	}})
	return string(envelope), err
}
