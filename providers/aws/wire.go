package aws

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"

	"cambio/providers/internal/upstream"
)

// maxAnswer bounds an answer of STS, which is about 3 KiB: a lying endpoint must
// not fill our memory.
const maxAnswer = 256 << 10

// lost is the error of an attempt whose outcome is not known: AWS may have
// issued. Its text holds nothing of the answer.
type lost struct {
	why     string
	timeout bool
}

func (e *lost) Error() string { return e.why }

// refused is the error of an attempt that never had a connection: nothing was
// sent, so nothing was issued.
type refused struct{ why string }

func (e *refused) Error() string { return e.why }

// wire is the SDK's HTTP client. It makes exactly one request, follows no
// redirect, and lets through only two kinds of answer, whole and bounded: a 200
// that is one plain XML document, and an error that AWS answered with. All else
// is lost or refused.
type wire struct{ transport http.RoundTripper }

// Do implements the SDK's HTTPClient.
func (w wire) Do(req *http.Request) (*http.Response, error) {
	var asked, connected bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked = true },
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	}
	ctx := req.Context()
	req = req.WithContext(httptrace.WithClientTrace(ctx, trace))
	// Set, it keeps the transport from unpacking: a few bytes could become many.
	req.Header.Set("Accept-Encoding", "identity")
	// The SDK takes it from the environment of a Lambda function.
	req.Header.Del("X-Amzn-Trace-Id")
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		timedOut := upstream.TimedOut(ctx, err)
		if asked && !connected && !timedOut {
			return nil, &refused{why: "no connection: " + upstream.Describe(err)}
		}
		return nil, &lost{why: "no answer: " + upstream.Describe(err), timeout: timedOut}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case err != nil && upstream.TimedOut(ctx, err):
		return nil, &lost{why: "half an answer: timed out", timeout: true}
	case err != nil:
		return nil, &lost{why: "half an answer: the connection was cut"}
	case len(body) > maxAnswer:
		return nil, &lost{why: "the answer is above 256 KiB"}
	case encoding != "" && encoding != "identity":
		return nil, &lost{why: "the answer is compressed, which was not asked for"}
	}
	if err := judge(resp.StatusCode, body); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// judge says which answers mean something. An error status is AWS's word that
// nothing was issued if it comes with AWS's error document, or if its kind can
// only come from the one who would have issued: from 502 on they are those of a
// proxy in between, which does not know what came of the request.
func judge(status int, body []byte) error {
	switch {
	case status == http.StatusOK:
		if err := plainXML(body, "AssumeRoleWithWebIdentityResponse"); err != nil {
			return &lost{why: "a wrong answer: " + err.Error()}
		}
		return nil
	case status >= 400 && status <= 599 && plainXML(body, "ErrorResponse") == nil:
		return nil
	case status >= 400 && status < http.StatusBadGateway:
		return nil
	case status >= 300 && status <= 399:
		// To follow would show our assertion to whoever the answer names.
		return &lost{why: "a redirect, which is not followed"}
	default:
		return &lost{why: "a wrong answer: status " + strconv.Itoa(status)}
	}
}

// maxDepth bounds the nesting of an answer, which is 4: a hostile one must not
// make a parser keep a hundred thousand open elements.
const maxDepth = 16

// plainXML reports whether body is one whole document with this root, without a
// DTD, and whose elements do not repeat among their siblings: two SessionTokens
// would be one to us and another one to whoever looks at the wire. The errors
// hold nothing of the body.
func plainXML(body []byte, root string) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	var open []map[string]bool // the names seen so far at each depth
	seen := map[string]bool{}
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			if len(open) > 0 || len(seen) == 0 {
				return errors.New("not a whole document of XML")
			}
			return nil
		}
		if err != nil {
			return errors.New("not well-formed XML")
		}
		switch t := t.(type) {
		case xml.StartElement:
			name := strings.ToLower(t.Name.Local) // the SDK folds case
			switch {
			case seen[name]:
				return errors.New("an element is repeated")
			case len(open) == 0 && (t.Name.Local != root || len(seen) > 0):
				return errors.New("not the document that was asked for")
			case len(open) == maxDepth:
				return errors.New("nested too deep")
			}
			seen[name] = true
			open = append(open, seen)
			seen = map[string]bool{}
		case xml.EndElement:
			seen, open = open[len(open)-1], open[:len(open)-1]
		case xml.CharData:
			if len(open) == 0 && len(bytes.TrimSpace(t)) > 0 {
				return errors.New("text outside the document")
			}
		case xml.Directive:
			// Entities of one's own, which could expand a thousandfold.
			return errors.New("a DTD")
		case xml.ProcInst:
			if t.Target != "xml" {
				return errors.New("a processing instruction")
			}
		}
	}
}
