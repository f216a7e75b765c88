package replay_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
	"cambio/replay/replaytest"
	"cambio/test/redisrig"
)

// cpu is what this process, and not Redis, has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// crowd has 64 callers do something, and reports the CPU that one call takes.
func crowd(b *testing.B, do func(i int64)) {
	b.Helper()
	var n atomic.Int64
	b.SetParallelism(32) // times GOMAXPROCS
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			do(n.Add(1))
		}
	})
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

func names(prefix string) []string {
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = replaytest.Key(prefix + string(rune(i+1)))
	}
	return keys
}

// BenchmarkRedisReserve is what a use costs with a Redis on the same machine.
func BenchmarkRedisReserve(b *testing.B) {
	for _, tt := range []struct {
		name string
		use  string
		open func(clock *shift) replica
	}{
		{"single", replay.Once, func(clock *shift) replica { return single(b, redisrig.Start(b, redisrig.Options{}).Addr(), clock) }},
		{"sentinel", replay.Once, func(clock *shift) replica { return sentinel(b, redisrig.Sentinel(b, redisrig.Options{}, 1), clock) }},
		{"cluster", replay.Once, func(clock *shift) replica { return cluster(b, redisrig.Cluster(b, redisrig.Options{}, 3, true), clock) }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			r := tt.open(&shift{})
			r.settle(b)
			keys, decision := names("bench"), replaytest.Decision(1)
			crowd(b, func(i int64) {
				res := replay.Reservation{
					Key: keys[i%int64(len(keys))], Decision: decision, Member: "orders-api", Use: tt.use, TTL: time.Hour,
					IssuedAt: r.clock.now(), ClockSkew: skew,
				}
				if _, err := r.Reserve(context.Background(), res); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkRedisClients is the same script by the client's own means, for
// comparison.
func BenchmarkRedisClients(b *testing.B) {
	s := redisrig.Start(b, redisrig.Options{})
	o := &redis.UniversalOptions{Addrs: []string{s.Addr()}}
	replay.Bound(o)
	o.PipelinePoolSize = 0
	o.PoolSize = 64
	client := redis.NewClient(o.Simple())
	defer client.Close()
	auto, err := client.AutoPipeline()
	if err != nil {
		b.Fatal(err)
	}
	keys := names("clients")
	script := redis.NewScript(`if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end redis.call('HSET', KEYS[1], 'v', ARGV[1], 'm:x', ARGV[2]) redis.call('PEXPIRE', KEYS[1], ARGV[3]) return 1`)
	if err := script.Load(b.Context(), client).Err(); err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]redis.Scripter{"plain": client, "auto": auto} {
		b.Run(name, func(b *testing.B) {
			crowd(b, func(i int64) {
				if err := script.EvalSha(context.Background(), c, keys[i%int64(len(keys)):][:1], "1c", "decision", 3600000).Err(); err != nil {
					b.Error(err)
				}
			})
		})
	}
}
