package redisrig

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net"
	"testing"
)

// freeAddress is a loopback address that nobody listens on. It is below those
// that the system hands out by itself (32768 and above on Linux): one that was
// free a moment ago must not become the near end of somebody's connection
// meanwhile. It is here and not the rig's, which brings the whole gateway along.
func freeAddress(t testing.TB) string {
	t.Helper()
	const first, ports = 10_000, 22_000
	for range 200 {
		n, err := rand.Int(rand.Reader, big.NewInt(ports))
		if err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.0.0.1:%d", first+n.Int64())
		var listen net.ListenConfig
		l, err := listen.Listen(t.Context(), "tcp", address)
		if err != nil {
			continue // taken
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatalf("redisrig: no free port from %d to %d", first, first+ports)
	return ""
}
