package redisrig

import (
	"context"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Abandon kills a master and its replica for good and gives its slots, of which
// nothing is left, to another master, as `redis-cli --cluster fix` does.
func (c *ClusterSet) Abandon(i int) {
	c.t.Helper()
	var dead []any
	for _, n := range []*Server{c.Replicas[i], c.Masters[i]} {
		dead = append(dead, n.Do("CLUSTER", "MYID"))
		n.Kill()
	}
	var left []*Server
	for _, n := range c.all() {
		if n.Running() {
			left = append(left, n)
		}
	}
	for _, id := range dead {
		for _, n := range left {
			// A node that has not heard of it, or is its replica, refuses; the map says below
			// whether all is well.
			_ = n.Client().Do(c.t.Context(), "CLUSTER", "FORGET", id).Err()
		}
	}
	heir := left[0]
	heir.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/len(c.Masters), (i+1)*slots/len(c.Masters)-1)
	heir.Do("CLUSTER", "BUMPEPOCH")
	c.covered(left)
}

// covered waits until these nodes find every slot served.
func (c *ClusterSet) covered(nodes []*Server) {
	c.t.Helper()
	for _, n := range nodes {
		n.eventually("all slots", func(ctx context.Context) error {
			if err := n.clusterHolds(ctx, "cluster_state:ok"); err != nil {
				return err
			}
			return n.clusterHolds(ctx, "cluster_slots_ok:16384")
		})
	}
}

// MoveSlots moves slots with all keys in them from one master to another, as
// `redis-cli --cluster reshard` does.
func (c *ClusterSet) MoveSlots(from, to, first, last int) {
	c.t.Helper()
	source, dest := c.Masters[from], c.Masters[to]
	sourceID, destID := source.Do("CLUSTER", "MYID"), dest.Do("CLUSTER", "MYID")
	each := func(n *Server, args ...any) []redis.Cmder {
		c.t.Helper()
		cmds, err := n.Client().Pipelined(c.t.Context(), func(p redis.Pipeliner) error {
			for slot := first; slot <= last; slot++ {
				with := append([]any{}, args...)
				with[2] = slot
				p.Do(c.t.Context(), with...)
			}
			return nil
		})
		if err != nil {
			c.t.Fatalf("redisrig: %v: %v", args, err)
		}
		return cmds
	}
	each(dest, "CLUSTER", "SETSLOT", nil, "IMPORTING", sourceID)
	each(source, "CLUSTER", "SETSLOT", nil, "MIGRATING", destID)
	host, port, _ := net.SplitHostPort(dest.addr)
	for _, cmd := range each(source, "CLUSTER", "GETKEYSINSLOT", nil, 1000) {
		keys, err := cmd.(*redis.Cmd).StringSlice()
		if err != nil {
			c.t.Fatalf("redisrig: %v", err)
		}
		if len(keys) == 0 {
			continue
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000}
		if c.Password != "" {
			args = append(args, "AUTH", c.Password)
		}
		args = append(args, "KEYS")
		for _, k := range keys {
			args = append(args, k)
		}
		if answer, ok := source.Do(args...).(string); !ok || !strings.HasPrefix(answer, "OK") {
			c.t.Fatalf("redisrig: MIGRATE: %v", answer)
		}
	}
	each(dest, "CLUSTER", "SETSLOT", nil, "NODE", destID)
	each(source, "CLUSTER", "SETSLOT", nil, "NODE", destID)
	for _, n := range c.Masters {
		if n != source && n != dest {
			each(n, "CLUSTER", "SETSLOT", nil, "NODE", destID)
		}
	}
	c.covered(c.Masters)
}
