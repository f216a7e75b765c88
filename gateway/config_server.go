package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust/strictyaml"

	"golang.org/x/net/idna"
)

// trustDomainForm is the character set of a SPIFFE trust domain (SPIFFE-ID
// section 2.1).
var trustDomainForm = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)

// server checks what is about this process: issuer, listeners, folders.
func (c *checker) server() {
	c.issuer()
	if n := c.root.Get("trust_domain"); usable(n) && !trustDomainForm.MatchString(n.Text) {
		c.r.Error(n, "trust-domain", n.Show()+" is not a trust domain", "write lower-case letters, digits, dots, hyphens and underscores")
	}
	c.listeners()
	c.tls()
	// An empty trust domain would be no default, and every workload id one
	// without its first half.
	for _, name := range []string{"trust_domain", "trust", "state", "keys"} {
		c.notEmpty(c.root.Get(name))
	}
	if n := c.root.Get("journal").Get("claims"); n != nil {
		c.oneOf(n, []string{keepListed, keepAll, keepDecision}, "journal-claims")
	}
	n := c.root.Get("journal").Get("keep")
	if keep, ok := written(n); ok && keep < minKeep {
		c.r.Error(n, "journal-keep", n.Show()+" is less than a day", "write 1d or more, such as 400d")
	}
}

// usable reports a text that has no finding yet.
func usable(n *strictyaml.Node) bool {
	return n != nil && n.Kind == strictyaml.String && n.Text != ""
}

// written is a duration that stands in the file and is one.
func written(n *strictyaml.Node) (time.Duration, bool) {
	if !usable(n) {
		return 0, false
	}
	return strictyaml.ParseDuration(n.Text)
}

// notEmpty reports a text that is written and empty, which is neither a value
// nor the default.
func (c *checker) notEmpty(n *strictyaml.Node) {
	if n != nil && n.Kind == strictyaml.String && n.Text == "" {
		c.r.Error(n, "empty", "is empty", "write a value, or leave the line out")
	}
}

// loopbackListener reports whether only this machine reaches the public listener.
func (c *checker) loopbackListener() bool { return loopbackHostPort(c.config.Listen) }

func loopbackHostPort(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// issuer checks our own name. Relying parties compare it byte for byte, so it
// must have one spelling.
func (c *checker) issuer() {
	n := c.root.Get("issuer")
	c.notEmpty(n)
	if !usable(n) {
		return
	}
	host, problem, fix := ownIssuer(n.Text)
	if problem != "" {
		c.r.Error(n, "issuer-invalid", n.Show()+" "+problem, fix)
		return
	}
	if strings.HasPrefix(n.Text, "http:") {
		switch {
		case !loopbackHost(host):
			c.r.Error(n, "issuer-not-https", n.Show()+" is http off loopback", "write https")
			return
		case !c.loopbackListener():
			c.r.Error(n, "issuer-not-https", n.Show()+" is http, and listen is off loopback", "write https")
		}
	}
	if c.root.Get("trust_domain") != nil {
		return
	}
	if !trustDomainForm.MatchString(host) {
		c.r.Error(n, "trust-domain", "the issuer's host is not a trust domain", "write trust_domain: and a name")
		return
	}
	c.config.TrustDomain = host
}

// CheckIssuer reports what is wrong with a text that stands for our issuer outside
// of a configuration, by the same rules; nil: it has its one spelling.
func CheckIssuer(s string) error {
	host, problem, fix := ownIssuer(s)
	if problem == "" && strings.HasPrefix(s, "http:") && !loopbackHost(host) {
		problem, fix = "is http off loopback", "write https"
	}
	if problem != "" {
		return fmt.Errorf("the issuer %.200q %s: %s", s, problem, fix)
	}
	return nil
}

// ownIssuer takes an absolute http or https URL in its one canonical spelling,
// and returns its host.
func ownIssuer(s string) (host, problem, fix string) {
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`"<>\^{|}*%`+"`", b) >= 0 {
			return "", "holds a character that an issuer must not have", "write visible ASCII without %, * and braces; a name in its xn-- form"
		}
	}
	switch {
	case strings.ContainsAny(s, "?#"):
		return "", "has a query or a fragment", "leave it out"
	case strings.Contains(s, "@"):
		return "", "has a user", "leave it out"
	case strings.HasSuffix(s, "/"):
		return "", "ends with a slash", "leave the slash out"
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" || !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
		return "", "is not an https URL", "write https:// and a host"
	}
	host, port := u.Hostname(), u.Port()
	if strings.HasSuffix(u.Host, ":") || port != "" && !validPort(port) {
		return "", "has a malformed port", "write a number from 1 to 65535, or leave it out"
	}
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return "", "names the port that is meant anyway", "leave the port out"
	}
	for segment := range strings.SplitSeq(strings.TrimPrefix(u.Path, "/"), "/") {
		if u.Path != "" && (segment == "" || segment == "." || segment == "..") {
			return "", "has a path with another spelling", "write each segment once, without . and .."
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.String() != host || addr.Zone() != "" || addr.Is4In6() {
			return "", "names an address in an unusual spelling", "write a name"
		}
		return host, "", ""
	}
	// A host that ends in a number is an IPv4 address to some resolvers.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if ascii, err := idna.Lookup.ToASCII(host); err != nil || ascii != host || last == "" || last[0] >= '0' && last[0] <= '9' {
		return "", "has a host with another spelling", "write it in lower case, in its xn-- form, without a dot at its end"
	}
	return host, "", ""
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// listeners checks both addresses. A name other than localhost could resolve to
// anything by the time of the call, so an address is wanted.
func (c *checker) listeners() {
	valid := true
	for _, name := range []string{"listen", "admin_listen"} {
		n := c.root.Get(name)
		c.notEmpty(n)
		if n != nil && !usable(n) {
			valid = false
		}
		if !usable(n) {
			continue
		}
		if !listenAddress(n.Text) {
			c.r.Error(n, "listen", n.Show()+" is not ADDRESS:PORT", "write one such as 127.0.0.1:8080, or 0.0.0.0:8443 with tls")
			valid = false
		}
	}
	if !valid {
		return
	}
	// Port 0 asks the system for any that is free.
	if c.config.Listen == c.config.AdminListen && !strings.HasSuffix(c.config.Listen, ":0") {
		c.r.Error(c.root.Find("admin_listen"), "listen", "listen and admin_listen are the same", "write two ports")
	}
	if !c.loopbackListener() && c.config.TLS == nil && c.root.Get("tls") == nil {
		c.r.Error(c.root.Find("listen"), "listen-without-tls", "the public listener is off loopback and has no tls",
			"write tls: {cert: FILE, key: FILE} or tls: {terminated_by: [CIDR]}, or listen on 127.0.0.1")
	}
	if !loopbackHostPort(c.config.AdminListen) {
		c.r.Info(c.root.Find("admin_listen"), "admin-off-loopback", "whoever reaches the admin listener reads the metrics", "keep it inside your network")
	}
}

func listenAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port != "0" && !validPort(port) {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && !addr.Is4In6() && addr.String() == host
}

// tls checks that one of the two forms is there, whole.
func (c *checker) tls() {
	n := c.root.Get("tls")
	if n == nil || n.Kind == strictyaml.Invalid {
		return
	}
	if n.Kind == strictyaml.Null {
		c.r.Error(n, "tls", "is empty", "write {cert: FILE, key: FILE} or {terminated_by: [CIDR]}")
		return
	}
	if n.Kind != strictyaml.Map {
		return
	}
	if at := n.Find("cert"); c.config.TLS != nil {
		c.config.TLS.at = placeOf(at)
	}
	cert, key, proxies := n.Get("cert"), n.Get("key"), n.Get("terminated_by")
	c.notEmpty(cert)
	c.notEmpty(key)
	switch {
	case proxies != nil && (cert != nil || key != nil):
		c.r.Error(n, "tls", "TLS ends here or at the proxies, not at both", "keep cert and key, or terminated_by")
	case proxies != nil && proxies.Kind == strictyaml.List && len(proxies.Items()) == 0:
		c.r.Error(proxies, "tls", "names no proxy", "write the ranges of the proxies")
	case proxies == nil && (cert == nil || key == nil):
		c.r.Error(n, "tls", "needs both cert and key", "write {cert: FILE, key: FILE} or {terminated_by: [CIDR]}")
	}
}

// redis checks the shared store: what is in it decides whether a token may be
// used again.
func (c *checker) redis() {
	n := c.root.Get("redis")
	if n == nil || n.Kind == strictyaml.Invalid {
		return
	}
	redis := c.config.Redis
	if redis == nil {
		return
	}
	c.oneOf(n.Get("mode"), []string{"single", "sentinel", "cluster"}, "redis-mode")
	if addrs := n.Get("addrs"); addrs != nil && addrs.Kind == strictyaml.List && len(addrs.Items()) == 0 {
		c.r.Error(addrs, "empty-list", "the list is empty", "write at least one host:port")
	}
	bare := false
	for _, a := range n.Get("addrs").Items() {
		if !usable(a) {
			continue
		}
		host, port, err := net.SplitHostPort(a.Text)
		if err != nil || host == "" || !validPort(port) {
			c.r.Error(a, "redis-address", a.Show()+" is not host:port", "write one such as 127.0.0.1:6379")
			continue
		}
		bare = bare || !loopbackHost(host)
	}
	if bare && !redis.TLS && redis.Password == "" && !redis.InsecureRedis {
		c.r.Error(n, "redis-insecure", "a server off loopback has neither TLS nor a password", "write tls: true or password: ${env:NAME}")
	}
	if n.Get("mode") == nil {
		redis.Mode = "single"
	}
	switch {
	case redis.Mode == "sentinel" && redis.MasterName == "":
		c.r.Missing(n, "master_name", "write master_name: and the master's name")
	case redis.Mode != "sentinel" && n.Get("master_name") != nil:
		c.r.Error(n.Get("master_name"), "redis-mode", "a master's name is for mode sentinel", "write mode: sentinel, or leave it out")
	case redis.Mode == "single" && len(redis.Addrs) > 1:
		// Two masters that know nothing of one another would each take a token once.
		c.r.Error(n.Get("addrs"), "redis-mode", "mode single has one server", "write one address, or mode: sentinel or cluster")
	}
}

// oneOf reports a text that is none of the words.
func (c *checker) oneOf(n *strictyaml.Node, words []string, id string) bool {
	c.notEmpty(n)
	if !usable(n) {
		return false
	}
	for _, w := range words {
		if n.Text == w {
			return true
		}
	}
	fix := "write one of " + strings.Join(words, ", ")
	if !n.Replaced() { // a suggestion would show how the value is spelt
		fix = strictyaml.DidYouMean(n.Text, words)
	}
	c.r.Error(n, id, n.Show()+" is not known here", fix)
	return false
}

// problem reports what the providers' own check found, without the value where
// a variable brought it.
func (c *checker) problem(n *strictyaml.Node, p oidc.Problem) {
	message, fix, ok := strings.Cut(p.Text, "; ")
	if !ok {
		fix = "write another value"
		if p.Finding == oidc.FindingURL || p.Finding == oidc.FindingAddress {
			fix = "write the exact https URL"
		}
	}
	if n.Replaced() {
		message, fix = n.Show()+" cannot be used", "write the value as the documentation says"
	}
	c.r.Error(n, p.Finding, message, fix)
}
