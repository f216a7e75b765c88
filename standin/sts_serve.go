package standin

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	stsMaxBody   = 64 << 10
)

// stsError is an error of STS: its code, with the status that the API's model
// gives it.
type stsError struct {
	status        int
	code, message string
}

// unknownRequest is the error for what the stand-in does not know.
func unknownRequest(format string, args ...any) *stsError {
	return &stsError{http.StatusNotImplemented, "", fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *stsError {
	return &stsError{http.StatusBadRequest, "ValidationError", "1 validation error detected: " + fmt.Sprintf(format, args...)}
}

func denied(action string) *stsError {
	return &stsError{http.StatusForbidden, "AccessDenied", "Not authorized to perform " + action}
}

// ServeHTTP answers one request.
func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.next()
	rec := STSRequest{Header: r.Header.Clone()}
	id := s.random(16)
	requestID := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	body, fail := s.answer(r, &rec, fault, requestID)
	rec.Status = http.StatusOK
	if fail != nil {
		rec.Status, rec.Code = fail.status, fail.code
		body = errorDocument(fail, requestID)
	}
	s.mu.Lock()
	s.requests = append(s.requests, rec)
	if fail != nil && fail.status == http.StatusNotImplemented {
		s.unknown = append(s.unknown, fail.message)
	}
	s.mu.Unlock()
	fault.send(w, r, rec.Status, body)
}

// send writes the answer as the fault wants it.
func (f STSFault) send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if !f.wait(r) {
		return
	}
	if f.Drop {
		panic(http.ErrAbortHandler) // closes the connection
	}
	w.Header().Set("Content-Type", "text/xml")
	status, body = f.change(w, status, body)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if f.Cut {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body) // the other side may have had enough
}

func (s *STS) answer(r *http.Request, rec *STSRequest, fault STSFault, requestID string) ([]byte, *stsError) {
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != "" {
		return nil, unknownRequest("%s %s?%s", r.Method, r.URL.Path, r.URL.RawQuery)
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := parameters["charset"]; err != nil || media != "application/x-www-form-urlencoded" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, unknownRequest("Content-Type %s", r.Header.Get("Content-Type"))
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, stsMaxBody+1))
	if err != nil || len(raw) > stsMaxBody {
		return nil, unknownRequest("a body above %d bytes, or a broken one", stsMaxBody)
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, unknownRequest("a body that is no form")
	}
	rec.Form, rec.Action = form, form.Get("Action")
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if len(form[name]) != 1 {
			return nil, unknownRequest("the parameter %s %d times", name, len(form[name]))
		}
	}
	if fault.Code != "" {
		if fault.Fault.Status == 0 {
			return nil, &stsError{http.StatusBadRequest, fault.Code, fault.Message}
		}
		return nil, &stsError{fault.Fault.Status, fault.Code, fault.Message}
	}
	if form.Get("Version") != stsVersion {
		return nil, unknownRequest("Version %q", form.Get("Version"))
	}
	switch rec.Action {
	case "AssumeRoleWithWebIdentity":
		return s.assume(r, rec, fault, requestID)
	case "GetCallerIdentity":
		return s.whoami(r, raw, form, requestID)
	default:
		return nil, unknownRequest("Action %q", rec.Action)
	}
}

var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	policyARN   = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::(aws|[0-9]{12}):policy/[!-~]+$`)
	arnMember   = regexp.MustCompile(`^PolicyArns\.member\.([1-9][0-9]?)\.arn$`)
)

// assume is AssumeRoleWithWebIdentity.
func (s *STS) assume(r *http.Request, rec *STSRequest, fault STSFault, requestID string) ([]byte, *stsError) {
	form := rec.Form
	rec.Claims = decodeClaims(form.Get("WebIdentityToken"))
	if r.Header.Get("Authorization") != "" || r.Header.Get("X-Amz-Security-Token") != "" {
		// AWS ignores it; but whoever sends it has found an ambient key.
		return nil, unknownRequest("a signature on AssumeRoleWithWebIdentity")
	}
	session, duration, fail := readAssume(form)
	if fail != nil {
		return nil, fail
	}
	s.mu.Lock()
	role, found := s.roles[form.Get("RoleArn")]
	s.mu.Unlock()
	arn := roleARN.FindStringSubmatch(form.Get("RoleArn"))
	if arn == nil {
		return nil, invalid("Value at 'roleArn' is no ARN of a role")
	}
	token, fail := s.prove(r.Context(), form.Get("WebIdentityToken"), arn[2])
	if fail != nil {
		return nil, fail
	}
	if !found {
		return nil, denied(actionAssume)
	}
	if fail := role.admit(token, arn[1], arn[2]); fail != nil {
		return nil, fail
	}
	if duration > role.MaxSession {
		return nil, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	session.Tags, session.SourceID = token.tags, token.sourceID
	if fail := session.limits(); fail != nil {
		return nil, fail
	}
	name := form.Get("RoleSessionName")
	base := base32.StdEncoding
	session.RoleID = "AROA" + base.EncodeToString(s.random(10)) + ":" + name
	session.AccessKeyID = "ASIA" + base.EncodeToString(s.random(10))
	session.SecretKey = base64.StdEncoding.EncodeToString(s.random(30))
	session.SessionToken = base64.StdEncoding.EncodeToString(s.random(400))
	session.ARN = "arn:" + arn[1] + ":sts::" + arn[2] + ":assumed-role/" + arn[3] + "/" + name
	session.Expires = s.now().UTC().Truncate(time.Second).Add(duration)
	s.mu.Lock()
	s.sessions[session.AccessKeyID] = session
	s.mu.Unlock()
	rec.Issued = session
	a := STSAnswer{
		ARN: session.ARN, RoleID: session.RoleID,
		AccessKeyID: session.AccessKeyID, SecretKey: session.SecretKey, SessionToken: session.SessionToken,
		Expiration: session.Expires.Format("2006-01-02T15:04:05Z"),
		Subject:    token.subject, Audience: token.audience, Provider: token.providerARN, SourceID: session.SourceID,
	}
	if fault.Edit != nil {
		fault.Edit(&a)
	}
	return a.document(requestID), nil
}

// readAssume reads the parameters as AWS's model bounds them.
func readAssume(form url.Values) (STSSession, time.Duration, *stsError) {
	var session STSSession
	duration := time.Hour
	arns := make(map[int]string)
	for _, name := range slices.Sorted(maps.Keys(form)) {
		value := form.Get(name)
		n := utf8.RuneCountInString(value)
		switch name {
		case "Action", "Version":
		case "RoleArn":
			if n < 20 || n > 2048 {
				return session, 0, invalid("Value at 'roleArn' has %d characters", n)
			}
		case "RoleSessionName":
			if !sessionName.MatchString(value) {
				return session, 0, invalid("Value at 'roleSessionName' is malformed")
			}
		case "WebIdentityToken":
			if n < 4 || n > 20000 {
				return session, 0, invalid("Value at 'webIdentityToken' has %d characters", n)
			}
		case "DurationSeconds":
			seconds, err := strconv.Atoi(value)
			if err != nil || seconds < 900 || seconds > 43200 || strconv.Itoa(seconds) != value {
				return session, 0, invalid("Value '%s' at 'durationSeconds' is not from 900 to 43200", value)
			}
			duration = time.Duration(seconds) * time.Second
		case "Policy":
			if n < 1 {
				return session, 0, invalid("Value at 'policy' is empty")
			}
			session.Policy = value
		default:
			m := arnMember.FindStringSubmatch(name)
			if m == nil {
				return session, 0, unknownRequest("the parameter %s of AssumeRoleWithWebIdentity", name)
			}
			i, _ := strconv.Atoi(m[1]) // one or two digits
			arns[i] = value
		}
	}
	for _, name := range []string{"RoleArn", "RoleSessionName", "WebIdentityToken"} {
		if form.Get(name) == "" {
			return session, 0, invalid("Value null at '%s' failed to satisfy constraint: Member must not be null", name)
		}
	}
	for i := range len(arns) {
		arn, ok := arns[i+1]
		if !ok {
			return session, 0, unknownRequest("PolicyArns with a gap")
		}
		session.PolicyARNs = append(session.PolicyARNs, arn)
	}
	return session, duration, nil
}

// packedLimit is how many plain bytes of policies and tags fit. AWS's is not
// known; this one is about what its examples lead to.
const packedLimit = 2700

// limits are those that AWS looks at once the token is proven.
func (s STSSession) limits() *stsError {
	plain := utf8.RuneCountInString(s.Policy)
	packed := len(s.Policy)
	if s.Policy != "" {
		var document struct{ Version, Statement json.RawMessage }
		if err := json.Unmarshal([]byte(s.Policy), &document); err != nil || len(document.Statement) == 0 {
			return &stsError{http.StatusBadRequest, "MalformedPolicyDocument", "Syntax errors in policy."}
		}
	}
	if len(s.PolicyARNs) > 10 {
		return invalid("Value at 'policyArns' has %d members", len(s.PolicyARNs))
	}
	for _, arn := range s.PolicyARNs {
		if len(arn) < 20 || !policyARN.MatchString(arn) {
			return invalid("Value '%s' at 'policyArns' is no ARN of a policy", arn)
		}
		plain += len(arn)
		packed += len(arn)
	}
	if plain > 2048 {
		return invalid("policies of %d characters", plain)
	}
	for key, value := range s.Tags {
		packed += len(key) + len(value)
	}
	if packed > packedLimit {
		return &stsError{
			http.StatusBadRequest, "PackedPolicyTooLarge",
			fmt.Sprintf("Packed size of session tags consumes %d%% of allotted space.", packed*100/packedLimit),
		}
	}
	return nil
}

// whoami is GetCallerIdentity, for the sessions that it issued.
func (s *STS) whoami(r *http.Request, raw []byte, form url.Values, requestID string) ([]byte, *stsError) {
	for name := range form {
		if name != "Action" && name != "Version" {
			return nil, unknownRequest("the parameter %s of GetCallerIdentity", name)
		}
	}
	session, fail := s.signer(r, raw)
	if fail != nil {
		return nil, fail
	}
	var b bytes.Buffer
	b.WriteString(`<GetCallerIdentityResponse xmlns="` + stsNamespace + `"><GetCallerIdentityResult>`)
	element(&b, "Arn", session.ARN)
	element(&b, "UserId", session.RoleID)
	element(&b, "Account", strings.Split(session.ARN, ":")[4])
	b.WriteString("</GetCallerIdentityResult>")
	metadata(&b, requestID)
	b.WriteString("</GetCallerIdentityResponse>")
	return b.Bytes(), nil
}

// document is the answer as AWS writes it.
func (a STSAnswer) document(requestID string) []byte {
	var b bytes.Buffer
	b.WriteString(`<AssumeRoleWithWebIdentityResponse xmlns="` + stsNamespace + `"><AssumeRoleWithWebIdentityResult>`)
	element(&b, "SubjectFromWebIdentityToken", a.Subject)
	element(&b, "Audience", a.Audience)
	if a.ARN != "" || a.RoleID != "" {
		b.WriteString("<AssumedRoleUser>")
		element(&b, "Arn", a.ARN)
		element(&b, "AssumedRoleId", a.RoleID)
		b.WriteString("</AssumedRoleUser>")
	}
	if a.AccessKeyID+a.SecretKey+a.SessionToken+a.Expiration != "" {
		b.WriteString("<Credentials>")
		element(&b, "SessionToken", a.SessionToken)
		element(&b, "SecretAccessKey", a.SecretKey)
		element(&b, "Expiration", a.Expiration)
		element(&b, "AccessKeyId", a.AccessKeyID)
		b.WriteString("</Credentials>")
	}
	element(&b, "Provider", a.Provider)
	element(&b, "SourceIdentity", a.SourceID)
	element(&b, "PackedPolicySize", a.PackedSize)
	b.WriteString("</AssumeRoleWithWebIdentityResult>")
	metadata(&b, requestID)
	b.WriteString("</AssumeRoleWithWebIdentityResponse>")
	return b.Bytes()
}

func errorDocument(e *stsError, requestID string) []byte {
	side := "Sender"
	if e.status >= http.StatusInternalServerError {
		side = "Receiver"
	}
	code := e.code
	if code == "" {
		code = "NotImplemented"
	}
	var b bytes.Buffer
	b.WriteString(`<ErrorResponse xmlns="` + stsNamespace + `"><Error>`)
	element(&b, "Type", side)
	element(&b, "Code", code)
	element(&b, "Message", e.message)
	b.WriteString("</Error>")
	element(&b, "RequestId", requestID)
	b.WriteString("</ErrorResponse>")
	return b.Bytes()
}

func metadata(b *bytes.Buffer, requestID string) {
	b.WriteString("<ResponseMetadata>")
	element(b, "RequestId", requestID)
	b.WriteString("</ResponseMetadata>")
}

// element writes one; an empty one is left out.
func element(b *bytes.Buffer, name, value string) {
	if value == "" {
		return
	}
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(value)) // a buffer takes everything
	b.WriteString("</" + name + ">")
}
