package prove

import (
	"fmt"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"

	"cambio/trust"
	"cambio/trust/logic"
)

// clockOf is what a clock on the wall, in UTC or a zone, shows at an instant.
func clockOf(name string, args []term) value {
	n, ok := args[0].(number)
	if !ok || n.kind != instant || n.y != "" || n.add != 0 || n.unit != 1 {
		return only(opaque{})
	}
	zone := time.UTC
	if len(args) == 2 {
		s, ok := args[1].(types.String)
		if !ok {
			return only(opaque{})
		}
		var err error
		if zone, err = time.LoadLocation(string(s)); err != nil || s == "" || s == "Local" {
			return only(opaque{}) // an offset such as +01:00, or an error
		}
	}
	// Zones keep whole quarters of an hour, by now and from now on.
	hour, day := logic.Step{Every: 15 * time.Minute}, logic.Step{Every: 15 * time.Minute, Years: 28}
	w := wallClock{x: n.x, id: name + " " + zone.String()}
	in := func(step logic.Step, show func(time.Time) int) value {
		w.step = step
		w.show = func(t time.Time) int64 { return int64(show(t.In(zone))) }
		return only(w)
	}
	switch name {
	case "getHours":
		return in(hour, time.Time.Hour)
	case "getMinutes":
		return in(logic.Step{Every: time.Minute}, time.Time.Minute)
	case "getDayOfWeek":
		return in(hour, func(t time.Time) int { return int(t.Weekday()) })
	case "getDate":
		return in(day, time.Time.Day)
	case "getDayOfMonth":
		return in(day, func(t time.Time) int { return t.Day() - 1 })
	case "getDayOfYear":
		return in(day, func(t time.Time) int { return t.YearDay() - 1 })
	case "getMonth":
		return in(day, func(t time.Time) int { return int(t.Month()) - 1 })
	case "getFullYear":
		w.starts = func(year int64) (time.Time, bool) {
			return time.Date(int(year), 1, 1, 0, 0, 0, 0, zone), year > 1700 && year < 2261
		}
		return in(day, time.Time.Year)
	}
	return only(opaque{})
}

// atMost says when the clock shows at most n.
func (w wallClock) atMost(n int64) (logic.Formula, bool) {
	if w.starts != nil {
		next, ok := w.starts(n + 1)
		if !ok {
			return logic.False(), false
		}
		return logic.AtMost(w.x, next.UnixNano()-1), true
	}
	id := fmt.Sprintf("%s <= %d", w.id, n)
	return logic.Clock(w.x, id, func(t time.Time) bool { return w.show(t) <= n }, w.step), true
}

// within is the time being in one of the windows of access.
func within(hours []trust.Hours) logic.Formula {
	any := make([]logic.Formula, len(hours))
	for i, h := range hours {
		step := logic.Step{Every: time.Minute}
		if h.Start%15 == 0 && h.End%15 == 0 {
			step.Every = 15 * time.Minute
		}
		any[i] = logic.Clock(timeVar, "hours "+h.Text+" "+strconv.Itoa(h.Start), h.Contains, step)
	}
	return logic.Or(any...)
}
