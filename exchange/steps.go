package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"time"

	"cambio/audit"
	"cambio/trust"
)

// commitTimeout bounds the wait for the disk. A disk that takes longer is out of
// order; the web server's write time-out would cut the answer soon after.
const commitTimeout = 10 * time.Second

// replayMargin is remembered beyond exp + skew, so that rounding anywhere never
// forgets a token that could still verify.
const replayMargin = 60 * time.Second

// open begins the record. The token enters it only as its hash.
func (b *Broker) open(req Request) *attempt {
	shown := []byte(req.SubjectToken)
	if req.SubjectType == SubjectMTLS && len(req.Certificates) > 0 {
		shown = req.Certificates[0].Raw // the certificate is the proof, whatever the token says
	}
	sum := sha256.Sum256(shown)
	a := &attempt{req: req}
	a.rec = audit.Record{
		Decision:    req.Decision,
		Target:      told(req.Ask.Target),
		Resource:    told(req.Ask.Resource),
		Scope:       told(joinScopes(req.Ask.Scopes)),
		TTL:         int64(req.Ask.TTL / time.Second),
		TokenSHA256: hex.EncodeToString(sum[:]),
	}
	if req.Ask.Address.IsValid() {
		a.rec.Address = req.Ask.Address.String()
	}
	return a
}

// identify proves the token, and holds the workload to its rate.
func (b *Broker) identify(ctx context.Context, a *attempt) error {
	proof, err := b.c.Verifier.Verify(ctx, Subject{Type: a.req.SubjectType, Token: a.req.SubjectToken, Certificates: a.req.Certificates})
	a.proof = proof
	a.rec.Provider = proof.Provider
	a.rec.Workload = proof.Workload
	a.rec.Subject = proof.Subject
	if err != nil {
		return b.unfit(a, err)
	}
	// Here, where signature and claims are proven, and no sooner: what a stranger
	// writes into a token must not reach the journal under the name of a claim.
	a.rec.Claims = b.c.Policy().Recorded(&proof.Identity)
	if err := b.openNonce(a); err != nil {
		return err
	}
	if b.c.Limiter == nil {
		return nil
	}
	if wait := b.c.Limiter.Take(proof.Workload, b.c.Now()); wait > 0 {
		return &Error{Code: Limited, Reason: trust.ReasonRateLimited, RetryAfter: wait}
	}
	return nil
}

// openNonce opens the nonce that the token carries. A bad one of ours refuses
// also where none is required: it was made for another gateway, another provider
// or too long ago, and so was the token.
func (b *Broker) openNonce(a *attempt) error {
	if a.proof.Nonce == "" {
		return nil
	}
	if b.c.Nonces == nil {
		return Refuse(trust.ReasonNonceInvalid, nil)
	}
	key, err := b.c.Nonces.Open(a.proof.Nonce, a.proof.Provider, b.c.Now())
	if err != nil {
		return Refuse(trust.ReasonNonceInvalid, err)
	}
	a.nonce, a.proof.Identity.Nonce = key, true
	return nil
}

// unfit is the refusal of a token whose signature is proven and whose claims
// contradict each other, or lack those of the workload id. It is refused
// whatever the policy says; but where no trust would have matched it anyway,
// such as a person's token at an issuer of workloads, that is what the record
// says, as it is what the owner of a trust can act on.
func (b *Broker) unfit(a *attempt, err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Reason != trust.ReasonWorkloadClaim && e.Reason != trust.ReasonClaimInvalid {
		return err
	}
	d := b.c.Policy().Decide(a.proof.Identity, a.req.Ask, trust.StopSet{}, b.c.Now())
	if d.Reason == trust.ReasonConditionFalse || d.Reason == trust.ReasonNoMatchingTrust {
		return &Error{Code: e.Code, Reason: d.Reason, Err: e}
	}
	return err
}

// judge decides from one snapshot of policy and stops, and plans what would be
// issued.
func (b *Broker) judge(a *attempt) error {
	now := b.c.Now()
	stops, err := b.c.Stops.Current(now)
	if err != nil {
		return unstopped(err)
	}
	a.policy = b.c.Policy()
	a.decision = a.policy.Decide(a.proof.Identity, a.req.Ask, stops, now)
	d := a.decision
	a.rec.Trust, a.rec.TrustSHA256, a.rec.PolicySHA256 = d.Trust, d.TrustSHA256, d.PolicySHA256
	if !d.Allow {
		return &Error{
			Code: blamed(d.Blame), Reason: d.Reason, Err: detail(d),
			Hint: a.policy.Hint(a.proof.Identity, a.req.Ask, d, now),
		}
	}
	a.rest(d.Claims)
	target, ok := b.c.Targets[d.Grant.Target]
	if !ok {
		return &Error{Code: InvalidTarget, Reason: trust.ReasonTargetNotGranted}
	}
	// RFC 8693 section 2.2.1: a caller who asked for one type must never be
	// handed another under its name.
	if !target.serves(d.Grant, a.req.CredentialType) {
		return &Error{Code: InvalidRequest, Reason: trust.ReasonTokenType}
	}
	if err := target.checkCertify(a.req); err != nil {
		return err
	}
	a.target = target
	if a.order, err = b.plan(a, now); err != nil {
		return err
	}
	a.rec.Resource = d.Grant.Resource
	a.rec.Scope = joinScopes(d.Grant.Scopes)
	a.rec.TTL = int64(d.Grant.TTL / time.Second)
	a.rec.Handle = target.named(a.order.ID)
	a.rec.Expires = a.order.credentialEnd()
	return nil
}

// rest adds the claims that an allowed decision rests on to those that are kept
// anyway.
func (a *attempt) rest(evidence map[string]any) {
	if a.rec.Claims == nil {
		a.rec.Claims = evidence
		return
	}
	maps.Copy(a.rec.Claims, evidence)
}

// unstopped is the refusal where nobody knows what is stopped.
func unstopped(err error) *Error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known // the store knows what it says
	}
	return Unanswered(trust.ReasonStopsStale, err)
}

func blamed(b trust.Blame) Code {
	switch b {
	case trust.BlameTarget:
		return InvalidTarget
	case trust.BlameScope:
		return InvalidScope
	case trust.BlameIdentity:
		return InvalidRequest
	}
	return InvalidRequest
}

func detail(d trust.Decision) error {
	if d.Detail == "" {
		return nil
	}
	return errors.New(d.Detail)
}

// rehearse ends a dry run: judged and recorded, nothing reserved or issued.
func (b *Broker) rehearse(ctx context.Context, a *attempt) (*Result, error) {
	a.rec.Event = audit.ExchangeDryRun
	// No credential will exist under this handle.
	a.rec.Handle, a.rec.Expires = "", time.Time{}
	if err := b.c.Journal.Append(a.rec); err != nil {
		return nil, b.unrecorded(ctx, a, err)
	}
	return &Result{
		Decision: a.req.Decision, DryRun: true,
		Scopes: a.order.Grant.Scopes, ExpiresIn: a.order.credentialEnd().Sub(a.order.Issued),
	}, nil
}

// reserve takes the token's one use. It comes after judge, so that a refusal
// burns nothing, and before commit, so that of two racing requests one is
// refused before anything is on the record as allowed.
func (b *Broker) reserve(ctx context.Context, a *attempt) error {
	if a.decision.TokenUse == trust.UntilExpiry && !a.decision.Mark && a.nonce == "" {
		return nil
	}
	now := b.c.Now()
	ttl := a.proof.ExpiresAt.Sub(now) + a.proof.ClockSkew + replayMargin
	if a.nonce != "" {
		ttl = max(ttl, nonceMemory)
	}
	r := Reservation{
		Key:      a.proof.ReplayKey,
		Decision: a.req.Decision,
		Member:   a.order.Grant.Target + " " + a.order.Grant.Resource,
		Use:      a.decision.TokenUse,
		TTL:      ttl,
		Nonce:    a.nonce,
		IssuedAt: a.proof.IssuedAt, ClockSkew: a.proof.ClockSkew,
	}
	first, err := b.c.Replay.Reserve(ctx, r)
	if err != nil {
		if known := (*Error)(nil); errors.As(err, &known) {
			return known // the store knows what it says
		}
		// The outcome is unknown: the token may be burnt, and stays so.
		return Unanswered(trust.ReasonReplayStore, err)
	}
	if !first {
		e := Refuse(trust.ReasonReplayed, nil)
		e.Tell = "This token was already used; fetch a fresh one for each exchange."
		return e
	}
	a.reserved = &r
	a.rec.Replay = &audit.Replay{Use: audit.Use{
		Key: r.Key, Decision: r.Decision, Members: []string{r.Member},
		Closed: r.Use == trust.Once, Until: now.Add(ttl),
	}, Nonce: r.Nonce}
	return nil
}

// nonceMemory is how long a used nonce is remembered at least: five minutes that
// it is good for, and a margin for clocks that are apart.
const nonceMemory = 7 * time.Minute

// commit makes the decision durable, and judges again if the stop list changed
// while it did: a stop that was in force before the credential exists holds.
func (b *Broker) commit(ctx context.Context, a *attempt) error {
	a.rec.Event = audit.ExchangeAllowed
	if err := b.shadows(a); err != nil {
		return Unanswered(trust.ReasonAuditSink, err)
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := b.c.Journal.Commit(ctx, a.rec); err != nil {
		return Unanswered(trust.ReasonAuditSink, err)
	}
	a.committed = true
	return b.judgeAgain(a)
}

// judgeAgain judges once more if the stop list is newer than the one that was
// judged with.
func (b *Broker) judgeAgain(a *attempt) error {
	stops, err := b.c.Stops.Current(b.c.Now())
	if err != nil {
		return unstopped(err)
	}
	if stops.Version() == a.decision.StopVersion {
		return nil
	}
	// By the policy that the record names: a newer one could allow it by another
	// trust, and so lead the stopped trust's grant past the stop.
	again := a.policy.Decide(a.proof.Identity, a.req.Ask, stops, b.c.Now())
	if !again.Allow {
		return &Error{Code: blamed(again.Blame), Reason: again.Reason, Err: detail(again)}
	}
	return nil
}

// shadows records the trusts in mode shadow that would have allowed this.
func (b *Broker) shadows(a *attempt) error {
	for _, name := range a.decision.Shadow {
		err := b.c.Journal.Append(audit.Record{
			Event: audit.ExchangeDryRun, Decision: a.req.Decision,
			Provider: a.rec.Provider, Workload: a.rec.Workload, Subject: a.rec.Subject,
			Trust: name, PolicySHA256: a.rec.PolicySHA256, TokenSHA256: a.rec.TokenSHA256,
			// As it was asked for, not as another trust gave it: the trust on trial can
			// be judged again by its record alone.
			Target: a.rec.Target, Resource: told(a.req.Ask.Resource), Scope: told(joinScopes(a.req.Ask.Scopes)),
			TTL: int64(a.req.Ask.TTL / time.Second), Address: a.rec.Address, Claims: a.rec.Claims,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mint makes the credential. Nothing but a durable decision leads here.
func (b *Broker) mint(ctx context.Context, a *attempt) (Credential, error) {
	cred, err := a.target.Minter.Mint(ctx, a.order)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return Credential{}, e
		}
		return Credential{}, &Error{Code: Unavailable, Reason: trust.ReasonMintFailed, Err: err, RetryAfter: retryAfter, Issued: true}
	}
	return cred, nil
}

// deliver records the outcome and lets the credential go. A JWT of our own was
// named by the decision already, so its outcome is not waited for. A cloud's
// credential has a handle that only the outcome knows: it is durable first.
func (b *Broker) deliver(ctx context.Context, a *attempt, cred Credential) (*Result, error) {
	outcome := audit.Record{
		Event: audit.ExchangeMinted, Decision: a.req.Decision, Provider: a.rec.Provider, Workload: a.rec.Workload,
		Trust: a.rec.Trust, Target: a.rec.Target, Resource: a.rec.Resource, Handle: cred.Handle, Expires: cred.Expires,
	}
	if a.target.Cloud {
		if err := b.settle(ctx, a, outcome); err != nil {
			a.rec.Handle = cred.Handle // it exists: whoever reads of the failure can revoke it
			return nil, b.refuse(ctx, a, err)
		}
	} else if err := b.c.Journal.Append(outcome); err != nil {
		b.c.Log.WarnContext(ctx, "outcome not recorded; the decision is", slog.String("decision_id", a.req.Decision), slog.Any("error", err))
	}
	return &Result{
		Decision: a.req.Decision, Credential: cred,
		Scopes: a.order.Grant.Scopes, ExpiresIn: b.expiresIn(a, cred),
	}, nil
}

// expiresIn is what is left of the credential, in whole seconds.
func (b *Broker) expiresIn(a *attempt, cred Credential) time.Duration {
	from := a.order.Issued
	if a.target.Cloud {
		from = b.c.Now() // the call took its time
	}
	return max(cred.Expires.Sub(from).Truncate(time.Second), time.Second)
}

// settle makes the outcome durable, and judges once more, as a cloud may have
// taken longer than a stop has to act. Where either fails the credential stays
// here; it exists all the same, so the token stays burnt.
func (b *Broker) settle(ctx context.Context, a *attempt, outcome audit.Record) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var e *Error
	if err := b.c.Journal.Commit(ctx, outcome); err != nil {
		e = Unanswered(trust.ReasonAuditSink, err)
	} else if !errors.As(b.judgeAgain(a), &e) {
		return nil
	}
	withheld := *e
	withheld.Issued = true
	return &withheld
}
