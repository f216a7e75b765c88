package strictyaml

import (
	"math"
	"regexp"
	"strconv"
	"time"
)

// Duration is a time span written as one number and one of s, m, h and d: 15m.
type Duration time.Duration

var durationForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,9})([smhd])$`)

// UnmarshalNode reads the span; zero is refused only by whoever needs more.
func (d *Duration) UnmarshalNode(n *Node, r *Reporter) {
	if n.Kind == String {
		if v, ok := ParseDuration(n.Text); ok {
			*d = Duration(v)
			return
		}
	}
	fix := "write one number and one of s, m, h, d, such as 15m"
	if n.Kind == Int {
		fix = "write the unit too, such as " + clip(n.Text) + "s"
	}
	r.Error(n, "duration", n.Show()+" is not a duration", fix)
}

// String is the span with the largest unit that divides it.
func (d Duration) String() string {
	seconds := int64(time.Duration(d) / time.Second)
	for _, u := range []struct {
		size int64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if seconds != 0 && seconds%u.size == 0 {
			return strconv.FormatInt(seconds/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(seconds, 10) + "s"
}

// ParseDuration reads one number and one of s, m, h and d. A day has 24 hours.
func ParseDuration(s string) (time.Duration, bool) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	count, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, false
	}
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	if count > math.MaxInt64/int64(unit) { // it would wrap round to a negative span
		return 0, false
	}
	return time.Duration(count) * unit, true
}

// Date is a day of the calendar, written YYYY-MM-DD with or without quotes.
type Date struct{ time.Time }

// UnmarshalNode reads the day as its midnight in UTC.
func (d *Date) UnmarshalNode(n *Node, r *Reporter) {
	if n.Kind == String || n.Kind == Ambiguous {
		if t, err := time.Parse(time.DateOnly, n.Text); err == nil {
			d.Time = t
			return
		}
	}
	r.Error(n, "date", n.Show()+" is not a date", "write YYYY-MM-DD, such as 2027-03-31")
}
