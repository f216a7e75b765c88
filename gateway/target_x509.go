package gateway

import (
	"crypto/sha256"
	stdx509 "crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/x509"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetX509 = "x509"

// x509Kind are services that verify clients and servers by certificates of our own
// authority.
func x509Kind() targetKind {
	return targetKind{
		settings:  []string{"ca_cert", "ca_key", "subject"},
		vouches:   true,
		certifies: true,
		typ:       func(Target) trust.TargetType { return x509.TargetType() },
		pins: func(t Target) map[string]string {
			pins := map[string]string{"subject": t.Subject}
			if t.authority != nil {
				pins["root"] = fingerprint(t.authority.Roots()[0])
			}
			return pins
		},
		check: (*checker).targetX509,
		open: func(env Env, t Target) (exchange.Target, error) {
			return exchange.Target{
				Minter: x509.Minter{Authority: t.authority, Now: env.Now, Rand: env.Rand}, Types: x509.Types(),
				Certifies: exchange.CertifiesRequest, Certifiable: x509.Certifiable, Handle: x509.Serial,
			}, nil
		},
		connect: connectX509,
	}
}

func fingerprint(c *stdx509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// targetX509 checks a target whose certificates our own authority signs.
func (c *checker) targetX509(n *strictyaml.Node, t Target) Target {
	c.noAudience(n, x509Kind())
	c.subject(n, &t, subjectWorkload)
	var chain, key []byte
	t.CACert, chain = c.needed(n, "ca_cert", t.CACert, "and the file of the authority's chain, PEM, the root last")
	t.CAKey, key = c.needed(n, "ca_key", t.CAKey, "and the file of the authority's private key, PEM")
	defer clear(key)
	if chain == nil || key == nil {
		return t
	}
	authority, problems := x509.Open(chain, key)
	for _, p := range problems {
		at := n.Find("ca_cert")
		if p.Key {
			at = n.Find("ca_key")
		}
		if p.Warning {
			c.r.Warn(at, p.ID, p.Text, p.Fix)
		} else {
			c.r.Error(at, p.ID, p.Text, p.Fix)
		}
	}
	t.authority = authority
	return t
}

// noAudience refuses what a target has no use for: nobody is shown an assertion.
func (c *checker) noAudience(n *strictyaml.Node, kind targetKind) {
	for _, key := range n.Keys() {
		if key.Text == "audience" {
			c.r.UnknownField(n, key, append([]string{"type", "max_ttl"}, kind.settings...))
		}
	}
}

// needed reads a file that must be named.
func (c *checker) needed(n *strictyaml.Node, field, path, fix string) (string, []byte) {
	at := n.Get(field)
	if at == nil {
		c.r.Missing(n, field, "write "+field+": "+fix)
		return path, nil
	}
	c.notEmpty(at)
	return c.file(at, path)
}

// connectX509 is what relying parties verify our certificates with.
func connectX509(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	type who struct {
		Trust     string   `json:"trust"`
		Resource  string   `json:"resource,omitempty"`
		SPIFFEIDs []string `json:"spiffe_ids,omitempty"` // absent: match leaves them open
		DNS       []string `json:"dns,omitempty"`
		Shadow    bool     `json:"shadow,omitempty"`
	}
	out := struct {
		TrustDomain string   `json:"trust_domain"`
		BundleURL   string   `json:"bundle_url"`
		Profile     string   `json:"bundle_profile"`
		Roots       string   `json:"roots"`
		SHA256      []string `json:"roots_sha256"`
		Grants      []who    `json:"grants"`
	}{TrustDomain: c.TrustDomain, BundleURL: c.Issuer + "/.well-known/spiffe-bundle", Profile: "https_web"}
	var text strings.Builder
	fmt.Fprintf(&text, "Certificates of target %s are X.509-SVIDs of the trust domain %s.\n\n", name, c.TrustDomain)
	fmt.Fprintf(&text, "A relying party of SPIFFE federates with it:\n\n  trust domain     %s\n  bundle endpoint  %s\n  profile          %s\n\n", out.TrustDomain, out.BundleURL, out.Profile)
	text.WriteString("Any other verifies clients with these roots, and takes only the SPIFFE IDs that it\nknows, each compared whole: the one URI in the subject alternative name. The roots\nalone say who signed, not who may come in.\n\n")
	for _, root := range t.authority.Roots() {
		out.SHA256 = append(out.SHA256, fingerprint(root))
		block := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
		out.Roots += block
		fmt.Fprintf(&text, "# %s, until %s\n# SHA-256 %s\n%s", strings.Map(printable, root.Subject.String()), root.NotAfter.UTC().Format(time.RFC3339), fingerprint(root), block)
	}
	text.WriteString("\nWho gets one:\n")
	for _, g := range grants {
		dns, _ := g.Literal.Extra["dns"].([]string)
		out.Grants = append(out.Grants, who{Trust: g.Trust, Resource: g.Resource, SPIFFEIDs: g.Subjects, DNS: dns, Shadow: g.Shadow})
		ids := strings.Join(g.Subjects, " ")
		if ids == "" {
			ids = "each workload that it matches; its match leaves open which"
		}
		fmt.Fprintf(&text, "  trust %s: %s\n", g.Trust, ids)
		if len(dns) > 0 {
			fmt.Fprintf(&text, "    with the names %s\n", strings.Join(dns, " "))
		}
	}
	return asForms(text.String(), "", out)
}

// printable takes out of a certificate's subject what a terminal would act on.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// asForms is a connection as text, as a script where there is one, and as JSON.
func asForms(text, script string, v any) (*Connection, strictyaml.Findings) {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, strictyaml.Findings{{ID: "connect-nothing", Severity: strictyaml.Error, Message: err.Error()}}
	}
	connection := &Connection{Forms: []Form{{"text", "", text}}}
	if script != "" {
		connection.Forms = append(connection.Forms, Form{"cli", "shell script for the machine", script})
	}
	connection.Forms = append(connection.Forms, Form{"json", "JSON", string(raw) + "\n"})
	return connection, nil
}
