package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"cambio/client"
)

// clientCert are the flags of an identity that is a client certificate.
type clientCert struct {
	cert string
	key  string
}

func (c *clientCert) flags(f *pflag.FlagSet) {
	f.StringVar(&c.cert, "client-cert", "", "file of a client certificate or X.509-SVID to show in place of a token, PEM, with its intermediates")
	f.StringVar(&c.key, "client-key", "", "file of its private key, PEM")
}

func (c *clientCert) named() bool { return c.cert != "" || c.key != "" }

// check refuses flags that cannot be meant together.
func (c *clientCert) check(a *ask) error {
	switch {
	case !c.named():
		return nil
	case c.cert == "" || c.key == "":
		return usage("--client-cert and --client-key belong together")
	case a.tokenFile != "":
		return usage("--client-cert and --token-file: name one identity")
	case a.server != "" && !strings.HasPrefix(a.server, "https://"):
		return &failure{code: exitUsage, err: fmt.Errorf("--client-cert: a certificate is shown over https alone"), next: "--server https://id.acme.example"}
	}
	return nil
}

func (c *clientCert) certificate(a *ask) client.Certificate {
	return client.Certificate{CertFile: c.cert, KeyFile: c.key, ReadFile: a.c.io.readFile}
}
