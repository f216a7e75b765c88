package standin

import (
	"crypto/subtle"
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// Fault makes one path misbehave. The zero value changes nothing.
type Fault struct {
	Delay    time.Duration // wait before the answer
	Hang     bool          // accept the request, and never answer
	Status   int           // instead of 200
	Location string        // redirect there, with 302 unless Status says otherwise
	Body     []byte        // instead of the true body; may be empty, not nil
	Size     int           // fill the body up with white space to so many bytes
	Header   http.Header   // added to the answer
}

// Fail makes a path misbehave until Heal.
func (p *IdentityProvider) Fail(path string, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[path] = f
}

// Heal ends the fault of a path.
func (p *IdentityProvider) Heal(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.faults, path)
}

func (p *IdentityProvider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	fault := p.faults[r.URL.Path]
	p.mu.Unlock()
	if !fault.wait(r) {
		return
	}
	status, body := p.answer(r)
	w.Header().Set("Content-Type", "application/json")
	status, body = fault.change(w, status, body)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the other side may have had enough
}

// wait spends the fault's delay. It is false if there is nobody left to answer.
func (f Fault) wait(r *http.Request) bool {
	if f.Hang {
		<-r.Context().Done()
		return false
	}
	if f.Delay <= 0 {
		return true
	}
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (p *IdentityProvider) answer(r *http.Request) (status int, body []byte) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == DiscoveryPath:
		return http.StatusOK, p.Discovery()
	case r.Method == http.MethodGet && r.URL.Path == KeysPath:
		return http.StatusOK, p.JWKS()
	case r.Method == http.MethodGet && r.URL.Path == TokenPath:
		want := []byte("Bearer " + p.bearer)
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			return http.StatusUnauthorized, []byte(`{"message":"the stand-in does not know this request token"}`)
		}
		p.mu.Lock()
		claims := maps.Clone(p.job)
		p.mu.Unlock()
		if aud := r.URL.Query().Get("audience"); aud != "" {
			if claims == nil {
				claims = make(map[string]any, 1)
			}
			claims["aud"] = aud
		}
		token := p.Token(claims)
		return http.StatusOK, encode(map[string]any{"count": len(token), "value": token})
	default:
		p.mu.Lock()
		p.unknown = append(p.unknown, r.Method+" "+r.URL.Path)
		p.mu.Unlock()
		return http.StatusNotImplemented, []byte(`{"message":"the stand-in does not do this"}`)
	}
}

// Discovery is the true discovery document.
func (p *IdentityProvider) Discovery() []byte {
	return encode(map[string]any{
		"issuer":                                p.issuer,
		"jwks_uri":                              p.issuer + KeysPath,
		"subject_types_supported":               []string{"public", "pairwise"},
		"response_types_supported":              []string{"id_token"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported":                      []string{"openid"},
	})
}

// JWKS is the true key set.
func (p *IdentityProvider) JWKS() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]map[string]any, 0, len(p.keys))
	for _, k := range p.keys {
		if !k.Hidden {
			keys = append(keys, k.jwk())
		}
	}
	return encode(map[string]any{"keys": keys})
}

// encode renders what this package or a test made up. It panics on what JSON
// cannot say, which is a mistake in the test.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("standin: " + err.Error())
	}
	return b
}
