package redisrig

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// slots is how many hash slots a cluster has.
const slots = 16384

// ClusterSet is a Redis Cluster: masters that share the slots, each with one
// replica or none.
type ClusterSet struct {
	t        testing.TB
	Password string
	Masters  []*Server
	Replicas []*Server // of the master with the same index; empty: none
}

// Cluster runs a cluster and waits until all of it takes commands, which is 2 to
// 3 seconds: share one between tests.
func Cluster(t testing.TB, o Options, masters int, replicas bool) *ClusterSet {
	t.Helper()
	c := &ClusterSet{t: t, Password: o.Password}
	node := func() *Server {
		n := o
		_, port, _ := net.SplitHostPort(freeAddress(t))
		n.Args = append([]string{
			"--cluster-enabled", "yes", "--cluster-port", port, "--cluster-node-timeout", "1000",
			"--cluster-allow-replica-migration", "no", "--cluster-replica-validity-factor", "0",
		}, o.Args...)
		return Start(t, n)
	}
	for range masters {
		c.Masters = append(c.Masters, node())
		if replicas {
			c.Replicas = append(c.Replicas, node())
		}
	}
	for i, m := range c.Masters {
		m.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
		// Each its own epoch, so that nobody has to give way to another.
		m.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	all := c.all()
	for _, n := range all[1:] {
		_, bus := n.ports()
		host, port, _ := net.SplitHostPort(n.addr)
		all[0].Do("CLUSTER", "MEET", host, port, bus)
	}
	for _, n := range all {
		n.eventually("meeting of the nodes", func(ctx context.Context) error {
			return n.clusterHolds(ctx, "cluster_known_nodes:"+strconv.Itoa(len(all)))
		})
	}
	for i, r := range c.Replicas {
		id := c.Masters[i].Do("CLUSTER", "MYID")
		r.eventually("master known to its replica", func(ctx context.Context) error {
			return r.Client().Do(ctx, "CLUSTER", "REPLICATE", id).Err()
		})
	}
	for _, r := range c.Replicas {
		r.WaitInStep()
	}
	c.WaitOK()
	return c
}

func (c *ClusterSet) all() []*Server { return append(append([]*Server{}, c.Masters...), c.Replicas...) }

// ports are the client port and the bus port.
func (s *Server) ports() (client, bus string) {
	for i, a := range s.args {
		if a == "--cluster-port" {
			bus = s.args[i+1]
		}
	}
	_, client, _ = net.SplitHostPort(s.addr)
	return client, bus
}

// Addrs are all nodes' addresses.
func (c *ClusterSet) Addrs() []string {
	var addrs []string
	for _, n := range c.all() {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

// WaitOK waits until every node that runs finds the cluster in order, with all
// masters and replicas in their places.
func (c *ClusterSet) WaitOK() {
	c.t.Helper()
	for _, n := range c.all() {
		if !n.Running() {
			continue
		}
		n.eventually("cluster in order", func(ctx context.Context) error {
			if err := n.clusterHolds(ctx, "cluster_state:ok"); err != nil {
				return err
			}
			if err := n.clusterHolds(ctx, "cluster_size:"+strconv.Itoa(len(c.Masters))); err != nil {
				return err
			}
			nodes, err := n.Client().ClusterNodes(ctx).Result()
			if err != nil {
				return err
			}
			if got := strings.Count(nodes, "slave "); got < len(c.Replicas)-c.dead() {
				return fmt.Errorf("%d replicas in\n%s", got, nodes)
			}
			return nil
		})
	}
}

func (c *ClusterSet) dead() int {
	dead := 0
	for _, n := range c.all() {
		if !n.Running() {
			dead++
		}
	}
	return dead
}

// Failover kills a master and makes its replica the master at once, whatever it
// has missed. The dead one, restarted, is the replica.
func (c *ClusterSet) Failover(i int) {
	c.t.Helper()
	c.Masters[i].Kill()
	c.Replicas[i].Do("CLUSTER", "FAILOVER", "TAKEOVER")
	c.Masters[i], c.Replicas[i] = c.Replicas[i], c.Masters[i]
	c.Masters[i].eventually("takeover", func(ctx context.Context) error {
		return c.Masters[i].holds(ctx, "replication", "role:master")
	})
	c.WaitOK()
}

// Running reports whether the process runs (or is paused).
func (s *Server) Running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (s *Server) clusterHolds(ctx context.Context, line string) error {
	info, err := s.Client().ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, line+"\r\n") {
		return fmt.Errorf("no %q in\n%s", line, info)
	}
	return nil
}
