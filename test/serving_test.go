package test

import (
	"context"
	"testing"
	"time"

	"cambio/test/rig"
)

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// serveRig lets a rig's gateway listen where its configuration says, as
// `cambio serve` does, until the test ends or drain is called. drain returns
// once all is answered.
func serveRig(t *testing.T, r *rig.Rig) (drain func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.Gateway.Serve(ctx, func() { close(started) }) }()
	select {
	case <-started:
	case err := <-ended:
		cancel()
		t.Fatalf("the gateway does not listen: %v", err)
	}
	drained := false
	drain = func() {
		if drained {
			return
		}
		drained = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the gateway ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the gateway does not end")
		}
	}
	t.Cleanup(drain)
	r.URL, r.AdminURL = "http://"+r.Config.Listen, "http://"+r.Config.AdminListen
	return drain
}
