package gcp

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/providers/internal/database"
	"cambio/trust"
)

const (
	// maxSubject is the longest google.subject, in bytes.
	maxSubject = 127
	// maxTTL is what a service account's access token lives at most, by an
	// organization policy that names the account; without one it is an hour, and
	// Google refuses more.
	maxTTL = 12 * time.Hour
	// maxDirect is the longest that direct access lasts: a federated token ends with
	// the assertion that it was given for, and ours lives so long.
	maxDirect = 5 * time.Minute
	// idTokenTTL is how long an ID token of a service account lives. Google takes no
	// wish.
	idTokenTTL = time.Hour
)

// The own fields of a grant, as documents and trust.Grant.Extra name them.
const (
	fieldDelegates = "delegates"
	fieldIDToken   = "id_token_audience" //nolint:gosec // the name of a field
	fieldBoundary  = "boundary"
	fieldDatabase  = "database"
)

func ownFields() []string {
	return []string{fieldDelegates, fieldIDToken, fieldBoundary, fieldDatabase}
}

const (
	// scopePlatform is what a grant without scopes has: IAM says what the account may
	// do.
	scopePlatform = "https://www.googleapis.com/auth/cloud-platform"
	// scopeLogin opens databases of Cloud SQL, and nothing else of Google.
	scopeLogin = "https://www.googleapis.com/auth/sqlservice.login"
)

// The types of what is issued.
const (
	typeAccess   = "urn:ietf:params:oauth:token-type:access_token"
	typeID       = "urn:ietf:params:oauth:token-type:id_token"
	typeDatabase = "urn:cambio:token-type:database-credentials"
)

// maxAudience bounds the audience of an ID token: those are URLs and client ids.
const maxAudience = 512

// accountForm is the address of a service account that others may act as: one of
// a project, or Google's own for App Engine and Compute Engine.
const accountForm = `[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}gserviceaccount\.com`

var (
	accountAlone = regexp.MustCompile(`^` + accountForm + `$`)
	resourceForm = regexp.MustCompile(`^gcp:(` + accountForm + `)$`)
	providerForm = regexp.MustCompile(`^//iam\.googleapis\.com/(projects/([1-9][0-9]{5,19})/locations/global/workloadIdentityPools/([a-z][a-z0-9-]{2,30}[a-z0-9]))/providers/([a-z][a-z0-9-]{2,30}[a-z0-9])$`)
	audienceForm = regexp.MustCompile(`^[!-)+-~]+$`) // no star: nobody's name, and read as everybody's
)

// TargetType is configuration type gcp.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "gcp",
		Fields: map[string]trust.Field{
			"resource": {
				Type: trust.StringField, Narrows: trust.Equal,
				Pattern: resourceForm, Example: "gcp:deploy@acme-prod.iam.gserviceaccount.com",
			},
			"scopes":       {Type: trust.StringsField, Narrows: trust.Subset},
			"ttl":          {Type: trust.DurationField, Narrows: trust.Max},
			fieldDelegates: {Type: trust.StringsField, Narrows: trust.Opaque},
			fieldIDToken:   {Type: trust.StringField, Narrows: trust.Opaque},
			fieldBoundary:  {Type: trust.DocumentField, Narrows: trust.Opaque},
			fieldDatabase:  {Type: trust.DocumentField, Narrows: trust.Opaque},
		},
		MaxTTL:     maxTTL,
		MaxSubject: maxSubject,
		Misfit: func(g trust.Grant) (field, problem string) {
			_, field, problem = read(g)
			return field, problem
		},
	}
}

// Types are the values of requested_token_type that a gcp target serves.
func Types() []string { return []string{typeAccess, typeID, typeDatabase} }

// TypesOf are those of one grant: it gives one thing.
func TypesOf(g trust.Grant) []string {
	switch {
	case g.Extra[fieldIDToken] != nil:
		return []string{typeID}
	case g.Extra[fieldDatabase] != nil:
		return []string{typeDatabase}
	}
	return []string{typeAccess}
}

// CheckAudience says what is wrong with the full resource name of a workload
// identity pool's provider.
func CheckAudience(audience string) error {
	m := providerForm.FindStringSubmatch(audience)
	if m == nil {
		return fmt.Errorf("%q is no provider of a workload identity pool", audience)
	}
	if strings.HasPrefix(m[3], "gcp-") || strings.HasPrefix(m[4], "gcp-") {
		return fmt.Errorf("%q is Google's own: names that begin with gcp- are reserved", audience)
	}
	return nil
}

// assertionAudience is the aud of our assertion: Google takes the provider's name
// with the scheme or without. With it, it is a URL, and nobody's short name.
func assertionAudience(provider string) string { return "https:" + provider }

// wanted is what a grant gives. Without an account it is direct access: the
// federated token itself.
type wanted struct {
	account   string // whom it acts as; "": nobody
	delegates []string
	scopes    []string
	audience  string // of an ID token; "": none
	boundary  string // JSON; "": none
	database  *database.Login
}

// read takes a grant apart, and says what Google would refuse or misread. A field
// that it does not know is named: to leave out a boundary that cannot be read
// would issue a wider credential than was reviewed.
func read(g trust.Grant) (w wanted, field, problem string) {
	if g.Resource != "" {
		m := resourceForm.FindStringSubmatch(g.Resource)
		if m == nil {
			return w, "resource", "is no service account"
		}
		w.account = m[1]
	}
	for _, name := range ownFields() {
		value, there := g.Extra[name]
		if !there {
			continue
		}
		if w.account == "" {
			return w, name, "needs a service account: write resource: gcp: and its address"
		}
		if problem := w.take(name, value); problem != "" {
			return w, name, problem
		}
	}
	for name := range g.Extra {
		if !slices.Contains(ownFields(), name) {
			return w, name, "is no field of this target"
		}
	}
	w.scopes = slices.Clone(g.Scopes)
	if len(w.scopes) == 0 {
		w.scopes = []string{scopePlatform}
	}
	field, problem = w.agree(g)
	return w, field, problem
}

// take reads one of the type's own fields.
func (w *wanted) take(name string, value any) (problem string) {
	if name == fieldDelegates {
		list, ok := value.([]string)
		if !ok {
			return "is no list"
		}
		w.delegates = list
		return w.checkDelegates()
	}
	text, ok := value.(string)
	if !ok {
		return "cannot be read"
	}
	switch name {
	case fieldIDToken:
		w.audience = text
		if len(text) > maxAudience || !audienceForm.MatchString(text) {
			return "is no audience: write the exact text that the service expects in aud"
		}
	case fieldBoundary:
		w.boundary = text
		return checkBoundary(text)
	case fieldDatabase:
		w.database, problem = readDatabase(text, w.account)
		return problem
	}
	return ""
}

// maxDelegates is a chain that a reader can still follow.
const maxDelegates = 8

func (w *wanted) checkDelegates() string {
	if len(w.delegates) > maxDelegates {
		return fmt.Sprintf("names %d service accounts; at most %d are allowed", len(w.delegates), maxDelegates)
	}
	for i, d := range w.delegates {
		if !accountAlone.MatchString(d) {
			return fmt.Sprintf("%q is no service account's address", d)
		}
		if d == w.account || slices.Contains(w.delegates[:i], d) {
			return fmt.Sprintf("%q is in the chain twice", d)
		}
	}
	return ""
}

// agree holds the fields against each other, and against how long each thing
// lives: what Google decides by itself is written as it is, so that a reader of
// the document, and of the journal, is told the truth.
func (w *wanted) agree(g trust.Grant) (field, problem string) {
	kinds := 0
	for _, there := range []bool{w.audience != "", w.boundary != "", w.database != nil} {
		if there {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return "resource", "id_token_audience, boundary and database are different credentials: write a grant for each, in a trust of its own"
	case w.audience != "" && len(g.Scopes) > 0:
		return "scopes", "an ID token has no scopes"
	case w.database != nil && len(g.Scopes) > 0:
		return "scopes", "a database's password has the one scope " + scopeLogin
	case w.audience != "" && g.TTL != idTokenTTL:
		return "ttl", "Google's ID tokens live an hour, whatever is asked: write 1h"
	case w.account == "" && g.TTL > maxDirect:
		return "ttl", "a grant without a service account is direct access, which ends with our assertion: write 5m or less"
	case g.TTL > maxTTL:
		return "ttl", "Google issues nothing above 12h"
	}
	return "", ""
}
