package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/client"
)

// awsGateway is a strict gateway with an AWS target: it takes a token for its
// own audience with a nonce that it gave, once, and is broken in the ways that
// the targets' names say. What no client of ours may ask is 501, with the reason.
type awsGateway struct {
	mu     sync.Mutex
	url    string
	given  int
	nonces map[string]bool // not yet used
	others map[string]func(url.Values) (int, map[string]any)
}

const storyDecision = "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"

// awsgateway: from here on CAMBIO_SERVER is a gateway with the targets aws-prod
// (give AWS credentials), aws-half (half of them), aws-other (a JWT whatever was
// asked for) and orders-api (a JWT), and those of otherTargets.
func startAWSGateway(ts *testscript.TestScript, _ bool, _ []string) {
	g := &awsGateway{nonces: map[string]bool{}, others: otherTargets()}
	server := httptest.NewUnstartedServer(g)
	g.url = "http://" + server.Listener.Addr().String() // before anybody can ask
	server.Start()
	ts.Defer(server.Close)
	ts.Setenv("CAMBIO_SERVER", server.URL)
}

func (g *awsGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	status, body := wrong(r.Method + " " + r.URL.String())
	switch r.Method + " " + r.URL.RequestURI() {
	case "POST /nonce":
		g.given++
		nonce := fmt.Sprintf("cn1.story-%d", g.given)
		g.nonces[nonce] = true
		status, body = http.StatusOK, map[string]any{"nonce": nonce, "expires_in": 300}
	case "POST /token":
		status, body = g.token(r)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cambio-Decision-Id", storyDecision)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // texts and numbers, and whoever listens may be gone
}

func wrong(why string) (int, map[string]any) {
	return http.StatusNotImplemented, map[string]any{"error": "server_error", "error_description": why, "decision_id": storyDecision}
}

func (g *awsGateway) token(r *http.Request) (int, map[string]any) {
	if err := r.ParseForm(); err != nil {
		return wrong(err.Error())
	}
	claims, err := client.Unverified(r.PostForm.Get("subject_token"))
	audience, _ := claims["aud"].(string)
	nonce, whole := strings.CutPrefix(audience, g.url+"?nonce=")
	if err != nil || !whole || !g.nonces[nonce] {
		return wrong(fmt.Sprintf("a token for %q: %v", audience, err))
	}
	delete(g.nonces, nonce)
	target, kind := r.PostForm.Get("audience"), r.PostForm.Get("requested_token_type")
	if give, ok := g.others[target]; ok {
		return give(r.PostForm)
	}
	if target == "orders-api" || target == "aws-other" {
		if kind == client.TypeAWS && target == "orders-api" {
			return http.StatusBadRequest, map[string]any{
				"error": "invalid_request", "error_description": "The request was refused. Quote decision_id to the owner of the trust.", "decision_id": storyDecision,
			}
		}
		return http.StatusOK, map[string]any{
			"access_token": "the.secret.jwt", "issued_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_type": "Bearer",
			"expires_in": 900, "decision_id": storyDecision,
		}
	}
	if kind != "" && kind != client.TypeAWS {
		return wrong("requested_token_type " + kind)
	}
	credentials := map[string]any{
		"Version": 1, "AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": "the-secret/key+", "SessionToken": "the-secret/session==",
		"Expiration": time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339),
	}
	if target == "aws-half" {
		delete(credentials, "SessionToken")
	}
	text, err := json.Marshal(credentials)
	if err != nil {
		return wrong(err.Error())
	}
	return http.StatusOK, map[string]any{
		"access_token": string(text), "issued_token_type": client.TypeAWS, "token_type": "N_A",
		"expires_in": 900, "decision_id": storyDecision, "credentials": credentials,
	}
}
