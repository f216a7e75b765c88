package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"

	"cambio/issuer"
)

// awsURI is awskms://[ENDPOINT]/KEY-ARN. An alias is not taken: it can be pointed
// to another key.
var awsURI = regexp.MustCompile(`^awskms://((?:[a-z0-9.-]{1,253}|\[::1\])(?::[0-9]{1,5})?)?/(arn:(aws|aws-cn|aws-us-gov):kms:([a-z0-9-]{1,32}):[0-9]{12}:key/(?:mrk-)?[0-9a-f-]{8,64})$`)

// awsKey is a key in AWS KMS. The requests are written by hand: there are two.
type awsKey struct {
	o        *outside
	endpoint string
	arn      string
	region   string

	mu          sync.Mutex
	credentials aws.CredentialsProvider
}

func (o *outside) aws(uri string) (*awsKey, error) {
	m := awsURI.FindStringSubmatch(uri)
	if m == nil {
		return nil, fmt.Errorf("%w: write awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID", ErrURI)
	}
	k := &awsKey{o: o, arn: m[2], region: m[4]}
	switch host := m[1]; {
	case host == "" && m[3] == "aws-cn":
		k.endpoint = "https://kms." + k.region + ".amazonaws.com.cn"
	case host == "":
		k.endpoint = "https://kms." + k.region + ".amazonaws.com"
	case loopback(host):
		k.endpoint = "http://" + host
	default:
		k.endpoint = "https://" + host
	}
	return k, nil
}

// loopback reports whether a host is an address of this machine: there, and only
// there, plain HTTP will do.
func loopback(host string) bool {
	if p, err := netip.ParseAddrPort(host); err == nil {
		return p.Addr().IsLoopback()
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

func (k *awsKey) public(ctx context.Context) (crypto.PublicKey, error) {
	var out struct {
		KeyID  string   `json:"KeyId"`
		Public []byte   `json:"PublicKey"`
		Usage  string   `json:"KeyUsage"`
		Algs   []string `json:"SigningAlgorithms"`
	}
	if err := k.call(ctx, "GetPublicKey", map[string]any{"KeyId": k.arn}, &out); err != nil {
		return nil, err
	}
	switch {
	case out.KeyID != k.arn:
		return nil, fmt.Errorf("%w: AWS answered for another key", ErrSigner)
	case out.Usage != "SIGN_VERIFY":
		return nil, fmt.Errorf("%w: the key is not for signing", ErrSigner)
	}
	pub, err := x509.ParsePKIXPublicKey(out.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: no public key that can be read", ErrSigner)
	}
	alg, err := issuer.CheckStrength(pub)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(out.Algs, awsAlg(alg)) {
		return nil, fmt.Errorf("%w: the key does not sign %s", ErrSigner, awsAlg(alg))
	}
	return pub, nil
}

func (k *awsKey) sign(ctx context.Context, alg issuer.Alg, digest []byte) ([]byte, error) {
	var out struct {
		KeyID     string `json:"KeyId"`
		Signature []byte `json:"Signature"`
		Alg       string `json:"SigningAlgorithm"`
	}
	in := map[string]any{"KeyId": k.arn, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": awsAlg(alg)}
	if err := k.call(ctx, "Sign", in, &out); err != nil {
		return nil, err
	}
	if out.KeyID != k.arn || out.Alg != awsAlg(alg) || len(out.Signature) == 0 {
		return nil, fmt.Errorf("%w: AWS answered for another key or algorithm", ErrSigner)
	}
	return out.Signature, nil
}

func awsAlg(alg issuer.Alg) string {
	if alg == issuer.RS256 {
		return "RSASSA_PKCS1_V1_5_SHA_256"
	}
	return "ECDSA_SHA_256"
}

// call makes one request of the JSON 1.1 protocol, signed with Signature Version 4.
func (k *awsKey) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("keystore: encode a request: %w", err)
	}
	credentials, err := k.retrieve(ctx)
	if err != nil {
		return fmt.Errorf("%w: no AWS credentials: %w", ErrSigner, err)
	}
	sum := sha256.Sum256(body)
	a, err := k.o.call(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.endpoint+"/", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "TrentService."+operation)
		// The clock is the machine's, as for TLS: AWS compares it with its own.
		return req, v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "kms", k.region, time.Now())
	}, func(a answer) bool {
		return strings.HasPrefix(awsKind(a), "Throttling") // of status 400
	}, awsKind)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("%w: an answer that cannot be read", ErrSigner)
	}
	return nil
}

// awsKind is the name of an error, such as AccessDeniedException.
func awsKind(a answer) string {
	var e struct {
		Type string `json:"__type"`
	}
	if json.Unmarshal(a.body, &e) != nil {
		return ""
	}
	return kind(e.Type[strings.LastIndexByte(e.Type, '#')+1:])
}

// retrieve finds credentials in the SDK's default chain: environment, ~/.aws,
// the role of a container, a service account or an instance. This is the one
// place where what lies about is the right thing: the key is ours, the machine's
// own role may use it, and a configured secret would be one more to leak. No
// credential that is issued to a workload comes from here.
func (k *awsKey) retrieve(ctx context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	p := k.credentials
	k.mu.Unlock()
	if p == nil {
		c, err := config.LoadDefaultConfig(ctx, config.WithRegion(k.region))
		if err != nil {
			return aws.Credentials{}, err
		}
		p = c.Credentials // caches, and fetches anew before the end
		k.mu.Lock()
		k.credentials = p
		k.mu.Unlock()
	}
	return p.Retrieve(ctx)
}
