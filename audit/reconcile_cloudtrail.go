package audit

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// ErrCloudTrail says that a text is not one of CloudTrail's.
var ErrCloudTrail = errors.New("audit: not CloudTrail events")

const (
	// maxEvent bounds one event in memory; CloudTrail's own limit is 256 KiB.
	maxEvent = 1 << 20
	// maxEventString is what of one text is kept; the longest is an ARN of 2,048
	// bytes.
	maxEventString = 2 << 10
)

// AssumedRole is what one AssumeRoleWithWebIdentity event of CloudTrail says.
// Session and Subject are the words of whoever called.
type AssumedRole struct {
	EventID   string    //
	Time      time.Time // UTC, to the second
	Provider  string    // the issuer of the token, without its https://
	Subject   string    // sub of the token
	Session   string    // RoleSessionName
	Role      string    // ARN
	AccessKey string    // of what was issued; "" when nothing was
	Address   string    // of the caller
	Error     string    // errorCode; "": it was allowed
}

// ReadCloudTrail reads events as CloudTrail delivers them: {"Records": [...]},
// several of them, or an event a line; gzip is recognised. It holds one event at
// a time, and yields those of AssumeRoleWithWebIdentity. After an error, which
// is [ErrCloudTrail] or the reader's, it yields nothing more.
func ReadCloudTrail(r io.Reader) iter.Seq2[AssumedRole, error] {
	return func(yield func(AssumedRole, error) bool) {
		plain, err := gunzipped(r)
		if err != nil {
			yield(AssumedRole{}, err)
			return
		}
		t := &trail{meter: &meter{r: plain}, yield: yield}
		t.dec = json.NewDecoder(t.meter)
		for {
			err := t.document()
			if errors.Is(err, io.EOF) || errors.Is(err, errEnough) {
				return
			}
			if err != nil {
				yield(AssumedRole{}, err)
				return
			}
		}
	}
}

// gunzipped unpacks what begins like gzip (RFC 1952 section 2.3.1).
func gunzipped(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if magic, err := b.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return b, nil //nolint:nilerr // a shorter text is told by whoever parses it
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("%w: gzip: %w", ErrCloudTrail, err)
	}
	return z, nil
}

// meter ends a text whose next event is too large: the decoder would hold it
// whole, and a file may unpack to anything.
type meter struct {
	r    io.Reader
	left int
}

var errEventTooLarge = fmt.Errorf("%w: an event above %d bytes", ErrCloudTrail, maxEvent)

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errEventTooLarge
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// errEnough ends the reading without a fault: whoever reads wants no more.
var errEnough = errors.New("audit: enough")

type trail struct {
	meter *meter
	dec   *json.Decoder
	yield func(AssumedRole, error) bool
}

// object is a JSON object whose members keep their exact names.
type object map[string]json.RawMessage

// document reads one JSON value: a batch of records, or one event. io.EOF: there
// is none.
func (t *trail) document() error {
	t.meter.left = maxEvent
	switch token, err := t.dec.Token(); {
	case errors.Is(err, io.EOF):
		return io.EOF
	case err != nil:
		return malformed(err)
	case token != json.Delim('{'):
		return fmt.Errorf("%w: an object is wanted", ErrCloudTrail)
	}
	event, batch := object{}, false
	for t.dec.More() {
		name, err := t.dec.Token()
		if err != nil {
			return malformed(err)
		}
		key, _ := name.(string) // a member's name is one
		if key == "Records" {
			batch = true
			if err := t.records(); err != nil {
				return err
			}
			continue
		}
		var value json.RawMessage
		if err := t.dec.Decode(&value); err != nil {
			return malformed(err)
		}
		event[key] = value
	}
	if _, err := t.dec.Token(); err != nil {
		return malformed(err)
	}
	switch {
	case !batch:
		return t.event(event)
	case event["eventName"] != nil:
		return fmt.Errorf("%w: both an event and a batch of them", ErrCloudTrail)
	}
	return nil
}

// records reads the array of a batch.
func (t *trail) records() error {
	if token, err := t.dec.Token(); err != nil || token != json.Delim('[') {
		return fmt.Errorf("%w: Records is not a list", ErrCloudTrail)
	}
	for t.dec.More() {
		t.meter.left = maxEvent
		event := object{}
		if err := t.dec.Decode(&event); err != nil {
			return malformed(err)
		}
		if err := t.event(event); err != nil {
			return err
		}
	}
	t.meter.left = maxEvent
	if _, err := t.dec.Token(); err != nil {
		return malformed(err)
	}
	return nil
}

// event yields an event, if it is one that matters. What has no name is not
// CloudTrail's: to pass it over would find nothing wrong in any file.
func (t *trail) event(o object) error {
	name, ok := o.text("eventName")
	if !ok || name == "" {
		return fmt.Errorf("%w: an event without eventName", ErrCloudTrail)
	}
	if source, _ := o.text("eventSource"); name != "AssumeRoleWithWebIdentity" || source != "sts.amazonaws.com" {
		return nil
	}
	at, _ := o.text("eventTime")
	moment, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return fmt.Errorf("%w: an event without eventTime", ErrCloudTrail)
	}
	who, asked, given := o.object("userIdentity"), o.object("requestParameters"), o.object("responseElements")
	e := AssumedRole{Time: moment.UTC(), Provider: providerOf(who, given)}
	for _, field := range []struct {
		to   *string
		from object
		name string
	}{
		{&e.EventID, o, "eventID"},
		{&e.Address, o, "sourceIPAddress"},
		{&e.Error, o, "errorCode"},
		{&e.Subject, who, "userName"},
		{&e.Session, asked, "roleSessionName"},
		{&e.Role, asked, "roleArn"},
		{&e.AccessKey, given.object("credentials"), "accessKeyId"},
	} {
		*field.to, _ = field.from.text(field.name)
	}
	if !t.yield(e, nil) {
		return errEnough
	}
	return nil
}

// providerOf finds whose token it was. The name is the ARN of the OpenID Connect
// provider in IAM, or for some the bare host; an event of a refused token may
// have it in its principal alone: ARN:audience:subject.
func providerOf(who, given object) string {
	const arn = ":oidc-provider/"
	name, _ := who.text("identityProvider")
	if name == "" {
		name, _ = given.text("provider")
	}
	if name == "" {
		principal, _ := who.text("principalId")
		if _, rest, ok := strings.Cut(principal, arn); ok {
			name, _, _ = strings.Cut(rest, ":")
		}
	}
	if _, rest, ok := strings.Cut(name, arn); ok {
		name = rest
	}
	return strings.TrimPrefix(name, "https://")
}

// text is a member that is a string, cut.
func (o object) text(name string) (string, bool) {
	var s *string
	if raw, ok := o[name]; !ok || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return strings.Clone((*s)[:min(len(*s), maxEventString)]), true
}

// object is a member that is an object, or an empty one: CloudTrail writes null
// where a call failed.
func (o object) object(name string) object {
	var inner object
	if json.Unmarshal(o[name], &inner) != nil {
		return nil
	}
	return inner
}

func malformed(err error) error {
	if errors.Is(err, ErrCloudTrail) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrCloudTrail, err)
}
