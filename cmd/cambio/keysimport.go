package main

import (
	"crypto/rand"
	"errors"

	"github.com/spf13/cobra"

	"cambio/keystore"
)

func keysImportCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "import URI",
		Short: "Make a key in a KMS or an HSM the next one",
		Long: `The key becomes the next one of its algorithm, in the place of the next key that was
there. It is published from now on, and signs from the first "cambio keys rotate"
after 24 h. It must be RSA of 2048 bits or more (PKCS #1 v1.5, SHA-256) or ECDSA on
P-256 (SHA-256); a test signature is made and checked.

  awskms:///KEY-ARN
  gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N
  pkcs11:token=T;object=O?module-path=/LIBRARY&pin-source=/FILE

AWS credentials come from the SDK's default chain, Google's access token from the
metadata server. PKCS#11 needs a build with -tags pkcs11.

From then on no key of that algorithm is made in software: each rotation needs an
imported next key.`,
		Example: `  cambio keys import awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
		Args:    exactly("URI"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store := c.store(config)
			ring, key, err := store.Import(cmd.Context(), args[0], c.io.now(), rand.Reader)
			switch {
			case errors.Is(err, keystore.ErrNoKeys):
				return noKeys()
			case errors.Is(err, keystore.ErrURI):
				return &failure{code: exitUsage, err: err, next: "cambio keys import --help"}
			case errors.Is(err, keystore.ErrSigner):
				return &failure{code: exitError, err: err, next: "check the key's state and algorithm, and that this machine's role may read its public key and sign with it"}
			case err != nil:
				return err
			}
			c.io.say("%s is the next %s key; it may sign from %s: cambio keys rotate", key.KID, key.Alg, stamp(key.SignsFrom()))
			if err := c.remindCopy(store); err != nil {
				return err
			}
			return c.printKeys(keystore.Rows(ring), ring.RotatableAt())
		},
	}
}
