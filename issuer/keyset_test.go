package issuer_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/issuer"
)

func TestPublicationIsWhatIsServed(t *testing.T) {
	i := open(t, ring())
	discovery, keys, err := issuer.Publication(url, ring(), start)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(discovery, i.Discovery()) || !bytes.Equal(keys, i.JWKS()) {
		t.Errorf("published\n%s\n%s\nserved\n%s\n%s", discovery, keys, i.Discovery(), i.JWKS())
	}
	if _, _, err := issuer.Publication("http://id.acme.example", ring(), start); !errors.Is(err, issuer.ErrConfig) {
		t.Errorf("a URL that nobody takes: %v", err)
	}
	if _, _, err := issuer.Publication(url, issuer.Ring{}, start); !errors.Is(err, issuer.ErrRing) {
		t.Errorf("an empty ring: %v", err)
	}
}

func TestReadKeySet(t *testing.T) {
	good := open(t, ring()).JWKS()
	var doc struct{ Keys []map[string]string }
	if err := json.Unmarshal(good, &doc); err != nil {
		t.Fatal(err)
	}
	kid, other := doc.Keys[0]["kid"], doc.Keys[1]["kid"]
	replace := func(old, with string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("no %s in %s", old, good)
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
	tests := []struct {
		name string
		raw  []byte
		ok   bool
	}{
		{"ours", good, true},
		{"with white space", append(append([]byte("\n "), good...), '\n'), true},
		{"no keys", []byte(`{"keys":[]}`), true},
		{"null", []byte(`{"keys":null}`), false},
		{"nothing", nil, false},
		{"no set", []byte(`[]`), false},
		{"two documents", append(append([]byte(nil), good...), good...), false},
		{"a private member", replace(`"use":"sig"`, `"use":"sig","d":"AAAA"`), false},
		{"another member", replace(`{"keys"`, `{"x":1,"keys"`), false},
		{"a member twice", replace(`"use":"sig"`, `"use":"sig","use":"sig"`), false},
		{"capitals", replace(`"kid"`, `"KID"`), false},
		{"another use", replace(`"use":"sig"`, `"use":"enc"`), false},
		{"another's kid", replace(`"kid":"`+kid, `"kid":"`+other), false},
		{"a kid of its own", replace(`"kid":"`+kid, `"kid":"`+strings.Repeat("0", 32)), false},
		{"another alg", replace(`"alg":"ES256"`, `"alg":"RS256"`), false},
		{"a symmetric key", []byte(`{"keys":[{"kty":"oct","use":"sig","alg":"HS256","kid":"a"}]}`), false},
		{"RSA e=1", replace(`"e":"AQAB"`, `"e":"AQ"`), false},
		{"RSA e with zeros", replace(`"e":"AQAB"`, `"e":"AAEAAQ"`), false},
		{"a huge set", append(bytes.Repeat([]byte(" "), issuer.MaxKeySet), good...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := issuer.ReadKeySet(tt.raw)
			if (err == nil) != tt.ok {
				t.Fatal(err)
			}
			if err != nil && (!errors.Is(err, issuer.ErrKeySet) || len(s.KIDs()) > 0) {
				t.Errorf("%v, %v", err, s.KIDs())
			}
		})
	}
}

func TestUnion(t *testing.T) {
	rotated, err := issuer.Rotate(ring(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	read := func(r issuer.Ring) issuer.KeySet {
		t.Helper()
		s, err := issuer.ReadKeySet(open(t, r).JWKS())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old, set := read(rotated), read(ring())
	drop := key(t, rotated, issuer.ES256, issuer.Next).KID
	got := set.Union(old, func(kid string) bool { return kid != drop })
	want := append(set.KIDs(), key(t, rotated, issuer.RS256, issuer.Next).KID)
	if d := cmp.Diff(want, got.KIDs()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(read(ring()).KIDs(), set.KIDs()); d != "" {
		t.Error("the set itself changed", d)
	}
	raw, err := got.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := issuer.ReadKeySet(raw); err != nil || len(again.KIDs()) != 5 {
		t.Errorf("%v, %v", again.KIDs(), err)
	}
	if raw, err := (issuer.KeySet{}).Bytes(); err != nil || string(raw) != `{"keys":[]}` {
		t.Errorf("%s, %v", raw, err)
	}
}

// What is read has one meaning: it is written back to the same text.
func FuzzReadKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","use":"sig","alg":"ES256","kid":"a","crv":"P-256","x":"AA","y":"AA"}]}`))
	if _, keys, err := issuer.Publication(url, ring(), start); err == nil {
		f.Add(keys)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := issuer.ReadKeySet(raw)
		if err != nil {
			return
		}
		again, err := s.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil || compact.String() != string(again) {
			t.Errorf("%s became %s", raw, again)
		}
	})
}
