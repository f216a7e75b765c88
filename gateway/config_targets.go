package gateway

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"cambio/trust/strictyaml"
)

// targets checks the targets, each by itself and against the others.
func (c *checker) targets() {
	all := c.root.Get("targets")
	if all == nil || all.Kind == strictyaml.Map && len(all.Items()) == 0 {
		c.r.Warn(c.root.Find("targets"), "no-target", "without a target nothing is issued", "write targets:")
	}
	taken := map[string]string{}
	for i, key := range all.Keys() {
		n := all.Items()[i]
		c.name(key)
		if n.Kind != strictyaml.Map {
			continue
		}
		t := c.target(n, c.config.Targets[key.Text])
		c.config.Targets[key.Text] = t
		if targetKinds()[t.Type].sharesAudience {
			continue
		}
		if other, twice := taken[t.Audience]; twice && t.Audience != "" {
			c.r.Warn(n.Find("audience"), "target-audience-shared", "the target "+other+" has this audience too: what is issued for one works at the other", "give each its own audience")
		}
		taken[t.Audience] = key.Text
	}
}

// target checks one target, and returns it with its defaults.
func (c *checker) target(n *strictyaml.Node, t Target) Target {
	kinds := targetKinds()
	if !c.oneOf(n.Get("type"), slices.Sorted(maps.Keys(kinds)), "target-type") {
		return t
	}
	kind := kinds[t.Type]
	allowed := append([]string{"type", "audience", "max_ttl"}, kind.settings...)
	for _, key := range n.Keys() {
		for _, other := range kinds {
			if slices.Contains(other.settings, key.Text) && !slices.Contains(allowed, key.Text) {
				c.r.UnknownField(n, key, allowed)
				break
			}
		}
	}
	c.targetTTL(n, &t, kind)
	return kind.check(c, n, t)
}

// targetTTL checks max_ttl, or fills it: an hour, within what the type issues.
func (c *checker) targetTTL(n *strictyaml.Node, t *Target, kind targetKind) {
	issues := kind.typ(*t)
	low, high := max(issues.MinTTL, time.Second), issues.MaxTTL
	at := n.Get("max_ttl")
	if at == nil {
		t.MaxTTL = strictyaml.Duration(min(max(maxTTL, low), high))
	}
	if ttl, ok := written(at); ok && (ttl > high || ttl < low) {
		c.r.Error(at, "max-ttl", at.Show()+" is not between "+strictyaml.Duration(low).String()+" and "+strictyaml.Duration(high).String(),
			"write "+strictyaml.Duration(high).String()+" or less")
	}
}

// subject checks whom our assertions name in sub, or fills it.
func (c *checker) subject(n *strictyaml.Node, t *Target, usual string) {
	if t.Subject == "" {
		t.Subject = usual
	}
	c.oneOf(n.Get("subject"), []string{subjectWorkload, subjectTrust}, "target-subject")
}

// The values of a target's subject.
const (
	subjectWorkload = "workload"
	subjectTrust    = "trust"
)

// cloudAssertion checks the audience of the assertion that a target shows, or
// fills it.
func (c *checker) cloudAssertion(n *strictyaml.Node, t *Target, usual string) {
	at := n.Get("audience")
	switch {
	case at == nil && usual == "":
		c.r.Missing(n, "audience", "write audience: and what the target expects in aud of our assertion")
	case at == nil:
		t.Audience = usual
	default:
		c.notEmpty(at)
		// A cloud may put a variable of its own in the place of ${...} in the policy
		// that `cambio connect` prints.
		if usable(at) && (!exactText(at.Text) || strings.Contains(at.Text, "${")) {
			c.r.Error(at, "audience-invalid", at.Show()+" is not an audience", "write the exact text, without spaces, wildcards and ${")
		} else if usable(at) && alike(at.Text, c.config.Issuer) {
			// The assertion would come back as a subject token for this gateway.
			c.r.Error(at, "audience-reserved", at.Show()+" is our own issuer", "write the audience of the cloud")
		}
	}
}

// endpoint checks the URL of a service of a target. Assertions of ours go there, so
// it is https, or http on this machine alone. It reports whether there is one that
// can be used.
func (c *checker) endpoint(at *strictyaml.Node, finding string) bool {
	c.notEmpty(at)
	if !usable(at) {
		return false
	}
	u, err := url.Parse(at.Text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(at.Text, "#") ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
		c.r.Error(at, finding, at.Show()+" is no address of a service", "write https:// and a host; http is taken on loopback only")
		return false
	}
	return true
}

// alike reports audiences that careless readers take for one another.
func alike(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}

// cloudTargetAudience reports the audience of a configured cloud target.
func (c *checker) cloudTargetAudience(aud string) bool {
	for _, t := range c.config.Targets {
		if targetKinds()[t.Type].cloud && t.Audience != "" && alike(t.Audience, aud) {
			return true
		}
	}
	return false
}

// cloudAudience reports audiences that clouds and clusters take assertions of
// ours or of others for.
func cloudAudience(aud string) bool {
	s := strings.TrimSuffix(strings.ToLower(aud), "/")
	host := s
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		host = strings.TrimSuffix(u.Hostname(), ".")
	}
	switch {
	case strings.HasPrefix(s, "api://azureadtokenexchange"): // the clouds of China and the US government append to it
		return true
	case host == "iam.googleapis.com" || host == "sts.googleapis.com" || host == "iamcredentials.googleapis.com":
		return true
	case strings.HasPrefix(host, "sts.") && (strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")):
		return true
	case strings.HasPrefix(host, "signin.") && strings.HasSuffix(host, "aws.amazon.com"):
		return true
	}
	return clusterAudience(aud)
}

// clusterAudience reports the audience that API servers have where they are told no
// other.
func clusterAudience(aud string) bool {
	host := strings.TrimSuffix(strings.ToLower(aud), "/")
	if u, err := url.Parse(host); err == nil && u.Host != "" {
		host = strings.TrimSuffix(u.Hostname(), ".")
	}
	return host == "kubernetes.default" || host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}
