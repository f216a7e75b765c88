package kmsrig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the AWS stand-in knows of the caller.
const (
	Region    = "eu-central-1"
	AccessKey = "AKIAKMSRIGEXAMPLE000"
	Secret    = "kmsrig/secret+of/an+example/0000000000000"
)

// AWS stands in for AWS KMS: GetPublicKey and Sign of the JSON 1.1 protocol, with
// Signature Version 4 checked.
type AWS struct{ server }

// NewAWS starts one. The caller closes it.
func NewAWS() *AWS {
	a := &AWS{}
	a.start(a.answer)
	return a
}

// Environment is what the default chain of the SDK finds the caller's credentials
// in, and nothing of the machine's own.
func (a *AWS) Environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": Secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
	}
}

// Add puts a key in and returns its URI.
func (a *AWS) Add(k crypto.Signer) string {
	a.mu.Lock()
	n := len(a.keys)
	a.mu.Unlock()
	arn := fmt.Sprintf("arn:aws:kms:%s:111122223333:key/1234abcd-12ab-34cd-56ef-%012x", Region, n)
	a.add(arn, k)
	return "awskms://" + a.host() + "/" + arn
}

type awsError struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}

func (a *AWS) answer(w http.ResponseWriter, r *http.Request) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if !ok || r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		a.fault(w, "AWS: %s %s %s", r.Method, r.URL, r.Header.Get("X-Amz-Target"))
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	a.serve(operation, w, r, func(w http.ResponseWriter, r *http.Request) {
		if why := a.checkSignature(r, body); why != "" {
			a.fault(w, "AWS: %s: signature: %s", operation, why)
			return
		}
		var in struct {
			KeyID       string  `json:"KeyId"`
			Message     *[]byte `json:"Message"`
			MessageType string  `json:"MessageType"`
			Alg         string  `json:"SigningAlgorithm"`
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			a.fault(w, "AWS: %s: %v", operation, err)
			return
		}
		k := a.key(in.KeyID)
		if k == nil {
			reply(w, http.StatusBadRequest, awsError{"NotFoundException", "no such key"})
			return
		}
		switch operation {
		case "GetPublicKey":
			der, err := x509.MarshalPKIXPublicKey(k.Public())
			if err != nil || in.Message != nil || in.Alg != "" {
				a.fault(w, "AWS: GetPublicKey %s: %v", body, err)
				return
			}
			spec, algs := awsAlgs(k)
			reply(w, http.StatusOK, map[string]any{
				"KeyId": in.KeyID, "PublicKey": der, "KeySpec": spec, "CustomerMasterKeySpec": spec, "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": algs,
			})
		case "Sign":
			_, algs := awsAlgs(k)
			if in.Message == nil || len(*in.Message) != sha256.Size || in.MessageType != "DIGEST" || !slices.Contains(algs, in.Alg) || strings.Contains(in.Alg, "PSS") {
				a.fault(w, "AWS: Sign %s", body)
				return
			}
			sig, err := k.Sign(rand.Reader, *in.Message, crypto.SHA256)
			if err != nil {
				a.fault(w, "AWS: Sign: %v", err)
				return
			}
			reply(w, http.StatusOK, map[string]any{"KeyId": in.KeyID, "Signature": sig, "SigningAlgorithm": in.Alg})
		default:
			a.fault(w, "AWS: operation %s", operation)
		}
	})
}

func awsAlgs(k crypto.Signer) (spec string, algs []string) {
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA_%d", p.N.BitLen()), []string{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PSS_SHA_256"}
	case *ecdsa.PublicKey:
		return "ECC_NIST_P" + p.Curve.Params().Name[2:], []string{"ECDSA_SHA_256"}
	}
	return "", nil
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the peer is gone: the test says so
}

// checkSignature computes Signature Version 4 anew, from its description and not
// with the SDK, and says what is wrong, or "".
func (a *AWS) checkSignature(r *http.Request, body []byte) string {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "none"
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ", ") {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || a.now().Sub(at).Abs() > 5*time.Minute {
		return "date " + stamp
	}
	scope := stamp[:8] + "/" + Region + "/kms/aws4_request"
	if fields["Credential"] != AccessKey+"/"+scope {
		return "credential " + fields["Credential"]
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.IsSorted(signed) {
		return "unsorted headers"
	}
	for _, must := range []string{"host", "x-amz-date", "x-amz-target", "content-type"} {
		if !slices.Contains(signed, must) {
			return must + " is not signed"
		}
	}
	var canonical strings.Builder
	canonical.WriteString(r.Method + "\n/\n\n")
	for _, name := range signed {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		canonical.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	sum := sha256.Sum256(body)
	canonical.WriteString("\n" + fields["SignedHeaders"] + "\n" + hex.EncodeToString(sum[:]))
	digest := sha256.Sum256([]byte(canonical.String()))
	toSign := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + Secret)
	for _, part := range append(strings.Split(scope, "/"), toSign) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(fields["Signature"])) {
		return "wrong"
	}
	return ""
}
