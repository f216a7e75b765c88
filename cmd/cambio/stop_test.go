package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/test/redisrig"
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
