package client

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// The Request.Type, and the Credential.IssuedTokenType, of what is no single text,
// beside TypeAWS.
const (
	TypeDatabase = "urn:cambio:token-type:database-credentials"
	TypeX509     = "urn:cambio:token-type:x509-certificate"
	TypeSSH      = "urn:cambio:token-type:ssh-certificate"
)

// structure takes a credential that is no single text apart. It comes in two forms,
// an object and the same as a string, which must agree, because one reader takes
// this one and another reader that.
func (c Credential) structure(object []byte, r Request) (Credential, error) {
	text := []byte(c.AccessToken)
	var err error
	switch c.IssuedTokenType {
	case TypeAWS:
		c.AWS, err = bothForms(object, text, parseAWSObject)
	case TypeDatabase:
		c.Database, err = bothForms(object, text, parseDatabase)
	case TypeX509:
		c.X509, err = bothForms(object, text, func(object []byte) (*X509Certificate, error) { return parseX509(object, r.CSR) })
	case TypeSSH:
		c.SSH, err = bothForms(object, text, func(object []byte) (*SSHCertificate, error) { return parseSSH(object, r.SSHPublicKey) })
	default:
		return c, nil
	}
	if err == nil && c.TokenType != "N_A" { // a caller would send it whole as a bearer token
		err = errors.New("malformed answer: such credentials are no bearer token")
	}
	if err != nil {
		return Credential{}, err
	}
	return c, nil
}

// bothForms parses the two forms of a credential and compares them.
func bothForms[T comparable](object, text []byte, parse func([]byte) (*T, error)) (*T, error) {
	c, err := parse(object)
	if err != nil {
		return nil, err
	}
	same, err := parse(text)
	if err != nil {
		return nil, err
	}
	if *c != *same {
		return nil, errors.New("malformed answer: access_token and credentials differ")
	}
	return c, nil
}

// end is a member that says when a credential ends: without an end it would be
// kept for ever by whoever holds it.
func (m members) end(name string) (time.Time, error) {
	end, err := time.Parse(time.RFC3339, m.secret(name))
	if err != nil || end.Year() < 2000 || end.Year() > 9999 {
		return time.Time{}, fmt.Errorf("malformed answer: no %s fit for use in the credentials", name)
	}
	return end.UTC().Truncate(time.Second), nil
}

// DatabaseCredentials open one database, as one user. They hide themselves from fmt
// and log/slog; only encoding/json and the fields show them.
type DatabaseCredentials struct {
	Version    int    // of the form: always 1
	Engine     string // postgres or mysql
	Host       string
	Port       int
	User       string
	Password   string    // lives for some minutes; a connection that is open stays open
	Expiration time.Time // UTC, whole seconds
}

// String names the credentials without showing a secret.
func (c DatabaseCredentials) String() string {
	return "database credentials until " + c.Expiration.Format(time.RFC3339)
}

// GoString is String: %#v must not show a secret either.
func (c DatabaseCredentials) GoString() string { return c.String() }

// LogValue is String, for log/slog.
func (c DatabaseCredentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

const (
	// maxHost is the longest name of a host (RFC 1035 section 2.3.4), and room for
	// a socket's path.
	maxHost = 255
	// maxPassword is above AWS's, which is a signed URL with a session token.
	maxPassword = 16 << 10
)

// parseDatabase checks every member: a client that gets half of them takes the rest
// from wherever it finds some. No error holds a value.
func parseDatabase(object []byte) (*DatabaseCredentials, error) {
	m, err := parseMembers(object)
	if err != nil {
		return nil, errors.New("malformed answer: the database credentials are not one JSON object with distinct names")
	}
	if string(m["Version"]) != "1" {
		return nil, errors.New("malformed answer: the database credentials are not of version 1")
	}
	c := DatabaseCredentials{Version: 1, Engine: m.secret("Engine")}
	if c.Engine != "postgres" && c.Engine != "mysql" {
		return nil, errors.New("malformed answer: no Engine that is known in the database credentials")
	}
	for _, member := range []struct {
		name string
		to   *string
		size int
	}{{"Host", &c.Host, maxHost}, {"User", &c.User, maxHost}, {"Password", &c.Password, maxPassword}} {
		if *member.to = m.secret(member.name); !visible(*member.to, member.size) {
			return nil, fmt.Errorf("malformed answer: no %s fit for use in the database credentials", member.name)
		}
	}
	port, err := strconv.ParseUint(string(m["Port"]), 10, 16)
	if err != nil || port == 0 {
		return nil, errors.New("malformed answer: no Port fit for use in the database credentials")
	}
	c.Port = int(port)
	c.Expiration, err = m.end("Expiration")
	return &c, err
}
