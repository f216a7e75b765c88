package oidc_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cambio/providers/oidc"
)

// internet answers every fetch after a while, and keeps count.
type internet struct {
	takes time.Duration
	body  []byte

	mu        sync.Mutex
	now, most int // fetches in flight
	at        []time.Time
	urls      map[string]int
	shortest  time.Duration // how long each fetch had, at the least
}

func (n *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.now++
	n.most = max(n.most, n.now)
	n.at = append(n.at, time.Now())
	n.urls[r.URL.String()]++
	if end, ok := r.Context().Deadline(); ok {
		if left := time.Until(end); n.shortest == 0 || left < n.shortest {
			n.shortest = left
		}
	}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.now--
		n.mu.Unlock()
	}()
	t := time.NewTimer(n.takes)
	defer t.Stop()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-t.C:
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(n.body)), Request: r}, nil
}

// TestSpread: a thousand providers that were first asked at the same moment are not
// asked again at the same moment, and never more than 32 at once.
func TestSpread(t *testing.T) {
	const all = 1000
	body := keySet(jwk("k1", keys().rsa, nil)) // before the bubble: keys take their time
	synctest.Test(t, func(t *testing.T) {
		n := &internet{takes: 100 * time.Millisecond, body: body, urls: map[string]int{}}
		s, first := oidc.Sources(all, time.Now, n)
		for _, ask := range first {
			ask()
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s.Known() != all || len(n.at) != all || n.most != 32 {
			t.Fatalf("%d key sets after %d fetches, %d at once", s.Known(), len(n.at), n.most)
		}
		n.at, n.most = nil, 0
		// The gateway looks each 5 s.
		for range 10 * 60 / 5 {
			time.Sleep(5 * time.Second)
			s.Refresh(context.Background())
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(n.at) != all || n.most > 32 {
			t.Errorf("%d fetches, %d at once", len(n.at), n.most)
		}
		for url, times := range n.urls {
			if times != 2 {
				t.Errorf("%s was fetched %d times", url, times)
			}
		}
		if spread := n.at[len(n.at)-1].Sub(n.at[0]); spread < 90*time.Second {
			t.Errorf("all were asked within %s", spread)
		}
		busiest := map[int64]int{}
		for _, at := range n.at {
			busiest[at.Unix()/5]++
		}
		for _, times := range busiest {
			if times > 80 {
				t.Errorf("%d fetches within 5 s", times)
			}
		}
	})
}

// TestWait: who waits for a place has all of its time once it has one; who gets none
// is told so.
func TestWait(t *testing.T) {
	body := keySet(jwk("k1", keys().rsa, nil))
	for takes, known := range map[time.Duration]int{
		4900 * time.Millisecond: 64, // the second 32 wait for as long as the first ones take
		2400 * time.Millisecond: 96, // and the third ones for both
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &internet{takes: takes, body: body, urls: map[string]int{}}
			s, first := oidc.Sources(100, time.Now, n)
			for _, ask := range first {
				ask()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if s.Known() != known || n.most != 32 || n.shortest < 5*time.Second {
				t.Errorf("%s each: %d key sets, %d at once, with %s at the least", takes, s.Known(), n.most, n.shortest)
			}
		})
	}
}
