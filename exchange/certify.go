package exchange

import (
	"errors"

	"cambio/trust"
)

// Certifies is what a target puts its name to for a workload, by the parameter of
// the token endpoint that brings it.
type Certifies string

// What is certified. The zero value is nothing.
const (
	CertifiesNothing Certifies = ""
	CertifiesRequest Certifies = "csr"            // a PKCS #10 certification request (RFC 2986), PEM or base64 of its DER
	CertifiesSSHKey  Certifies = "ssh_public_key" // one line of an authorized_keys file, without options
)

// checkCertify refuses what the target cannot certify before the token is used
// up. A parameter that the target has no use for is refused too: the caller
// believes that his key is bound to what he gets, and it would not be.
//
// Whoever gets here is allowed the target, and what is told is about what he sent
// himself.
func (t Target) checkCertify(r Request) error {
	refuse := func(reason trust.Reason, tell string) error {
		e := Refuse(reason, errors.New(tell))
		e.Tell = tell
		return e
	}
	switch {
	case r.Certifies != t.Certifies && t.Certifies == CertifiesNothing:
		return refuse(trust.ReasonCertifyMismatch, "The target certifies nothing; leave the parameter "+string(r.Certifies)+" out.")
	case r.Certifies != t.Certifies:
		return refuse(trust.ReasonCertifyMismatch, "The target needs the parameter "+string(t.Certifies)+".")
	case t.Certifies == CertifiesNothing:
		return nil
	}
	if err := t.Certifiable(r.Certify); err != nil {
		return refuse(trust.ReasonCertifyInvalid, "The parameter "+string(t.Certifies)+" "+err.Error()+".")
	}
	return nil
}

// named is what the order's credential is called in the record, before it exists.
func (t Target) named(id string) string {
	if t.Handle == nil {
		return id
	}
	return t.Handle(id)
}
