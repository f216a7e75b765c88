package replay_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"cambio/replay"
)

func nonces(first byte) *replay.Nonces { return replay.NewNonces([32]byte{first}, rand.Reader) }

func TestNonces(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)
	ours := nonces(1)
	bound, err := ours.Seal("github", now)
	if err != nil {
		t.Fatal(err)
	}
	free, err := ours.Seal("", now)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opener   *replay.Nonces
		nonce    string
		provider string
		after    time.Duration
		good     bool
	}{
		"good":                {ours, bound, "github", 0, true},
		"of another replica":  {nonces(1), bound, "github", time.Minute, true},
		"for any":             {ours, free, "cluster", 0, true},
		"just in time":        {ours, bound, "github", replay.NonceLife - time.Second, true},
		"too old":             {ours, bound, "github", replay.NonceLife, false},
		"a clock behind":      {ours, bound, "github", -30 * time.Second, true},
		"from the future":     {ours, bound, "github", -31 * time.Second, false},
		"of another provider": {ours, bound, "cluster", 0, false},
		"of another gateway":  {nonces(2), bound, "github", 0, false},
		"the zero value":      {&replay.Nonces{}, bound, "github", 0, false},
		"nobody":              {nil, bound, "github", 0, false},
		"cut":                 {ours, bound[:len(bound)-4], "github", 0, false},
		"without prefix":      {ours, strings.TrimPrefix(bound, "cn1."), "github", 0, false},
		"another version":     {ours, "cn2" + bound[3:], "github", 0, false},
		"padded":              {ours, bound + "=", "github", 0, false},
		"a line break":        {ours, bound + "\n", "github", 0, false},
		"empty":               {ours, "", "github", 0, false},
		"only the prefix":     {ours, "cn1.", "github", 0, false},
		"longer than any":     {ours, "cn1." + strings.Repeat("A", 300), "github", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := c.opener.Open(c.nonce, c.provider, now.Add(c.after))
			if (err == nil) != c.good || c.good != (len(key) == 43) {
				t.Errorf("%q, %v", key, err)
			}
			if err != nil && !errors.Is(err, replay.ErrNonce) {
				t.Errorf("another error: %v", err)
			}
		})
	}
	again, err := ours.Open(bound, "github", now.Add(time.Minute))
	first, err2 := nonces(1).Open(bound, "github", now)
	if err != nil || err2 != nil || again != first {
		t.Errorf("two replicas have two keys for one nonce: %q, %q", again, first)
	}
	if longest, err := ours.Seal(strings.Repeat("a", 63), now); err != nil || len(longest) > 256 {
		t.Errorf("the longest has %d bytes, %v", len(longest), err)
	}
}

func FuzzNonce(f *testing.F) {
	now := time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)
	ours := nonces(1)
	good, err := ours.Seal("", now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("cn1.")
	f.Add(good[:len(good)-1] + "-")
	f.Add(strings.ToUpper(good))
	f.Fuzz(func(t *testing.T, nonce string) {
		if _, err := ours.Open(nonce, "p", now); err == nil && nonce != good {
			t.Errorf("%q was opened", nonce)
		}
	})
}

func BenchmarkNonce(b *testing.B) {
	now := time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)
	ours := nonces(1)
	b.ReportAllocs()
	for b.Loop() {
		n, err := ours.Seal("github", now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ours.Open(n, "github", now); err != nil {
			b.Fatal(err)
		}
	}
}
