package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"cambio/exchange"
	"cambio/providers/internal/database"
	"cambio/trust"
)

// passwordLife is how long RDS takes a password of IAM. A connection that was made
// with it lives on.
const passwordLife = 15 * time.Minute

// login is a database of RDS or Aurora that the grant's role logs in to.
type login struct {
	database.Login
	region string
}

var (
	// rdsHost is an endpoint of an instance, a cluster or a proxy. Another name for it
	// is refused by RDS itself: the signature is over the endpoint's own.
	rdsHost = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){2,3}([a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2})\.rds\.amazonaws\.com(?:\.cn)?$`)
	// databaseUser has no character that means something in a policy.
	databaseUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@-]*$`)
)

// readDatabase reads the field of a grant; problem says what is wrong with it.
func readDatabase(text string) (l *login, problem string) {
	read, problem := database.Read(text)
	if problem != "" {
		return nil, problem
	}
	host := rdsHost.FindStringSubmatch(read.Host)
	if host == nil || len(read.Host) > database.MaxHost {
		return nil, "host is the endpoint of an instance, a cluster or a proxy, such as orders.cabc123.eu-central-1.rds.amazonaws.com: RDS takes no other name for it"
	}
	if len(read.User) > read.MaxUser() || !databaseUser.MatchString(read.User) {
		return nil, fmt.Sprintf("user is the name of a database user, of at most %d letters, digits, _, -, . and @", read.MaxUser())
	}
	return &login{read, host[1]}, ""
}

// databaseMisfit is [misfit] for grants with a database.
func databaseMisfit(x extra, g trust.Grant) (field, problem string) {
	if _, named := g.Extra[fieldDatabase]; !named {
		return "", ""
	}
	if _, problem := readDatabase(x.databaseText); problem != "" {
		return fieldDatabase, problem
	}
	if g.TTL > passwordLife {
		return "ttl", "a database's password lives 15m"
	}
	return "", ""
}

// policy lets the session of the role log in as this user, and do nothing else: it
// never leaves this process, and is worth no more than the password all the same.
func (d *login) policy(r role) string {
	return string(compact(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": "rds-db:connect",
		"Resource": "arn:" + r.partition + ":rds-db:" + d.region + ":" + r.account + ":dbuser:*/" + d.User,
	}}}))
}

// credential is what the workload logs in with: a request of RDS that the role's
// session signed, and that nobody sends. The session's own key stays here.
func (d *login) credential(ctx context.Context, kind string, got issued, now time.Time) (exchange.Credential, error) {
	now = now.UTC().Truncate(time.Second)
	password, err := d.password(ctx, got, now)
	if err != nil {
		return exchange.Credential{}, unsure(err)
	}
	expires := now.Add(passwordLife)
	if got.expires.Before(expires) {
		expires = got.expires // with the session the signature is worth nothing
	}
	value, err := d.Credential(password, expires)
	if err != nil {
		return exchange.Credential{}, unsure(errors.New("the password cannot be written as JSON"))
	}
	return exchange.Credential{Value: value, Type: kind, Handle: got.keyID, Expires: expires, Structured: true}, nil
}

// password is the URL of the request that RDS takes for a password, without its
// scheme.
func (d *login) password(ctx context.Context, got issued, now time.Time) (exchange.Secret, error) {
	query := url.Values{"Action": {"connect"}, "DBUser": {d.User}, "X-Amz-Expires": {strconv.Itoa(int(passwordLife / time.Second))}}
	address := "https://" + net.JoinHostPort(d.Host, strconv.FormatInt(d.Port, 10)) + "/?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", errors.New("the database's address is none")
	}
	nothing := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(
		ctx, aws.Credentials{AccessKeyID: got.keyID, SecretAccessKey: got.secret, SessionToken: got.token},
		req, hex.EncodeToString(nothing[:]), "rds-db", d.region, now,
	)
	if err != nil {
		return "", errors.New("the password cannot be signed")
	}
	return exchange.Secret(strings.TrimPrefix(signed, "https://")), nil
}
