package redisrig

import (
	"strconv"
	"strings"
	"time"
)

// Prime writes the marker of a replay store that has known this master since
// then, so that a gateway which starts finds no loss: else the first start would
// refuse single-use tokens until the clock skew is over.
func (s *Server) Prime(since time.Time) {
	s.t.Helper()
	field := func(section, name string) string {
		info, err := s.Client().Info(s.t.Context(), section).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(info) {
			if value, found := strings.CutPrefix(line, name+":"); found {
				return strings.TrimSpace(value)
			}
		}
		s.t.Fatalf("redisrig: no %s in INFO", name)
		return ""
	}
	s.Do("HSET", "cambio:1:{marker}", "v", "1", "w", strconv.FormatInt(since.UnixMilli(), 10),
		"p:"+field("server", "run_id")+":"+field("replication", "master_replid"), "1")
}
