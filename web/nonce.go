package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// Nonces hands out nonces: see `POST /nonce`. To hand one out costs no write.
type Nonces interface {
	Seal(provider string, now time.Time) (string, error)
}

// nonceLife is what the caller is told; it is the life of a nonce of
// [Nonces], rounded down.
const nonceLife = 5 * time.Minute

var providerName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// handed is the answer of POST /nonce.
type handed struct {
	Nonce     string `json:"nonce"`
	ExpiresIn int64  `json:"expires_in"`
}

// nonce is POST /nonce. The body is empty, or a form that names the identity
// provider whose tokens the nonce is for. Whether there is such a provider is not
// told: a nonce for another one opens nothing.
func (s *server) nonce(w http.ResponseWriter, r *http.Request) {
	start := s.c.Now()
	c := callOf(r.Context())
	n, err := s.sealNonce(w, r)
	if err != nil {
		// A refused one is counted among the refusals; one that was handed out is no
		// exchange.
		c.err = err
		s.c.Observe(outcomeOf(c, s.c.Now().Sub(start)))
		s.refuse(w, r, err)
		return
	}
	noStore(w.Header())
	writeJSON(w, http.StatusOK, handed{n, int64(nonceLife / time.Second)})
}

func (s *server) sealNonce(w http.ResponseWriter, r *http.Request) (string, error) {
	provider, err := s.nonceProvider(w, r)
	if err != nil {
		return "", err
	}
	n, err := s.c.Nonces.Seal(provider, s.c.Now())
	if err != nil {
		s.c.Log.ErrorContext(r.Context(), "no nonce can be made", slog.Any("error", err))
		return "", &exchange.Error{Code: exchange.ServerError, Reason: trust.ReasonPanic, Err: err}
	}
	return n, nil
}

func (s *server) nonceProvider(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := s.limitAddress(callOf(r.Context())); err != nil {
		return "", err
	}
	values := url.Values{}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.URL.RawQuery != "" || len(r.Header.Values("Authorization")) > 0 {
		var err error
		if values, err = readBody(w, r); err != nil {
			return "", err
		}
	}
	if !values.Has("provider") {
		return s.c.NonceProvider, nil
	}
	name := values.Get("provider")
	if !providerName.MatchString(name) {
		return "", malformed("provider", "must be the name of an identity provider")
	}
	return name, nil
}
