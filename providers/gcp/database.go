package gcp

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"cambio/providers/internal/database"
)

// hostForm is a DNS name; an address is read as one.
var hostForm = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

// readDatabase reads the field of a grant: a database of Cloud SQL that is opened as
// the grant's service account.
func readDatabase(text, account string) (*database.Login, string) {
	l, problem := database.Read(text)
	if problem != "" {
		return nil, problem
	}
	// A zone would be any text, and the host goes into scripts of the workload's.
	if ip, err := netip.ParseAddr(l.Host); (err != nil || ip.Zone() != "") && (len(l.Host) > database.MaxHost || !hostForm.MatchString(l.Host)) {
		return nil, "host is a name or an address: the instance's, or that of its proxy"
	}
	user := databaseUser(l.Engine, account)
	if len(user) > l.MaxUser() {
		return nil, fmt.Sprintf("the user %s has %d characters, and %s keeps %d", user, len(user), l.Engine, l.MaxUser())
	}
	if l.User != "" && l.User != user {
		// Google logs in whom the token is for: another name would only fail there.
		return nil, "user is " + user + " for this service account: leave it out, or write that"
	}
	l.User = user
	return &l, ""
}

// databaseUser is how Cloud SQL names a service account among an engine's users:
// PostgreSQL by its address without the end, MySQL by what stands before the @.
func databaseUser(engine, account string) string {
	if engine == database.MySQL {
		name, _, _ := strings.Cut(account, "@")
		return name
	}
	return strings.TrimSuffix(account, ".gserviceaccount.com")
}
