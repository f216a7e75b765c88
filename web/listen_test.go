package web_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cambio/web"
)

// dialServer serves handlers of this package on a real listener, and dials it.
func dialServer(t *testing.T, c web.ListenConfig) func() net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := handler(t, &spy{}, nil)
	s := web.Server(h, slog.New(slog.DiscardHandler))
	go func() { _ = s.Serve(web.Listener(l, c)) }()
	t.Cleanup(func() { _ = s.Close() })
	return func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// status is the next answer's, or 0 when the connection was closed without one.
func status(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal(err)
		}
		return 0
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func TestFoldedHeaders(t *testing.T) {
	dial := dialServer(t, web.ListenConfig{})
	const json = "{\n  \"grant_type\": \"x\"\n\n  \"y\"}"
	post := fmt.Sprintf("POST /token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(json), json)
	for name, row := range map[string]struct {
		sent []string // written one after the other on one connection
		want []int
	}{
		"no fold":                   {[]string{"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n"}, []int{200}},
		"space":                     {[]string{"GET / HTTP/1.1\r\nHost: gw.test\r\nA: b\r\n c\r\n\r\n"}, []int{400}},
		"tab":                       {[]string{"GET / HTTP/1.1\r\nHost: gw.test\r\nA: b\r\n\tc\r\n\r\n"}, []int{400}},
		"after the request line":    {[]string{"GET / HTTP/1.1\r\n Host: gw.test\r\n\r\n"}, []int{400}},
		"a body may hold the like":  {[]string{post, "GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n"}, []int{415, 200}},
		"in the second request too": {[]string{"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: gw.test\r\nA: b\r\n c\r\n\r\n"}, []int{200, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial()
			r := bufio.NewReader(conn)
			for i, text := range row.sent {
				if _, err := io.WriteString(conn, text); err != nil {
					t.Fatal(err)
				}
				if got := status(t, r); got != row.want[i] {
					t.Errorf("request %d: got %d, want %d", i, got, row.want[i])
				}
			}
		})
	}
}

// The same head, a byte at a time.
func TestFoldedHeaderInPieces(t *testing.T) {
	conn := dialServer(t, web.ListenConfig{})()
	for b := range strings.SplitSeq("GET / HTTP/1.1\r\nHost: gw.test\r\nA: b\r\n c\r\n\r\n", "") {
		if _, err := io.WriteString(conn, b); err != nil {
			break // it was closed already
		}
	}
	if got := status(t, bufio.NewReader(conn)); got != 400 && got != 0 {
		t.Errorf("got %d", got)
	}
}
