package x509

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
)

// ParseRequest takes the public key out of a certification request (PKCS #10, RFC
// 2986), PEM or base64 or base64url of its DER. It is signed by its own key: who
// asks has it, and not another's.
//
// Nothing else of it is used. Its subject is ignored, as every request has to name
// one; one that asks for extensions, such as names, is refused: the caller would
// hold a certificate that says something else than he asked for. An error goes on
// from "The parameter csr" and repeats nothing of the request.
func ParseRequest(text string) (crypto.PublicKey, error) {
	der, err := requestDER(text)
	if err != nil {
		return nil, err
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New("is no certification request (PKCS #10)")
	}
	// The size of the key comes before any arithmetic with it.
	if err := checkKey(r.PublicKey); err != nil {
		return nil, err
	}
	if !slices.Contains(requestAlgorithms(), r.SignatureAlgorithm) {
		return nil, errors.New("is signed with an algorithm that is too weak or not known")
	}
	if r.CheckSignature() != nil {
		return nil, errors.New("is not signed by its own key")
	}
	if len(r.Extensions) > 0 {
		return nil, errors.New("asks for extensions; names and usages come from the grant alone")
	}
	return r.PublicKey, nil
}

// requestAlgorithms leave out SHA-1, which the standard library still takes here.
func requestAlgorithms() []x509.SignatureAlgorithm {
	return []x509.SignatureAlgorithm{
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
	}
}

// requestDER decodes the text by the one reading that it has.
func requestDER(text string) ([]byte, error) {
	if strings.HasPrefix(text, "-----BEGIN ") {
		block, rest := pem.Decode([]byte(text))
		// Java's keytool writes the older name.
		if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("is not one PEM block CERTIFICATE REQUEST")
		}
		return block.Bytes, nil
	}
	encoding := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	if !strings.HasSuffix(text, "=") {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	// The decoder skips line breaks: they would be a second spelling.
	der, err := encoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("is neither PEM nor base64 of DER")
	}
	return der, nil
}
