package web

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
)

// errFolded makes the HTTP server answer 400 and close.
var errFolded = errors.New("web: a header line begins with white space")

// unfoldedConn refuses a folded header (RFC 9112 section 5.2). The HTTP library
// would join it to the line before, and a proxy that ends TLS in front of us
// might read two headers where we read one, and so pass what it should have
// checked. Where TLS ends here no proxy reads along.
//
// It looks at the lines from the start of a connection, and from each time that
// it was idle, up to the first empty line; a body may hold what it likes.
type unfoldedConn struct {
	net.Conn
	head   atomic.Bool // the next bytes are of a request's head
	header bool        // the request line has ended
	column int         // bytes of the line so far, without its end
	folded bool        // refused once, refused for good
}

func newUnfoldedConn(c net.Conn) *unfoldedConn {
	u := &unfoldedConn{Conn: c}
	u.head.Store(true)
	return u
}

// Read returns nothing of a piece that holds a folded header.
func (c *unfoldedConn) Read(p []byte) (int, error) {
	if c.folded {
		return 0, errFolded
	}
	n, err := c.Conn.Read(p)
	for b := p[:n]; len(b) > 0 && c.head.Load(); {
		if c.header && c.column == 0 && (b[0] == ' ' || b[0] == '\t') {
			c.folded = true
			return 0, errFolded
		}
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		c.column += len(bytes.TrimSuffix(line, []byte{'\r'}))
		if !ended {
			break
		}
		if c.header && c.column == 0 {
			c.head.Store(false) // the empty line
			c.header = false
			break
		}
		c.header, c.column, b = true, 0, rest
	}
	return n, err
}

// nextHead tells a connection that a request has ended.
func nextHead(c net.Conn, s http.ConnState) {
	if u, ok := c.(*unfoldedConn); ok && s == http.StateIdle {
		u.head.Store(true)
	}
}
