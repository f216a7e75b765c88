package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cambio/stops"
	"cambio/trust/strictyaml"
)

func countOf(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func (e *examination) journalDir() string { return filepath.Join(e.c.State, "journal") }

// stateFolder looks at who may read the state, and who holds it.
func (e *examination) stateFolder(context.Context) []DoctorCheck {
	v := begin("state-folder")
	info, err := os.Stat(e.c.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []DoctorCheck{skipped(v.Name, "%s is not there yet; the first start makes it", e.c.State)}
	case err != nil:
		return []DoctorCheck{failed(v.Name, "run this as the user of the gateway", "%s: %s", e.c.State, reasonOf(err))}
	case !info.IsDir():
		return []DoctorCheck{failed(v.Name, "name a folder under state:", "%s is no folder", e.c.State)}
	}
	v.note("%s, mode %04o", e.c.State, info.Mode().Perm())
	if info.Mode().Perm()&0o077 != 0 {
		v.add(DoctorFail, "chmod 700 "+e.c.State, "others may look into it: the gateway does not start like this")
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() != 0 && int(owner.Uid) != os.Geteuid() {
		v.add(DoctorWarn, "run this as the user of the gateway", "it belongs to user %d, and this is user %d", owner.Uid, os.Geteuid())
	}
	switch e.alive().lock {
	case lockHeld:
		v.note("a gateway holds it")
	case lockFree:
		v.note("no gateway on this machine holds it")
	case lockUnknown:
	}
	return []DoctorCheck{v.end()}
}

// permissions looks at the files that decide what is issued, and at the secret
// ones.
func (e *examination) permissions(context.Context) []DoctorCheck {
	v := begin("permissions")
	type file struct {
		path   string
		secret bool
	}
	files := []file{{e.env.File, false}, {e.c.Trust, false}, {e.journalDir(), true}}
	if t := e.c.TLS; t != nil {
		files = append(files, file{t.Cert, false}, file{t.Key, true})
	}
	looked := 0
	for _, f := range files {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		if err != nil {
			continue // what must be there is another check's
		}
		looked++
		mode := info.Mode().Perm()
		switch {
		case mode&0o002 != 0:
			// Whoever may write a document gives himself any target.
			v.add(DoctorFail, "chmod o-w "+f.path, "anybody may change %s (mode %04o)", f.path, mode)
		case f.secret && mode&0o077 != 0:
			v.add(DoctorWarn, "chmod go-rwx "+f.path, "others may read %s (mode %04o)", f.path, mode)
		case mode&0o020 != 0:
			v.add(DoctorWarn, "chmod g-w "+f.path, "its group may change %s (mode %04o)", f.path, mode)
		}
	}
	if v.Status == DoctorPass {
		v.note("%s: only their owner may change them", countOf(looked, "path"))
	}
	return []DoctorCheck{v.end()}
}

// formats says which formats the state has, so that a program of one version
// before or after is known to read it.
func (e *examination) formats(context.Context) []DoctorCheck {
	v := begin("formats")
	if raw, err := readHead(filepath.Join(e.c.State, "format")); err == nil {
		if string(raw) == stateFormat {
			v.note("state: format %s", strings.TrimSpace(stateFormat))
		} else {
			v.add(DoctorFail, "use the version of the program that wrote it", "state: format %.20q, and this program knows %.20q: it does not start", raw, stateFormat)
		}
	}
	_, ringErr := e.ring()
	for _, f := range []struct {
		path string
		err  error
	}{{filepath.Join(e.c.Keys, "keys.json"), ringErr}, {filepath.Join(e.c.State, "stops.json"), e.stopsErr()}} {
		raw, err := readHead(f.path)
		if err != nil {
			continue
		}
		var head struct {
			Format *int `json:"format"`
		}
		name := filepath.Base(f.path)
		switch {
		case json.Unmarshal(raw, &head) != nil || head.Format == nil:
			v.add(DoctorFail, "restore it from a backup", "%s says no format", name)
		case f.err != nil:
			v.add(DoctorFail, "use the version of the program that wrote it, or see the check of "+name, "%s has format %d, which does not load here", name, *head.Format)
		default:
			v.note("%s: format %d", name, *head.Format)
		}
	}
	if len(v.said) == 0 {
		return []DoctorCheck{skipped(v.Name, "there is no state yet")}
	}
	return []DoctorCheck{v.end()}
}

func (e *examination) stopsErr() error {
	if e.c.Redis != nil {
		return nil // they are not in the file
	}
	_, err := stops.Store{Dir: e.c.State, Now: e.env.Now}.List()
	return err
}

// readHead reads a small file of the state.
func readHead(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only: nothing can be lost
	return io.ReadAll(io.LimitReader(f, maxAnswer))
}

// documents compiles the trust documents as a start would.
func (e *examination) documents(context.Context) []DoctorCheck {
	v := begin("trust-documents")
	policy, findings := LoadPolicy(e.c, e.env.Now())
	errs, warnings, shown := 0, 0, []string{}
	for _, f := range findings {
		switch f.Severity {
		case strictyaml.Error:
			errs++
		case strictyaml.Warning:
			warnings++
		case strictyaml.Info:
			continue
		}
		if len(shown) < 3 {
			shown = append(shown, fmt.Sprintf("%s:%d [%s]", f.File, f.Line, f.ID))
		}
	}
	if policy == nil {
		v.add(DoctorFail, "cambio config check", "%s: a start refuses them, and a running gateway keeps its old policy: %s", countOf(errs, "error"), strings.Join(shown, ", "))
		return []DoctorCheck{v.end()}
	}
	v.note("%s, policy %.12s", countOf(policy.Trusts(), "trust"), policy.SHA256())
	if warnings > 0 {
		v.add(DoctorWarn, "cambio config check", "%s: %s", countOf(warnings, "warning"), strings.Join(shown, ", "))
	}
	if live := e.alive(); live.policy != "" && live.policy != policy.SHA256() {
		v.add(DoctorWarn, "look again in 5 s; if it stays so, in the gateway's log", "the policy in force is another: %.12s", live.policy)
	}
	return []DoctorCheck{v.end()}
}

// stops reads the kill switch's list.
func (e *examination) stops(ctx context.Context) []DoctorCheck {
	const name = "stops"
	if _, err := os.Stat(e.c.State); errors.Is(err, fs.ErrNotExist) && e.c.Redis == nil {
		return []DoctorCheck{skipped(name, "there is no state yet")}
	}
	set, err := currentStops(ctx, e.c, e.env.Now)
	if err != nil {
		return []DoctorCheck{failed(name, "cambio stop restore", "the list cannot be relied on, and everything is refused: %s", err)}
	}
	inForce := 0
	now := e.env.Now()
	for _, s := range set.All() {
		if s.Until.IsZero() || now.Before(s.Until) {
			inForce++
		}
	}
	return []DoctorCheck{passed(name, "version %d, %s in force", set.Version(), countOf(inForce, "stop"))}
}

const (
	certWarn = 30 * 24 * time.Hour
	certFail = 7 * 24 * time.Hour
)

// certificate looks at the listener's certificate, or, where a proxy ends TLS, at
// the one that the issuer shows.
func (e *examination) certificate(ctx context.Context) []DoctorCheck {
	const name = "certificate"
	u, err := url.Parse(e.c.Issuer)
	if err != nil {
		return []DoctorCheck{failed(name, "mend issuer:", "the issuer is no URL")}
	}
	if e.c.TLS == nil || e.c.TLS.Cert == "" {
		return []DoctorCheck{e.shownCertificate(ctx, u)}
	}
	v := begin(name)
	pair, err := tls.LoadX509KeyPair(e.c.TLS.Cert, e.c.TLS.Key)
	if err != nil {
		return []DoctorCheck{failed(name, "name a PEM chain, and the unencrypted PEM key that belongs to it", "%s", err)}
	}
	leaf := pair.Leaf
	e.expiry(v, leaf.NotAfter)
	if e.env.Now().Before(leaf.NotBefore) {
		v.add(DoctorFail, "look at the clock, or wait", "it is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if err := leaf.VerifyHostname(u.Hostname()); err != nil {
		v.add(DoctorWarn, "get one for that name; it is right only where the issuer is published elsewhere", "it is not for the issuer's host %s", u.Hostname())
	}
	intermediates, previous := x509.NewCertPool(), leaf
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			v.add(DoctorFail, "write the chain anew", "the chain holds what is no certificate")
			break
		}
		if previous.CheckSignatureFrom(cert) != nil {
			v.add(DoctorWarn, "put the chain in order: the server's first, then each by whom the one before is signed", "the chain is out of order")
		}
		intermediates.AddCert(cert)
		previous = cert
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Intermediates: intermediates, CurrentTime: e.env.Now()}); errors.As(err, new(x509.UnknownAuthorityError)) {
		v.add(DoctorWarn, "add the intermediate certificates to the file; clouds take a public authority only", "this machine knows no authority that it leads to")
	}
	return []DoctorCheck{v.end()}
}

// shownCertificate looks at what the issuer's host shows.
func (e *examination) shownCertificate(ctx context.Context, issuer *url.URL) DoctorCheck {
	v := begin("certificate")
	if issuer.Scheme != "https" {
		return skipped(v.Name, "the issuer is http on loopback")
	}
	a, err := e.fetch(ctx, e.c.Issuer+discoveryPath, "")
	if !a.tls {
		return failed(v.Name, "see the check issuer", "the issuer shows none that is trusted: %s", cmp.Or(errText(err), "no TLS"))
	}
	v.note("shown by %s", issuer.Host)
	e.expiry(v, a.ends)
	return v.end()
}

func (e *examination) expiry(v *verdict, ends time.Time) {
	left := ends.Sub(e.env.Now())
	when := ends.UTC().Format(time.RFC3339)
	switch {
	case left <= 0:
		v.add(DoctorFail, "renew it, and restart the gateway or reload the proxy", "expired %s", when)
	case left < certFail:
		v.add(DoctorFail, "renew it, and restart the gateway or reload the proxy", "expires %s, in less than 7 days", when)
	case left < certWarn:
		v.add(DoctorWarn, "renew it, and restart the gateway or reload the proxy", "expires %s, in less than 30 days", when)
	default:
		v.note("expires %s", when)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
