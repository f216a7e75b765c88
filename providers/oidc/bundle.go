package oidc

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

const (
	// A bundle may say how often to look for a newer one; a second would be a flood,
	// and ten years would keep an authority that was withdrawn.
	minRefresh, maxRefresh = time.Minute, time.Hour
	// defaultRefresh is the standard's advice for a bundle that says nothing (SPIFFE
	// Trust Domain and Bundle section 4.1.2).
	defaultRefresh = 5 * time.Minute
)

// bundle is what a trust bundle holds beside the keys that verify tokens.
type bundle struct {
	authorities []*x509.Certificate
	roots       *x509.CertPool // of them; never nil, so that the system's never stand in
	sequence    int64          // -1: it has none
	refresh     time.Duration
}

// Bundle is what a trust bundle document says.
type Bundle struct {
	Keys        []string            // the ids of the keys that verify JWT-SVIDs
	Authorities []*x509.Certificate // that vouch for X.509-SVIDs
	Sequence    int64               // -1: it has none
	Refresh     time.Duration       // how long it is used without asking for a newer one
}

// ReadBundle reads a trust bundle in the SPIFFE format (Trust Domain and Bundle
// section 4), or refuses it whole: see [Provider.Bundle]. The error holds no byte
// of it.
func ReadBundle(b []byte) (Bundle, error) {
	set, err := parseBundle(b)
	if err != nil {
		return Bundle{}, err
	}
	out := Bundle{Authorities: set.bundle.authorities, Sequence: set.bundle.sequence, Refresh: set.bundle.refresh}
	for _, k := range set.keys {
		if k.bad == "" {
			out.Keys = append(out.Keys, k.kid)
		}
	}
	return out, nil
}

// parseBundle reads a trust bundle: a JWK set in which `use` says what each key is
// for. Keys of other uses are ignored, as the standard wants; a private or
// symmetric one refuses the whole bundle all the same. So does one without a key
// that anything could be verified by: it must never replace a good one.
func parseBundle(b []byte) (*keySet, error) {
	if len(b) > maxDocument {
		return nil, errors.New("the bundle is too large")
	}
	doc, err := parseObject(b, documentLimits())
	if err != nil {
		return nil, err
	}
	list, ok := doc["keys"].([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("the bundle has no keys")
	}
	if len(list) > maxKeys {
		return nil, errors.New("the bundle has too many keys")
	}
	set := &keySet{byKid: make(map[string][]int), bundle: &bundle{roots: x509.NewCertPool(), sequence: -1, refresh: defaultRefresh}}
	if err := set.bundle.header(doc); err != nil {
		return nil, err
	}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, errors.New("a key is not an object")
		}
		switch m["use"] {
		case "jwt-svid":
			err = set.add(m, "jwt-svid")
		case "x509-svid":
			err = set.bundle.add(m)
		default:
			_, err = parseKey(m, "") // only for what refuses the whole
		}
		if err != nil {
			return nil, err
		}
	}
	if usable, _ := set.count(); usable == 0 {
		return nil, errors.New("the bundle has no key that can be used")
	}
	return set, nil
}

// header reads what stands beside the keys.
func (b *bundle) header(doc map[string]any) error {
	if v, has := doc["spiffe_sequence"]; has {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return errors.New("spiffe_sequence is not a whole number")
		}
		b.sequence = n
	}
	switch v := doc["spiffe_refresh_hint"].(type) {
	case nil:
		if _, has := doc["spiffe_refresh_hint"]; has {
			return errors.New("spiffe_refresh_hint is not a number")
		}
	case int64:
		b.refresh = clamp(float64(v))
	case float64:
		b.refresh = clamp(v)
	default:
		return errors.New("spiffe_refresh_hint is not a number")
	}
	return nil
}

func clamp(seconds float64) time.Duration {
	return time.Duration(math.Max(minRefresh.Seconds(), math.Min(maxRefresh.Seconds(), seconds))) * time.Second
}

// add reads one x509-svid entry: x5c holds the authority's one certificate. One
// that cannot vouch for anything is dropped, as weak keys are; one that says two
// things refuses the bundle.
func (b *bundle) add(m map[string]any) error {
	k, err := parseKey(m, "x509-svid")
	if err != nil {
		return err
	}
	chain, ok := m["x5c"].([]any)
	if !ok || len(chain) != 1 {
		return errors.New("an X.509 authority has not exactly one certificate")
	}
	text, ok := chain[0].(string)
	if !ok {
		return errors.New("an X.509 authority's certificate is not a string")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return errors.New("an X.509 authority's certificate is not base64")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("an X.509 authority's certificate is malformed")
	}
	if public, known := cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); k.bad == "" && (!known || !public.Equal(k.public)) {
		return errors.New("an X.509 authority's key is not its certificate's")
	}
	// A leaf among the authorities would vouch for itself.
	if !cert.IsCA || !cert.BasicConstraintsValid || k.bad != "" {
		return nil
	}
	b.authorities = append(b.authorities, cert)
	b.roots.AddCert(cert)
	return nil
}

func (b *bundle) shares(other *bundle) bool {
	for _, a := range b.authorities {
		for _, o := range other.authorities {
			if a.Equal(o) {
				return true
			}
		}
	}
	return false
}

// freshFor is how long the set is used without asking for a newer one.
func (s *keySet) freshFor() time.Duration {
	if s.bundle == nil {
		return fresh
	}
	return s.bundle.refresh
}

// rolledBack is the refusal of a bundle that is older than the one in force, or
// that no longer says how old it is: an old one brings back the authorities that
// were withdrawn since.
func (s *source) rolledBack(set *keySet) *exchange.Error {
	old := s.current.Load()
	if old == nil || old.bundle == nil || set.bundle == nil || set.bundle.sequence >= old.bundle.sequence {
		return nil
	}
	return exchange.Unanswered(trust.ReasonBundleRollback,
		fmt.Errorf("spiffe_sequence went from %d to %d", old.bundle.sequence, set.bundle.sequence))
}
