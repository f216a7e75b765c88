package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// parts is in how many parts the tokens of a cluster are. All of a part have one
// tag and lie in one slot, and with them its own marker: since when that part is
// whole. So the script that takes a token finds, in the same step, that its shard
// was flushed, or that its slots were given to another master, be it one that we
// know: the run ids tell of neither. Where slots are moved with what is in them,
// the markers move along. There are enough of them that each of a dozen shards has
// some, and few enough to look at all each second.
const parts = 256

// lookAtParts looks at the markers of all parts, and at what masters there still
// are. A part without a marker has lost its memory. So may have the slots of a
// master that is gone and that none continues: whoever holds them now may have
// held them before, with what he knew then. Both set the watermark to now.
func (r *Redis) lookAtParts(ctx context.Context, met []memory) error {
	since, err := r.readParts(ctx)
	if err != nil {
		return err
	}
	missing := false
	for _, ms := range since {
		if ms < 0 {
			missing = true
			continue
		}
		// Higher than ours: another replica of ours set it since, or the marker lost it.
		r.raise(ctx, ms, "")
	}
	gone := r.epoch.gone(met)
	if err := r.join(ctx, r.cluster, memory{}, missing || len(gone) > 0, gone...); err != nil {
		return err
	}
	r.epoch.forget(gone)
	// The watermark before the parts: a part never says that it is whole before all
	// know since when.
	mark := r.epoch.now()
	pipe := r.cluster.Pipeline()
	for i, ms := range since {
		name := partName(strconv.Itoa(i))
		switch {
		case ms < 0: // unless another replica of ours was faster
			pipe.SetArgs(ctx, name, mark.text, redis.SetArgs{Mode: "NX"})
		case ms > mark.ms: // it was further ahead than any clock
			pipe.Set(ctx, name, mark.text, 0)
		}
	}
	cmds, _ := pipe.Exec(ctx) // each command has its own error
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return wrap(err)
		}
	}
	return nil
}

// readParts reads since when each part is whole, in ms; -1: it does not say.
func (r *Redis) readParts(ctx context.Context) ([]int64, error) {
	pipe := r.cluster.Pipeline()
	cmds := make([]*redis.StringCmd, parts)
	for i := range cmds {
		cmds[i] = pipe.Get(ctx, partName(strconv.Itoa(i)))
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	since := make([]int64, parts)
	for i, c := range cmds {
		text, err := c.Result()
		if errors.Is(err, redis.Nil) {
			since[i] = -1
			continue
		}
		if err != nil {
			return nil, wrap(err)
		}
		if since[i], err = strconv.ParseInt(text, 10, 64); err != nil || since[i] < 0 {
			return nil, fmt.Errorf("%w: the marker of a part", ErrFormat)
		}
	}
	return since, nil
}
