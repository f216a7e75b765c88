package replay

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// callTimeout bounds each call to Redis: beyond it the store counts as down, and
// the request is refused while the caller still waits.
const callTimeout = 250 * time.Millisecond

// Bound sets the time-outs of a client of the store. Nothing is tried twice: a
// reservation whose answer was lost may have been made.
func Bound(o *redis.UniversalOptions) {
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = callTimeout, callTimeout, callTimeout
	o.PoolTimeout = callTimeout
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.DialerRetries = 1
}
