package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cambio/client"
)

// credentialEnv is the credential as environment variables.
func credentialEnv(cred client.Credential) []string {
	env := []string{"CAMBIO_ACCESS_TOKEN=" + cred.AccessToken}
	if aws := cred.AWS; aws != nil {
		env = []string{
			"AWS_ACCESS_KEY_ID=" + aws.AccessKeyID,
			"AWS_SECRET_ACCESS_KEY=" + aws.SecretAccessKey,
			"AWS_SESSION_TOKEN=" + aws.SessionToken,
			"AWS_CREDENTIAL_EXPIRATION=" + aws.Expiration.UTC().Format(time.RFC3339),
		}
	}
	return append(env, "CAMBIO_EXPIRES_AT="+cred.ExpiresAt.UTC().Format(time.RFC3339), "CAMBIO_DECISION_ID="+cred.DecisionID)
}

// childEnv is the inherited environment with the credential in it. AWS clients
// look at many variables, and each client in an order of its own: one that is
// left over would win over the credential, or be mixed with it, and the command
// would run as somebody else.
func childEnv(inherited []string, cred client.Credential) []string {
	if cred.AWS != nil {
		inherited = slices.DeleteFunc(slices.Clone(inherited), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			switch name {
			case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
				"AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SECURITY_TOKEN", // older names of the same
				"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_FILE",
				"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
				"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
				"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
				"AWS_ACCOUNT_ID",      // of the credential that was there before
				"CAMBIO_ACCESS_TOKEN": // of an exchange around this one: not what ends at CAMBIO_EXPIRES_AT
				return true
			}
			return false
		})
	}
	return append(slices.Clip(inherited), credentialEnv(cred)...)
}

// printProcess writes what an AWS client expects of its credential_process.
func (c *common) printProcess(cred client.Credential) error {
	if cred.AWS == nil {
		return &failure{code: exitError, err: errors.New("the target gives no AWS credentials"), next: otherOutput}
	}
	enc := json.NewEncoder(c.io.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(cred.AWS) //nolint:gosec // to hand the credential over is the purpose
}

const otherOutput = "name an AWS target, or leave out --output aws-process"

// refusedProcess adds to a refusal that says no more than that it is one what the
// caller may have done: to ask a target for what it does not give.
func refusedProcess(err error, target string) error {
	var r *client.Refusal
	if !errors.As(err, &r) || r.Code != "invalid_request" || r.DecisionID == "" || r.Hint != "" || !strings.HasPrefix(r.Description, "The request was refused.") {
		return err
	}
	return &failure{
		code: exitDenied, err: err,
		next: fmt.Sprintf("--output aws-process is for AWS targets alone; if %s is one, quote the decision_id to whoever runs the gateway: cambio audit show %s", target, pasteable(r.DecisionID, "ID")),
	}
}
