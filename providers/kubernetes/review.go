package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
	"cambio/providers/oidc"
	"cambio/trust"
)

const (
	// reviewTime bounds a review, retries included: a caller waits, and the API server
	// is near.
	reviewTime = 3 * time.Second
	// reviewPlaces is how many reviews of one cluster are under way at a time: more
	// than a thousand a second at the usual 10 ms, and no more than an API server
	// takes of one client without a thought.
	reviewPlaces = 32
	// maxOwnToken bounds the token that we show the cluster, as our own bound does
	// for those that are shown to us.
	maxOwnToken = 16 << 10

	reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"
)

// reviewer asks a cluster's API server about tokens (TokenReview): a signature
// cannot say that the pod which the token is bound to is gone.
type reviewer struct {
	url    string
	token  func() (string, error)
	client *upstream.Client
}

// newReviewer is [oidc.Platform.Reviewer].
func newReviewer(r oidc.Review, transport http.RoundTripper) (oidc.Reviewer, error) {
	client, err := upstream.New(upstream.Config{Name: "the cluster", Transport: transport, MaxInFlight: reviewPlaces, Timeout: reviewTime})
	if err != nil {
		return nil, err
	}
	if r.Token == nil {
		return nil, errors.New("kubernetes: a token for reviews is required")
	}
	return (&reviewer{url: strings.TrimSuffix(r.URL, "/") + reviewPath, token: r.Token, client: client}).review, nil
}

// tokenReview is TokenReview of authentication.k8s.io/v1, as far as we send it.
type tokenReview struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Spec       tokenReviewSpec `json:"spec"`
}

type tokenReviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

// review asks about one token. Whatever is not a clear yes is an error.
func (r *reviewer) review(ctx context.Context, p oidc.Proven) error {
	own, err := r.token()
	switch {
	case err != nil:
		return unreviewed(errors.New("token_file cannot be read")) // the error would name what lies about here
	case own == "" || len(own) > maxOwnToken || strings.ContainsFunc(own, func(c rune) bool { return c <= ' ' || c > '~' }):
		return unreviewed(errors.New("token_file holds no token"))
	case own == p.Token.Reveal():
		// The API server would be told that we ask about ourselves; and who can read our
		// token is no workload that asks.
		return exchange.Refuse(trust.ReasonReviewRefused, errors.New("the token is the one that we ask with"))
	}
	ctx, leave, err := r.client.Enter(ctx)
	if err != nil {
		return unanswered(err)
	}
	defer leave()
	body, err := json.Marshal(tokenReview{"authentication.k8s.io/v1", "TokenReview", tokenReviewSpec{p.Token.Reveal(), p.Audiences}})
	if err != nil {
		return unreviewed(errors.New("the question cannot be written as JSON"))
	}
	a, err := r.client.Do(ctx, upstream.Call{
		URL: r.url, Body: body, Hide: []exchange.Secret{exchange.Secret(own), p.Token}, Harmless: true,
		Header: http.Header{"Authorization": {"Bearer " + own}, "Content-Type": {"application/json"}, "Accept": {"application/json"}},
	})
	if err != nil {
		return unanswered(err)
	}
	if a.Status != http.StatusOK && a.Status != http.StatusCreated {
		return unreviewed(errors.New("the cluster answered neither 200 nor 201"))
	}
	answer, err := a.Object()
	if err != nil {
		return unreviewed(err)
	}
	if answer["kind"] != "TokenReview" {
		return unreviewed(errors.New("the answer is no TokenReview"))
	}
	status, ok := answer["status"].(map[string]any)
	if !ok {
		return unreviewed(errors.New("the answer has no status"))
	}
	if why := verdict(status, p); why != "" {
		return exchange.Refuse(trust.ReasonReviewRefused, errors.New(why))
	}
	return nil
}

// verdict is why the answer is not a yes to what was asked; "" where it is.
func verdict(status map[string]any, p oidc.Proven) string {
	if status["authenticated"] != true {
		return "the cluster does not take the token: what it is bound to may be gone"
	}
	audiences, _ := status["audiences"].([]any)
	for _, aud := range p.Audiences {
		// An authenticator that knows no audiences answers none: it would say yes to a
		// token for the API server, or for anyone else, too.
		if !slices.Contains(audiences, any(aud)) {
			return "the answer is not for our audience"
		}
	}
	user, _ := status["user"].(map[string]any)
	if user["username"] != p.Subject || p.Subject == "" {
		return "the answer is for another account"
	}
	// The names can be taken by a later account or pod; the ids cannot.
	if uid, has := p.Claims["service_account_uid"]; has && user["uid"] != uid {
		return "the answer is for another account of this name"
	}
	extra, _ := user["extra"].(map[string]any)
	for _, pair := range [][2]string{
		{"authentication.kubernetes.io/pod-uid", "pod_uid"},
		{"authentication.kubernetes.io/pod-name", "pod"},
	} {
		claim, claimed := p.Claims[pair[1]]
		said, has := extra[pair[0]].([]any)
		if claimed && has && (len(said) != 1 || said[0] != claim) {
			return "the answer is for another pod"
		}
	}
	return ""
}

// unreviewed says that nobody answered: never a yes, and not a no either.
func unreviewed(err error) *exchange.Error {
	return exchange.Unanswered(trust.ReasonReviewUnavailable, err)
}

// unanswered is the failure of a call with the reason of a review.
func unanswered(err error) error {
	var e *exchange.Error
	if !errors.As(err, &e) {
		return unreviewed(errors.New("the call failed"))
	}
	return &exchange.Error{Code: exchange.Unavailable, Reason: trust.ReasonReviewUnavailable, Err: e.Err, RetryAfter: e.RetryAfter}
}
