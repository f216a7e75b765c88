package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLifetime is longer than any credential that a gateway issues (a cloud's
	// lives 12 h at most); more is a mistake, and would make a caller keep a dead
	// credential.
	maxLifetime = 24 * time.Hour
	// maxRetryAfter cuts a Retry-After that is beyond any use.
	maxRetryAfter = time.Hour
	// maxText bounds each text of an answer that is shown to a person.
	maxText = 1024
)

// Credential is what the gateway issued, or for a dry run, would issue. It hides
// itself from fmt and log/slog; only encoding/json and AccessToken show it.
type Credential struct {
	AccessToken     string    `json:"access_token,omitempty"` // "" for a dry run; JSON where it is no single text
	IssuedTokenType string    `json:"issued_token_type,omitempty"`
	TokenType       string    `json:"token_type,omitempty"` // Bearer, or N_A where it is no bearer token
	ExpiresIn       int64     `json:"expires_in"`           // seconds, at least 1
	ExpiresAt       time.Time `json:"expires_at"`           // by the client's clock, UTC
	Scope           string    `json:"scope,omitempty"`      // separated by spaces
	DecisionID      string    `json:"decision_id"`          // what the owner of the trust finds the decision by
	DryRun          bool      `json:"dry_run,omitempty"`
	// One of these is set where IssuedTokenType is of its kind. As JSON it is the
	// member credentials.
	AWS      *AWSCredentials      `json:"-"` // TypeAWS
	Database *DatabaseCredentials `json:"-"` // TypeDatabase
	X509     *X509Certificate     `json:"-"` // TypeX509
	SSH      *SSHCertificate      `json:"-"` // TypeSSH
}

// MarshalJSON writes the credential with its secret.
func (c Credential) MarshalJSON() ([]byte, error) {
	type plain Credential // without this method
	var structured any
	switch {
	case c.AWS != nil:
		structured = c.AWS
	case c.Database != nil:
		structured = c.Database
	case c.X509 != nil:
		structured = c.X509
	case c.SSH != nil:
		structured = c.SSH
	}
	return json.Marshal(struct {
		plain
		Credentials any `json:"credentials,omitempty"`
	}{plain(c), structured})
}

// String names the credential without showing it.
func (c Credential) String() string {
	return fmt.Sprintf("credential of decision %s, %d s", c.DecisionID, c.ExpiresIn)
}

// GoString is String: %#v must not show the secret either.
func (c Credential) GoString() string { return c.String() }

// LogValue is String, for log/slog.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Refusal is the gateway's no. Its texts are the gateway's own; they are cut and
// free of control characters.
//
//nolint:errname // a refusal is what the protocol calls it
type Refusal struct {
	Status      int           // of HTTP
	Code        string        // RFC 6749 section 5.2; "" when something else than a gateway answered
	Description string        //
	Hint        string        // which claim of the token failed, by name; "" where the gateway does not say
	DecisionID  string        // "" when something else than a gateway answered
	RetryAfter  time.Duration // 0: not said

	renewed bool // the next attempt shows a token that is younger than the refusal
}

func (r *Refusal) Error() string {
	text := r.Text()
	if r.Code != "" && r.DecisionID != "" {
		text += " (decision_id " + r.DecisionID + ")"
	}
	return text
}

// Text is the error without the decision id, for whoever shows that by itself.
func (r *Refusal) Text() string {
	switch {
	case r.Code == "":
		return fmt.Sprintf("the server answered %d, and not as a gateway does", r.Status)
	case r.Description == "":
		return r.Code
	}
	return r.Code + ": " + r.Description
}

// Limited reports whether the gateway had too many requests of this caller.
func (r *Refusal) Limited() bool { return r.Status == http.StatusTooManyRequests }

// tooOld is what a gateway says to a token from before the loss of its replay
// store, which may have remembered that the token was used. It is the one refusal
// that a fresh token mends without anybody's doing.
const tooOld = "Fetch a fresh token: this one was issued before the replay store restarted."

// TooOld reports whether a token that is fetched from now on would be taken in
// the place of this one.
func (r *Refusal) TooOld() bool {
	return r.Status == http.StatusBadRequest && r.Description == tooOld
}

// Retryable reports whether the same request may succeed later: the caller was
// limited, something that the answer rests on did not answer, or the token was
// too old and its source mints a fresh one for each attempt.
func (r *Refusal) Retryable() bool {
	if r.renewed && r.TooOld() {
		return true
	}
	switch r.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// parseCredential takes a 200 apart. An answer that is not exactly what was
// asked for is an error: half a credential helps nobody, and an answer that
// issued where a dry run was asked for must not pass as one.
func parseCredential(a answer, r Request) (Credential, error) {
	m, err := jsonAnswer(a)
	if err != nil {
		return Credential{}, err
	}
	c := Credential{DecisionID: m.text("decision_id"), Scope: m.text("scope")}
	if c.DecisionID == "" {
		return Credential{}, errors.New("malformed answer: no decision_id")
	}
	if c.ExpiresIn, err = m.seconds("expires_in"); err != nil {
		return Credential{}, err
	}
	if r.DryRun {
		if string(m["dry_run"]) != "true" || string(m["would_allow"]) != "true" {
			return Credential{}, errors.New("malformed answer: a dry run was asked for, and the answer is none")
		}
		c.DryRun = true
		return c, nil
	}
	c.AccessToken, c.IssuedTokenType, c.TokenType = m.secret("access_token"), m.text("issued_token_type"), m.text("token_type")
	switch {
	case m["dry_run"] != nil:
		return Credential{}, errors.New("malformed answer: it is one to a dry run")
	case c.AccessToken == "":
		return Credential{}, errors.New("malformed answer: no access_token")
	case c.IssuedTokenType == "":
		return Credential{}, errors.New("malformed answer: no issued_token_type")
	case !strings.EqualFold(c.TokenType, "Bearer") && c.TokenType != "N_A":
		// RFC 6749 section 7.1: a client must not use a token whose type it does
		// not understand. N_A is RFC 8693 section 2.2.1.
		return Credential{}, errors.New("malformed answer: unknown token_type")
	}
	if r.Type != "" && c.IssuedTokenType != r.Type {
		return Credential{}, errors.New("malformed answer: it issued another type than was asked for")
	}
	return c.structure(m["credentials"], r)
}

// parseRefusal takes any other answer apart. It never fails: what is not a
// gateway's JSON, such as a proxy's page, leaves the texts empty.
func parseRefusal(a answer) *Refusal {
	r := &Refusal{Status: a.status, DecisionID: printable(a.header.Get("Cambio-Decision-Id"))}
	// Whole seconds, as the gateway writes them; a date is not worth a parser.
	if s := a.header.Get("Retry-After"); s != "" && strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			n = int64(maxRetryAfter / time.Second)
		}
		r.RetryAfter = min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	m, err := jsonAnswer(a)
	if err != nil {
		return r
	}
	r.Code, r.Description, r.Hint = m.text("error"), m.text("error_description"), m.text("error_hint")
	if id := m.text("decision_id"); id != "" {
		r.DecisionID = id
	}
	return r
}

// members is a JSON object, its values not yet parsed.
type members map[string]json.RawMessage

// jsonAnswer takes the body apart if it says that it is JSON.
func jsonAnswer(a answer) (members, error) {
	if kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, errors.New("malformed answer: not application/json")
	}
	return parseMembers(a.body)
}

// parseMembers takes one JSON object apart. Names are compared exactly and a
// name that comes twice is refused: encoding/json by itself would let
// "ACCESS_TOKEN" overwrite "access_token", and two readers could see two
// answers in one.
func parseMembers(body []byte) (members, error) {
	malformed := errors.New("malformed answer: not one JSON object with distinct names")
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, malformed
	}
	m := members{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, malformed
		}
		key, ok := name.(string)
		if _, twice := m[key]; !ok || twice {
			return nil, malformed
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, malformed
		}
		m[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed
	}
	return m, nil
}

// text is a member that is shown to people, or "" when it is no string fit for
// that.
func (m members) text(name string) string { return printable(m.secret(name)) }

// secret is a member that is a string, as it is.
func (m members) secret(name string) string {
	var s string
	if len(m[name]) == 0 || m[name][0] != '"' || json.Unmarshal(m[name], &s) != nil {
		return ""
	}
	return s
}

// seconds is a member that must be a whole number of seconds above 0: RFC 6749
// calls expires_in a number, and a string or a fraction would be read
// differently by different readers.
func (m members) seconds(name string) (int64, error) {
	n, err := strconv.ParseInt(string(m[name]), 10, 64)
	if err != nil || n < 1 || n > int64(maxLifetime/time.Second) {
		return 0, fmt.Errorf("malformed answer: %s is not a whole number of seconds within a day", name)
	}
	return n, nil
}

// printable returns s if a terminal can show it unharmed, else "": an answer
// must not move the cursor or hide its own text.
func printable(s string) string {
	if len(s) > maxText {
		return ""
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return ""
		}
	}
	return s
}
