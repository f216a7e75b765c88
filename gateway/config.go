package gateway

import (
	"crypto"
	"path/filepath"
	"time"

	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/providers/ssh"
	"cambio/providers/x509"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Config is cambio.yaml. [ParseConfig] is the one way to a Config that may be
// used: it fills the defaults, resolves ${env:NAME} and ${file:PATH}, and checks
// every rule. The zero value opens nothing.
//
// A relative path counts from the folder of the configuration file.
type Config struct {
	// Issuer is the exact iss of all that we sign. https without a trailing
	// slash; http only on loopback, while listen is loopback too.
	Issuer string `yaml:"issuer,required" jsonschema:"required,example=https://id.acme.example"`
	// TrustDomain is the SPIFFE trust domain of workload ids. Default: the
	// issuer's host.
	TrustDomain string `yaml:"trust_domain" jsonschema:"pattern=^([a-z0-9._-]{1\\,255}|.*\\$\\{.*)$"`
	// Listen is the public listener, ADDRESS:PORT. Off loopback it needs tls.
	// Default: 127.0.0.1:8080.
	Listen string `yaml:"listen" jsonschema:"default=127.0.0.1:8080"`
	// TLS says who ends TLS in front of the public listener: this process, or
	// the proxies named.
	TLS *TLS `yaml:"tls"`
	// AdminListen serves /healthz, /readyz and /metrics. It is never public.
	// Default: 127.0.0.1:8081.
	AdminListen string `yaml:"admin_listen" jsonschema:"default=127.0.0.1:8081"`
	// TrustedProxies are the peers whose X-Forwarded-For is believed. Default:
	// none.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`
	// Trust is the folder of trust documents and guardrails. Default: ./trust.
	Trust string `yaml:"trust" jsonschema:"default=./trust"`
	// State is the folder of the journal, the keys and the stops; one process
	// locks it. Default: ./state.
	State string `yaml:"state" jsonschema:"default=./state"`
	// Keys is the folder of the signing keys; replicas may share it. Default:
	// keys below state.
	Keys string `yaml:"keys"`
	// Redis is the shared store of several replicas: replay, nonces and stops.
	// Without it there is one replica, and its store is embedded.
	Redis *Redis `yaml:"redis"`
	// Journal says how long decisions are kept.
	Journal Journal `yaml:"journal"`
	// Limits bound how often callers may ask.
	Limits Limits `yaml:"limits"`
	// IdentityProviders are the external issuers whose tokens are accepted, by
	// name.
	IdentityProviders map[string]IdentityProvider `yaml:"identity_providers"`
	// Targets are where credentials work, by name.
	Targets map[string]Target `yaml:"targets"`

	keysAt place // what names the folder of the keys: keys, state, or neither
}

// place is where something stands, for what is found wrong with it later.
type place struct {
	file         string
	line, column int
}

func placeOf(n *strictyaml.Node) place { return place{n.File(), n.Line, n.Column} }

// TLS is one of two things: a certificate and its key, or the proxies that end
// TLS before us.
type TLS struct {
	// Cert is the file of the certificate chain, PEM.
	Cert string `yaml:"cert"`
	// Key is the file of the certificate's private key, PEM.
	Key string `yaml:"key"`
	// TerminatedBy are the proxies that end TLS. Any other peer is closed before
	// a byte is read.
	TerminatedBy []Prefix `yaml:"terminated_by"`

	at place
}

// Redis is the connection to a shared replay store.
type Redis struct {
	// Mode is the kind of deployment. Default: single.
	Mode string `yaml:"mode" jsonschema:"enum=single,enum=sentinel,enum=cluster,default=single"`
	// Addrs are host:port of the servers, or of the sentinels.
	Addrs []string `yaml:"addrs,required" jsonschema:"required,minItems=1"`
	// Username of the Redis ACL.
	Username string `yaml:"username"`
	// Password of the Redis ACL: write ${env:NAME} or ${file:PATH}.
	Password Secret `yaml:"password"`
	// TLS turns TLS on.
	TLS bool `yaml:"tls" jsonschema:"default=false"`
	// MasterName is the master's name in mode sentinel.
	MasterName string `yaml:"master_name"`
	// InsecureRedis allows a server off loopback without TLS and without a
	// password.
	InsecureRedis bool `yaml:"insecure_redis" jsonschema:"default=false"`
}

// Journal is the record of decisions.
type Journal struct {
	// Keep is how long closed segments stay. At least a day. Default: 400d.
	Keep strictyaml.Duration `yaml:"keep" jsonschema:"default=400d"`
	// Claims says which claims of a proven token are kept: those that the platform
	// lists, all that it knows, or only those that an allowed decision rests on.
	// Default: listed.
	Claims string `yaml:"claims" jsonschema:"enum=listed,enum=all,enum=decision,default=listed"`
}

// Limits are rates; bursts of twice the rate pass.
type Limits struct {
	// PerAddress counts requests of one address before they are parsed.
	// Default: 50/s.
	PerAddress Rate `yaml:"per_address" jsonschema:"default=50/s"`
	// PerWorkload counts requests of one workload after it is identified.
	// Default: 10/s.
	PerWorkload Rate `yaml:"per_workload" jsonschema:"default=10/s"`
}

// IdentityProvider is an external issuer whose tokens are accepted. What is
// zero takes the platform's default where the field says so.
type IdentityProvider struct {
	// Type is the platform.
	Type string `yaml:"type,required" jsonschema:"required,enum=github-actions,enum=kubernetes,enum=gcp,enum=oidc,enum=gitlab-ci,enum=circleci,enum=buildkite,enum=bitbucket-pipelines,enum=azure-devops,enum=hcp-terraform,enum=google-cloud-build,enum=spacelift,enum=env0,enum=harness,enum=codefresh,enum=semaphore,enum=vercel,enum=fly-io,enum=jenkins,enum=pulumi,enum=aws,enum=aws-caller-identity,enum=azure,enum=spiffe,enum=x509"`
	// Issuer is the exact iss of its tokens. Default: the platform's, where it
	// has one for all.
	Issuer string `yaml:"issuer"`
	// Audience is the exact aud that its tokens must have, one or a list; the
	// first is what a caller is told to ask for.
	// Required but for type x509, whose certificates have none.
	Audience OneOrMany `yaml:"audience"`
	// JWKSFile is a file with the key set: nothing is fetched.
	JWKSFile string `yaml:"jwks_file"`
	// JWKSURL is where the key set is: no discovery.
	JWKSURL string `yaml:"jwks_url"`
	// DiscoveryURL is where the discovery document is. Default: below the
	// issuer.
	DiscoveryURL string `yaml:"discovery_url"`
	// CAFile is a file of PEM certificates to trust for its URLs. Default: the
	// system's.
	CAFile string `yaml:"ca_file"`
	// Dial opens private addresses: "host:port CIDR", exactly that host and
	// port, at an address of that range.
	Dial []Dial `yaml:"dial"`
	// Algs are the signature algorithms taken. Default: the platform's.
	Algs []string `yaml:"algs" jsonschema:"minItems=1,uniqueItems=true,enum=RS256,enum=RS384,enum=RS512,enum=PS256,enum=PS384,enum=PS512,enum=ES256,enum=ES384,enum=ES512,enum=EdDSA"`
	// TokenUse says how often one token may be used. Default: the platform's.
	TokenUse trust.TokenUse `yaml:"token_use" jsonschema:"enum=once,enum=once-per-grant,enum=until-expiry"`
	// ClockSkew is how far its clock may be off, 1s to 5m. Default: 30s.
	ClockSkew strictyaml.Duration `yaml:"clock_skew" jsonschema:"default=30s"`
	// MaxTokenAge is the oldest token taken, since iat. Default: the platform's.
	MaxTokenAge strictyaml.Duration `yaml:"max_token_age"`
	// MaxTokenLifetime is the longest lived token taken, exp - iat. Default:
	// 24h.
	MaxTokenLifetime strictyaml.Duration `yaml:"max_token_lifetime" jsonschema:"default=24h"`
	// AllowMultiAudience takes tokens for several audiences too: any of their
	// other receivers could use them here.
	AllowMultiAudience bool `yaml:"allow_multi_audience" jsonschema:"default=false"`
	// Claims declares claims beyond the platform's.
	Claims map[string]DeclaredClaim `yaml:"claims"`
	// Workload lists the claims that form the workload id, in order. Type oidc
	// only. Default: sub.
	Workload []string `yaml:"workload" jsonschema:"minItems=1,uniqueItems=true"`
	// InsecureLoopback allows http and loopback addresses for this provider,
	// while listen is loopback too.
	InsecureLoopback bool `yaml:"insecure_loopback" jsonschema:"default=false"`
	// TokenReview asks the cluster about each token that its keys prove, so that one
	// of a deleted pod or service account is refused. Type kubernetes only.
	TokenReview *TokenReview `yaml:"token_review"`
	// TrustDomain is the SPIFFE trust domain of its workloads. Type spiffe only.
	TrustDomain string `yaml:"trust_domain"`
	// BundleFile is a file with the trust domain's bundle: the first one where
	// bundle_url names an endpoint, else the only one. Type spiffe only.
	BundleFile string `yaml:"bundle_file"`
	// BundleURL is the trust domain's bundle endpoint. Type spiffe only.
	BundleURL string `yaml:"bundle_url"`
	// BundleEndpointID is the SPIFFE ID that the bundle endpoint proves itself with
	// (profile https_spiffe); without it, by a certificate of the Web (https_web).
	// Type spiffe only.
	BundleEndpointID string `yaml:"bundle_endpoint_id"`
	// ClientCAFile is a file of PEM certificates that vouch for clients on their TLS
	// connections. Type x509 only.
	ClientCAFile string `yaml:"client_ca_file"`
	// Endpoint is where signed requests go instead of to AWS's own service. Type
	// aws-caller-identity only.
	Endpoint string `yaml:"endpoint"`

	jwks, ca, bundle, clientCA []byte // of JWKSFile, CAFile, BundleFile and ClientCAFile
}

// TokenReview is a cluster's API server that is asked about tokens.
type TokenReview struct {
	// URL of the API server.
	URL string `yaml:"url,required" jsonschema:"required"`
	// TokenFile is a file with a token that may create token reviews; it is read
	// again for each call.
	TokenFile string `yaml:"token_file,required" jsonschema:"required"`
}

// DeclaredClaim is a claim that tokens have and the platform's table lacks.
type DeclaredClaim struct {
	// Type of the claim's value.
	Type trust.ClaimType `yaml:"type,required" jsonschema:"required,enum=string,enum=bool,enum=int,enum=double,enum=list"`
	// Anchor says that the claim is immutable and names one tenant, so that a
	// trust may rest on it. Type oidc only.
	Anchor bool `yaml:"anchor" jsonschema:"default=false"`
}

// Target is where a credential works.
type Target struct {
	// Type of the target: an API that takes JWTs of ours, or a cloud or service that
	// gives credentials for them.
	Type string `yaml:"type,required" jsonschema:"required,enum=jwt,enum=aws,enum=gcp,enum=azure,enum=kubernetes,enum=github,enum=vault,enum=oauth,enum=x509,enum=ssh"`
	// Audience is the aud of what is issued, or of the assertion shown to the
	// cloud. Type aws: sts.amazonaws.com by default.
	Audience string `yaml:"audience"`
	// MaxTTL is the longest that a credential lives: at most 1h for a jwt, 15m to
	// 12h for aws. Default: 1h, or what the type issues at least or at most.
	MaxTTL strictyaml.Duration `yaml:"max_ttl"`
	// Profile is the form of a jwt: plain, or an access token of RFC 9068.
	// Default: jwt.
	Profile string `yaml:"profile" jsonschema:"enum=jwt,enum=rfc9068,default=jwt"`
	// Account is the AWS account id, in quotes. Type aws only.
	Account string `yaml:"account"`
	// Region is the AWS region. Type aws only.
	Region string `yaml:"region"`
	// Endpoint is another service that speaks what the cloud's own does, such as one
	// that is not public. Type aws: the ARN that it answers with is not checked.
	Endpoint *string `yaml:"endpoint" jsonschema:"oneof_type=string;null"`
	// Subject is what the assertion shown to the cloud names in sub: the workload
	// id, or the trust. Default: trust for azure, else workload.
	Subject string `yaml:"subject" jsonschema:"enum=workload,enum=trust"`
	// Tenant is the id of the Entra tenant. Type azure only.
	Tenant string `yaml:"tenant"`
	// Server is the URL of the API server or of Vault. Types kubernetes and vault.
	Server string `yaml:"server"`
	// CAFile is a file of PEM certificates to trust for the target's URLs. Default:
	// the system's.
	CAFile string `yaml:"ca_file"`
	// Mount is the path of Vault's JWT auth method. Type vault only. Default: jwt.
	Mount string `yaml:"mount"`
	// Namespace is the Vault namespace. Type vault only.
	Namespace string `yaml:"namespace"`
	// AppID is the id of the GitHub App. Type github only.
	AppID string `yaml:"app_id"`
	// AppKey is the file of the GitHub App's private key, PEM, or a key in a KMS.
	// Type github only.
	AppKey string `yaml:"app_key"`
	// Installation is the id of the GitHub App's installation. Type github only.
	Installation string `yaml:"installation"`
	// TokenURL is the token endpoint of another authorization server. Type oauth
	// only.
	TokenURL string `yaml:"token_url"`
	// Grant is how our assertion is shown there. Type oauth only. Default:
	// token-exchange.
	Grant string `yaml:"grant" jsonschema:"enum=token-exchange,enum=jwt-bearer,enum=client-credentials,default=token-exchange"`
	// Body is the form of the request. Type oauth only. Default: form.
	Body string `yaml:"body" jsonschema:"enum=form,enum=json,default=form"`
	// Parameters are sent with each request. Type oauth only.
	Parameters map[string]string `yaml:"parameters"`
	// CACert is a file with the certificate chain of our own authority, PEM, the
	// one that signs first, its root last. Type x509 only.
	CACert string `yaml:"ca_cert"`
	// CAKey is the file of the authority's private key, PEM or, for ssh, OpenSSH's.
	// Types x509 and ssh.
	CAKey string `yaml:"ca_key"`

	ca           []byte          // of CAFile
	authority    *x509.Authority // of CACert and CAKey, type x509
	sshAuthority *ssh.Authority  // of CAKey, type ssh
	appKey       crypto.Signer   // of AppKey
}

const (
	defaultListen      = "127.0.0.1:8080"
	defaultAdminListen = "127.0.0.1:8081"
	defaultKeep        = 400 * 24 * time.Hour
	defaultSkew        = 30 * time.Second
	defaultLifetime    = 24 * time.Hour
	// maxTTL is the longest that a JWT of ours lives: nobody can take one back.
	maxTTL = time.Hour
	// maxSkew bounds what a skew can add to a token's life: a clock that is off
	// by more needs repair, not tolerance.
	maxSkew = 5 * time.Minute
	// minKeep keeps the segments that hold replay keys of tokens still alive.
	minKeep        = 24 * time.Hour
	perAddressRate = 50
	perWorkload    = 10
)

// The values of journal.claims.
const (
	keepListed   = "listed"
	keepAll      = "all"
	keepDecision = "decision"
)

// ParseConfig reads a configuration file's bytes. env looks a variable up,
// readFile reads a file that the configuration names; file is the
// configuration's own path, from whose folder relative paths count.
//
// The findings are all there are, warnings too. With an error among them the
// Config is zero. No finding shows the value of a variable or a secret.
func ParseConfig(file string, src []byte, env func(string) (string, bool), readFile func(string) ([]byte, error)) (Config, strictyaml.Findings) {
	root, findings := strictyaml.InspectConfig(file, src)
	var r strictyaml.Reporter
	r.Add(findings...)
	if root == nil {
		return Config{}, r.Findings()
	}
	c := checker{r: &r, root: root, dir: filepath.Dir(file), readFile: readFile, platformNames: providers.PlatformNames(), platforms: map[string]oidc.Platform{}}
	expander{r: &r, env: env, readFile: readFile, dir: c.dir}.expand(root)
	r.Decode(root, &c.config)
	c.defaults()
	c.server()
	c.redis()
	c.providers()
	c.targets()
	c.circles()
	r.Words(root)
	if fs := r.Findings(); fs.HasErrors() {
		return Config{}, fs
	}
	return c.config, r.Findings()
}

// checker holds a decoded configuration beside the tree that it came from, so
// that what is wrong is told where it stands.
type checker struct {
	r        *strictyaml.Reporter
	root     *strictyaml.Node
	config   Config
	dir      string
	readFile func(string) ([]byte, error)

	platformNames []string
	platforms     map[string]oidc.Platform
}

// defaults fills what was left out. What was written wrongly has its finding
// already, and a default in its place does no harm: the Config is not used.
func (c *checker) defaults() {
	set := func(s *string, fallback string) {
		if *s == "" {
			*s = fallback
		}
	}
	set(&c.config.Listen, defaultListen)
	set(&c.config.AdminListen, defaultAdminListen)
	set(&c.config.Trust, "trust")
	set(&c.config.State, "state")
	at := c.root.Find("keys")
	if c.config.Keys == "" {
		at = c.root.Find("state")
	}
	c.config.keysAt = placeOf(at)
	set(&c.config.Keys, filepath.Join(c.config.State, "keys"))
	for _, p := range []*string{&c.config.Trust, &c.config.State, &c.config.Keys} {
		*p = c.path(*p)
	}
	if t := c.config.TLS; t != nil {
		t.Cert, t.Key = c.path(t.Cert), c.path(t.Key)
	}
	if c.root.Get("journal").Get("keep") == nil {
		c.config.Journal.Keep = strictyaml.Duration(defaultKeep)
	}
	set(&c.config.Journal.Claims, keepListed)
	if c.config.Limits.PerAddress == (Rate{}) {
		c.config.Limits.PerAddress.PerSecond = perAddressRate
	}
	if c.config.Limits.PerWorkload == (Rate{}) {
		c.config.Limits.PerWorkload.PerSecond = perWorkload
	}
}

// path makes a path of the configuration one of the process.
func (c *checker) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}
