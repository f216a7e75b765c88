package replay

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"
	"unique"
)

const (
	// maxTokens bounds the memory to about 600 MB. It is what 60 exchanges a
	// second, each with a token of its own that lives a day, need; and an hour of
	// 1,400 a second.
	maxTokens = 5_000_000
	// maxMembers bounds how many grants one token is used for: they are searched
	// one by one.
	maxMembers = 1000
	// shards is how many locks share the load.
	shards = 64
	// sweepStep is how many tokens each new one looks at for some that have
	// expired: with four, the store shrinks once a quarter of it has.
	sweepStep = 4
)

// Memory is the store of a gateway that has no other replica. It forgets with
// its process: what must outlive it is in the journal, see [Memory.Remember].
// It is safe for concurrent use.
type Memory struct {
	now    func() time.Time
	start  time.Time
	limit  int // tokens a shard
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	index  int // the order of locking
	mu     sync.Mutex
	tokens map[tokenKey]token
	swept  int64 // when a full shard was last searched whole, in seconds since start
}

// token is one used token. It is kept small: there may be millions.
type token struct {
	use           // the first
	more   *[]use // the others; nil: none
	until  uint32 // seconds since start
	closed bool
}

type use struct {
	decision decisionID            // zero: of several decisions, not to be released
	member   unique.Handle[string] // members are few and tokens many
}

// NewMemory returns an empty store. Expiry is measured by the difference of two
// readings of now, which with time.Now is the monotonic clock: to set the wall
// clock neither revives a token nor forgets one.
func NewMemory(now func() time.Time) *Memory {
	return newMemory(now, maxTokens)
}

func newMemory(now func() time.Time, limit int) *Memory {
	m := &Memory{now: now, start: now(), limit: (limit + shards - 1) / shards, seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].index = i
		m.shards[i].tokens = make(map[tokenKey]token)
	}
	return m
}

// Reserve takes one use of a token, and of its nonce where it has one, in one
// atomic step. It reports false when the rule does not allow another use. On an
// error nothing may be issued.
func (m *Memory) Reserve(_ context.Context, r Reservation) (bool, error) {
	key, nonce, decision, err := r.parse()
	if err != nil {
		return false, err
	}
	now := m.seconds()
	want := use{decision, unique.Make(r.Member)}
	s := m.shard(key)
	if r.Nonce == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return m.reserve(s, key, want, r, now, 1)
	}
	n := m.shard(nonce)
	defer m.lock(s, n)()
	if t, known := n.tokens[nonce]; known && t.until > now {
		return false, nil
	} else if !known {
		n.sweep(now)
		if !n.room(m.limit, now, 1) {
			return false, ErrFull
		}
	}
	need := 1
	if s == n {
		need = 2
	}
	if ok, err := m.reserve(s, key, want, r, now, need); !ok {
		return false, err
	}
	n.tokens[nonce] = token{use: want, until: later(now, r.nonceTTL()), closed: true}
	return true, nil
}

// reserve takes one use of a token in a shard that is locked, and has room for
// as many new tokens as are needed.
func (m *Memory) reserve(s *shard, key tokenKey, want use, r Reservation, now uint32, need int) (bool, error) {
	t, known := s.tokens[key]
	if !known {
		s.sweep(now)
	}
	if known && t.until <= now {
		t, known = token{}, false
	}
	if !known && !s.room(m.limit, now, need) {
		return false, ErrFull
	}
	if known {
		present := t.find(want.member)
		switch {
		case t.closed, r.Use == Once, r.Use == OncePerGrant && present != nil:
			return false, nil
		case present != nil:
			// Two decisions rest on this mark: neither may take it away any more.
			if present.decision != want.decision {
				present.decision = decisionID{}
			}
		case t.count() >= maxMembers:
			return false, fmt.Errorf("%w: one token for more than %d grants", ErrFull, maxMembers)
		default:
			t.add(want)
		}
	} else {
		t = token{use: want}
	}
	t.closed = r.Use == Once
	t.until = max(t.until, later(now, r.TTL))
	s.tokens[key] = t
	return true, nil
}

// Release undoes what this decision reserved, the nonce too, and nothing else. To
// release what is not there is no error.
func (m *Memory) Release(_ context.Context, r Reservation) error {
	key, nonce, decision, err := r.parseRelease()
	// The zero decision is nobody's: what several rest on stays.
	if err != nil || decision == (decisionID{}) {
		return err
	}
	s := m.shard(key)
	if r.Nonce == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release(key, decision)
		return nil
	}
	n := m.shard(nonce)
	defer m.lock(s, n)()
	s.release(key, decision)
	n.release(nonce, decision)
	return nil
}

// release undoes what a decision reserved in a shard that is locked.
func (s *shard) release(key tokenKey, decision decisionID) {
	t, known := s.tokens[key]
	if !known {
		return
	}
	kept := make([]use, 0, t.count())
	for _, u := range t.all() {
		if u.decision != decision {
			kept = append(kept, u)
		}
	}
	switch {
	case len(kept) == 0:
		delete(s.tokens, key)
	case len(kept) < t.count():
		// Only a first use closes a token, so what others reserved left it open.
		t.use, t.more = kept[0], nil
		if len(kept) > 1 {
			rest := kept[1:]
			t.more = &rest
		}
		s.tokens[key] = t
	}
}

// lock takes the locks of a token and of its nonce, always in the order of the
// shards, so that two reservations cannot wait for each other. It returns what
// gives them back.
func (m *Memory) lock(a, b *shard) (unlock func()) {
	if a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	if a.index > b.index {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return func() {
		b.mu.Unlock()
		a.mu.Unlock()
	}
}

// Remember takes in records of an earlier process. Those that have expired are
// left out; for one that is there already, both hold.
func (m *Memory) Remember(records []Record) error {
	wall, now := m.now(), m.seconds()
	for _, r := range records {
		ttl := r.Until.Sub(wall)
		if ttl <= 0 {
			continue
		}
		key, decision, err := parse(r.Key, r.Decision)
		if err != nil {
			return err
		}
		members := r.Members
		if len(members) == 0 {
			members = []string{""}
		}
		s := m.shard(key)
		s.mu.Lock()
		t, known := s.tokens[key]
		if !known && !s.room(m.limit, now, 1) {
			s.mu.Unlock()
			return ErrFull
		}
		for _, name := range members {
			member := unique.Make(name)
			switch present := t.find(member); {
			case !known:
				t, known = token{use: use{decision, member}}, true
			case present == nil:
				t.add(use{decision, member})
			case present.decision != decision:
				present.decision = decisionID{}
			}
		}
		t.closed = t.closed || r.Closed
		t.until = max(t.until, later(now, ttl))
		s.tokens[key] = t
		s.mu.Unlock()
	}
	return nil
}

// Snapshot returns what must still be remembered, one record for each token and
// decision. It forgets what has expired.
func (m *Memory) Snapshot() []Record {
	wall, now := m.now(), m.seconds()
	var records []Record
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for key, t := range s.tokens {
			if t.until <= now {
				delete(s.tokens, key)
				continue
			}
			records = t.records(records, key, wall.Add(time.Duration(t.until-now)*time.Second))
		}
		s.mu.Unlock()
	}
	return records
}

// Len returns how many tokens are held, with those that have expired and were
// not swept yet.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.tokens)
		s.mu.Unlock()
	}
	return n
}

// seconds is the time since start, on the monotonic clock where now has one.
func (m *Memory) seconds() uint32 {
	return uint32(min(max(m.now().Sub(m.start)/time.Second, 0), math.MaxUint32))
}

// later is now and ttl, rounded up, and one second more for the part of a second
// that now has cut off: a token is never forgotten early.
func later(now uint32, ttl time.Duration) uint32 {
	seconds := uint64(now) + uint64((ttl+time.Second-1)/time.Second) + 1 //nolint:gosec // ttl is above zero
	return uint32(min(seconds, math.MaxUint32))
}

func (m *Memory) shard(key tokenKey) *shard {
	return &m.shards[maphash.Bytes(m.seed, key[:])%shards]
}

// sweep looks at a few tokens and forgets those that have expired. Go's maps are
// read from a random place, so that over many calls all are looked at.
func (s *shard) sweep(now uint32) {
	looked := 0
	for key, t := range s.tokens {
		if t.until <= now {
			delete(s.tokens, key)
		}
		if looked++; looked >= sweepStep {
			return
		}
	}
}

// room reports whether as many more tokens as are needed may be held. A full shard
// is searched for expired ones at most once a second.
func (s *shard) room(limit int, now uint32, need int) bool {
	if len(s.tokens)+need <= limit {
		return true
	}
	if s.swept == int64(now)+1 {
		return false
	}
	s.swept = int64(now) + 1
	for key, t := range s.tokens {
		if t.until <= now {
			delete(s.tokens, key)
		}
	}
	return len(s.tokens)+need <= limit
}

func (t *token) count() int {
	if t.more == nil {
		return 1
	}
	return 1 + len(*t.more)
}

func (t *token) all() []use {
	all := []use{t.use}
	if t.more != nil {
		all = append(all, *t.more...)
	}
	return all
}

// find returns the use for a member, or nil.
func (t *token) find(member unique.Handle[string]) *use {
	if t.member == member {
		return &t.use
	}
	if t.more != nil {
		for i := range *t.more {
			if (*t.more)[i].member == member {
				return &(*t.more)[i]
			}
		}
	}
	return nil
}

func (t *token) add(u use) {
	if t.more == nil {
		t.more = &[]use{u}
		return
	}
	*t.more = append(*t.more, u)
}

// records appends the token's records, one for each decision.
func (t *token) records(to []Record, key tokenKey, until time.Time) []Record {
	first := len(to)
	for _, u := range t.all() {
		decision, found := u.decision.String(), false
		for i := first; i < len(to) && !found; i++ {
			if found = to[i].Decision == decision; found {
				to[i].Members = append(to[i].Members, u.member.Value())
			}
		}
		if !found {
			to = append(to, Record{
				Key: base64.RawURLEncoding.EncodeToString(key[:]), Decision: decision,
				Members: []string{u.member.Value()}, Closed: t.closed, Until: until,
			})
		}
	}
	return to
}
