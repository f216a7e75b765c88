package aws

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"cambio/exchange"
	"cambio/trust"
)

// caller is who AWS says signed a request: a session of a role.
type caller struct {
	partition string
	account   string
	role      string // its name; AWS does not say its path, and names are unique in an account without it
	uniqueID  string // of the role, which AWS never gives twice
	session   string // whatever the one who assumed the role called it
}

// arn is the role's, without a path.
func (c caller) arn() string { return "arn:" + c.partition + ":iam::" + c.account + ":role/" + c.role }

var (
	assumedForm = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):sts::([0-9]{12}):assumed-role/([\w+=,.@-]{1,64})/([\w+=,.@-]{2,64})$`)
	roleIDForm  = regexp.MustCompile(`^(AROA[A-Z0-9]{12,124}):([\w+=,.@-]{2,64})$`)
)

// errNoRole says that a good signature is somebody's who is no role.
var errNoRole = errors.New("the signer is no session of a role")

// readCaller reads an answer of GetCallerIdentity, which must be one plain XML
// document with each of the three elements once, that agree with each other. Text
// of the answer is in no error.
func readCaller(kind string, body []byte) (caller, error) {
	media, _, err := mime.ParseMediaType(kind)
	if err != nil || media != "text/xml" {
		// JSON can be made to hold what looks like another answer (CVE-2020-16250).
		return caller{}, errors.New("the answer is no text/xml")
	}
	if err := plainXML(body, "GetCallerIdentityResponse"); err != nil {
		return caller{}, err
	}
	found, err := elements(body, "GetCallerIdentityResponse", "GetCallerIdentityResult")
	if err != nil {
		return caller{}, err
	}
	for _, name := range []string{"Arn", "UserId", "Account"} {
		if found[name] == "" || len(found[name]) > maxARN {
			return caller{}, errors.New("the answer lacks " + name)
		}
	}
	arn, id := assumedForm.FindStringSubmatch(found["Arn"]), roleIDForm.FindStringSubmatch(found["UserId"])
	switch {
	case arn == nil && strings.HasPrefix(found["Arn"], "arn:") && !strings.Contains(found["Arn"], ":assumed-role/"):
		return caller{}, errNoRole
	case arn == nil || id == nil:
		return caller{}, errors.New("the answer's Arn or UserId is malformed")
	case arn[2] != found["Account"]:
		return caller{}, errors.New("the answer's Arn and Account differ")
	case arn[4] != id[2]:
		return caller{}, errors.New("the answer's Arn and UserId name different sessions")
	}
	return caller{partition: arn[1], account: arn[2], role: arn[3], uniqueID: id[1], session: arn[4]}, nil
}

// elements are the texts of the elements right below a path of a document that
// [plainXML] took. Elsewhere, the same names mean nothing.
func elements(body []byte, path ...string) (map[string]string, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	found := map[string]string{}
	var open []string
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, errors.New("not well-formed XML")
		}
		switch t := t.(type) {
		case xml.StartElement:
			if open = append(open, t.Name.Local); len(open) > len(path)+1 && strings.Join(open[:len(path)], "/") == strings.Join(path, "/") {
				return nil, errors.New("an element where text was expected")
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) == len(path)+1 && strings.Join(open[:len(path)], "/") == strings.Join(path, "/") {
				found[open[len(path)]] += string(t)
			}
		}
	}
}

// refusal is what an answer that is not 200 means. Throttling comes with status 400,
// and is no word about the signature.
func refusal(status int, body []byte) *exchange.Error {
	if plainXML(body, "ErrorResponse") == nil {
		if found, err := elements(body, "ErrorResponse", "Error"); err == nil {
			for _, code := range passing() {
				if found["Code"] == code {
					return unproven(errors.New("AWS is busy"))
				}
			}
		}
	}
	if status == http.StatusForbidden || status == http.StatusBadRequest {
		return exchange.Refuse(trust.ReasonAWSSignature, nil)
	}
	return unproven(errors.New("an answer that means nothing"))
}

// unproven says that AWS did not answer whose signature it is.
func unproven(err error) *exchange.Error {
	return exchange.Unanswered(trust.ReasonProofUnavailable, err)
}
