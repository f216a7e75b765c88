package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Why a checkpoint was written, in its Reason.
const (
	checkpointHead     = "segment-head" // a segment's keys and stops stand before it
	checkpointInterval = "interval"     // 1,000 records or 60 s went by
	checkpointPart     = "remembered"   // a part of the uses; more follow
	checkpointEnd      = "segment-end"  // the last line of a segment that was ended in order
)

// checkpointPrefix begins each signed text. No JWS begins like it, so that a
// signature for the journal can never be taken for one on a token.
const checkpointPrefix = "cambio-journal-checkpoint-v1\n"

// checkpointText is what the issuer's key signs: the checkpoint's place in the
// chain and, by its hash, the checkpoint itself without its handle.
func checkpointText(r Record) ([]byte, error) {
	r.Handle = ""
	line, err := appendLine(nil, &r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(line)
	b := append([]byte(nil), checkpointPrefix...)
	b = append(append(b, r.Replica...), '\n')
	b = append(strconv.AppendInt(b, r.Seq, 10), '\n')
	b = append(r.Time.UTC().AppendFormat(b, time.RFC3339Nano), '\n')
	b = append(append(b, r.Prev...), '\n')
	return hex.AppendEncode(b, sum[:]), nil
}

func checkpointHandle(kid string, sig []byte) string {
	return kid + "." + base64.RawURLEncoding.EncodeToString(sig)
}

var (
	errHandle     = errors.New("the handle is not KID.SIGNATURE")
	errKeyUnknown = errors.New("signed by a key that the journal before it does not hold")
	errSignature  = errors.New("the signature does not verify")
)

// keyring holds the public keys that a journal has shown so far, by kid.
type keyring map[string]heldKey

type heldKey struct {
	key crypto.PublicKey
	seq int64 // of the record that showed it first
}

// drop forgets the keys that only abandoned lines showed.
func (k keyring) drop(seq int64) {
	maps.DeleteFunc(k, func(_ string, held heldKey) bool { return held.seq >= seq })
}

// add takes the key of a keys.* record. A key that cannot be used verifies
// nothing, which the first checkpoint that names it will tell. The first key of
// a kid stays: a later one of that name must not take its place.
func (k keyring) add(r Record) {
	b, err := json.Marshal(r.Claims)
	if err != nil {
		return
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(b); err != nil || !jwk.IsPublic() || jwk.KeyID == "" {
		return
	}
	if _, ok := k[jwk.KeyID]; !ok {
		k[jwk.KeyID] = heldKey{jwk.Key, r.Seq}
	}
}

// verify checks a checkpoint's signature: RSASSA-PKCS1-v1_5 (RS256) or ECDSA in
// ASN.1 DER, both over SHA-256, which is what a [crypto.Signer] gives.
func (k keyring) verify(r Record) error {
	dot := strings.LastIndexByte(r.Handle, '.')
	if dot <= 0 {
		return errHandle
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(r.Handle[dot+1:])
	if err != nil {
		return errHandle
	}
	held, ok := k[r.Handle[:dot]]
	if !ok {
		return errKeyUnknown
	}
	text, err := checkpointText(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	switch key := held.key.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, sum[:], sig) {
			return nil
		}
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil {
			return nil
		}
	}
	return errSignature
}
