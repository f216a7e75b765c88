package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn is an HTTP/2 connection in the test's own hand, before its preface.
func http2Conn(t *testing.T, addr string) (net.Conn, error) {
	t.Helper()
	plain, err := dial(t, "127.0.0.7", addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := errors.Join(c.SetDeadline(time.Now().Add(25*time.Second)), c.Handshake()); err != nil {
		return nil, err
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != "h2" {
		return nil, fmt.Errorf("speaks %q", p)
	}
	return c, nil
}

// greeted is one that has sent preface and settings. Its frames are read until
// it ends, or until the answer to stream last has come: how says which.
func greeted(t *testing.T, addr string, last uint32) (f *http2.Framer, how chan string, err error) {
	t.Helper()
	c, err := http2Conn(t, addr)
	if err != nil {
		return nil, nil, err
	}
	f = http2.NewFramer(c, c)
	_, err = io.WriteString(c, http2.ClientPreface)
	if err := errors.Join(err, f.WriteSettings()); err != nil {
		return nil, nil, err
	}
	how = make(chan string, 1)
	go func() {
		for {
			frame, err := f.ReadFrame()
			if timedOut(err) {
				how <- "timeout"
				return
			}
			if err != nil {
				how <- "closed"
				return
			}
			if h := frame.Header(); h.Type == http2.FrameHeaders && h.StreamID == last {
				how <- "answered"
				return
			}
		}
	}()
	return f, how, nil
}

func headerBlock(method, path string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range [][2]string{
		{":method", method},
		{":scheme", "https"},
		{":authority", "gw.test"},
		{":path", path},
		{"content-type", formMedia},
	} {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // a buffer never fails
	}
	return b.Bytes()
}

// rapidReset (CVE-2023-44487, CVE-2023-39325): streams that are opened and reset
// at once. The server may end the connection, or take it all; the honest caller
// must not notice, and what is not ended must still be served.
func rapidReset(t *testing.T, addr, method string) error {
	t.Helper()
	const last = 10_001
	f, how, err := greeted(t, addr, last)
	if err != nil {
		return err
	}
	block := headerBlock(method, "/token")
	for id := uint32(1); id < last; id += 2 {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: method == "GET", EndHeaders: true})
		if err := errors.Join(err, f.WriteRSTStream(id, http2.ErrCodeCancel)); err != nil {
			break // it was ended; the reader tells
		}
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: last, BlockFragment: headerBlock("GET", "/keys"), EndStream: true, EndHeaders: true})
	if got := <-how; got == "timeout" {
		return errors.New("the connection neither ends nor answers")
	}
	return nil
}

// continuationFlood (CVE-2023-45288): a header block that never ends.
func continuationFlood(t *testing.T, addr string) error {
	t.Helper()
	f, how, err := greeted(t, addr, 0)
	if err != nil {
		return err
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock("GET", "/keys")}); err != nil {
		return err
	}
	const enough = 64 << 20
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	sent := 0
	for ; sent < enough; sent += b.Len() {
		b.Reset()
		_ = e.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 15<<10), Sensitive: true}) // a buffer never fails
		if f.WriteContinuation(1, false, b.Bytes()) != nil {
			break
		}
	}
	if got := <-how; got != "closed" || sent >= enough {
		return fmt.Errorf("%s after %d bytes of headers", got, sent)
	}
	return nil
}

// prefaceStall: TLS is done, and the preface does not come.
func prefaceStall(t *testing.T, addr, first string) error {
	t.Helper()
	c, err := http2Conn(t, addr)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, first); err != nil {
		return err
	}
	if _, err := io.ReadAll(c); timedOut(err) {
		return errors.New("the connection stays open")
	}
	return nil
}

// certificate writes a new one for loopback, and returns the lines that name it.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw.test"}, DNSNames: []string{"gw.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "cert: " + filepath.Join(dir, "cert.pem") + ", key: " + filepath.Join(dir, "key.pem")
}
