package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/keystore"
)

func keysPublishCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "publish DIR",
		Short: "Write discovery and key set for a bucket or a CDN",
		Long: `Writes what the gateway serves at the issuer's URL, byte for byte, so that a static
host can serve it and the gateway need not be public:

  DIR/keys
  DIR/.well-known/openid-configuration
  DIR/.well-known/oauth-authorization-server
  DIR/.well-known/spiffe-bundle

A key in DIR that was revoked, or retired long enough ago, goes. One that the key
folder never had stays, with a warning: another key folder of this issuer may sign
with it. To drop it, remove DIR/keys and publish again.

Publish and upload after each import, rotation and revocation: a rotation waits
until the public key set shows the next keys.`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			out, err := c.store(config).Publish(cmd.Context(), args[0], config.Issuer, c.io.now(), config.Roots())
			if errors.Is(err, keystore.ErrNoKeys) {
				return noKeys()
			}
			if err != nil {
				return err
			}
			for _, kid := range out.Unknown {
				c.io.say("warning: %s is in the copy and not in %s: kept; if nothing signs with it, remove %s/keys and publish again", kid, config.Keys, args[0])
			}
			if c.json() {
				return json.NewEncoder(c.io.out).Encode(out)
			}
			if len(out.Written) == 0 {
				return lines(c.io.out, "nothing has changed: %s", count(len(out.Keys), "key"))
			}
			return lines(c.io.out, "%s in %s; written: %s", count(len(out.Keys), "key"), args[0], strings.Join(out.Written, " "))
		},
	}
}

// remindCopy says what is left to do where a copy of the key set is published.
func (c *common) remindCopy(store *keystore.Files) error {
	elsewhere, err := store.PublishedElsewhere()
	if err == nil && elsewhere {
		c.io.say("the published copy does not know yet: cambio keys publish DIR, and upload it")
	}
	return err
}

// publicTimeout bounds the fetch of the public key set: a person waits.
const publicTimeout = 5 * time.Second

// maxPublic bounds a public key set: ours never has more.
const maxPublic = 128 << 10

// checkShown refuses a rotation whose next keys the public key set does not show:
// what they sign would be refused by everybody.
func (c *common) checkShown(ctx context.Context, store *keystore.Files, issuer string, ring keystore.Ring) error {
	const force = "or --force if relying parties surely know the next keys"
	public := issuer + "/keys"
	raw, err := fetchPublic(ctx, public)
	if err != nil {
		elsewhere, e := store.PublishedElsewhere()
		if e != nil {
			return e
		}
		if !elsewhere {
			c.io.say("warning: %s was not compared: %v", public, err)
			return nil
		}
		return &failure{code: exitRetry, err: fmt.Errorf("the public key set cannot be read: %w", err), next: "rotate from where " + public + " can be read, " + force}
	}
	missing, err := keystore.NotShown(ring, raw)
	switch {
	case err != nil:
		return &failure{code: exitError, err: fmt.Errorf("%s: %w", public, err), next: "mend what serves it, " + force}
	case len(missing) > 0:
		return &failure{
			code: exitRetry, err: fmt.Errorf("%s does not show the next keys yet: %s", public, strings.Join(missing, " ")),
			next: "cambio keys publish DIR, upload it, and wait until caches have it, " + force,
		}
	}
	return nil
}

// fetchPublic reads a public key set. It is compared and not believed, so what an
// attacker answers can only delay a rotation.
func fetchPublic(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, publicTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// Relying parties do not follow one from an issuer either.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", url, res.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxPublic+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return raw, nil
}
