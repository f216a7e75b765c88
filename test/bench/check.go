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
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cambio/audit"
	"cambio/trust"
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
	return c.recorded(a.decision, func(r audit.Record) bool {
		return r.Event == audit.ExchangeAllowed && r.Handle == claims.ID && claims.ID != ""
	})
}

// checkCloud fails unless the answer holds credentials, and the record names
// their access key.
func (c *checker) checkCloud(a answer) error {
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return err
	}
	var credentials struct {
		KeyID  string `json:"AccessKeyId"`
		Secret string `json:"SecretAccessKey"`
	}
	if err := json.Unmarshal([]byte(body.AccessToken), &credentials); err != nil {
		return fmt.Errorf("decision %s: %w", a.decision, err)
	}
	return c.recorded(a.decision, func(r audit.Record) bool {
		return r.Event == audit.ExchangeMinted && r.Handle == credentials.KeyID && r.Resource == awsRole && credentials.Secret != ""
	})
}

// reason fails unless the decision ended with this reason.
func (c *checker) reason(decision string, why trust.Reason) error {
	return c.recorded(decision, func(r audit.Record) bool { return r.Event == audit.ExchangeFailed && r.Reason == string(why) })
}

// recorded fails unless a record of the decision is as wanted.
func (c *checker) recorded(decision string, wanted func(audit.Record) bool) error {
	records, err := audit.Find(os.DirFS(c.journal), decision)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(records, wanted) {
		return errors.New("decision " + decision + " has not the line in the journal that it should have")
	}
	return nil
}
