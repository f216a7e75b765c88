package main

import (
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

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
