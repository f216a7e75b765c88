package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"cambio/gateway"
	"cambio/issuer"
	"cambio/keystore"
	"cambio/standin"
)

// What the stand-in knows of AWS.
const (
	awsAccount  = "111122223333"
	awsRole     = "arn:aws:iam::" + awsAccount + ":role/bench-deploy"
	awsAudience = "sts.amazonaws.com"
	awsLife     = 15 * time.Minute
)

// newStandIn starts a stand-in that lets each trust's workload assume the role.
// It knows our keys as AWS does from our issuer.
func newStandIn(ctx context.Context, dir string) (*standin.STS, error) {
	config, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	voice, err := loadVoice(ctx, config)
	if err != nil {
		return nil, err
	}
	set := voice.JWKS()
	subjects := make([]string, busyTrusts)
	for i := range subjects {
		subjects[i] = gateway.TrustSubject(config.TrustDomain, fmt.Sprintf("trust-%d", i))
	}
	return standin.NewSTS(standin.STSConfig{ //nolint:contextcheck // it ends with Close
		Now: time.Now, Rand: rand.Reader,
		OIDC: []standin.OIDCProvider{{
			Account: awsAccount, URL: config.Issuer, Audiences: []string{awsAudience},
			Keys: func(context.Context) ([]byte, error) { return set, nil },
		}},
		Roles: []standin.Role{{ARN: awsRole, Trust: []standin.Statement{standin.Admit(awsAccount, config.Issuer, awsAudience, subjects)}}},
	})
}

// loadVoice is the issuer with the keys that all servers share.
func loadVoice(ctx context.Context, config gateway.Config) (*issuer.Issuer, error) {
	ring, err := keystore.NewFiles(config.Keys, slog.New(slog.DiscardHandler)).Load(ctx)
	if err != nil {
		return nil, err
	}
	return issuer.New(issuer.Config{URL: config.Issuer, Now: time.Now, Rand: rand.Reader}, ring)
}

// bareCall is what nobody who goes to AWS with an assertion of theirs can leave
// out: to sign it, and to make the SDK's call.
type bareCall struct {
	voice   *issuer.Issuer
	client  *sts.Client
	subject string
}

func newSDK(ctx context.Context, dir, endpoint string) (http.Handler, error) {
	config, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	voice, err := loadVoice(ctx, config)
	if err != nil {
		return nil, err
	}
	// The SDK's own client as it comes, but for the idle connections that it keeps:
	// with its 10 it would dial for every other call, and we would look good.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 64 })
	return &bareCall{voice: voice, subject: gateway.TrustSubject(config.TrustDomain, "trust-0"), client: sts.New(sts.Options{
		Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, BaseEndpoint: aws.String(endpoint), HTTPClient: client,
	})}, nil
}

// ServeHTTP reads the form, and answers with credentials whoever asks.
func (b *bareCall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.ReadAll(r.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	keyID, err := b.call(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{%q:%q}", "AccessKeyId", keyID)
}

func (b *bareCall) call(ctx context.Context) (keyID string, err error) {
	id, err := issuer.NewID(rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now().Truncate(time.Second)
	assertion, err := b.voice.Sign(issuer.RS256, issuer.Claims{
		Type: issuer.JWT, Subject: b.subject, Audience: awsAudience, ID: id, IssuedAt: now, Expires: now.Add(5 * time.Minute),
	})
	if err != nil {
		return "", err
	}
	out, err := b.client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(awsRole), RoleSessionName: aws.String(id), WebIdentityToken: aws.String(assertion),
		DurationSeconds: aws.Int32(int32(awsLife / time.Second)),
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Credentials.AccessKeyId), nil
}
