package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cambio/audit"
	"cambio/gateway"
	"cambio/standin"
	"cambio/test/rig"
	"cambio/trust/strictyaml"
)

// collector is the attacker's listener. It counts the connections that reach it
// and closes them.
type collector struct {
	Addr  netip.AddrPort
	count atomic.Int64
}

// listenCollector starts one on this address, port 0 for any.
func listenCollector(t *testing.T, address string) *collector {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &collector{Addr: netip.MustParseAddrPort(l.Addr().String())}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed with the test
			}
			c.count.Add(1)
			conn.Close()
		}
	}()
	return c
}

// nobody fails the test if a connection came.
func (c *collector) nobody(t *testing.T) {
	t.Helper()
	if n := c.count.Load(); n != 0 {
		t.Errorf("%d connections to %s", n, c.Addr)
	}
}

// names is a resolver in the test's hand. It counts what it is asked.
type names struct {
	mu    sync.Mutex
	hosts map[string][][]netip.Addr // the answers in their order; the last one stays
	asked map[string]int
}

// resolverOf makes one of names and what they resolve to.
func resolverOf(hosts map[string][]string) *names {
	n := &names{hosts: map[string][][]netip.Addr{}, asked: map[string]int{}}
	for host, addrs := range hosts {
		n.answer(host, addrs...)
	}
	return n
}

// answer adds an answer for a name.
func (n *names) answer(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		list[i] = netip.MustParseAddr(a)
	}
	n.hosts[host] = append(n.hosts[host], list)
}

// LookupNetIP answers like the system's resolver.
func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[host]++
	answers := n.hosts[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.hosts[host] = answers[1:]
	}
	return append([]netip.Addr(nil), answers[0]...), nil
}

// count is how often it was asked for a name; "" is all names together.
func (n *names) count(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if host != "" {
		return n.asked[host]
	}
	all := 0
	for _, c := range n.asked {
		all += c
	}
	return all
}

// fetches counts every request for discovery and keys at both identity
// providers.
func fetches(r *rig.Rig) int {
	n := 0
	for _, p := range []*standin.IdentityProvider{r.ISS1, r.ISS2} {
		n += p.Requests(standin.KeysPath) + p.Requests(standin.DiscoveryPath) + len(p.Unknown())
	}
	return n
}

// b64 is base64url without padding.
func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jsonOf renders what the test made up.
func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withHeader is the good token with this header, signed by a key of iss1 over
// exactly that header.
func withHeader(t *testing.T, r *rig.Rig, header any, kid, alg string) string {
	t.Helper()
	raw, ok := header.(string)
	if !ok {
		raw = string(jsonOf(t, header))
	}
	return r.Sign(r.ISS1, standin.JWS{Header: []byte(raw), Payload: jsonOf(t, r.Base(nil)), Key: kid, Alg: alg})
}

// withPayload is a token of exactly this payload, signed by k1 with RS256.
func withPayload(r *rig.Rig, payload string) string {
	return r.Sign(r.ISS1, standin.JWS{Payload: []byte(payload), Key: "k1", Alg: "RS256"})
}

// minted are the claims of a token of ours, its signature not looked at.
func minted(t *testing.T, a rig.Answer) map[string]any {
	t.Helper()
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	return claimsOf(t, a.Text("access_token"))
}

// claimsOf are the claims of a compact JWS, its signature not looked at.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no compact JWS: %s", token)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// unused fails the test if the refusal recorded a use of the token.
func unused(t *testing.T, r *rig.Rig, a rig.Answer) {
	t.Helper()
	for _, rec := range r.Records(a.Decision) {
		if rec.Replay != nil || rec.Handle != "" || rec.Event != audit.ExchangeDenied {
			t.Errorf("the refusal left %+v", rec)
		}
	}
}

// denied fails the test unless this is a recorded refusal with the fixed
// sentence, one of the reasons, and no use of the token.
func denied(t *testing.T, r *rig.Rig, what string, a rig.Answer, reasons ...string) {
	t.Helper()
	deniedSaying(t, r, what, a, rig.Fixed, reasons...)
}

// deniedSaying is denied with another sentence.
func deniedSaying(t *testing.T, r *rig.Rig, what string, a rig.Answer, sentence string, reasons ...string) {
	t.Helper()
	if a.Status != 400 {
		t.Errorf("%s: %d %s", what, a.Status, a.Raw)
		return
	}
	before := t.Failed()
	r.Refused(a, 400, "invalid_request", sentence, reasons...)
	unused(t, r, a)
	if !before && t.Failed() {
		t.Errorf("that was %s", what)
	}
}

// malformedForm fails the test unless this is the refusal of something out of
// bounds, which is counted and not recorded.
func malformedForm(t *testing.T, what string, a rig.Answer, status int) {
	t.Helper()
	if a.Status != status || a.Text("error") != "invalid_request" || a.Text("decision_id") != a.Decision || a.Decision == "" || a.Body["access_token"] != nil {
		t.Errorf("%s: got %d %s, want %d invalid_request", what, a.Status, a.Raw, status)
	}
}

// loads fails the test unless a gateway opens with this configuration and these
// documents. {{ISS1}} and {{ISS2}} are left as they are.
func loads(t *testing.T, config string, documents map[string]string, finding string) {
	t.Helper()
	dir := t.TempDir()
	r := &rig.Rig{T: t, Dir: dir}
	r.WriteTrusts(documents)
	file := filepath.Join(dir, "cambio.yaml")
	c, findings := gateway.ParseConfig(file, []byte(config), func(string) (string, bool) { return "", false }, os.ReadFile)
	if !findings.HasErrors() {
		_, more := gateway.LoadPolicy(c, (&rig.Clock{}).Now())
		findings = append(findings, more...)
	}
	holdsFinding(t, findings, finding)
}

// holdsFinding fails the test unless this error is among the findings, with
// file, line, column and fix; "" wants none.
func holdsFinding(t *testing.T, err error, finding string) {
	t.Helper()
	var findings strictyaml.Findings
	if err != nil && !errors.As(err, &findings) {
		t.Errorf("no findings: %v", err)
		return
	}
	if finding == "" {
		if findings.HasErrors() {
			t.Errorf("does not load: %v", findings)
		}
		return
	}
	for _, f := range findings {
		if f.ID == finding && f.Severity == strictyaml.Error {
			if f.File == "" || f.Line == 0 || f.Column == 0 || f.Fix == "" {
				t.Errorf("the finding lacks something: %+v", f)
			}
			return
		}
	}
	t.Errorf("no %s among %v", finding, findings)
}

// runCambio runs the program in a folder and returns its exit code, standard
// output and standard error.
func runCambio(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// serveRefuses fails the test unless `serve` and `config check` end with status
// 3 and name the finding and this text.
func serveRefuses(t *testing.T, config string, documents map[string]string, finding, text string) {
	t.Helper()
	dir := t.TempDir()
	(&rig.Rig{T: t, Dir: dir}).WriteTrusts(documents)
	if err := os.WriteFile(filepath.Join(dir, "cambio.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"config", "check"}} {
		code, stdout, stderr := runCambio(t, dir, args...)
		if all := stdout + stderr; code != 3 || !strings.Contains(all, finding) || !strings.Contains(all, text) {
			t.Errorf("%v: exit %d, want 3 with %s and %q\n%s", args, code, finding, text, all)
		}
	}
}

// jobID is a jti that no other token has.
func jobID() string { return rand.Text() }

// kidOf is the key id in the header of a compact JWS.
func kidOf(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ KID string }
	if err := json.Unmarshal(b, &header); err != nil || header.KID == "" {
		t.Fatalf("no kid in %s: %v", b, err)
	}
	return header.KID
}
