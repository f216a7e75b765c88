package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"cambio/gateway"
	"cambio/stops"
)

// TestStopsCheckAdvises holds that nobody is sent to restore a list that comes
// back by itself.
func TestStopsCheckAdvises(t *testing.T) {
	for says, err := range map[string]error{
		"settles":               fmt.Errorf("%w: %w", stops.ErrUnavailable, stops.ErrSettling),
		"does not answer":       fmt.Errorf("%w: %w: the copy is 6s old", stops.ErrUnavailable, stops.ErrUnreachable),
		"`cambio stop restore`": stops.ErrUnavailable,
	} {
		got := gateway.StopsCheck(err)
		if !strings.Contains(got, says) || strings.Contains(got, "restore") != strings.Contains(says, "restore") {
			t.Errorf("%v: %q", err, got)
		}
	}
}
