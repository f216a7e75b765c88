package trust

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that a zone means the same on a host without zone files
)

// access is the conditional part of a trust: from where and when.
type access struct {
	networks []netip.Prefix // nil: from anywhere
	hours    []hours        // nil: at any time
}

func (a *access) fromNetwork(addr netip.Addr) bool {
	if a == nil || a.networks == nil {
		return true
	}
	// A zone is the host's own notion and proves nothing; fe80::1%eth0 would
	// else pass as fe80::1.
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap() // ::ffff:10.1.2.3 is the IPv4 caller 10.1.2.3
	for _, p := range a.networks {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (a *access) atTime(now time.Time) bool {
	if a == nil || a.hours == nil {
		return true
	}
	for i := range a.hours {
		if a.hours[i].contains(now) {
			return true
		}
	}
	return false
}

// parseNetwork reads one prefix. Host bits are refused, for 10.1.2.3/8 says two
// things; so are IPv4-mapped prefixes, which no caller would match.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("a network is an address, a slash and a length")
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("an IPv4-mapped prefix matches no caller; write it as IPv4")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("the prefix has host bits; write %s", p.Masked())
	}
	return p, nil
}

// hours is one weekly window on the local wall clock: from start, inclusive, to
// end, exclusive, in minutes of the day.
type hours struct {
	days       [7]bool // by time.Weekday
	start, end int
	zone       *time.Location
	text       string
}

// contains reads the wall clock of the zone. In the hour that a change of the
// clocks repeats, both passes are in; in the hour that it leaves out there is
// nothing to be in.
func (h *hours) contains(now time.Time) bool {
	local := now.In(h.zone)
	minute := local.Hour()*60 + local.Minute()
	return h.days[local.Weekday()] && h.start <= minute && minute < h.end
}

const (
	// maxHours bounds a window's text before it is taken apart.
	maxHours  = 128
	dayLength = 24 * 60
)

var errHours = errors.New("hours are DAYS HH:MM-HH:MM ZONE")

// parseHours reads one window.
func parseHours(s string) (hours, error) {
	if len(s) > maxHours {
		return hours{}, errHours
	}
	parts := strings.Split(s, " ")
	if len(parts) != 3 {
		return hours{}, errHours
	}
	h := hours{text: strings.Clone(s)} // s is a piece of a whole file
	for _, span := range strings.Split(parts[0], ",") {
		first, last, isRange := strings.Cut(span, "-")
		from := weekday(first)
		to := from
		if isRange {
			to = weekday(last)
		}
		if from < 0 || to < 0 {
			return hours{}, fmt.Errorf("%q is no day or range of days; write Mon, Mon-Fri or Mon,Wed", span)
		}
		if from > to {
			return hours{}, fmt.Errorf("%q runs past Sunday; write two ranges", span)
		}
		for d := from; d <= to; d++ {
			h.days[(d+1)%7] = true // Monday is 0 here and 1 in package time
		}
	}
	start, end, _ := strings.Cut(parts[1], "-")
	h.start, h.end = clock(start), clock(end)
	switch {
	case h.start < 0 || h.start == dayLength || h.end < 0:
		return hours{}, errHours
	case h.end <= h.start:
		return hours{}, errors.New("the end is not after the start; for a window past midnight write two")
	}
	// LoadLocation takes "" and "Local" too, and on many hosts the file localtime:
	// the host's own zone. Files such as right/UTC count leap seconds. No IANA name
	// begins with a small letter.
	if parts[2] == "" || parts[2] == "Local" || parts[2][0] < 'A' || parts[2][0] > 'Z' {
		return hours{}, fmt.Errorf("%q is no IANA time zone; write one such as Europe/Zurich or UTC", parts[2])
	}
	zone, err := time.LoadLocation(parts[2])
	if err != nil {
		return hours{}, fmt.Errorf("%q is no IANA time zone; write one such as Europe/Zurich or UTC", parts[2])
	}
	h.zone = zone
	return h, nil
}

// weekday is 0 for Mon to 6 for Sun, or -1.
func weekday(s string) int {
	const days = "MonTueWedThuFriSatSun"
	if len(s) != 3 {
		return -1
	}
	at := strings.Index(days, s)
	if at < 0 || at%3 != 0 {
		return -1
	}
	return at / 3
}

// clock is the minute of the day of HH:MM, 24:00 included, or -1.
func clock(s string) int {
	if len(s) != 5 || s[2] != ':' {
		return -1
	}
	hour, err := strconv.ParseUint(s[:2], 10, 8)
	minute, err2 := strconv.ParseUint(s[3:], 10, 8)
	if err != nil || err2 != nil || hour > 24 || minute > 59 || hour == 24 && minute > 0 {
		return -1
	}
	return int(hour)*60 + int(minute)
}
