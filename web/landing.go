package web

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed landing.html
var landingHTML string

// landingPage renders the page at / once: it holds nothing but the issuer of the
// configuration.
func landingPage(issuer string) http.HandlerFunc {
	var page bytes.Buffer
	t := template.Must(template.New("landing").Parse(landingHTML))
	if err := t.Execute(&page, map[string]string{"Issuer": issuer}); err != nil {
		page.WriteString("Cambio")
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(page.Bytes()) // the peer has gone: nothing to do
	}
}
