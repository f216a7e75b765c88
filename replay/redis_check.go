package replay

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Master is the state of one master, for `cambio doctor`.
type Master struct {
	Version  string
	Port     string        // the one it listens on
	Policy   string        // maxmemory-policy
	Replicas int           // connected ones
	Acks     int           // how many of them must acknowledge a use; 0 with ModeSingle
	AOF      bool          // writes go to an append-only file
	Fsync    bool          // the last background save and the last write to that file succeeded
	Latency  time.Duration // of one round trip
}

// Status is what Redis says about itself.
type Status struct {
	Masters   []Master
	Watermark time.Time // single-use tokens issued before (and their provider's clock skew after) are refused
}

// Check asks every master. [ErrPolicy] means that Redis must not be used; any
// other error, that it does not answer as it should, which may pass. With
// Sentinel and Cluster a master with fewer Replicas than Acks lets nothing through.
func (r *Redis) Check(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	var mu sync.Mutex
	var s Status
	err := r.masters(ctx, func(ctx context.Context, _ *redis.Client, conn *redis.Conn) error {
		m, err := r.inspect(ctx, conn)
		if err != nil {
			return err
		}
		info, err := readInfo(ctx, conn)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := conn.Ping(ctx).Err(); err != nil {
			return wrap(err)
		}
		took := time.Since(began)
		acks := int64(0)
		if r.mode != ModeSingle {
			acks = majority(max(m.replicas, r.epoch.published(m.pair)))
		}
		mu.Lock()
		defer mu.Unlock()
		s.Masters = append(s.Masters, Master{
			Version: info["redis_version"], Port: info["tcp_port"], Policy: info["maxmemory_policy"], Replicas: m.replicas, Acks: int(acks),
			AOF:   info["aof_enabled"] == "1",
			Fsync: info["rdb_last_bgsave_status"] != "err" && info["aof_last_write_status"] != "err", Latency: took,
		})
		return nil
	})
	if err != nil {
		return Status{}, err
	}
	slices.SortFunc(s.Masters, func(a, b Master) int { return strings.Compare(a.Port, b.Port) })
	if w := r.epoch.mark.Load(); w != nil {
		s.Watermark = time.UnixMilli(w.ms).UTC()
	}
	return s, nil
}
