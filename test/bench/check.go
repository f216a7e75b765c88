package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cambio/audit"
)

// checker looks at answers of the gateway as a relying party and an auditor do:
// a server that is fast because it left something out must not pass.
type checker struct {
	keys    jose.JSONWebKeySet
	journal string
}

func newChecker(ctx context.Context, server, dir string) (*checker, error) {
	client := &http.Client{Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/keys", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	c := &checker{journal: filepath.Join(dir, "state", "journal")}
	return c, json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&c.keys)
}

// check fails unless the answer's token is signed by a published key, and its
// decision is on the record and names this token.
func (c *checker) check(a answer) error {
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return err
	}
	signed, err := jose.ParseSignedCompact(body.AccessToken, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return fmt.Errorf("decision %s: %w", a.decision, err)
	}
	keys := c.keys.Key(signed.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return fmt.Errorf("decision %s: its key is not published", a.decision)
	}
	payload, err := signed.Verify(keys[0])
	if err != nil {
		return fmt.Errorf("decision %s: %w", a.decision, err)
	}
	var claims struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	records, err := audit.Find(os.DirFS(c.journal), a.decision)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Event == audit.ExchangeAllowed && r.Handle == claims.ID && claims.ID != "" {
			return nil
		}
	}
	return errors.New("decision " + a.decision + " has no line in the journal")
}
