package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
)

// manyProviders is how many identity providers a platform team comes to: one for
// each cluster, and for each customer's issuer.
const manyProviders = 1000

// manyFigures are those of a gateway with many identity providers.
type manyFigures struct {
	Started  float64 `json:"start_s"`
	Provider float64 `json:"bytes_each"`
	// All were first asked at the same moment; then again, within Spread, in at most
	// Busiest at one look of the gateway, and Flights at the same time.
	Spread  float64 `json:"spread_s"`
	Busiest int     `json:"most_at_a_look"`
	Flights int     `json:"most_at_once"`
}

// many measures a start with a thousand identity providers of mixed types, what one
// of them costs in memory, and how their fetches lie apart.
func (b *bench) many(ctx context.Context, f *figures) error {
	one, _, err := b.idle(ctx, setup{name: "provider", trusts: someTrusts}, 0, 1)
	if err != nil {
		return err
	}
	all, started, err := b.idle(ctx, setup{name: "providers", trusts: someTrusts, providers: mixedProviders(manyProviders)}, 0, 3)
	if err != nil {
		return err
	}
	f.many.Started, f.many.Provider = started.Seconds(), float64(all-one)/manyProviders
	return fetches(ctx, &f.many)
}

// mixedProviders are lines of a configuration. Nobody is called: what they would
// fetch they fetch when a token comes.
func mixedProviders(n int) string {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "  p-%d: ", i)
		aud := fmt.Sprintf("https://id-%d.bench.example", i)
		switch i % 5 {
		case 0:
			fmt.Fprintf(&lines, "{type: github-actions, audience: %q}\n", aud)
		case 1:
			fmt.Fprintf(&lines, "{type: gcp, audience: %q}\n", aud)
		case 2:
			fmt.Fprintf(&lines, "{type: gitlab-ci, issuer: \"https://gitlab-%d.bench.example\", audience: %q}\n", i, ours)
		case 3:
			fmt.Fprintf(&lines, "{type: kubernetes, issuer: \"https://cluster-%d.bench.example\", audience: %q}\n", i, ours)
		default:
			fmt.Fprintf(&lines, "{type: oidc, issuer: \"https://idp-%d.bench.example\", audience: %q, claims: {project: {type: string, anchor: true}}, workload: [project]}\n", i, ours)
		}
	}
	return lines.String()
}

// counted is an internet of identity providers: one server, and an issuer for each
// path.
type counted struct {
	url string

	mu        sync.Mutex
	fetched   int
	now, most int
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.fetched++
	c.mu.Unlock()
	time.Sleep(20 * time.Millisecond) // as far away as identity providers are
	// A key that nobody signs with: it is the fetch that counts.
	_, _ = io.WriteString(w, `{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "use": "sig",
		"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	c.mu.Lock()
	c.now--
	c.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
}

func (c *counted) reset() (fetched int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fetched, c.fetched = c.fetched, 0
	return fetched
}

// fetches has all providers asked at once, and then lets ten minutes pass on a clock
// of its own, in the steps in which the gateway looks for what is no longer fresh.
func fetches(ctx context.Context, f *manyFigures) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	internet := &counted{url: "http://" + listener.Addr().String()}
	server := &http.Server{Handler: internet, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer server.Close()                       //nolint:errcheck // the run ends with it

	var clock sync.Mutex
	now := time.Now()
	pass := func(d time.Duration) time.Time {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(d)
		return now
	}
	landed := make(chan struct{}, manyProviders)
	config := oidc.Config{
		TrustDomain: "id.bench.example", Now: func() time.Time { return pass(0) }, Log: slog.New(slog.DiscardHandler),
		Fetched: func(string, trust.Reason) { landed <- struct{}{} },
	}
	for i := range manyProviders {
		issuer := fmt.Sprintf("%s/%d", internet.url, i)
		config.Providers = append(config.Providers, oidc.Provider{
			Name: fmt.Sprintf("p-%d", i), Type: "oidc", Issuer: issuer, Audiences: []string{ours}, JWKSURL: issuer + "/keys",
			InsecureLoopback: true, Algs: []string{"ES256"},
		})
	}
	set, err := providers.New(config)
	if err != nil {
		return err
	}
	var asked sync.WaitGroup
	for _, p := range config.Providers {
		asked.Go(func() {
			// A token that proves nothing: to find that out its keys are needed.
			_, _ = set.Verify(ctx, exchange.Subject{Token: unproven(p.Issuer, pass(0))})
		})
	}
	asked.Wait()
	if n := internet.reset(); n != manyProviders {
		return fmt.Errorf("%d fetches for %d providers", n, manyProviders)
	}
	for range manyProviders {
		<-landed
	}
	const look = 5 * time.Second // as the gateway does
	total, first, last := 0, time.Duration(-1), time.Duration(0)
	for at := look; at <= 10*time.Minute+look; at += look {
		pass(look)
		set.Refresh(ctx)
		if at < 8*time.Minute {
			continue // nothing is due; what is fetched all the same is counted below
		}
		n, err := land(internet, landed)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if total += n; first < 0 {
			first = at
		}
		last, f.Busiest = at, max(f.Busiest, n)
	}
	if total != manyProviders {
		return fmt.Errorf("%d of %d key sets were fetched again", total, manyProviders)
	}
	f.Spread, f.Flights = (last - first).Seconds(), internet.most
	return nil
}

// land waits until nothing is under way any more, and counts what was.
func land(internet *counted, landed <-chan struct{}) (int, error) {
	n, quiet := 0, time.NewTimer(100*time.Millisecond)
	defer quiet.Stop()
	for {
		select {
		case <-landed:
			n++
			quiet.Reset(100 * time.Millisecond)
		case <-quiet.C:
			if fetched := internet.reset(); fetched != n {
				return n, fmt.Errorf("%d fetches, of which %d ended", fetched, n)
			}
			return n, nil
		}
	}
}

// unproven is a token of this issuer that nobody signed.
func unproven(issuer string, now time.Time) string {
	b64 := base64.RawURLEncoding.EncodeToString
	head, _ := json.Marshal(map[string]any{"alg": "ES256", "kid": "k"}) //nolint:errchkjson // texts
	payload, _ := json.Marshal(map[string]any{                          //nolint:errchkjson // texts and numbers
		"iss": issuer, "aud": ours, "sub": "s", "project": "p", "iat": now.Unix(), "exp": now.Unix() + 60,
	})
	return b64(head) + "." + b64(payload) + "." + b64(make([]byte, 64))
}

func (f *figures) printMany(out io.Writer) {
	m := f.many
	fmt.Fprintf(out, "start with %d identity providers: %.2f s; %.0f bytes each\n", manyProviders, m.Started, m.Provider)
	fmt.Fprintf(out, "their key sets, first fetched all at once: again within %.0f s, at most %d at a look, %d at once\n", m.Spread, m.Busiest, m.Flights)
}
