package gateway

import (
	"cmp"
	"maps"
	"net/url"
	"regexp"
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
		if t.Type == targetAWS {
			continue // accounts share AWS's audience, and the role's trust policy tells them apart
		}
		if other, twice := taken[t.Audience]; twice && t.Audience != "" {
			c.r.Warn(n.Find("audience"), "target-audience-shared", "the target "+other+" has this audience too: what is issued for one works at the other", "give each its own audience")
		}
		taken[t.Audience] = key.Text
	}
}

// The settings of each type beside type, audience and max_ttl.
func targetSettings(kind string) []string {
	if kind == targetAWS {
		return []string{"account", "region", "endpoint", "subject"}
	}
	return []string{"profile"}
}

// The types of targets.
const (
	targetJWT = "jwt"
	targetAWS = "aws"
)

// target checks one target, and returns it with its defaults.
func (c *checker) target(n *strictyaml.Node, t Target) Target {
	types := providers.TargetTypes()
	if !c.oneOf(n.Get("type"), slices.Sorted(maps.Keys(types)), "target-type") {
		return t
	}
	allowed := append([]string{"type", "audience", "max_ttl"}, targetSettings(t.Type)...)
	for _, key := range n.Keys() {
		if known := slices.Concat(targetSettings(targetJWT), targetSettings(targetAWS)); slices.Contains(known, key.Text) && !slices.Contains(allowed, key.Text) {
			c.r.UnknownField(n, key, allowed)
		}
	}
	if n.Get("max_ttl") == nil {
		t.MaxTTL = strictyaml.Duration(maxTTL)
	}
	low, high := max(types[t.Type].MinTTL, time.Second), types[t.Type].MaxTTL
	at := n.Get("max_ttl")
	if ttl, ok := written(at); ok && (ttl > high || ttl < low) {
		c.r.Error(at, "max-ttl", at.Show()+" is not between "+strictyaml.Duration(low).String()+" and "+strictyaml.Duration(high).String(),
			"write "+strictyaml.Duration(high).String()+" or less")
	}
	if t.Type == targetAWS {
		return c.targetAWS(n, t)
	}
	return c.targetJWT(n, t)
}

// targetJWT checks a target that takes JWTs of our own.
func (c *checker) targetJWT(n *strictyaml.Node, t Target) Target {
	if n.Get("profile") == nil {
		t.Profile = "jwt"
	}
	c.oneOf(n.Get("profile"), []string{"jwt", "rfc9068"}, "profile")
	at := n.Get("audience")
	c.notEmpty(at)
	switch {
	case at == nil:
		c.r.Missing(n, "audience", "write audience: and what the target's API expects in aud")
	case !usable(at):
	case !exactText(at.Text):
		c.r.Error(at, "audience-invalid", at.Show()+" is not an audience", "write the exact text, without spaces and wildcards")
	case cloudAudience(at.Text) || c.cloudTargetAudience(at.Text):
		// Whoever holds such a JWT has what the cloud's own target would have
		// judged and narrowed.
		c.r.Error(at, "audience-reserved", at.Show()+" is a cloud's audience: the JWT would open the cloud past its own target", "write the audience of the API")
	case alike(at.Text, c.config.Issuer):
		// The JWT would come back as a subject token for this gateway.
		c.r.Error(at, "audience-reserved", at.Show()+" is our own issuer", "write the audience of the API")
	}
	return t
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}$`)
)

// ownSTS are the names of AWS's own service and of its endpoints in a VPC. Other
// names below amazonaws.com belong to whoever rents them.
var ownSTS = regexp.MustCompile(`^(?:sts(?:-fips)?(?:\.[a-z0-9-]+)?|vpce-[a-z0-9-]+\.sts\.[a-z0-9-]+\.vpce)\.amazonaws\.com(?:\.cn)?$`)

// defaultAWSAudience is what AWS's own tools use.
const defaultAWSAudience = "sts.amazonaws.com"

// targetAWS checks a target whose roles AWS, or a store that speaks its Security
// Token Service, hands out.
func (c *checker) targetAWS(n *strictyaml.Node, t Target) Target {
	if at := n.Get("audience"); at == nil {
		t.Audience = defaultAWSAudience
	} else {
		c.notEmpty(at)
		// IAM would put a variable of its own in the place of ${...} in the trust
		// policy that `cambio connect` prints.
		if usable(at) && (!exactText(at.Text) || strings.Contains(at.Text, "${")) {
			c.r.Error(at, "audience-invalid", at.Show()+" is not an audience", "write the exact text, without spaces, wildcards and ${")
		} else if usable(at) && alike(at.Text, c.config.Issuer) {
			// The assertion would come back as a subject token for this gateway.
			c.r.Error(at, "audience-reserved", at.Show()+" is our own issuer", "write the audience of the cloud")
		}
	}
	own := t.Endpoint == nil
	switch at := n.Get("account"); {
	case at == nil && own:
		c.r.Missing(n, "account", "write account: and its 12 digits, in quotes")
	case usable(at) && !accountForm.MatchString(at.Text):
		c.r.Error(at, "aws-account", at.Show()+" is not an account", "write its 12 digits, in quotes")
	default:
		c.notEmpty(at)
	}
	switch at := n.Get("region"); {
	case at == nil && own:
		c.r.Missing(n, "region", "write region: and the one that is asked, such as eu-central-1")
	case usable(at) && !regionForm.MatchString(at.Text):
		c.r.Error(at, "aws-region", at.Show()+" is not a region", "write one such as eu-central-1")
	default:
		c.notEmpty(at)
	}
	if t.Subject == "" {
		t.Subject = "workload"
	}
	c.oneOf(n.Get("subject"), []string{"workload", "trust"}, "target-subject")
	if c.awsEndpoint(n.Get("endpoint"), t) {
		c.storeAudience(n, t)
	}
	return t
}

// awsEndpoint checks another address than AWS's own, and reports whether there is
// one. Assertions of ours go there, so it is https, or http on this machine alone.
func (c *checker) awsEndpoint(at *strictyaml.Node, t Target) bool {
	if t.Endpoint == nil {
		return false
	}
	c.notEmpty(at)
	if !usable(at) {
		return false
	}
	u, err := url.Parse(at.Text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(at.Text, "#") ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
		c.r.Error(at, "aws-endpoint", at.Show()+" is no address of a service", "write https:// and a host; http is taken on loopback only")
		return false
	}
	c.r.Info(at, "aws-arn-unchecked", "the ARN that this endpoint answers with is not checked: only AWS's own is known to name the role that was asked for",
		"leave endpoint out for AWS itself")
	return true
}

// storeAudience refuses an assertion that works at AWS, or at another store, for
// an endpoint that is neither: whoever runs it could carry our assertion there,
// past the session policy, the ttl and the journal. An endpoint on this machine
// is run by who runs the gateway, and AWS runs those that have STS's own names.
func (c *checker) storeAudience(n *strictyaml.Node, t Target) {
	u, err := url.Parse(t.endpoint())
	if err != nil || loopbackHost(u.Hostname()) || ownSTS.MatchString(strings.ToLower(u.Hostname())) {
		return
	}
	at := n.Find("audience")
	for name, other := range c.config.Targets {
		// A target whose audience is not written has AWS's own.
		if other.Type == targetAWS && other.endpoint() != t.endpoint() && alike(cmp.Or(other.Audience, defaultAWSAudience), t.Audience) {
			c.r.Error(at, "audience-reserved", "the target "+name+", which is elsewhere, has the audience "+t.Audience+" too: either could show our assertion to the other", "give each endpoint its own audience")
			return
		}
	}
	if cloudAudience(t.Audience) {
		c.r.Warn(at, "target-audience-shared", t.Audience+" is AWS's own audience: the endpoint could show our assertion to AWS, where a role trusts this issuer", "write an audience that only this endpoint takes")
	}
}

// alike reports audiences that careless readers take for one another.
func alike(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}

// cloudTargetAudience reports the audience of a configured cloud target.
func (c *checker) cloudTargetAudience(aud string) bool {
	for _, t := range c.config.Targets {
		if t.Type == targetAWS && t.Audience != "" && alike(t.Audience, aud) {
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
	return host == "kubernetes.default" || host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}
