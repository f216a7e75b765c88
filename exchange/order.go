package exchange

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"cambio/issuer"
	"cambio/trust"
)

// Target is one target of the configuration: who mints for it, and what the
// JWT that we sign for it looks like.
type Target struct {
	Minter  Minter
	RFC9068 bool     // the JWT that we sign has `typ: at+jwt` and client_id
	Types   []string // the requested_token_type values that it serves; the first one is issued
	// TypesOf are those of one grant, where the grants of a target give different
	// things; nil: Types.
	TypesOf func(trust.Grant) []string
	// Cloud says that the credential is made elsewhere: our JWT only asserts who
	// asks, so it lives a few minutes whatever the credential does, and the outcome
	// is durable before the credential leaves.
	Cloud bool
	// Certifies is what the target's orders certify. Such a credential is a
	// certificate of ours for a key that the workload alone holds: it is made here,
	// as a JWT of ours is, and named by the decision; but it lives for what the grant
	// gives, whatever the subject token does, as nobody can use it by seeing it.
	Certifies Certifies
	// Certifiable says why a certificate cannot be made of what the workload sent, in
	// words that go on from "The parameter x"; it repeats nothing of it. It is pure.
	// Required with Certifies.
	Certifiable func(string) error
	// Handle is what the credential of an order with this ID is called where it is
	// used, such as a certificate's serial number; nil: the ID itself.
	Handle func(id string) string
	// TrustSubject, where it is set, is put before the trust's name to form the sub
	// of our JWT; else sub is the workload id.
	TrustSubject string
}

// types are the requested_token_type values that this grant of the target serves,
// the one that is issued by itself first.
func (t Target) types(g trust.Grant) []string {
	if t.TypesOf != nil {
		return t.TypesOf(g)
	}
	return t.Types
}

// serves reports whether the target can issue this type for the grant; "" leaves
// it to us.
func (t Target) serves(g trust.Grant, requested string) bool {
	return requested == "" || slices.Contains(t.types(g), requested)
}

// Alg is the algorithm of a JWT that we sign; which one is the target's to know.
type Alg = issuer.Alg

// What JWTs of ours are signed with: ES256 for APIs of one's own, RS256 for
// clouds, of which some take nothing else.
const (
	ES256 = issuer.ES256
	RS256 = issuer.RS256
)

// Order asks a Minter for one credential. Its decision is durable and already
// names what is to be issued.
type Order struct {
	ID       string // 128 random bits in base64url: the jti of the JWT that we sign, or what a certificate's serial number is made of
	Decision string // the decision's id
	Trust    string // the trust that allowed it
	Identity trust.Identity
	Grant    trust.Grant
	Issued   time.Time // whole seconds
	Expires  time.Time // whole seconds; of the JWT or certificate that we sign
	Type     string    // issued_token_type
	Certify  string    // what the workload wants certified; Target.Certifiable took it

	target Target
	issuer *issuer.Issuer
}

// Credential is what comes out. Only its Value is secret.
type Credential struct {
	Value   Secret
	Type    string    // issued_token_type
	Handle  string    // its public handle, as the journal names it; never enough to use it
	Expires time.Time //
	// Structured says that Value is a JSON object and no bearer token: the answer
	// has it as an object too, and token_type N_A (RFC 8693 section 2.2.1).
	Structured bool
}

// plan says what would be issued, before it is: the record names it.
func (b *Broker) plan(a *attempt, now time.Time) (Order, error) {
	id, err := issuer.NewID(b.c.Rand)
	if err != nil {
		return Order{}, &Error{Code: ServerError, Reason: trust.ReasonPanic, Err: err}
	}
	issued := now.Truncate(time.Second)
	// A JWT of ours must not outlive the token that earned it: whoever stole
	// one could else trade it for a longer life.
	end := a.proof.ExpiresAt
	if !now.Before(end) {
		end = end.Add(a.proof.ClockSkew) // accepted within the skew, and that is all it gets
	}
	lifetime := a.decision.Grant.TTL
	if a.target.Cloud {
		lifetime = assertionLifetime
	}
	expires := issued.Add(lifetime)
	if a.target.Certifies == CertifiesNothing && expires.After(end) {
		expires = end.Truncate(time.Second)
	}
	o := Order{
		ID: id, Decision: a.req.Decision, Trust: a.decision.Trust, Identity: a.proof.Identity, Grant: a.decision.Grant,
		Issued: issued, Expires: expires, Type: a.req.CredentialType, Certify: a.req.Certify, target: a.target, issuer: b.c.Issuer,
	}
	if o.Type == "" {
		o.Type = a.target.types(o.Grant)[0]
	}
	return o, nil
}

// assertionLifetime is how long a JWT lives that we show to a cloud: as long as
// a call with its retries and clocks a little off need, as whoever sees it there
// could use it again.
const assertionLifetime = 5 * time.Minute

// credentialEnd is when the credential ends: with our JWT, or where the cloud
// makes it, after what the grant gives, whatever the subject token does.
func (o Order) credentialEnd() time.Time {
	if o.target.Cloud {
		return o.Issued.Add(o.Grant.TTL)
	}
	return o.Expires
}

// Subject is what we sign of who asks: the workload id, or where the target has it
// so, the name of the trust. It is a SPIFFE ID.
func (o Order) Subject() string {
	if o.target.TrustSubject != "" {
		return o.target.TrustSubject + o.Trust
	}
	return o.Identity.Workload
}

// Assert signs the JWT that the record names, for this audience: `sub` is the
// workload id, or names the trust where the target wants that; `jti` is the
// order's ID, and it ends at Expires. The error is an [*Error]: nothing was
// signed.
func (o Order) Assert(audience string, alg Alg) (Secret, error) {
	c := issuer.Claims{
		Type: issuer.JWT, Subject: o.Subject(), Audience: audience, ID: o.ID,
		IssuedAt: o.Issued, Expires: o.Expires,
		Scope: joinScopes(o.Grant.Scopes), Extra: o.Grant.Claims,
	}
	if o.target.RFC9068 {
		c.Type, c.ClientID = issuer.AccessToken, o.Identity.Workload
	}
	token, err := o.issuer.Sign(alg, c)
	switch {
	case errors.Is(err, issuer.ErrClaims):
		return "", &Error{Code: ServerError, Reason: trust.ReasonMintFailed, Err: err}
	case err != nil:
		return "", Unanswered(trust.ReasonMintFailed, err) // a key in a KMS that does not answer
	}
	return Secret(token), nil
}

// Secret is a value that never shows itself in logs, errors or JSON.
type Secret string

const redacted = "[redacted]"

// String returns a placeholder; Reveal returns the value.
func (Secret) String() string { return redacted }

// GoString returns a placeholder.
func (Secret) GoString() string { return redacted }

// LogValue returns a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal returns the value, to the one who may have it.
func (s Secret) Reveal() string { return string(s) }
