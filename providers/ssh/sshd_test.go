package ssh_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/exchange/exchangetest"
	"cambio/providers/ssh"
)

const sshdProgram = "/usr/sbin/sshd" // Debian's openssh-server; it wants to be called by its whole path

// machine is a real sshd on loopback that trusts an authority, run by whoever
// runs the tests, and a key of a workload made by ssh-keygen.
type machine struct {
	dir  string
	port string
	user string
	log  chan string
}

func keygen(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// boot starts sshd, which lets principal deploy in as whoever runs the tests.
func boot(t *testing.T, a *ssh.Authority) *machine {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // the folder that sshd, when root, gives its unprivileged part
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := &machine{dir: t.TempDir(), user: me.Username, log: make(chan string, 1000)}
	at := func(name string) string { return filepath.Join(m.dir, name) }
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", at("host"))
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-C", "runner", "-f", at("id"))
	write(t, at("ca.pub"), a.PublicLine()+"\n")
	write(t, at("principals"), "deploy\n")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, m.port, err = net.SplitHostPort(free.Addr().String())
	if err := errors.Join(err, free.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, at("sshd_config"), strings.NewReplacer("{{dir}}", m.dir, "{{port}}", m.port).Replace(`ListenAddress 127.0.0.1
Port {{port}}
HostKey {{dir}}/host
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile none
TrustedUserCAKeys {{dir}}/ca.pub
AuthorizedPrincipalsFile {{dir}}/principals
LogLevel VERBOSE
`))
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, sshdProgram, "-D", "-e", "-f", at("sshd_config"))
	out, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "Server listening") {
				ready <- true
			}
			select {
			case m.log <- lines.Text():
			default:
			}
		}
		ready <- false
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = server.Wait() // it was killed
	})
	select {
	case up := <-ready:
		if !up {
			t.Fatalf("sshd did not start: %s", m.told())
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("sshd does not listen: %s", m.told())
	}
	return m
}

// told is what sshd logged.
func (m *machine) told() string {
	var all []string
	for {
		select {
		case l := <-m.log:
			all = append(all, l)
		default:
			return strings.Join(all, "\n")
		}
	}
}

// says waits until sshd has logged this.
func (m *machine) says(want string) bool {
	deadline := time.After(20 * time.Second)
	for {
		select {
		case l := <-m.log:
			if strings.Contains(l, want) {
				return true
			}
		case <-deadline:
			return false
		}
	}
}

// login asks for a certificate by this grant for a key of its own, that ends after
// life, and runs a command with it.
func (m *machine) login(t *testing.T, a *ssh.Authority, grant string, life time.Duration, command string) (string, error) {
	t.Helper()
	public, err := os.ReadFile(filepath.Join(m.dir, "id.pub"))
	if err != nil {
		t.Fatal(err)
	}
	o := exchangetest.Order(t, ask(string(public), grant))
	o.Issued = time.Now().Truncate(time.Second)
	o.Expires = o.Issued.Add(life)
	if life < 0 { // it lived before
		o.Issued = o.Expires.Add(-time.Minute)
	}
	got, err := ssh.Minter{Authority: a, Rand: rand.Reader}.Mint(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := open(t, got)
	write(t, filepath.Join(m.dir, "id-cert.pub"), said.Certificate+"\n")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-F", "none", "-p", m.port,
		"-i", filepath.Join(m.dir, "id"), "-o", "CertificateFile="+filepath.Join(m.dir, "id-cert.pub"),
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		m.user+"@127.0.0.1", command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestServer: a real sshd lets a workload in for what was granted, and not
// otherwise.
func TestServer(t *testing.T) {
	for name, c := range map[string]struct {
		ca, grant string
		life      time.Duration
		want      string // what the command prints; "" where nobody gets in
		log       string // what sshd says of it
	}{
		"in":                {"Ed25519", "principals: [deploy]", time.Hour, "in", "ID " + exchangetest.Decision + " " + exchangetest.Workload + " (serial "},
		"by an RSA key":     {"RSA 3072", "principals: [deploy]", time.Hour, "in", ""},
		"by P-256":          {"P-256", "principals: [deploy]", time.Hour, "in", ""},
		"from here":         {"Ed25519", `principals: [deploy], source_addresses: [127.0.0.0/8]`, time.Hour, "in", ""},
		"expired":           {"Ed25519", "principals: [deploy]", -time.Minute, "", "expired"},
		"another principal": {"Ed25519", "principals: [admin]", time.Hour, "", "principal"},
		"from elsewhere":    {"Ed25519", `principals: [deploy], source_addresses: [10.0.0.0/8]`, time.Hour, "", "source"},
		"one command only":  {"Ed25519", `principals: [deploy], force_command: "echo forced, not $SSH_ORIGINAL_COMMAND"`, time.Hour, "forced, not echo in", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := authority(t, c.ca)
			m := boot(t, a)
			out, err := m.login(t, a, c.grant, c.life, "echo in")
			if (err == nil) != (c.want != "") || c.want != "" && out != c.want {
				t.Fatalf("%q, %v\n%s", out, err, m.told())
			}
			if !m.says(c.log) {
				t.Errorf("sshd does not say %q", c.log)
			}
		})
	}
	t.Run("another authority", func(t *testing.T) {
		t.Parallel()
		m := boot(t, authority(t, "Ed25519"))
		if out, err := m.login(t, authority(t, "P-384"), "principals: [deploy]", time.Hour, "echo in"); err == nil {
			t.Errorf("%q", out)
		}
	})
}

// TestKeygen: ssh-keygen reads in the certificate what we say of it.
func TestKeygen(t *testing.T) {
	dir := t.TempDir()
	id := filepath.Join(dir, "id")
	keygen(t, "-q", "-t", "ecdsa", "-N", "", "-f", id)
	public, err := os.ReadFile(id + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	a := authority(t, "RSA 3072")
	got, err := ssh.Minter{Authority: a, Rand: rand.Reader}.Mint(t.Context(), exchangetest.Order(t, ask(string(public), everything)))
	if err != nil {
		t.Fatal(err)
	}
	said, _ := open(t, got)
	write(t, id+"-cert.pub", said.Certificate+"\n")
	t.Setenv("TZ", "UTC")
	shown := keygen(t, "-L", "-f", id+"-cert.pub")
	for _, want := range []string{
		"Type: ecdsa-sha2-nistp256-cert-v01@openssh.com user certificate", "Serial: " + said.Serial + "\n", fmt.Sprintf("Key ID: %q", said.KeyID),
		"(using rsa-sha2-512)", "Signing CA: RSA " + a.Fingerprint(), "Valid: from 2026-09-01T11:59:30 to 2026-09-01T13:00:00",
		"Principals: \n                deploy\n                web\n", "force-command /usr/bin/deploy --to 'a b'", "source-address 10.0.0.0/8,fd00::/8",
		"Extensions: \n                permit-port-forwarding\n                permit-pty\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("ssh-keygen does not read %q in\n%s", want, shown)
		}
	}
}
