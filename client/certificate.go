package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
)

// typeMTLS says that the certificate of the connection is the subject.
const typeMTLS = "urn:cambio:token-type:mtls"

// Certificate is an identity that the connection to the gateway proves: a client
// certificate or X.509-SVID and its key, PEM, the leaf first and its intermediates
// behind it, as spiffe-helper, `spire-agent api fetch x509 -write` and cert-manager
// write them. Both files are read again for each attempt.
type Certificate struct {
	CertFile string
	KeyFile  string
	ReadFile func(string) ([]byte, error) // os.ReadFile
}

// Source is the certificate as what an exchange shows. The client needs
// [Certificate.HTTP] too. What is sent as a token is a fixed word: the gateway looks
// at the connection.
func (c Certificate) Source() *Source {
	return &Source{
		Name: "client certificate", Place: c.CertFile, TokenType: typeMTLS,
		fetch: func(context.Context, string) (string, error) {
			if _, err := c.load(); err != nil {
				return "", err
			}
			return "certificate", nil
		},
	}
}

// HTTP reaches the gateway with the certificate, over a connection of its own for
// each request: one that is kept would prove the certificate of a minute ago. Of
// base only the transport is used; nil means a default. The gateway itself must end
// TLS, since nobody else sees who connects.
func (c Certificate) HTTP(base *http.Client) (*http.Client, error) {
	from := http.DefaultTransport
	if base != nil && base.Transport != nil {
		from = base.Transport
	}
	known, ok := from.(*http.Transport)
	if !ok {
		return nil, errors.New("client certificate: the transport is none that it could be added to")
	}
	transport := known.Clone()
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.load() }
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport}, nil
}

// load reads both files. The error holds nothing of them.
func (c Certificate) load() (*tls.Certificate, error) {
	var files [2][]byte
	for i, path := range []string{c.CertFile, c.KeyFile} {
		b, err := c.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s does not exist", ErrNoIdentity, path)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		files[i] = b
	}
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		// Between the writes of a renewal the two do not fit; the next attempt reads
		// them anew. The library's text may quote a file.
		return nil, fmt.Errorf("%w: %s and %s are not a PEM certificate and the unencrypted key that belongs to it", ErrNoIdentity, c.CertFile, c.KeyFile)
	}
	return &pair, nil
}
