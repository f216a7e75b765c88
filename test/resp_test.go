package test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// answering stands before a Redis and gives answers of its own to the scripts
// that take a token's use: the rest goes through.
type answering struct {
	listener net.Listener
	target   string
	lie      atomic.Pointer[string] // the bytes of an answer, in RESP
}

// listenAnswering starts one before the server at an address.
func listenAnswering(t *testing.T, target string) *answering {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	a := &answering{listener: l, target: target}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return // closed with the test
			}
			go a.serve(near)
		}
	}()
	return a
}

// says makes scripts get this answer; "" ends it.
func (a *answering) says(answer string) { a.lie.Store(&answer) }

func (a *answering) serve(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", a.target)
	if err != nil {
		return
	}
	defer far.Close()
	commands, answers := bufio.NewReader(near), bufio.NewReader(far)
	for {
		command, err := readRESP(commands)
		if err != nil {
			return
		}
		lie := a.lie.Load()
		if lie != nil && *lie != "" && bytes.Contains(bytes.ToLower(command[:min(len(command), 32)]), []byte("eval")) && bytes.Contains(command, []byte(":t:")) {
			if _, err := near.Write([]byte(*lie)); err != nil {
				return
			}
			continue
		}
		if _, err := far.Write(command); err != nil {
			return
		}
		answer, err := readRESP(answers)
		if err != nil {
			return
		}
		if _, err := near.Write(answer); err != nil {
			return
		}
	}
}

// readRESP reads one value of the protocol's version 2, and returns its bytes.
func readRESP(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil || len(line) < 3 {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	if line[0] != '$' && line[0] != '*' {
		return line, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	if err != nil || n < 0 {
		return line, err
	}
	if line[0] == '$' {
		text := make([]byte, n+2)
		_, err := io.ReadFull(r, text)
		return append(line, text...), err
	}
	for range n {
		item, err := readRESP(r)
		if err != nil {
			return nil, err
		}
		line = append(line, item...)
	}
	return line, nil
}
