package gateway

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"cambio/providers"
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
		if other, twice := taken[t.Audience]; twice && t.Audience != "" {
			c.r.Warn(n.Find("audience"), "target-audience-shared", "the target "+other+" has this audience too: what is issued for one works at the other", "give each its own audience")
		}
		taken[t.Audience] = key.Text
	}
}

// target checks one target, and returns it with its defaults.
func (c *checker) target(n *strictyaml.Node, t Target) Target {
	kinds := slices.Sorted(maps.Keys(providers.TargetTypes()))
	// A type of a later version is named, so that its file is not searched for a
	// spelling mistake.
	if at := n.Get("type"); usable(at) && at.Text == "aws" {
		c.r.Error(at, "target-type-not-yet", "targets of type aws arrive with the next version", "leave the target out")
		return t
	}
	known := c.oneOf(n.Get("type"), kinds, "target-type")
	if n.Get("max_ttl") == nil {
		t.MaxTTL = strictyaml.Duration(maxTTL)
	}
	if n.Get("profile") == nil {
		t.Profile = "jwt"
	}
	if !known {
		return t
	}
	allowed := []string{"type", "audience", "max_ttl", "profile"}
	for _, key := range n.Keys() {
		if slices.Contains([]string{"account", "region", "endpoint", "subject"}, key.Text) {
			c.r.UnknownField(n, key, allowed)
		}
	}
	c.oneOf(n.Get("profile"), []string{"jwt", "rfc9068"}, "profile")
	at := n.Get("max_ttl")
	if ttl, ok := written(at); ok && (ttl > maxTTL || ttl < time.Second) {
		c.r.Error(at, "max-ttl", at.Show()+" is not between 1s and 1h", "write 1h or less")
	}
	at = n.Get("audience")
	c.notEmpty(at)
	switch {
	case at == nil:
		c.r.Missing(n, "audience", "write audience: and what the target's API expects in aud")
	case !usable(at):
	case !exactText(at.Text):
		c.r.Error(at, "audience-invalid", at.Show()+" is not an audience", "write the exact text, without spaces and wildcards")
	case cloudAudience(at.Text):
		// Whoever holds such a JWT has what the cloud's own target would have
		// judged and narrowed.
		c.r.Error(at, "audience-reserved", at.Show()+" is a cloud's audience: the JWT would open the cloud past its own target", "write the audience of the API")
	case strings.EqualFold(strings.TrimSuffix(at.Text, "/"), c.config.Issuer):
		// The JWT would come back as a subject token for this gateway.
		c.r.Error(at, "audience-reserved", at.Show()+" is our own issuer", "write the audience of the API")
	}
	return t
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
	return host == "kubernetes.default" || host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}
