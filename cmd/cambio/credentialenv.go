package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/client"
)

// variables are what a credential is called in the environment.
type variables []string // that --env names; none: the usual ones

// check refuses names that a shell would take for something else: the text is
// evaluated.
func (v variables) check() error {
	for _, name := range v {
		if !variableName.MatchString(name) {
			return usage("--env %q: write a variable's name, such as GH_TOKEN", name)
		}
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// of is the credential as environment variables.
//
// What a target is, the answer does not say, and a table of what each tool calls
// its token goes stale; so a credential that is one text goes where --env says.
func (v variables) of(cred client.Credential) ([]string, error) {
	env, err := v.secret(cred)
	if err != nil {
		return nil, err
	}
	return append(env, "CAMBIO_EXPIRES_AT="+cred.ExpiresAt.UTC().Format(time.RFC3339), "CAMBIO_DECISION_ID="+cred.DecisionID), nil
}

func (v variables) secret(cred client.Credential) ([]string, error) {
	single := cred.AWS == nil && cred.Database == nil && cred.X509 == nil && cred.SSH == nil
	switch {
	case len(v) > 0 && !single:
		return nil, &failure{code: exitError, err: errors.New("the target's credential is no single text"), next: "leave out --env: it has variables of its own"}
	case len(v) > 0:
		env := make([]string, len(v))
		for i, name := range v {
			env[i] = name + "=" + cred.AccessToken
		}
		return env, nil
	case single:
		return []string{"CAMBIO_ACCESS_TOKEN=" + cred.AccessToken}, nil
	case cred.AWS != nil:
		aws := cred.AWS
		return []string{
			"AWS_ACCESS_KEY_ID=" + aws.AccessKeyID,
			"AWS_SECRET_ACCESS_KEY=" + aws.SecretAccessKey,
			"AWS_SESSION_TOKEN=" + aws.SessionToken,
			"AWS_CREDENTIAL_EXPIRATION=" + aws.Expiration.UTC().Format(time.RFC3339),
		}, nil
	case cred.Database != nil:
		return databaseEnv(cred.Database), nil
	}
	return nil, nil // a certificate is in files, and no secret
}

// databaseEnv is what the clients of each engine look at. libpq is told to verify
// whom it sends the password to; it takes its roots from PGSSLROOTCERT.
func databaseEnv(db *client.DatabaseCredentials) []string {
	port := strconv.Itoa(db.Port)
	if db.Engine == "mysql" {
		return []string{"MYSQL_HOST=" + db.Host, "MYSQL_TCP_PORT=" + port, "MYSQL_USER=" + db.User, "MYSQL_PWD=" + db.Password}
	}
	return []string{"PGHOST=" + db.Host, "PGPORT=" + port, "PGUSER=" + db.User, "PGPASSWORD=" + db.Password, "PGSSLMODE=verify-full"}
}

// childEnv is the inherited environment with the credential in it. Clients look at
// many variables, and each client in an order of its own: one that is left over
// would win over the credential, or be mixed with it, and the command would run as
// somebody else, or show the password to somebody else.
func (v variables) childEnv(inherited []string, cred client.Credential) ([]string, error) {
	env, err := v.of(cred)
	if err != nil {
		return nil, err
	}
	gone := leftOver(cred)
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		gone = append(gone, name)
	}
	kept := slices.DeleteFunc(slices.Clone(inherited), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(gone, name)
	})
	return append(kept, env...), nil
}

// leftOver are the variables that would lead a client to another credential.
func leftOver(cred client.Credential) []string {
	switch {
	case cred.AWS != nil:
		return []string{
			"AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SECURITY_TOKEN", // older names of the same
			"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_FILE",
			"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
			"AWS_ACCOUNT_ID",      // of the credential that was there before
			"CAMBIO_ACCESS_TOKEN", // of an exchange around this one: not what ends at CAMBIO_EXPIRES_AT
		}
	case cred.Database != nil:
		return []string{
			"PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", // another server, another user
			"PGREQUIRESSL", "PGSSLNEGOTIATION", "PGGSSENCMODE", "PGREQUIREAUTH",
			"MYSQL_UNIX_PORT",
			"CAMBIO_ACCESS_TOKEN",
		}
	}
	return nil
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
