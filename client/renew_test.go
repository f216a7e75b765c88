package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cambio/client"
)

const restarted = `{"error":"invalid_request","error_description":"Fetch a fresh token: this one was issued before the replay store restarted.","decision_id":"d-7"}`

// TestTooOld holds that a token from before a loss of the replay store is
// replaced where the client fetches it, and nowhere else.
func TestTooOld(t *testing.T) {
	for name, tt := range map[string]struct {
		replies  []string // of each attempt; the last one repeats
		fixed    bool
		attempts int
		took     time.Duration
		again    bool // what the refusal says at the end
		ok       bool
	}{
		"minted":           {replies: []string{restarted, granted}, attempts: 2, took: time.Second, ok: true},
		"minted, for ever": {replies: []string{restarted}, attempts: 6, took: 31 * time.Second, again: true},
		"fixed":            {replies: []string{restarted, granted}, fixed: true, attempts: 1},
		"another refusal": {
			replies:  []string{strings.Replace(restarted, "Fetch", "Do not fetch", 1), granted},
			attempts: 1,
		},
		"another refusal later": {
			replies:  []string{restarted, strings.Replace(restarted, "Fetch", "Do not fetch", 1)},
			attempts: 2, took: time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, audiences := minting()
				source.PerAudience = !tt.fixed
				c := connect(sealing(t,
					func(w http.ResponseWriter, n int) { answer(w, http.StatusOK, nonceOf(fmt.Sprintf("cn1.%d", n))) },
					func(w http.ResponseWriter, _ url.Values, n int) {
						body := tt.replies[min(n, len(tt.replies))-1]
						status := http.StatusBadRequest
						if body == granted {
							status = http.StatusOK
						}
						answer(w, status, body)
					}))
				start := time.Now()
				_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source)
				if took := time.Since(start); took != tt.took || len(*audiences) != tt.attempts || (err == nil) != tt.ok {
					t.Errorf("%v after %d tokens and %v, want %d and %v", err, len(*audiences), took, tt.attempts, tt.took)
				}
				var refusal *client.Refusal
				if errors.As(err, &refusal) && refusal.Retryable() != tt.again {
					t.Errorf("retryable is %v: %v", refusal.Retryable(), err)
				}
			})
		})
	}
}

// TestWaiting holds that a wait is told before it begins, and that nothing is
// told where none follows.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		var waits []time.Duration
		start := time.Now()
		c := client.Client{
			Server: "https://id.acme.example", HTTP: &http.Client{Transport: broken{&tried}},
			Waiting: func(err error, wait time.Duration) {
				if len(waits) == 0 && time.Since(start) != 0 {
					t.Errorf("told after %v", time.Since(start))
				}
				if !errors.Is(err, client.ErrUnreachable) {
					t.Errorf("told of %v", err)
				}
				waits = append(waits, wait)
			},
		}
		_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting())
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}
		if err == nil || !slices.Equal(waits, want) {
			t.Errorf("%v, waits %v, want %v", err, waits, want)
		}
	})
	c := connect(gateway(t, func(w http.ResponseWriter, _ url.Values, _ int) {
		w.Header().Set("Retry-After", "3600")
		answer(w, http.StatusServiceUnavailable, `{}`)
	}))
	c.Waiting = func(error, time.Duration) { t.Error("told of a wait that does not come") }
	if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting()); err == nil {
		t.Error("no error")
	}
}

// TestAudienceAdvice holds that a guess at the audience is called one.
func TestAudienceAdvice(t *testing.T) {
	for _, tt := range []struct{ audience, server, want string }{
		{"cambio", "https://id.acme.example", "The token's audience must be cambio."},
		{"", "https://id.acme.example", "The token's audience is usually the gateway's URL, here https://id.acme.example; whoever runs the gateway knows."},
		{"", "", "The token's audience is usually the gateway's URL; whoever runs the gateway knows."},
	} {
		env := machine{}.env()
		env.Audience, env.Server = tt.audience, tt.server
		var nothing *client.NoIdentityError
		if _, err := client.Detect(t.Context(), env); !errors.As(err, &nothing) || !strings.HasSuffix(nothing.Advice, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
