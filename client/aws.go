package client

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// TypeAWS is the Request.Type, and the Credential.IssuedTokenType, of temporary
// AWS credentials.
const TypeAWS = "urn:cambio:token-type:aws-credentials"

// AWSCredentials are temporary AWS credentials. As JSON they are what an AWS
// client expects of its credential_process. They hide themselves from fmt and
// log/slog; only encoding/json and the fields show them.
type AWSCredentials struct {
	Version         int       `json:"Version"` // of the form: always 1
	AccessKeyID     string    `json:"AccessKeyId"`
	SecretAccessKey string    `json:"SecretAccessKey"`
	SessionToken    string    `json:"SessionToken"`
	Expiration      time.Time `json:"Expiration"` // by the cloud's clock, UTC, whole seconds
}

// String names the credentials without showing a secret.
func (c AWSCredentials) String() string {
	return "AWS credentials until " + c.Expiration.Format(time.RFC3339)
}

// GoString is String: %#v must not show a secret either.
func (c AWSCredentials) GoString() string { return c.String() }

// LogValue is String, for log/slog.
func (c AWSCredentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// AWS's own names for what it issues are far below these; they keep what is put
// into an environment small.
const (
	maxAWSKey     = 512
	maxAWSSession = 16 << 10
)

// parseAWSObject checks every member: an AWS client that gets half of them goes
// on with whatever else it finds on the machine. No error holds a value.
func parseAWSObject(object []byte) (*AWSCredentials, error) {
	m, err := parseMembers(object)
	if err != nil {
		return nil, errors.New("malformed answer: the AWS credentials are not one JSON object with distinct names")
	}
	if string(m["Version"]) != "1" {
		return nil, errors.New("malformed answer: the AWS credentials are not of version 1")
	}
	c := AWSCredentials{Version: 1}
	for _, member := range []struct {
		name string
		to   *string
		size int
	}{
		{"AccessKeyId", &c.AccessKeyID, maxAWSKey},
		{"SecretAccessKey", &c.SecretAccessKey, maxAWSKey},
		{"SessionToken", &c.SessionToken, maxAWSSession},
	} {
		if *member.to = m.secret(member.name); !visible(*member.to, member.size) {
			return nil, fmt.Errorf("malformed answer: no %s fit for use in the AWS credentials", member.name)
		}
	}
	c.Expiration, err = m.end("Expiration")
	return &c, err
}

// visible reports whether s is 1 to limit visible ASCII characters: what goes
// into HTTP headers and an environment must not bring a line of its own.
func visible(s string, limit int) bool {
	return s != "" && len(s) <= limit && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
