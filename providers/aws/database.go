package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

// passwordLife is how long RDS takes a password of IAM. A connection that was made
// with it lives on.
const passwordLife = 15 * time.Minute

// The engines that take a signed request for a password.
const (
	enginePostgres = "postgres"
	engineMySQL    = "mysql"
)

// database is a database of RDS or Aurora that the grant's role logs in to.
type database struct {
	engine, host, region, user string
	port                       int64
}

const (
	maxHost = 253
	maxPort = 65535
	// maxPostgresUser and maxMySQLUser are what the engines keep of a name.
	maxPostgresUser = 63
	maxMySQLUser    = 32
)

var (
	// rdsHost is an endpoint of an instance, a cluster or a proxy. Another name for it
	// is refused by RDS itself: the signature is over the endpoint's own.
	rdsHost = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){2,3}([a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2})\.rds\.amazonaws\.com(?:\.cn)?$`)
	// databaseUser has no character that means something in a policy.
	databaseUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@-]*$`)
)

// readDatabase reads the field of a grant; problem says what is wrong with it.
func readDatabase(text string) (d *database, problem string) {
	m, err := oidc.ReadObject([]byte(text))
	if err != nil {
		return nil, "is too large or too deep"
	}
	for name := range m {
		if !slices.Contains([]string{"engine", "host", "port", "user"}, name) {
			return nil, "has a member that is none of engine, host, port and user"
		}
	}
	d = &database{}
	d.engine, _ = m["engine"].(string)
	limit := maxPostgresUser
	switch d.engine {
	case enginePostgres:
		d.port = 5432
	case engineMySQL:
		d.port, limit = 3306, maxMySQLUser
	default:
		return nil, "engine is postgres or mysql"
	}
	d.host, _ = m["host"].(string)
	host := rdsHost.FindStringSubmatch(d.host)
	if host == nil || len(d.host) > maxHost {
		return nil, "host is the endpoint of an instance, a cluster or a proxy, such as orders.cabc123.eu-central-1.rds.amazonaws.com: RDS takes no other name for it"
	}
	d.region = host[1]
	if v, there := m["port"]; there {
		var ok bool
		if d.port, ok = v.(int64); !ok || d.port < 1 || d.port > maxPort {
			return nil, "port is a number from 1 to 65535"
		}
	}
	d.user, _ = m["user"].(string)
	if len(d.user) > limit || !databaseUser.MatchString(d.user) {
		return nil, fmt.Sprintf("user is the name of a database user, of at most %d letters, digits, _, -, . and @", limit)
	}
	return d, ""
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
func (d *database) policy(r role) string {
	return string(compact(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": "rds-db:connect",
		"Resource": "arn:" + r.partition + ":rds-db:" + d.region + ":" + r.account + ":dbuser:*/" + d.user,
	}}}))
}

// credential is what the workload logs in with: a request of RDS that the role's
// session signed, and that nobody sends. The session's own key stays here.
func (d *database) credential(ctx context.Context, kind string, got issued, now time.Time) (exchange.Credential, error) {
	now = now.UTC().Truncate(time.Second)
	password, err := d.password(ctx, got, now)
	if err != nil {
		return exchange.Credential{}, unsure(err)
	}
	expires := now.Add(passwordLife)
	if got.expires.Before(expires) {
		expires = got.expires // with the session the signature is worth nothing
	}
	value, err := json.Marshal(struct { //nolint:gosec // it is the credential; Secret holds it from here on
		Version    int
		Engine     string
		Host       string
		Port       int64
		User       string
		Password   string
		Expiration string
	}{1, d.engine, d.host, d.port, d.user, password.Reveal(), expires.Format(time.RFC3339)})
	if err != nil {
		return exchange.Credential{}, unsure(errors.New("the password cannot be written as JSON"))
	}
	return exchange.Credential{Value: exchange.Secret(value), Type: kind, Handle: got.keyID, Expires: expires, Structured: true}, nil
}

// password is the URL of the request that RDS takes for a password, without its
// scheme.
func (d *database) password(ctx context.Context, got issued, now time.Time) (exchange.Secret, error) {
	query := url.Values{"Action": {"connect"}, "DBUser": {d.user}, "X-Amz-Expires": {strconv.Itoa(int(passwordLife / time.Second))}}
	address := "https://" + net.JoinHostPort(d.host, strconv.FormatInt(d.port, 10)) + "/?" + query.Encode()
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
