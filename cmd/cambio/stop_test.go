package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/gateway"
	"cambio/test/redisrig"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

type serverOf struct{}

// TestStopStories runs testdata/stop/*.txt: the kill switch of several replicas,
// on a real Redis at $REDIS. "redis VERB" does to it what happens to a Redis.
func TestStopStories(t *testing.T) {
	servers := map[string]*redisrig.Server{}
	for _, story := range []string{"redis", "serve"} {
		servers["script-"+story] = redisrig.Start(t, redisrig.Options{})
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/stop", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			server := servers[filepath.Base(e.WorkDir)] // of the story alone
			e.Setenv("REDIS", server.Addr())
			e.Values[serverOf{}] = server
			return setup(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "json": checkJSON, "jsonenv": jsonEnv, "waitready": waitReady,
			"redis": func(ts *testscript.TestScript, _ bool, args []string) {
				server := ts.Value(serverOf{}).(*redisrig.Server)
				switch args[0] {
				case "empty":
					server.RestartEmpty()
				case "kill":
					server.Kill()
				case "restart":
					server.Restart()
				case "set":
					ts.Check(server.Client().Set(t.Context(), args[1], args[2], 0).Err())
				default:
					ts.Fatalf("redis %s?", args[0])
				}
			},
		},
	})
}

// TestNothingOutlivesWhatAStopSays: a minter takes a credential that ends a minute
// after it was ordered to, as clocks differ, and it may be ordered until a stop acts.
func TestNothingOutlivesWhatAStopSays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	config := gateway.Config{Targets: map[string]gateway.Target{
		"tenant": {MaxTTL: strictyaml.Duration(90 * time.Minute)}, "orders-api": {MaxTTL: strictyaml.Duration(time.Hour)},
	}}
	for name, c := range map[string]struct {
		stop trust.Stop
		ttl  time.Duration
	}{
		"a target":  {trust.Stop{Kind: trust.StopTarget, What: "orders-api"}, time.Hour},
		"a trust":   {trust.Stop{Kind: trust.StopTrust, What: "deploy"}, 90 * time.Minute},
		"no target": {trust.Stop{Kind: trust.StopTarget, What: "gone"}, 0},
	} {
		if got, least := latest(c.stop, config, now), now.Add(5*time.Second+c.ttl+time.Minute); got.Before(least) || got.After(least.Add(time.Minute)) {
			t.Errorf("%s: %s, and credentials may end at %s", name, got, least)
		}
	}
}
