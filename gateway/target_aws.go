package gateway

import (
	"net/url"
	"regexp"
	"strings"

	"cambio/exchange"
	"cambio/providers/aws"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetAWS = "aws"

// awsKind are AWS accounts, and stores that speak AWS's Security Token Service.
func awsKind() targetKind {
	return targetKind{
		settings: []string{"account", "region", "endpoint", "subject"},
		cloud:    true, sharesAudience: true, // the role's trust policy tells accounts apart
		typ: func(t Target) trust.TargetType { return aws.TargetType(t.Account, t.endpoint()) },
		pins: func(t Target) map[string]string {
			return map[string]string{"account": t.Account, "endpoint": t.endpoint(), "subject": t.Subject}
		},
		check: (*checker).targetAWS,
		open: func(env Env, t Target) (exchange.Target, error) {
			minter, err := aws.New(aws.Config{
				Account: t.Account, Region: t.Region, Audience: t.Audience, Endpoint: t.endpoint(), Now: env.Now,
			})
			return exchange.Target{Minter: minter, Types: aws.Types(), TypesOf: aws.TypesOf}, err
		},
		connect: connectAWS,
	}
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
	c.cloudAssertion(n, &t, defaultAWSAudience)
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
	c.subject(n, &t, subjectWorkload)
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
	if !c.endpoint(at, "aws-endpoint") {
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
	if c.carried(at, t) {
		return
	}
	if cloudAudience(t.Audience) {
		c.r.Warn(at, "target-audience-shared", t.Audience+" is AWS's own audience: the endpoint could show our assertion to AWS, where a role trusts this issuer", "write an audience that only this endpoint takes")
	}
}

// connectAWS is the OIDC identity provider of each account, and each role's trust
// policy.
func connectAWS(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	roles := &aws.Connection{Target: name, Issuer: c.Issuer, Audience: t.Audience, Store: t.endpoint() != ""}
	for _, g := range grants {
		roles.Grant(g.Trust, g.Resource, g.Subjects, g.Fields, g.Shadow)
	}
	var findings strictyaml.Findings
	for _, p := range roles.Finish() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Error, File: p.Role, Message: p.Text, Fix: p.Fix})
	}
	for _, p := range roles.Warnings() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Warning, File: "issuer " + c.Issuer, Message: p.Text, Fix: p.Fix})
	}
	if findings.HasErrors() {
		return nil, findings
	}
	return &Connection{
		Forms: []Form{
			{"text", "", roles.Text()},
			{"terraform", "Terraform", roles.Terraform()},
			{"cli", "AWS CLI", roles.CLI()},
			{"json", "JSON", roles.JSON()},
		},
		session: roles.Session,
	}, findings
}
