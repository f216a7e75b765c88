package gateway

import (
	"fmt"
	"slices"
	"strings"

	"cambio/exchange"
	"cambio/providers/ssh"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetSSH = "ssh"

// sshKind are machines whose sshd takes certificates of our own authority.
func sshKind() targetKind {
	return targetKind{
		settings:  []string{"ca_key"},
		vouches:   true,
		certifies: true,
		typ:       func(Target) trust.TargetType { return ssh.TargetType() },
		pins: func(t Target) map[string]string {
			if t.sshAuthority == nil {
				return nil
			}
			return map[string]string{"authority": t.sshAuthority.Fingerprint()}
		},
		check: (*checker).targetSSH,
		open: func(env Env, t Target) (exchange.Target, error) {
			return exchange.Target{
				Minter: ssh.Minter{Authority: t.sshAuthority, Rand: env.Rand}, Types: ssh.Types(),
				Certifies: exchange.CertifiesSSHKey, Certifiable: ssh.Certifiable, Handle: ssh.Serial,
			}, nil
		},
		connect: connectSSH,
	}
}

// targetSSH checks a target whose certificates our own SSH authority signs.
func (c *checker) targetSSH(n *strictyaml.Node, t Target) Target {
	c.noAudience(n, sshKind())
	var key []byte
	t.CAKey, key = c.needed(n, "ca_key", t.CAKey, "and the file of the authority's private key, as ssh-keygen makes it")
	defer clear(key)
	if key == nil {
		return t
	}
	authority, err := ssh.Open(key)
	if err != nil {
		c.r.Error(n.Find("ca_key"), "ca-key", err.Error(), "write one without a passphrase: ssh-keygen -t ed25519 -N '' -f FILE")
	}
	t.sshAuthority = authority
	return t
}

// connectSSH is what sshd must know.
func connectSSH(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	authority := c.Targets[name].sshAuthority
	type who struct {
		Trust      string   `json:"trust"`
		Resource   string   `json:"resource,omitempty"`
		Principals []string `json:"principals"`
		Workloads  []string `json:"workloads,omitempty"` // absent: match leaves them open
		Shadow     bool     `json:"shadow,omitempty"`
	}
	out := struct {
		CA          string   `json:"trusted_user_ca_key"`
		Fingerprint string   `json:"fingerprint"`
		Principals  []string `json:"principals"`
		Grants      []who    `json:"grants"`
	}{CA: authority.PublicLine() + " cambio-" + name, Fingerprint: authority.Fingerprint()}
	var lines strings.Builder
	for _, g := range grants {
		principals, _ := g.Literal.Extra["principals"].([]string)
		out.Grants = append(out.Grants, who{Trust: g.Trust, Resource: g.Resource, Principals: principals, Workloads: g.Subjects, Shadow: g.Shadow})
		out.Principals = append(out.Principals, principals...)
		ids := strings.Join(g.Subjects, " ")
		if ids == "" {
			ids = "each workload that it matches; its match leaves open which"
		}
		fmt.Fprintf(&lines, "  %s: trust %s, %s\n", strings.Join(principals, " "), g.Trust, ids)
	}
	slices.Sort(out.Principals)
	out.Principals = slices.Compact(out.Principals)
	file := "/etc/ssh/cambio-" + name + ".pub"
	text := fmt.Sprintf(`Target %s: sshd takes certificates of this authority. On each machine, in %s:

%s

and in /etc/ssh/sshd_config:

TrustedUserCAKeys %s
AuthorizedPrincipalsFile /etc/ssh/principals/%%u

A file /etc/ssh/principals/ACCOUNT then names the principals that may log in as
ACCOUNT, one a line. Without AuthorizedPrincipalsFile a principal may log in as the
account of the same name. Fingerprint: %s

Principals that trusts give, and to whom:
%s`, name, file, out.CA, file, out.Fingerprint, lines.String())
	script := fmt.Sprintf(`# Run as root. It opens no account: say who may, as the last lines show.
set -eu
printf '%%s\n' '%s' >%s
mkdir -p /etc/ssh/principals /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/cambio-%s.conf <<'END'
TrustedUserCAKeys %s
AuthorizedPrincipalsFile /etc/ssh/principals/%%u
END
sshd -t
# For each account, the principals that may be it:
`, out.CA, file, name, file)
	for _, p := range out.Principals {
		script += "#   echo '" + p + "' >>/etc/ssh/principals/ACCOUNT\n"
	}
	script += "# Then: systemctl reload ssh\n"
	return asForms(text, script, out)
}
