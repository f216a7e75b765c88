package gateway

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
)

// Question asks what the policy would say to claims that nobody signed.
type Question struct {
	Provider string
	Claims   []byte // a JSON object
	Ask      trust.Request
	At       time.Time
	Stops    trust.StopSet
}

// ErrNotAToken says that what was given as a token has not the form of one.
var ErrNotAToken = errors.New("gateway: not a compact JWS")

// PayloadOf decodes the payload of a token. Its signature is not checked.
func PayloadOf(token []byte) ([]byte, error) {
	token = bytes.TrimSpace(token)
	if err := exchange.CheckBounds(exchange.SubjectJWT, string(token)); err != nil {
		return nil, ErrNotAToken
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(string(bytes.Split(token, []byte("."))[1]))
	if err != nil {
		return nil, ErrNotAToken
	}
	return payload, nil
}

// Answer is an explanation, and for a denial by the kill switch the stop that it
// is for.
type Answer struct {
	trust.Explanation
	Stop *trust.Stop `json:"stop,omitempty"`
}

// Explain answers with the documents of the configuration, as a running gateway
// would if the claims were signed. Claims that no token of the provider could
// have are denied with the verifier's reason. Findings in the documents come
// back as [trust.Findings].
func Explain(c Config, q Question) (Answer, error) {
	policy, findings := LoadPolicy(c, q.At)
	if policy == nil {
		return Answer{}, findings
	}
	id, err := claimed(c, q)
	var refused *exchange.Error
	switch {
	case errors.As(err, &refused):
		e := trust.Explanation{Reason: refused.Reason, Policy: policy.SHA256()}
		if refused.Err != nil {
			e.Detail = refused.Err.Error()
		}
		return Answer{Explanation: e}, nil
	case err != nil:
		return Answer{}, err
	}
	a := Answer{Explanation: policy.ExplainNear(id, q.Ask, q.Stops, q.At)}
	if a.Reason == trust.ReasonStopped {
		a.nameStop(map[trust.StopKind]string{
			trust.StopWorkload: id.Workload, trust.StopTrust: a.Trust, trust.StopProvider: q.Provider, trust.StopTarget: q.Ask.Target,
		}, q)
	}
	return a, nil
}

// Taken reports whether the verifier would take claims if they were signed; the
// error says why not, as [Explain] would.
func Taken(c Config, provider string, claims []byte, at time.Time) error {
	_, err := claimed(c, Question{Provider: provider, Claims: claims, At: at})
	var refused *exchange.Error
	if errors.As(err, &refused) {
		return errors.New(string(refused.Reason))
	}
	return err
}

// claimed is the identity that the claims would prove if they were signed.
func claimed(c Config, q Question) (trust.Identity, error) {
	set, err := providers.New(oidc.Config{
		TrustDomain: c.TrustDomain, Providers: c.Verified(),
		Now: func() time.Time { return q.At }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return trust.Identity{}, err
	}
	return set.Claimed(q.Provider, q.Claims, q.At)
}

// nameStop says which stop denies; the policy says of which kind it is.
func (a *Answer) nameStop(subjects map[trust.StopKind]string, q Question) {
	for _, s := range q.Stops.All() {
		if string(s.Kind) != a.Detail || s.What != subjects[s.Kind] || !s.Until.IsZero() && !q.At.Before(s.Until) {
			continue
		}
		until := "lifted"
		if !s.Until.IsZero() {
			until = s.Until.UTC().Format(time.RFC3339)
		}
		a.Stop, a.Detail = &s, fmt.Sprintf("%s (%s %s): %q, until %s", s.ID, s.Kind, s.What, s.Reason, until)
		return
	}
}
