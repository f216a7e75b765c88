package gateway

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/stops"
	"cambio/trust"
)

const (
	redisSlow = 5 * time.Millisecond // a round trip; each exchange waits for two
	redisFull = 90                   // percent of maxmemory: with noeviction writes fail at 100
	redisPing = 5                    // round trips that are measured
)

// currentStops reads the list where this configuration has it.
func currentStops(ctx context.Context, c Config, now func() time.Time) (trust.StopSet, error) {
	if c.Redis == nil {
		return stops.Store{Dir: c.State, Now: now}.List()
	}
	client := DialRedis(c.Redis, nil)
	defer client.Close() //nolint:errcheck // it only read
	return stops.RedisStore{Client: client, Now: now}.List(ctx)
}

// redis looks at every master of the shared store.
func (e *examination) redis(ctx context.Context) []DoctorCheck {
	v, policy, disk, line := begin("redis"), begin("redis-policy"), begin("redis-persistence"), begin("redis-line")
	c := e.c.Redis
	if c == nil {
		return []DoctorCheck{skipped(v.Name, "not configured: one replica, with an embedded store")}
	}
	e.line(line)
	client := DialRedis(c, nil)
	defer client.Close() //nolint:errcheck // it only read
	var mu sync.Mutex
	nodes := 0
	look := func(ctx context.Context, node *redis.Client) error {
		info, took, err := e.node(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			return err
		}
		nodes++
		e.server(v, info, took)
		keeps(policy, info)
		persists(disk, info)
		return nil
	}
	var err error
	switch client := client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, look)
	case *redis.Client:
		err = look(ctx, client)
	default:
		err = errors.New("an unknown kind of client")
	}
	if err == nil && nodes == 0 {
		err = errors.New("it names no master")
	}
	if err != nil {
		const next = "see whether Redis runs, and its address, password and TLS; until then everything gets 503"
		see := "see the check redis"
		return []DoctorCheck{failed(v.Name, next, "mode %s: %s", c.Mode, err), skipped(policy.Name, "%s", see), skipped(disk.Name, "%s", see), line.end()}
	}
	return []DoctorCheck{v.end(), policy.end(), disk.end(), line.end()}
}

// node asks one server. It is tried three times, because the time-outs are those
// of an exchange.
func (e *examination) node(ctx context.Context, client *redis.Client) (info map[string]string, took time.Duration, err error) {
	for range 3 {
		if info, took, err = e.once(ctx, client); err == nil || ctx.Err() != nil {
			break
		}
	}
	return info, took, err
}

func (e *examination) once(ctx context.Context, client *redis.Client) (map[string]string, time.Duration, error) {
	var rounds []time.Duration
	for range redisPing {
		start := e.env.Now()
		if err := client.Ping(ctx).Err(); err != nil {
			return nil, 0, err
		}
		rounds = append(rounds, e.env.Now().Sub(start))
	}
	at, err := client.Time(ctx).Result()
	if err != nil {
		return nil, 0, err
	}
	text, err := client.Info(ctx).Result()
	if err != nil {
		return nil, 0, err
	}
	e.sample("redis", at, e.env.Now())
	slices.Sort(rounds)
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, rounds[0], nil // what is slow each time is the way, and not our own load
}

// server judges what a server is.
func (e *examination) server(v *verdict, info map[string]string, took time.Duration) {
	mode := e.c.Redis.Mode
	v.note("%s %s, %s connected replicas, %s a round trip", info["redis_version"], info["role"], info["connected_slaves"], took.Round(10*time.Microsecond))
	if info["role"] != "master" {
		v.add(DoctorFail, "name the master, or use mode: sentinel", "it is a replica: it takes no writes, and everything gets 503")
	}
	if major, _, _ := strings.Cut(info["redis_version"], "."); atoi(major) < 6 {
		v.add(DoctorWarn, "use Redis 6.2 or later", "that version is not tested")
	}
	if mode != "single" && atoi(info["connected_slaves"]) == 0 {
		v.add(DoctorFail, "bring a replica back", "no replica acknowledges: with mode %s every single-use token gets 503", mode)
	}
	if info["loading"] == "1" {
		v.add(DoctorFail, "wait", "it is still loading its data")
	}
	if took > redisSlow {
		v.add(DoctorWarn, "put Redis near the gateway", "that is slow: each exchange waits for it")
	}
}

// keeps judges whether what was remembered stays.
func keeps(v *verdict, info map[string]string) {
	switch policy := info["maxmemory_policy"]; policy {
	case "noeviction":
		v.note("noeviction")
	case "":
		v.add(DoctorWarn, "let INFO through for this user", "the server does not say its maxmemory-policy")
	default:
		// What is evicted is a used token, which is then good once more.
		v.add(DoctorFail, "CONFIG SET maxmemory-policy noeviction, and in redis.conf", "%s forgets used tokens when memory is short: a gateway does not start with it", policy)
	}
	used, limit := atoi(info["used_memory"]), atoi(info["maxmemory"])
	if limit > 0 {
		percent := used * 100 / limit
		v.note("%d%% of maxmemory used", percent)
		if percent >= redisFull {
			v.add(DoctorWarn, "raise maxmemory", "when it is full everything gets 503")
		}
	}
}

// persists judges what a restart would forget.
func persists(v *verdict, info map[string]string) {
	if info["aof_enabled"] != "1" {
		v.add(DoctorWarn, "appendonly yes in redis.conf", "no append-only file: after a restart of Redis single-use tokens are refused until fresh ones are fetched")
		return
	}
	v.note("append-only file")
	if status := info["aof_last_write_status"]; status != "" && status != "ok" {
		v.add(DoctorFail, "look at the disk of Redis", "its last write failed")
	}
}

// line judges how we talk to it.
func (e *examination) line(v *verdict) {
	c := e.c.Redis
	bare := false
	for _, addr := range c.Addrs {
		host, _, err := net.SplitHostPort(addr)
		bare = bare || err != nil || !loopbackHost(host)
	}
	switch {
	case c.TLS && c.Password != "":
		v.note("TLS and a password")
	case c.TLS:
		v.add(DoctorWarn, "give Redis a user and write password: ${env:NAME}", "TLS, and no password: whoever reaches it may lift stops")
	case !bare:
		v.note("loopback only")
	case c.Password != "":
		v.add(DoctorWarn, "write tls: true", "a password, and no TLS: whoever listens can use it")
	default:
		v.add(DoctorWarn, "write tls: true and password: ${env:NAME}", "neither TLS nor a password: whoever reaches it may lift stops, and free used tokens")
	}
}

func atoi(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
