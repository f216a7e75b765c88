//go:build chaos

package chaos

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cambio/audit"
	"cambio/standin"
	"cambio/test/rig"
)

const (
	// patience is how long a recovery may take. It is generous, for a slow machine:
	// the table says how long it took.
	patience = 30 * time.Second
	// slow is how long an answer may take, whatever is broken.
	slow = 5 * time.Second
	// pace is the time between two fresh tokens of a load: with each shown eight
	// times, some hundred exchanges a second.
	pace = 20 * time.Millisecond
)

// answer is what an exchange came to.
type answer int

const (
	allowed     answer = iota // 200
	unavailable               // 503 with Retry-After
	used                      // 400: this token was already used
	restarted                 // 400: older than the replay store's memory
	denied                    // 400: the fixed sentence
	unanswered                // no answer came
	strange                   // anything else
	answers
)

// counts are what a load came to.
type counts struct {
	requests int
	by       [answers]int
	doubles  int // items that were used twice
	slowest  time.Duration
}

func (c counts) minus(o counts) counts {
	c.requests -= o.requests
	c.doubles -= o.doubles
	for i := range c.by {
		c.by[i] -= o.by[i]
	}
	return c
}

func (c counts) plus(o counts) counts {
	c.requests += o.requests
	c.doubles += o.doubles
	c.slowest = max(c.slowest, o.slowest)
	for i := range c.by {
		c.by[i] += o.by[i]
	}
	return c
}

// item is what may be used once: a token, or several with one nonce.
type item struct {
	repository string
	tokens     []string
	made       time.Time
	by         [answers]int
	first      [answers]int // of the first four, which come at once
	got        []credential
}

// credential is what was received.
type credential struct{ decision, jti, replica, token string }

func (c credential) String() string { return c.jti + " by decision " + c.decision + " of " + c.replica }

// load shows tokens to both replicas until it is ended.
type load struct {
	site *site
	t    *testing.T

	mu     sync.Mutex
	counts counts
	items  []*item
	faults int
	lossy  bool                 // an answer may be lost: a replica goes down
	banned map[string]time.Time // repositories that get nothing from then on
	good   []span               // times when nothing was broken

	ctx  context.Context //nolint:containedctx // ends the load
	halt context.CancelFunc
	busy sync.WaitGroup
}

type span struct{ from, to time.Time }

func newLoad(s *site) *load {
	l := &load{site: s, t: s.t, banned: map[string]time.Time{}}
	l.ctx, l.halt = context.WithCancel(context.Background())
	return l
}

// startLoad begins to show tokens.
func startLoad(s *site) *load {
	l := newLoad(s)
	l.busy.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.ctx.Done():
				return
			case <-tick.C:
			}
			repository := app
			switch n % 8 {
			case 3:
				repository = stopped
			case 7:
				repository = late
			}
			l.busy.Go(func() { l.live(repository, n%10 == 0) })
		}
	})
	return l
}

// live makes an item and shows it: to both replicas, twice at once to each, and
// again at times that a fault may lie between.
func (l *load) live(repository string, nonce bool) {
	it, err := l.make(repository, nonce)
	if err != nil {
		if nonce && l.isLossy() {
			return // a replica that is down gives no nonce
		}
		l.fault("no token: %v", err)
		return
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { l.show(it, i, l.site.replicas[i%2]) })
	}
	wg.Wait()
	l.mu.Lock()
	it.first = it.by
	l.mu.Unlock()
	for i, after := range []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond} {
		timer := time.NewTimer(after)
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			timer.Stop()
		}
		l.show(it, i, l.site.replicas[below(2)])
	}
}

func below(n int64) int64 {
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		panic(err) // the system has no randomness
	}
	return i.Int64()
}

// make signs a token as GitHub does, or two that hold one nonce.
func (l *load) make(repository string, nonce bool) (*item, error) {
	audience, n := "https://gw.test", 1
	if nonce {
		value, err := nonceOf(l.site.replicas[below(2)])
		if err != nil {
			return nil, err
		}
		audience, n = audience+"?nonce="+value, 2
	}
	it := &item{repository: repository, made: time.Now()}
	for range n {
		now := it.made.Unix()
		payload, err := json.Marshal(map[string]any{
			"iss": l.site.idp.Issuer(), "aud": audience, "sub": "repo:acme@1/app@" + repository + ":ref:refs/heads/main",
			"jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 300,
			"repository_id": repository, "repository_owner_id": "1", "repository": "acme/app", "repository_owner": "acme",
			"ref": "refs/heads/main", "event_name": "push",
		})
		if err != nil {
			return nil, err
		}
		token, err := l.site.idp.Sign(standin.JWS{Payload: payload, Key: "k1", Alg: "RS256"})
		if err != nil {
			return nil, err
		}
		it.tokens = append(it.tokens, token)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, it)
	return it, nil
}

func nonceOf(r *replica) (string, error) {
	res, err := httpClient().PostForm(r.url+"/nonce", url.Values{"provider": {"iss1"}})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var body struct {
		Nonce string `json:"nonce"`
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || body.Nonce == "" {
		return "", fmt.Errorf("/nonce says %d: %w", res.StatusCode, err)
	}
	return body.Nonce, nil
}

var httpClient = sync.OnceValue(func() *http.Client {
	return &http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true, IdleConnTimeout: time.Minute},
	}
})

// show exchanges a token of an item at a replica, and takes down what came.
func (l *load) show(it *item, i int, r *replica) answer {
	token := it.tokens[i/2%len(it.tokens)]
	began := time.Now()
	a, c, err := exchange(r, token)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.requests++
	l.counts.by[a]++
	l.counts.slowest = max(l.counts.slowest, took)
	it.by[a]++
	switch a {
	case allowed:
		it.got = append(it.got, c)
		if len(it.got) == 2 {
			l.counts.doubles++
			l.faultLocked("an item made %s was used twice: %v", it.made.Format(time.StampMilli), it.got)
		}
		if since, ok := l.banned[it.repository]; ok && since.Before(began) {
			l.faultLocked("a stopped workload got %v", c)
		}
	case denied:
		if it.repository == app {
			l.faultLocked("%s denied a good token: %v", r.name, err)
		}
	case strange:
		l.faultLocked("%s answered %v", r.name, err)
	case unanswered:
		if !l.lossy {
			l.faultLocked("%s did not answer: %v", r.name, err)
		}
	case unavailable, used, restarted, answers:
	}
	if took > slow && !l.lossy {
		l.faultLocked("%s took %s", r.name, took)
	}
	return a
}

// exchange is one exchange. The error tells more of an answer other than 200.
func exchange(r *replica, token string) (answer, credential, error) {
	res, err := httpClient().PostForm(r.url+"/token", rig.Form(token))
	if err != nil && goneAway(err) {
		return unanswered, credential{}, err
	}
	if err != nil {
		return strange, credential{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return strange, credential{}, fmt.Errorf("an answer that broke off: %w", err)
	}
	told := fmt.Errorf("%d %s %v", res.StatusCode, raw, res.Header["Retry-After"])
	var body struct {
		Token       string `json:"access_token"`
		Decision    string `json:"decision_id"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return strange, credential{}, told
	}
	retry := res.Header.Get("Retry-After")
	switch {
	case res.StatusCode == http.StatusOK:
		jti, err := jtiOf(body.Token)
		if err != nil {
			return strange, credential{}, err
		}
		return allowed, credential{body.Decision, jti, r.name, body.Token}, nil
	case res.StatusCode == http.StatusServiceUnavailable && body.Error == "temporarily_unavailable" && retry != "" && strings.Trim(retry, "0123456789") == "":
		return unavailable, credential{}, told
	case res.StatusCode != http.StatusBadRequest || body.Error != "invalid_request":
		return strange, credential{}, told
	case strings.HasPrefix(body.Description, "This token was already used"):
		return used, credential{}, told
	case strings.HasPrefix(body.Description, "Fetch a fresh token: this one was issued before"):
		return restarted, credential{}, told
	case body.Description == rig.Fixed:
		return denied, credential{}, told
	}
	return strange, credential{}, told
}

// goneAway reports whether the connection ended before an answer came: then a
// client asks again.
func goneAway(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) ||
		strings.Contains(err.Error(), "server closed idle connection") // which net/http does not export
}

func jtiOf(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("no JWT: %.20q", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var c struct {
		ID string `json:"jti"`
	}
	err = json.Unmarshal(payload, &c)
	return c.ID, err
}

// fault takes down what must not be. Only the first ones are told.
func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faultLocked(format, args...)
}

func (l *load) faultLocked(format string, args ...any) {
	if l.faults++; l.faults <= 10 {
		l.t.Errorf(time.Now().Format(time.StampMilli)+" "+format, args...)
	}
}

func (l *load) isLossy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lossy
}

func (l *load) setLossy(lossy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lossy = lossy
}

// so is what it came to so far; the slowest answer begins anew.
func (l *load) so() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	l.counts.slowest = 0
	return c
}

// recovered waits until each replica gives credentials for tokens that were made
// after since, and goes on to, and returns how long that took. A stop list that
// has not settled may serve for a moment and then not: the replay store is back
// before it.
func (l *load) recovered(since time.Time) []time.Duration {
	l.t.Helper()
	const steady = 3 * time.Second
	took := make([]time.Duration, len(l.site.replicas))
	var wg sync.WaitGroup
	for i, r := range l.site.replicas {
		wg.Go(func() {
			var first time.Time // of those given without a refusal in between
			for time.Since(since) < patience {
				switch given := l.one(r); {
				case !given:
					first = time.Time{}
				case first.IsZero():
					first = time.Now()
				case time.Since(first) > steady:
					took[i] = first.Sub(since)
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if i := slices.Index(took, 0); i >= 0 {
		l.tellLogs()
		l.t.Fatalf("replica %s gives no credentials %s after the fault's end", l.site.replicas[i].name, patience)
	}
	return took
}

// one exchanges a fresh token at a replica.
func (l *load) one(r *replica) bool {
	it, err := l.make(app, false)
	return err == nil && l.show(it, 0, r) == allowed
}

// tellLogs shows what the replicas said, but for each single exchange.
func (l *load) tellLogs() {
	for _, r := range l.site.replicas {
		var told strings.Builder
		for line := range strings.Lines(r.log.String()) {
			if !strings.Contains(line, "exchange failed") {
				told.WriteString(line)
			}
		}
		l.t.Logf("the log of %s:\n%s", r.name, told.String()[max(0, told.Len()-8000):])
	}
}

// never holds that a repository that is stopped gets nothing from when both
// replicas have refused it.
func (l *load) never(repository string) {
	l.t.Helper()
	for _, r := range l.site.replicas {
		r.eventually("refusal of what is stopped", func() bool {
			it, err := l.make(repository, false)
			return err == nil && l.show(it, 0, r) == denied
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.banned[repository] = time.Now()
}

// end ends the load and judges all that was received.
func (l *load) end() {
	l.t.Helper()
	l.halt()
	l.busy.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.items {
		switch {
		case len(it.got) > 1: // told already
		case it.by[denied] > 0: // a stop that came in between: the use was given back
		case it.by[used] > 0 && len(it.got) == 0 && it.by[unavailable]+it.by[unanswered] == 0:
			l.faultLocked("an item made %s was refused as used, and nobody used it: %v", it.made.Format(time.StampMilli), it.by)
		}
	}
	for _, g := range l.good {
		l.exactlyOnce(g)
	}
	if l.counts.by[allowed] == 0 {
		l.t.Error("the load got nothing at all")
	}
	if l.t.Failed() {
		l.tellLogs()
	}
}

// exactlyOnce holds that what was made in good times was used once each. What a
// stop is for counts not.
func (l *load) exactlyOnce(good span) {
	l.t.Helper()
	n, without, came := 0, 0, [answers]int{}
	for _, it := range l.items {
		if it.first == ([answers]int{}) { // shown once only, or at the load's end
			continue
		}
		if it.repository != app || it.made.Before(good.from) || it.made.After(good.to) {
			continue
		}
		n++
		for a := range it.first {
			came[a] += it.first[a]
		}
		if it.first[allowed] != 1 {
			without++
			// On a machine that is busy elsewhere Redis may be late: that is a 503.
			if it.first[unavailable] == 0 {
				l.faultLocked("in good times an item was used %d times: %v", it.first[allowed], it.first)
			}
		}
	}
	if n == 0 || without > n/4 {
		l.t.Errorf("in good times from %s, %d of %d items were not used: %v", good.from.Format(time.StampMilli), without, n, came)
	}
}

// inJournals holds that each credential that was received is on the record, and
// no token twice.
func (l *load) inJournals(records []audit.Record) {
	l.t.Helper()
	handles, uses := map[string]string{}, map[string]int{}
	token := map[string]string{}
	for _, r := range records {
		if r.Event == audit.ExchangeAllowed {
			handles[r.Decision], token[r.Decision] = r.Handle, r.TokenSHA256
			uses[r.TokenSHA256]++
		}
		if sum, ok := token[r.Decision]; ok && r.Event == audit.ExchangeFailed {
			uses[sum]--
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.items {
		for _, c := range it.got {
			if handles[c.decision] != c.jti {
				l.faultLocked("decision %s of %s gave %s, and the journals hold %q", c.decision, c.replica, c.jti, handles[c.decision])
			}
		}
		for _, t := range it.tokens {
			sum := sha256.Sum256([]byte(t))
			if n := uses[hex.EncodeToString(sum[:])]; n > 1 {
				l.faultLocked("the journals allow a token %d times", n)
			}
		}
	}
}
