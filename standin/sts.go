package standin

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// STSConfig says what an STS knows.
type STSConfig struct {
	Now   func() time.Time
	Rand  io.Reader      // of access keys, secrets and ids
	TLS   *TLS           // serve https; default http
	OIDC  []OIDCProvider // IAM OIDC providers, of whatever account
	Roles []Role
}

// OIDCProvider is an IAM OIDC provider: an issuer whose tokens an account
// accepts.
type OIDCProvider struct {
	Account   string   // 12 digits
	URL       string   // the issuer, exactly as iss has it
	Audiences []string // the client ids
	// Keys returns the issuer's key set; nil fetches discovery and key set from
	// URL, each time, through Client.
	Keys   func(context.Context) ([]byte, error)
	Client *http.Client // nil: one that follows no redirect
}

// Role is an IAM role.
type Role struct {
	ARN        string
	Trust      []Statement   // see ParseRoleTrust
	MaxSession time.Duration // default an hour, as at AWS
}

// STSRequest is one request that an STS got.
type STSRequest struct {
	Action string
	Form   url.Values
	Header http.Header
	Claims map[string]any // of the web identity token, where one could be decoded; not proven
	Status int            // of the true answer, without a fault
	Code   string         // of the true answer's error; "" where it succeeded
	Issued STSSession     // what was issued, also where a fault kept it from the caller
}

// STSSession is what an STS issued.
type STSSession struct {
	ARN          string
	AccessKeyID  string
	SecretKey    string
	SessionToken string
	Expires      time.Time
	RoleID       string
	Tags         map[string]string
	SourceID     string
	Policy       string
	PolicyARNs   []string
}

// STSAnswer is the answer to AssumeRoleWithWebIdentity, as text. An empty member
// is left out.
type STSAnswer struct {
	ARN, RoleID                                       string
	AccessKeyID, SecretKey, SessionToken, Expiration  string
	Subject, Audience, Provider, SourceID, PackedSize string
}

// STSFault makes an STS misbehave. The zero value changes nothing. Whatever it
// does to the answer, the request was served before: something may be issued.
type STSFault struct {
	Fault
	Code    string           // answer this error, with Status or 400, and issue nothing
	Message string           // of Code
	Edit    func(*STSAnswer) // lie in an answer that would have issued
	Cut     bool             // close the connection in the middle of the answer
	Drop    bool             // close the connection instead of an answer
}

// STS is a strict stand-in for AWS' Security Token Service on 127.0.0.1. It
// speaks AssumeRoleWithWebIdentity and GetCallerIdentity, proves web identity
// tokens and signatures for real, holds them against the roles' trust policies,
// and answers 501 to all that it does not know, and remembers it: see Unknown.
// Safe for concurrent use.
type STS struct {
	server
	oidc     []OIDCProvider
	roles    map[string]Role
	sessions map[string]STSSession // by access key id
	faults   []STSFault
	requests []STSRequest
}

var roleARN = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::([0-9]{12}):role/(?:[!-~]+/)?([\w+=,.@-]{1,64})$`)

// NewSTS starts one on a free port of 127.0.0.1. End it with Close.
func NewSTS(c STSConfig) (*STS, error) {
	s := &STS{
		server: server{now: c.Now, rand: c.Rand}, oidc: slices.Clone(c.OIDC),
		roles: make(map[string]Role), sessions: make(map[string]STSSession),
	}
	for _, r := range c.Roles {
		if err := s.SetRole(r); err != nil {
			return nil, err
		}
	}
	if err := s.start(s, c.TLS); err != nil {
		return nil, err
	}
	return s, nil
}

// SetRole adds a role, or replaces the one with its ARN.
func (s *STS) SetRole(r Role) error {
	if !roleARN.MatchString(r.ARN) {
		return fmt.Errorf("standin: %q is no ARN of a role", r.ARN)
	}
	if r.MaxSession == 0 {
		r.MaxSession = time.Hour
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[r.ARN] = r
	return nil
}

// AddOIDC adds an IAM OIDC provider.
func (s *STS) AddOIDC(p OIDCProvider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oidc = append(s.oidc, p)
}

// Fail makes the next requests misbehave, each by the next fault; the last one
// stays until Heal.
func (s *STS) Fail(faults ...STSFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.Clone(faults)
}

// Heal ends all faults.
func (s *STS) Heal() { s.Fail() }

// Requests are those so far, in order.
func (s *STS) Requests() []STSRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Sessions are what was issued, by access key id.
func (s *STS) Sessions() map[string]STSSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.sessions)
}

// next takes the fault of this request.
func (s *STS) next() STSFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return STSFault{}
	}
	f := s.faults[0]
	if len(s.faults) > 1 {
		s.faults = s.faults[1:]
	}
	return f
}
