package ssh

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	openssh "golang.org/x/crypto/ssh"

	"cambio/exchange"
	"cambio/trust"
)

// TypeCertificate is issued_token_type of what this target gives.
const TypeCertificate = "urn:cambio:token-type:ssh-certificate"

// Types are the values of requested_token_type that an ssh target serves.
func Types() []string { return []string{TypeCertificate} }

// backdate is how long before its issue a certificate is valid, for machines whose
// clocks are behind.
const backdate = 30 * time.Second

// Minter issues user certificates. It calls nobody.
type Minter struct {
	Authority *Authority
	Rand      io.Reader
}

// Certifiable says why a line cannot be certified; nil: it can.
func Certifiable(line string) error {
	_, err := ParseKey(line)
	return err
}

// Serial is the serial number that the certificate of an order has, as ssh-keygen
// and sshd write it: the first 64 bits of its ID, so that the decision names it
// before it exists.
func Serial(id string) string {
	n, err := serial(id)
	if err != nil {
		return id
	}
	return strconv.FormatUint(n, 10)
}

func serial(id string) (uint64, error) {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) != 16 {
		return 0, errors.New("the order has no ID of 128 bits")
	}
	return binary.BigEndian.Uint64(raw), nil
}

// answer is the credential. Nothing in it is secret: it is good for nothing
// without the workload's own key.
type answer struct {
	Certificate string `json:"certificate"` // one line, as id_ed25519-cert.pub has it
	KeyID       string `json:"key_id"`      // what sshd logs: the decision's id, and the workload's
	Serial      string `json:"serial"`
	Expiration  string `json:"expiration"`
}

// Mint makes the certificate that the order's decision already names. An error
// means that nothing was issued.
func (m Minter) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	key, err := ParseKey(o.Certify)
	if err != nil {
		return exchange.Credential{}, exchange.Refuse(trust.ReasonCertifyInvalid, err)
	}
	number, err := serial(o.ID)
	if err != nil {
		return exchange.Credential{}, failed(err)
	}
	// Judged before; but a certificate for everybody is not to hang on that.
	if field, problem := misfit(o.Grant); field != "" {
		return exchange.Credential{}, failed(errors.New(field + ": " + problem))
	}
	c := &openssh.Certificate{
		Key: key, Serial: number, CertType: openssh.UserCert,
		KeyId:       o.Decision + " " + o.Identity.Workload,
		ValidAfter:  uint64(o.Issued.Add(-backdate).Unix()), //nolint:gosec // a time of now
		ValidBefore: uint64(o.Expires.Unix()),               //nolint:gosec // a time of now
		Permissions: permissions(o.Grant),
	}
	c.ValidPrincipals, _ = o.Grant.Extra["principals"].([]string)
	if err := c.SignCert(m.Rand, m.Authority.signer); err != nil {
		return exchange.Credential{}, failed(errors.New("the authority's key did not sign"))
	}
	if err := m.Authority.verify(c); err != nil {
		return exchange.Credential{}, failed(err)
	}
	a := answer{
		Certificate: strings.TrimSuffix(string(openssh.MarshalAuthorizedKey(c)), "\n"), KeyID: c.KeyId,
		Serial: Serial(o.ID), Expiration: o.Expires.UTC().Format(time.RFC3339),
	}
	value, err := json.Marshal(a)
	if err != nil {
		return exchange.Credential{}, failed(err)
	}
	return exchange.Credential{
		Value: exchange.Secret(value), Type: o.Type, Handle: a.Serial, Expires: o.Expires, Structured: true,
	}, nil
}

// failed is a fault of the authority's: nothing left it.
func failed(err error) error { return exchange.Unanswered(trust.ReasonMintFailed, err) }

// permissions are what the grant gives, and what it holds the session to. The two
// critical options are those that every sshd knows; one that does not know an
// option refuses the certificate.
func permissions(g trust.Grant) openssh.Permissions {
	p := openssh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}}
	if command, _ := g.Extra["force_command"].(string); command != "" {
		p.CriticalOptions["force-command"] = command
	}
	if sources, _ := g.Extra["source_addresses"].([]string); len(sources) > 0 {
		p.CriticalOptions["source-address"] = strings.Join(sources, ",")
	}
	given, _ := g.Extra["extensions"].([]string)
	for _, name := range given {
		p.Extensions[name] = ""
	}
	return p
}

// verify reads the certificate again, as sshd does, and checks who signed it.
func (a *Authority) verify(c *openssh.Certificate) error {
	again, err := openssh.ParsePublicKey(c.Marshal())
	if err != nil {
		return errors.New("what was signed is no certificate")
	}
	read, ok := again.(*openssh.Certificate)
	if !ok || !bytes.Equal(read.SignatureKey.Marshal(), a.signer.PublicKey().Marshal()) {
		return errors.New("what was signed is not by the authority")
	}
	checker := openssh.CertChecker{
		IsUserAuthority:          func(k openssh.PublicKey) bool { return bytes.Equal(k.Marshal(), a.signer.PublicKey().Marshal()) },
		SupportedCriticalOptions: []string{"force-command", "source-address"},
		Clock:                    func() time.Time { return time.Unix(int64(c.ValidAfter), 0) }, //nolint:gosec // a time of now
	}
	if err := checker.CheckCert(c.ValidPrincipals[0], read); err != nil {
		return errors.New("what was signed does not verify")
	}
	return nil
}
