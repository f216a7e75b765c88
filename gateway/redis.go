package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
)

// DialRedis is a client of the configured servers. It connects when it is first
// used: a gateway starts also when Redis does not answer. onConnect, which may
// be nil, runs on each new connection before any command does. Every call is
// bounded by [replay.Bound].
func DialRedis(c *Redis, onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
	o := &redis.UniversalOptions{
		Addrs: c.Addrs, Username: c.Username, Password: c.Password.Reveal(), MasterName: c.MasterName,
		OnConnect: onConnect,
	}
	if c.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.Mode != "cluster" && c.Mode != "sentinel" {
			// Of the nodes that a cluster or a sentinel names, the client fills it in.
			o.TLSConfig.ServerName, _, _ = net.SplitHostPort(c.Addrs[0])
		}
	}
	replay.Bound(o)
	if !c.TLS && c.Password == "" && !c.InsecureRedis {
		// The addresses were checked; those that a Sentinel or a cluster names are
		// found out here. In clear and without a password, whoever is on the way
		// could say that no token was ever used.
		dialer := &net.Dialer{Timeout: o.DialTimeout}
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !loopbackHostPort(addr) {
				return nil, fmt.Errorf("gateway: redis: %s is off loopback, without TLS and password", addr)
			}
			return dialer.DialContext(ctx, network, addr)
		}
	}
	// The mode is explicit: the library's guess takes two addresses for a cluster.
	switch c.Mode {
	case "sentinel":
		return redis.NewFailoverClient(o.Failover())
	case "cluster":
		return redis.NewClusterClient(o.Cluster())
	}
	return redis.NewClient(o.Simple())
}
