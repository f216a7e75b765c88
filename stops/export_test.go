package stops

import "time"

// quick is the second of tests that wait for what takes several.
const quick = 100 * time.Millisecond

// Quick looks ten times as often.
func (c RedisConfig) Quick() RedisConfig { c.poll = quick; return c }

// Quick does not wait so long.
func (s RedisStore) Quick() RedisStore { s.poll = quick; return s }
