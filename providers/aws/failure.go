package aws

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
	"cambio/trust"
)

const (
	maxAttempts = 3
	maxBackoff  = 200 * time.Millisecond
	// finalRetry is what a caller waits after an answer that stays what it is until
	// somebody changes a role: longer than a job tries, so that it asks once.
	finalRetry = time.Minute
	// maxWord bounds AWS's error codes and request ids, which are short.
	maxWord = 64
)

// retryer asks again after a busy or broken AWS that answered, and after a
// connection that was refused. Never after an attempt whose outcome is unknown:
// AWS may have issued, and a second credential would be one too many for the
// decision. Attempts are few and close, because a caller waits.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
		o.Backoff = retry.NewExponentialJitterBackoff(maxBackoff)
		o.RateLimiter = ratelimit.None // places bound the calls; a shared bucket would let one outage forbid the next retry
		o.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(retryable)}
	})
}

func retryable(err error) aws.Ternary {
	var l *lost
	var r *refused
	var answer *awshttp.ResponseError
	var api smithy.APIError
	switch {
	case errors.As(err, &l):
		return aws.FalseTernary
	case errors.As(err, &r):
		return aws.TrueTernary
	case errors.As(err, &api) && slices.Contains(passing(), api.ErrorCode()):
		return aws.TrueTernary
	case errors.As(err, &answer):
		return aws.BoolTernary(answer.HTTPStatusCode() >= http.StatusInternalServerError || answer.HTTPStatusCode() == http.StatusTooManyRequests)
	}
	return aws.FalseTernary
}

// passing are the error codes that pass by themselves.
func passing() []string {
	return []string{"Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "IDPCommunicationError", "RequestTimeout"}
}

// failure is the error of a call. Only where AWS answered, or nothing was sent,
// is the token free again; everything unforeseen counts as issued.
func failure(err error, assertion exchange.Secret, x extra) *exchange.Error {
	var l *lost
	if errors.As(err, &l) {
		return unsure(errors.New(l.why))
	}
	var r *refused
	if errors.As(err, &r) {
		return exchange.Unanswered(trust.ReasonMintFailed, errors.New(r.why))
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusBadRequest {
		e := exchange.Unanswered(trust.ReasonMintFailed, said(answer, assertion, x))
		if retryable(err) != aws.TrueTernary {
			e.RetryAfter = finalRetry
		}
		return e
	}
	return unsure(errors.New("the call did not come to an end in time, or the answer cannot be read"))
}

// said is what AWS answered: status, code, message and request id, without our
// assertion, which a message might quote.
func said(answer *awshttp.ResponseError, assertion exchange.Secret, x extra) error {
	hide := func(s string) string { return upstream.Clean(s, assertion) }
	var api smithy.APIError
	if !errors.As(answer.Err, &api) {
		return fmt.Errorf("AWS answered %d without a reason", answer.HTTPStatusCode())
	}
	text := fmt.Sprintf("AWS answered %d %s: %s", answer.HTTPStatusCode(), upstream.Cut(hide(api.ErrorCode()), maxWord), hide(api.ErrorMessage()))
	if id := answer.ServiceRequestID(); id != "" {
		text += " (request " + upstream.Cut(hide(id), maxWord) + ")"
	}
	if tag := x.largest(); tag != "" && api.ErrorCode() == "PackedPolicyTooLarge" {
		text += "; the largest tag is " + tag
	}
	return errors.New(text)
}
