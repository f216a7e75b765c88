package keystore

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Bounds of a call to a KMS.
const (
	tries       = 2
	tryTimeout  = 900 * time.Millisecond // two of them and a pause fit into signTimeout
	retryPause  = 50 * time.Millisecond
	maxBody     = 64 << 10 // a public key of RSA-4096 with its PEM and names takes 2 KiB
	maxIdle     = 64       // as many signatures at once find an open connection
	maxKindSize = 64       // of an error's name
)

// newClient makes the client of all calls to a KMS: connections are kept, no
// redirect is followed, no proxy of the environment is asked. HTTP/1.1 only: a
// call that hangs then costs its own connection, not that of all the others.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: tryTimeout}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    tryTimeout,
			MaxIdleConns:           2 * maxIdle,
			MaxIdleConnsPerHost:    maxIdle,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
			DisableCompression:     true, // nothing to unpack, nothing that unpacks to gigabytes
		},
		// A redirect would carry our signed request to a host that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what came back from a KMS.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes a request and returns the answer if its status is 200. It tries
// twice: build makes each request anew, and again says of an answer whether it is
// worth a second one. Signing twice does no harm. No error holds a byte of a body
// that says does not let through.
func (o *outside) call(ctx context.Context, build func(context.Context) (*http.Request, error), again func(answer) bool, says func(answer) string) (answer, error) {
	var last error
	for n := range tries {
		if n > 0 {
			pause := time.NewTimer(retryPause)
			select {
			case <-ctx.Done():
				pause.Stop()
				return answer{}, last
			case <-pause.C:
			}
		}
		a, err := o.once(ctx, build)
		switch {
		case err != nil:
			last = fmt.Errorf("%w: %w", ErrSigner, err)
		case a.status == http.StatusOK:
			return a, nil
		default:
			last = fmt.Errorf("%w: status %d %s", ErrSigner, a.status, says(a))
			if a.status != http.StatusTooManyRequests && a.status < 500 && !again(a) {
				return answer{}, last
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return answer{}, last
}

func (o *outside) once(ctx context.Context, build func(context.Context) (*http.Request, error)) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	req, err := build(ctx)
	if err != nil {
		return answer{}, err
	}
	res, err := o.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return answer{}, fmt.Errorf("half an answer: %w", err)
	}
	if len(body) > maxBody {
		return answer{}, fmt.Errorf("an answer of more than %d bytes", maxBody)
	}
	return answer{status: res.StatusCode, header: res.Header, body: body}, nil
}

// kind lets the name of an error through, and nothing that is not one: an
// answer's text may hold anything.
func kind(s string) string {
	if len(s) == 0 || len(s) > maxKindSize {
		return ""
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' {
			return ""
		}
	}
	return s
}
