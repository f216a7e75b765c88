package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/test/redisrig"
)

// TestStopStories runs testdata/stop/*.txt: the kill switch of several replicas,
// on a real Redis at $REDIS. "redis VERB" does to it what happens to a Redis.
func TestStopStories(t *testing.T) {
	server := redisrig.Start(t, redisrig.Options{})
	testscript.Run(t, testscript.Params{
		Dir: "testdata/stop", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REDIS", server.Addr())
			return setup(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "json": checkJSON, "jsonenv": jsonEnv,
			"redis": func(ts *testscript.TestScript, _ bool, args []string) {
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
