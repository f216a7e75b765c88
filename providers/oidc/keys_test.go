package oidc_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/oidc"
	"cambio/trust"
)

func TestParseKeys(t *testing.T) {
	k := keys()
	good := func(more object) object { return jwk("k1", k.rsa, more) }
	second := jwk("k2", k.p256, nil)
	many := func(n int) []byte {
		var list []object
		for i := range n {
			list = append(list, jwk(fmt.Sprintf("k%d", i), k.ed, nil))
		}
		return keySet(list...)
	}
	for name, c := range map[string]struct {
		set  []byte
		want []string // the usable keys; nil: the set is refused
	}{
		"all kinds":             {allKeys(), []string{"k1", "k2", "k3", "k384", "k521"}},
		"other members":         {keySet(good(object{"x5t": "a", "x5c": []string{"MII"}, "n2": 1})), []string{"k1"}},
		"no kid":                {keySet(jwk("", k.rsa, nil), jwk("", k.other, nil)), []string{"", ""}},
		"one kid, two types":    {keySet(good(nil), jwk("k1", k.p256, nil)), []string{"k1", "k1"}},
		"100 keys":              {many(100), hundred()},
		"101 keys":              {many(101), nil},
		"empty":                 {keySet(), nil},
		"null":                  {[]byte(`{"keys":null}`), nil},
		"no keys":               {[]byte(`{}`), nil},
		"array":                 {[]byte(`[]`), nil},
		"nothing":               {nil, nil},
		"HTML":                  {[]byte(`<html>`), nil},
		"key no object":         {[]byte(`{"keys":["a"]}`), nil},
		"twice":                 {keySet(good(nil), jwk("k1", k.other, nil)), nil},
		"twice the same":        {keySet(good(nil), good(nil)), nil},
		"duplicate member":      {[]byte(`{"keys":[],"keys":[]}`), nil},
		"symmetric":             {keySet(good(nil), object{"kty": "oct", "k": "c2VjcmV0"}), nil},
		"symmetric without k":   {keySet(good(nil), object{"kty": "oct"}), nil},
		"private RSA":           {keySet(good(object{"d": "AQAB"}), second), nil},
		"private prime":         {keySet(good(object{"p": "AQAB"}), second), nil},
		"private EC":            {keySet(good(nil), jwk("k2", k.p256, object{"d": "AQAB"})), nil},
		"private null":          {keySet(good(object{"d": nil}), second), nil},
		"kid number":            {keySet(good(object{"kid": 1}), second), nil},
		"alg number":            {keySet(good(object{"alg": 1}), second), nil},
		"no kty":                {keySet(object{"kid": "k1"}, second), nil},
		"use enc":               {keySet(good(object{"use": "enc"}), second), []string{"k2"}},
		"use null":              {keySet(good(object{"use": nil}), second), []string{"k2"}},
		"key_ops verify":        {keySet(good(object{"key_ops": []string{"verify"}}), second), []string{"k1", "k2"}},
		"key_ops encrypt":       {keySet(good(object{"key_ops": []string{"encrypt"}}), second), []string{"k2"}},
		"key_ops text":          {keySet(good(object{"key_ops": "verify"}), second), []string{"k2"}},
		"alg of another type":   {keySet(good(object{"alg": "ES256"}), second), []string{"k2"}},
		"alg of another curve":  {keySet(good(nil), jwk("k2", k.p256, object{"alg": "ES384"})), []string{"k1"}},
		"alg encryption":        {keySet(good(object{"alg": "RSA-OAEP"}), second), []string{"k2"}},
		"unknown type":          {keySet(good(object{"kty": "AKP"}), second), []string{"k2"}},
		"unknown curve":         {keySet(good(nil), jwk("k2", k.p256, object{"crv": "secp256k1"})), []string{"k1"}},
		"point off the curve":   {keySet(good(nil), jwk("k2", k.p256, object{"x": b64(make([]byte, 32))})), []string{"k1"}},
		"short coordinate":      {keySet(good(nil), jwk("k2", k.p256, object{"x": "AQ"})), []string{"k1"}},
		"X25519":                {keySet(good(nil), jwk("k3", k.ed, object{"crv": "X25519"})), []string{"k1"}},
		"Ed25519 of order 1":    {keySet(good(nil), jwk("k3", k.ed, object{"x": b64(append([]byte{1}, make([]byte, 31)...))})), []string{"k1"}},
		"padded":                {keySet(good(object{"n": "AQAB=="}), second), []string{"k2"}},
		"no n":                  {keySet(good(object{"n": nil}), second), []string{"k2"}},
		"e is 1":                {keySet(good(object{"e": "AQ"}), second), []string{"k2"}},
		"e is 2":                {keySet(good(object{"e": "Ag"}), second), []string{"k2"}},
		"e is even":             {keySet(good(object{"e": b64([]byte{1, 0, 0})}), second), []string{"k2"}},
		"e is empty":            {keySet(good(object{"e": ""}), second), []string{"k2"}},
		"e is long":             {keySet(good(object{"e": b64(make([]byte, 5))}), second), []string{"k2"}},
		"e is above 31 bits":    {keySet(good(object{"e": b64([]byte{0xff, 0xff, 0xff, 0xff})}), second), []string{"k2"}},
		"e is 3":                {keySet(good(object{"e": "Aw"}), second), []string{"k1", "k2"}},
		"n is even":             {keySet(good(object{"n": b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())}), second), []string{"k2"}},
		"n of 2047 bits":        {keySet(good(object{"n": b64(modulus(2047))}), second), []string{"k2"}},
		"n of 8192 bits":        {keySet(good(object{"n": b64(modulus(8192))}), second), []string{"k1", "k2"}},
		"n of 8193 bits":        {keySet(good(object{"n": b64(modulus(8193))}), second), []string{"k2"}},
		"n of 16384 bits":       {keySet(good(object{"n": b64(modulus(16384))}), second), []string{"k2"}},
		"n of 300000 bits":      {keySet(good(object{"n": b64(modulus(300000))}), second), []string{"k2"}},
		"only weak ones":        {keySet(good(object{"e": "AQ"})), []string{}},
		"above the size":        {append(allKeys(), make([]byte, 512<<10)...), nil},
		"member name in a case": {keySet(good(object{"D": "AQAB"})), []string{"k1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := oidc.ParseKeys(c.set)
			if diff := cmp.Diff(c.want, got); diff != "" || (err == nil) != (c.want != nil) {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// TestSmallOrder finds by their effect that the keys refused are those under
// which a signature that needs no private key verifies.
func TestSmallOrder(t *testing.T) {
	forged := append([]byte{1}, make([]byte, 63)...) // R is the neutral element, S is 0
	for _, text := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		x, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		weak := false
		for i := range 256 {
			weak = weak || ed25519.Verify(x, []byte{byte(i)}, forged)
		}
		if !weak {
			t.Errorf("%s is not of small order", text)
		}
		got, err := oidc.ParseKeys(keySet(jwk("k3", keys().ed, object{"x": b64(x)})))
		if err != nil || len(got) != 0 {
			t.Errorf("%s was taken: %v, %v", text, got, err)
		}
	}
}

func hundred() []string {
	var kids []string
	for i := range 100 {
		kids = append(kids, fmt.Sprintf("k%d", i))
	}
	return kids
}

// modulus is an odd number of this many bits.
func modulus(bits uint) []byte {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return n.Add(n, big.NewInt(1)).Bytes()
}

// TestWeakKeys signs tokens validly with keys that must not be used.
func TestWeakKeys(t *testing.T) {
	k := keys()
	weak1024, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	// e = 1: the signature is the padded digest itself.
	one := &rsa.PublicKey{N: k.rsa.N, E: 1}
	p := provider()
	p.JWKSFile = keySet(
		jwk("k1", k.rsa, nil), jwk("small", weak1024, nil), jwk("one", one, nil),
		jwk("large", k.other, object{"n": b64(modulus(16384))}), jwk("enc", k.other, object{"use": "enc"}),
	)
	s := newSet(t, config(p))
	refused(t, s, rs256(base()), "")
	for kid, key := range map[string]any{"small": weak1024, "one": k.rsa, "large": k.other, "enc": k.other} {
		token := sign("RS256", key, asJSON(object{"alg": "RS256", "kid": kid}), asJSON(base()))
		refused(t, s, token, trust.ReasonWeakKey)
	}
}

// TestKid: without a kid exactly one key must fit.
func TestKid(t *testing.T) {
	k := keys()
	token := func(alg string, key any) string {
		return sign(alg, key, asJSON(object{"alg": alg}), asJSON(base()))
	}
	p := provider()
	p.JWKSFile = keySet(jwk("k1", k.rsa, nil), jwk("k2", k.p256, nil), jwk("e", k.other, object{"use": "enc"}))
	s := newSet(t, config(p))
	refused(t, s, token("RS256", k.rsa), "")
	refused(t, s, token("ES256", k.p256), "")
	refused(t, s, token("EdDSA", k.ed), trust.ReasonKidUnknown)
	p.JWKSFile = keySet(jwk("k1", k.rsa, nil), jwk("", k.other, nil))
	s = newSet(t, config(p))
	refused(t, s, token("RS256", k.rsa), trust.ReasonKidUnknown)
	// Two that differ in their alg: one fits.
	p.JWKSFile = keySet(jwk("k1", k.rsa, object{"alg": "RS256"}), jwk("k2", k.other, object{"alg": "PS256"}))
	s = newSet(t, config(p))
	refused(t, s, token("RS256", k.rsa), "")
	refused(t, s, token("PS256", k.other), "")
	// A key is for its own alg alone.
	refused(t, s, sign("RS512", k.rsa, asJSON(object{"alg": "RS512", "kid": "k1"}), asJSON(base())), trust.ReasonAlgNotAllowed)
	// One kid for two types of key.
	p.JWKSFile = keySet(jwk("k", k.rsa, nil), jwk("k", k.p256, nil))
	s = newSet(t, config(p))
	refused(t, s, sign("ES256", k.p256, asJSON(object{"alg": "ES256", "kid": "k"}), asJSON(base())), "")
	refused(t, s, sign("RS256", k.rsa, asJSON(object{"alg": "RS256", "kid": "k"}), asJSON(base())), "")
}

// FuzzJWKS: a set that is taken has between one and a hundred keys, none of
// them private, and a refused one no value.
func FuzzJWKS(f *testing.F) {
	f.Add(keySet(jwk("k", keys().p256, nil)))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","key_ops":["verify"]}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","d":"AA"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		kids, err := oidc.ParseKeys(b)
		if err != nil {
			if kids != nil {
				t.Fatal("an error and a value")
			}
			return
		}
		// Into a map, since struct fields would match names in any case.
		var set map[string]json.RawMessage
		var list []map[string]any
		if err := json.Unmarshal(b, &set); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if err := json.Unmarshal(set["keys"], &list); err != nil {
			t.Fatalf("encoding/json refuses the keys: %v", err)
		}
		if len(list) == 0 || len(list) > 100 || len(kids) > len(list) {
			t.Fatalf("%d usable keys of %d", len(kids), len(list))
		}
		for _, k := range list {
			if _, private := k["d"]; private || k["kty"] == "oct" {
				t.Fatal("a secret is taken")
			}
		}
	})
}
