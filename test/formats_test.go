package test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/test/redisrig"
	"cambio/test/rig"
)

// writtenAt is when the state in testdata/state-v1 was left.
func writtenAt() time.Time { return time.Date(2026, 11, 22, 9, 51, 10, 0, time.UTC) }

// copyState copies the state of the first version, with the rights that a state
// folder has: git keeps none.
func copyState(t *testing.T, to string) {
	t.Helper()
	from := filepath.Join(root, "testdata", "state-v1")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStateOfTheFirstVersion goes on with what an older version left: its keys,
// its stops, the tokens that it saw, and its journal.
func TestStateOfTheFirstVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	copyState(t, state)
	captured, err := os.ReadFile(filepath.Join(state, "checkpoints.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	journal := os.DirFS(filepath.Join(state, "journal"))
	before, err := audit.Verify(journal, audit.Options{Upto: strings.NewReader(string(captured))})
	if err != nil || len(before.Problems) > 0 || before.Records != 42 || before.Segments != 2 || before.Captured != 3 {
		t.Fatalf("the old journal: %+v, %v", before, err)
	}

	clock := rig.New(t, rig.Setup{})
	clock.Stop()
	clock.Clock.Move(time.Until(writtenAt()))
	app3 := strings.NewReplacer("tr1", "tr3", `repository_id: "2"`, `repository_id: "3"`).Replace(rig.TR1)
	r := rig.New(t, rig.Setup{Peer: clock, Dir: dir, Trusts: map[string]string{"tr1.yaml": rig.TR1, "tr3.yaml": app3}})
	r.Control()
	r.Deny(r.Exchange(r.Token(map[string]any{"repository_id": "3", "sub": "repo:acme@1/app@3:ref:refs/heads/main"})), "stopped")
	keys := r.Get(r.URL, "/keys").Raw
	for _, kid := range []string{
		"b1e30151920e40b4e862bb0ee009b0e2", "43656a2acb628c3534c74dbdb3f7cd7e", // retired
		"4591d13dfc6457b29d9da2ab06ae0770", "d692080d41cce5edd64d91c003462ca5", // active
		"22f2e8fc1e50bd4730a978f36251bb9d", "f414d85e6adfc150b41d9b14e3c5449e", // next
	} {
		if !strings.Contains(keys, kid) {
			t.Errorf("the key %s is gone", kid)
		}
	}
	// Seven of its own, and the control's.
	if metrics := r.Get(r.AdminURL, "/metrics").Raw; !strings.Contains(metrics, "cambio_remembered_tokens 8\n") {
		t.Error("the tokens that the old version saw are forgotten")
	}
	if b, err := os.ReadFile(filepath.Join(state, "format")); err != nil || string(b) != "1\n" {
		t.Errorf("the folder is marked %q, %v", b, err)
	}
	r.Restart()
	r.Control()
	r.Stop()
	after, err := audit.Verify(journal, audit.Options{Upto: strings.NewReader(string(captured) + r.Checkpoints.String())})
	if err != nil || len(after.Problems) > 0 || after.Segments != 4 || after.Records <= before.Records || after.Captured <= before.Captured {
		t.Errorf("the journal that was gone on with: %+v, %v", after, err)
	}
}

// TestNewerState: what a newer version wrote, and this one may misread, is
// refused, with what to do.
func TestNewerState(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, old, new string
		code                 int
		says                 []string
	}{
		{"state", "format", "1\n", "2\n", 1, []string{"newer version", "name another state folder"}},
		{"keys", "keys/keys.json", `"format": 1`, `"format": 99`, 3, []string{"keys.json", "format 99", "use the version"}},
		{"nonces", "keys/nonce.secret", "nonce-1", "nonce-2", 1, []string{"nonce.secret"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t, rig.Setup{Config: listenConfig(t, freeAddress(t), "")})
			r.Control()
			r.Stop()
			file := filepath.Join(r.Config.State, tt.file)
			b, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(b), tt.old) {
				t.Fatalf("%s holds %.200q, %v", tt.file, b, err)
			}
			if err := os.WriteFile(file, []byte(strings.Replace(string(b), tt.old, tt.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			got := run(t, nil, "--config", filepath.Join(r.Dir, "cambio.yaml"), "serve")
			if got.code != tt.code {
				t.Errorf("serve ended with %d, want %d", got.code, tt.code)
			}
			for _, s := range tt.says {
				if !strings.Contains(got.stderr, s) {
					t.Errorf("serve does not say %q:\n%s", s, got.stderr)
				}
			}
		})
	}
}

// TestNewerStops: a stop list of a newer version stops everything, and no command
// of this one touches it.
func TestNewerStops(t *testing.T) {
	t.Parallel()
	const newer = `{"format":2,"version":99,"stops":[],"wildcards":[]}`
	server := redisrig.Start(t, redisrig.Options{})
	server.Prime(time.Now().Add(-time.Hour))
	for _, tt := range []struct {
		name, redis string
		put         func(t *testing.T, r *rig.Rig)
		is          func(t *testing.T, r *rig.Rig) string
	}{
		{
			"file", "",
			func(t *testing.T, r *rig.Rig) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(r.Config.State, "stops.json"), []byte(newer), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			func(t *testing.T, r *rig.Rig) string {
				t.Helper()
				b, err := os.ReadFile(filepath.Join(r.Config.State, "stops.json"))
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			},
		},
		{
			"redis", fmt.Sprintf("redis: {mode: single, addrs: [%q]}", server.Addr()),
			func(*testing.T, *rig.Rig) { server.Do("SET", "cambio:1:{stops}:list", newer) },
			func(*testing.T, *rig.Rig) string { return fmt.Sprint(server.Do("GET", "cambio:1:{stops}:list")) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t, rig.Setup{Server: tt.redis})
			r.Settle()
			r.Control()
			tt.put(t, r)
			rig.Eventually(t, "refusal", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusServiceUnavailable })
			r.Unavailable(r.Exchange(r.Token(nil)), "stops-stale")
			config := filepath.Join(r.Dir, "cambio.yaml")
			for _, args := range [][]string{
				{"stop", "list"}, {"stop", "add", "target", "t1", "--reason", "r"}, {"stop", "lift", "stop-aaaaaaaa"}, {"stop", "restore"},
			} {
				if got := run(t, nil, append([]string{"--config", config}, args...)...); got.code != 1 || !strings.Contains(got.stderr, "the version of cambio that wrote the list") {
					t.Errorf("%v ended with %d\n%s", args, got.code, got.stderr)
				}
			}
			if got := tt.is(t, r); got != newer {
				t.Errorf("the list is now %s", got)
			}
			r.Unavailable(r.Exchange(r.Token(nil)), "stops-stale")
		})
	}
}

// TestNewerUses: a use that a newer replica recorded is no use to this one, and
// it does not guess.
func TestNewerUses(t *testing.T) {
	t.Parallel()
	server := redisrig.Start(t, redisrig.Options{})
	server.Prime(time.Now().Add(-time.Hour))
	r := rig.New(t, rig.Setup{Server: fmt.Sprintf("redis: {mode: single, addrs: [%q]}", server.Addr())})
	r.Settle()
	token := r.Token(nil)
	if a := r.Exchange(token); a.Status != http.StatusOK {
		t.Fatal(a.Raw)
	}
	ctx := context.WithoutCancel(t.Context())
	names, err := server.Client().Keys(ctx, "cambio:1:*:t:*").Result()
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	server.Do("HSET", names[0], "v", "2c")
	r.Unavailable(r.Exchange(token), "replay-store")
	r.Control() // other tokens have nothing to do with it
	server.Do("HSET", "cambio:1:{marker}", "v", "2")
	rig.Eventually(t, "refusal", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusServiceUnavailable })
	r.Unavailable(r.Exchange(r.Token(nil)), "replay-store")
	server.Do("HSET", "cambio:1:{marker}", "v", "1")
	rig.Eventually(t, "recovery", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusOK })
}
