package web

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// Readiness is what /readyz says of this replica. A shared dependency that is
// down leaves Ready true: requests get 503, and other replicas could do no more.
type Readiness struct {
	Ready        bool              `json:"ready"`
	Checks       map[string]string `json:"checks"` // "ok", or what is wrong
	PolicySHA256 string            `json:"policy_sha256"`
}

// Admin returns the handler of the admin listener: health, readiness, metrics.
func Admin(ready func() Readiness, m *Metrics) http.Handler {
	r := chi.NewRouter()
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		noStore(w.Header())
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	r.Get("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		state := ready()
		status := http.StatusOK
		if !state.Ready {
			status = http.StatusServiceUnavailable
		}
		noStore(w.Header())
		writeJSON(w, status, state)
	})
	r.Method(http.MethodGet, "/metrics", m.handler())
	return r
}
