package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// token is a fresh token of the stand-in for this gateway.
func (d *demo) token(claims map[string]any) string {
	all := map[string]any{"aud": d.url}
	for k, v := range claims {
		all[k] = v
	}
	return d.idp.Token(all)
}

// demoAnswer is what came back from the token endpoint.
type demoAnswer struct {
	status      int
	body        []byte
	AccessToken string `json:"access_token"`
}

// expect fails the demo when the gateway did something else than the scene says:
// a demo that cannot fail shows nothing.
func (a demoAnswer) expect(status int, text string) error {
	if a.status != status || !bytes.Contains(a.body, []byte(text)) {
		return fmt.Errorf("the gateway answered %d %s", a.status, a.body)
	}
	return nil
}

// exchange posts the form, and shows what is sent and what comes back.
func (d *demo) exchange(ctx context.Context, token string, more url.Values) (demoAnswer, error) {
	asked := ""
	for _, name := range []string{"scope", "ttl"} {
		if more.Has(name) {
			asked += " " + name + "=" + more.Get(name)
		}
	}
	d.printf("  → POST /token  audience=orders-api%s  subject_token=%s", asked, shorten(token))
	a, err := d.post(ctx, token, more)
	if err != nil {
		return a, err
	}
	colour := d.io.green
	if a.status != http.StatusOK {
		colour = d.io.red
	}
	shown := strings.ReplaceAll(string(a.body), a.AccessToken, shorten(a.AccessToken))
	d.printf("  ← %s %s", colour(fmt.Sprint(a.status)), strings.TrimSpace(shown))
	return a, nil
}

func (d *demo) post(ctx context.Context, token string, more url.Values) (demoAnswer, error) {
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {token},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"audience":           {"orders-api"},
	}
	for k, v := range more {
		form[k] = v
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return demoAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return demoAnswer{}, err
	}
	defer res.Body.Close()
	a := demoAnswer{status: res.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, maxInput)); err != nil {
		return a, err
	}
	return a, json.Unmarshal(a.body, &a)
}

// printJWT shows a JWT decoded.
func (d *demo) printJWT(token string) error {
	for i, name := range []string{"header", "claims"} {
		part, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
		if err != nil {
			return err
		}
		d.printf("  %s %s", name, part)
	}
	return nil
}

func (d *demo) title(text string) {
	d.step++
	d.printf("\n%s", d.io.bold(fmt.Sprintf("%d. %s", d.step, text)))
}

func (d *demo) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.io.out, format+"\n", args...) // a closed pipe ends the demo by its signal
}

func shorten(token string) string {
	if len(token) < 24 {
		return token
	}
	return fmt.Sprintf("%s…%s (%d bytes)", token[:10], token[len(token)-6:], len(token))
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
