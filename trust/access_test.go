package trust_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cambio/trust"
)

func at(tb testing.TB, zone, local string) time.Time {
	tb.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		tb.Fatal(err)
	}
	when, err := time.ParseInLocation("2006-01-02 15:04:05", local, loc)
	if err != nil {
		tb.Fatal(err)
	}
	return when
}

func TestHours(t *testing.T) {
	t.Parallel()
	const zurich = "Europe/Zurich"
	for _, c := range []struct {
		window string
		at     time.Time
		want   bool
	}{
		{"Mon-Fri 07:00-19:00 Europe/Zurich", at(t, zurich, "2026-11-25 07:00:00"), true},
		{"Mon-Fri 07:00-19:00 Europe/Zurich", at(t, zurich, "2026-11-25 06:59:59"), false},
		{"Mon-Fri 07:00-19:00 Europe/Zurich", at(t, zurich, "2026-11-25 18:59:59"), true},
		{"Mon-Fri 07:00-19:00 Europe/Zurich", at(t, zurich, "2026-11-25 19:00:00"), false},
		{"Mon-Fri 07:00-19:00 Europe/Zurich", at(t, zurich, "2026-11-28 12:00:00"), false},
		{"Sat-Sun 00:00-24:00 UTC", at(t, "UTC", "2026-11-29 23:59:59"), true},
		{"Sat-Sun 00:00-24:00 UTC", at(t, "UTC", "2026-11-30 00:00:00"), false},
		{"Mon,Wed,Sat-Sun 10:00-11:00 UTC", at(t, "UTC", "2026-11-25 10:30:00"), true},
		{"Mon,Wed,Sat-Sun 10:00-11:00 UTC", at(t, "UTC", "2026-11-26 10:30:00"), false},
		// The day is the zone's, not UTC's.
		{"Mon 00:00-01:00 Asia/Tokyo", at(t, "UTC", "2026-11-22 15:30:00"), true},
		// The clocks go forward at 02:00 on 2026-03-29 and back at 03:00 on
		// 2026-10-25: the wall clock rules on both sides.
		{"Sun 03:00-04:00 Europe/Zurich", at(t, "UTC", "2026-03-29 01:00:00"), true},
		{"Sun 02:00-03:00 Europe/Zurich", at(t, "UTC", "2026-03-29 01:00:00"), false},
		{"Sun 02:00-03:00 Europe/Zurich", at(t, "UTC", "2026-10-25 00:30:00"), true},
		{"Sun 02:00-03:00 Europe/Zurich", at(t, "UTC", "2026-10-25 01:30:00"), true},
		{"Sun 02:00-03:00 Europe/Zurich", at(t, "UTC", "2026-10-25 02:00:00"), false},
	} {
		got, err := trust.InHours(c.window, c.at)
		if err != nil || got != c.want {
			t.Errorf("%s at %s: %v, %v", c.window, c.at, got, err)
		}
	}
	for _, bad := range []string{
		"", "Mon", "Mon 07:00-19:00", "Mon 07:00-19:00 ", "Mon 07:00-19:00 Local", "Mon 07:00-19:00 localtime", "Mon 07:00-19:00 right/UTC", "Mon 07:00-19:00 CET/X", "mon 07:00-19:00 UTC",
		"Monday 07:00-19:00 UTC", "Fri-Mon 07:00-19:00 UTC", "Mon- 07:00-19:00 UTC", "Mon, 07:00-19:00 UTC", "Mon 7:00-19:00 UTC",
		"Mon 07:00-25:00 UTC", "Mon 07:60-19:00 UTC", "Mon 19:00-07:00 UTC", "Mon 07:00-07:00 UTC", "Mon 24:00-24:00 UTC",
		"Mon 07:00-24:01 UTC", "Mon  07:00-19:00 UTC", "Mon 07:00 - 19:00 UTC", "Mon +7:00-19:00 UTC", "Mon 07:00-19:00 ../../etc/passwd", "onT 07:00-19:00 UTC",
	} {
		if _, err := trust.InHours(bad, now()); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzHours(f *testing.F) {
	f.Add("Mon-Fri 07:00-19:00 Europe/Zurich", int64(1795000000))
	f.Add("Mon,Wed,Sat-Sun 00:00-24:00 UTC", int64(0))
	f.Fuzz(func(t *testing.T, window string, second int64) {
		when := time.Unix(second%(1<<34), 0)
		in, err := trust.InHours(window, when)
		if err != nil || !in {
			return
		}
		// The same instant in another zone is the same instant.
		if again, _ := trust.InHours(window, when.In(time.FixedZone("x", 3600))); !again {
			t.Errorf("%q depends on the zone of the clock", window)
		}
	})
}

func TestNetworksInADocument(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "fe80::1%eth0/64", "2001:db8::1/32", "0.0.0.0/-1", "example.test/8"} {
		doc := edit(t, "grants:", fmt.Sprintf("access: {networks: [%q]}\ngrants:", network))
		if p, _ := trust.Compile(world(), sources(doc), now()); p != nil {
			t.Errorf("%s is taken", network)
		}
	}
}

// TestAccessFixes holds that a finding about access says once what to write, and the
// best that is known.
func TestAccessFixes(t *testing.T) {
	t.Parallel()
	for access, fix := range map[string]string{
		"networks: [10.0.0.1/8]":                   "write 10.0.0.0/8",
		"networks: [10.0.0.1]":                     "write one such as 10.0.0.0/8",
		"hours: 9-17":                              "write one such as Mon-Fri 07:00-19:00 Europe/Zurich",
		"hours: Mon 22:00-06:00 Europe/Zurich":     "for a window past midnight write two",
		"hours: Fri-Mon 07:00-19:00 Europe/Zurich": "write two ranges",
	} {
		_, findings := trust.Compile(world(), sources(edit(t, "grants:", "access: {"+access+"}\ngrants:")), now())
		if len(findings) != 1 || findings[0].Fix != fix || strings.Contains(findings[0].Message, ";") {
			t.Errorf("%s: %v, want the fix %q", access, findings, fix)
		}
	}
}
