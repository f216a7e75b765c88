package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// The parameters of a token exchange (RFC 8693 section 2.1).
const (
	grantType = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwtType   = "urn:ietf:params:oauth:token-type:jwt"
)

// oneIn is how many answers there are to each that is checked.
const oneIn = 1000

// maxAnswer bounds an answer: those of the gateway are about 1 KiB.
const maxAnswer = 64 << 10

// answer is what came back for a token.
type answer struct {
	status     int
	retryAfter time.Duration
	decision   string
	body       []byte
}

// refusal is an error for anything but a 200.
func (a answer) refusal() error {
	if a.status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("refused with %d: %s", a.status, a.body)
}

// round is what driving one server with a batch of tokens came to.
type round struct {
	elapsed time.Duration
	times   []time.Duration // of each exchange
	checked []answer
}

// drive shows each token once, for this target and over this many connections.
// Anything but a 200 is an error.
func drive(server, target string, connections int, tokens []string) (round, error) {
	address := strings.TrimPrefix(server, "http://")
	out := round{times: make([]time.Duration, len(tokens)), checked: make([]answer, (len(tokens)+oneIn-1)/oneIn)}
	conns := make([]net.Conn, connections)
	for i := range conns {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return out, err
		}
		defer conn.Close() //nolint:errcheck // every answer was read by then
		conns[i] = conn
	}
	var next atomic.Int64
	var group errgroup.Group
	began := time.Now()
	for _, conn := range conns {
		group.Go(func() error {
			c := caller{conn: conn, reader: bufio.NewReader(conn), host: address}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(tokens) {
					return nil
				}
				start := time.Now()
				got, err := c.exchange(target, tokens[i])
				if err == nil {
					err = got.refusal()
				}
				if err != nil {
					return err
				}
				out.times[i] = time.Since(start)
				if i%oneIn == 0 {
					got.body = bytes.Clone(got.body)
					out.checked[i/oneIn] = got
				}
			}
		})
	}
	err := group.Wait()
	out.elapsed = time.Since(began)
	return out, err
}

// caller is one connection. It speaks just enough HTTP/1.1 for this server, so
// that little of the machine goes to the client.
type caller struct {
	conn   net.Conn
	reader *bufio.Reader
	host   string
	buf    []byte
}

// exchange shows one token for a target. The answer is valid until the next call.
func (c *caller) exchange(target, token string) (answer, error) {
	form := "grant_type=" + url.QueryEscape(grantType) + "&subject_token_type=" + url.QueryEscape(jwtType) + "&audience=" + target + "&subject_token="
	c.buf = fmt.Appendf(c.buf[:0], "POST /token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s%s",
		c.host, len(form)+len(token), form, token)
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return answer{}, err
	}
	if _, err := c.conn.Write(c.buf); err != nil {
		return answer{}, err
	}
	status, err := c.line()
	if err != nil {
		return answer{}, err
	}
	var a answer
	if a.status, err = strconv.Atoi(string(bytes.TrimPrefix(status[:min(len(status), 12)], []byte("HTTP/1.1 ")))); err != nil {
		return a, err
	}
	length := -1
	for {
		line, err := c.line()
		if err != nil {
			return a, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return a, err
			}
		case "Retry-After":
			seconds, err := strconv.Atoi(string(value))
			if err != nil {
				return a, err
			}
			a.retryAfter = time.Duration(seconds) * time.Second
		case "Cambio-Decision-Id":
			a.decision = string(value)
		}
	}
	if length < 0 || length > maxAnswer {
		return a, fmt.Errorf("an answer of %d bytes", length)
	}
	c.buf = append(c.buf[:0], make([]byte, length)...)
	if _, err := io.ReadFull(c.reader, c.buf); err != nil {
		return a, err
	}
	a.body = c.buf
	return a, nil
}

// line is the next line of the head, without its end.
func (c *caller) line() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}
