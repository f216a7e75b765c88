package gcp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
)

// The engines that take an access token for a password.
const (
	enginePostgres = "postgres"
	engineMySQL    = "mysql"
)

// database is a database of Cloud SQL that is opened as the grant's service
// account.
type database struct {
	engine, host, user string
	port               int64
}

// hostForm is a DNS name; an address is read as one.
var hostForm = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

const (
	maxHost = 253
	maxPort = 65535
	// maxPostgresUser and maxMySQLUser are what the engines keep of a name.
	maxPostgresUser = 63
	maxMySQLUser    = 32
)

// readDatabase reads the field of a grant, whose account is the one that logs in.
func readDatabase(text, account string) (*database, string) {
	m, err := oidc.ReadObject([]byte(text))
	if err != nil {
		return nil, "is too large or too deep"
	}
	if problem := only(m, "engine", "host", "port", "user"); problem != "" {
		return nil, problem
	}
	d := &database{}
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
	if _, err := netip.ParseAddr(d.host); err != nil && (len(d.host) > maxHost || !hostForm.MatchString(d.host)) {
		return nil, "host is a name or an address: the instance's, or that of its proxy"
	}
	if v, there := m["port"]; there {
		var ok bool
		if d.port, ok = v.(int64); !ok || d.port < 1 || d.port > maxPort {
			return nil, "port is a number from 1 to 65535"
		}
	}
	d.user = databaseUser(d.engine, account)
	if len(d.user) > limit {
		return nil, fmt.Sprintf("the user %s has %d characters, and %s keeps %d", d.user, len(d.user), d.engine, limit)
	}
	if v, there := m["user"]; there && v != d.user {
		// Google logs in whom the token is for: another name would only fail there.
		return nil, "user is " + d.user + " for this service account: leave it out, or write that"
	}
	return d, ""
}

// databaseUser is how Cloud SQL names a service account among an engine's users:
// PostgreSQL by its address without the end, MySQL by what stands before the @.
func databaseUser(engine, account string) string {
	if engine == engineMySQL {
		name, _, _ := strings.Cut(account, "@")
		return name
	}
	return strings.TrimSuffix(account, ".gserviceaccount.com")
}

// credential is the answer for a caller, in the shape that each cloud's databases
// have here.
func (d *database) credential(password string, expires time.Time) (exchange.Secret, error) {
	value, err := json.Marshal(struct { //nolint:gosec // it is the credential; Secret holds it from here on
		Version    int
		Engine     string
		Host       string
		Port       int64
		User       string
		Password   string
		Expiration string
	}{1, d.engine, d.host, d.port, d.user, password, expires.UTC().Format(time.RFC3339)})
	return exchange.Secret(value), err
}
