package rig

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net"
)

// firstPort and ports are below those that the system hands out by itself
// (32768 and above on Linux): one that was free a moment ago must not become
// the near end of somebody's connection meanwhile.
const (
	firstPort = 10_000
	ports     = 22_000
)

// FreeAddress is a loopback address that nobody listens on.
func FreeAddress() (string, error) {
	for range 200 {
		n, err := rand.Int(rand.Reader, big.NewInt(ports))
		if err != nil {
			return "", err
		}
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+n.Int64())
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue // taken
		}
		return address, l.Close()
	}
	return "", fmt.Errorf("rig: no free port from %d to %d", firstPort, firstPort+ports)
}
