// Package database reads the logins to databases that a grant may give, and writes
// the credential for one: the same for every cloud.
package database

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
)

// The engines that take a cloud's credential for a password.
const (
	Postgres = "postgres"
	MySQL    = "mysql"
)

const (
	// MaxHost is the longest DNS name.
	MaxHost = 253
	maxPort = 65535
	// maxPostgresUser and maxMySQLUser are what the engines keep of a name.
	maxPostgresUser = 63
	maxMySQLUser    = 32
)

// Login is who logs in to which database.
type Login struct {
	Engine string // Postgres or MySQL
	Host   string
	Port   int64
	User   string
}

// Read reads the field of a grant: the engine, the port, which is the engine's own
// unless it is there, and the host and the user as they are there. Those are the
// cloud's to judge. problem says what is wrong with it.
func Read(text string) (l Login, problem string) {
	m, err := oidc.ReadObject([]byte(text))
	if err != nil {
		return Login{}, "is too large or too deep"
	}
	for name, v := range m {
		if !slices.Contains([]string{"engine", "host", "port", "user"}, name) {
			return Login{}, "has a member that is none of engine, host, port and user"
		}
		if s, isText := v.(string); name != "port" && (!isText || s == "") {
			return Login{}, name + " is a text"
		}
	}
	l.Engine, _ = m["engine"].(string)
	l.Host, _ = m["host"].(string)
	l.User, _ = m["user"].(string)
	switch l.Engine {
	case Postgres:
		l.Port = 5432
	case MySQL:
		l.Port = 3306
	default:
		return Login{}, "engine is postgres or mysql"
	}
	if v, there := m["port"]; there {
		var ok bool
		if l.Port, ok = v.(int64); !ok || l.Port < 1 || l.Port > maxPort {
			return Login{}, fmt.Sprintf("port is a number from 1 to %d", maxPort)
		}
	}
	return l, ""
}

// MaxUser is how many characters of a name the engine keeps.
func (l Login) MaxUser() int {
	if l.Engine == MySQL {
		return maxMySQLUser
	}
	return maxPostgresUser
}

// Credential is the answer for a caller.
func (l Login) Credential(password exchange.Secret, expires time.Time) (exchange.Secret, error) {
	value, err := json.Marshal(struct { //nolint:gosec // it is the credential; Secret holds it from here on
		Version    int
		Engine     string
		Host       string
		Port       int64
		User       string
		Password   string
		Expiration string
	}{1, l.Engine, l.Host, l.Port, l.User, password.Reveal(), expires.UTC().Format(time.RFC3339)})
	return exchange.Secret(value), err
}
