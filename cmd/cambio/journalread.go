package main

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"cambio/audit"
	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/backtest"
	"cambio/trust/strictyaml"
)

// window says which decisions of which journals are read.
type window struct {
	dirs         []string // none: the configuration's own journal
	since, until string   // as the user wrote them
}

// decisions is how a goroutine takes what a journal holds.
type decisions struct {
	each    func(*backtest.Record)
	summary func(refusals int64) // may be nil
}

// readJournals hands over the decisions of the window, to one worker for each
// goroutine and in no order.
func (c *common) readJournals(config gateway.Config, w window, what string, worker func() decisions) error {
	scan := audit.Scan{
		Workers: runtime.GOMAXPROCS(0),
		Events:  []audit.Event{audit.ExchangeAllowed, audit.ExchangeDenied, audit.ExchangeDryRun, audit.ExchangeSummary},
	}
	var err error
	if scan.Since, err = c.instantFlag("--since", w.since); err != nil {
		return err
	}
	if scan.Until, err = c.instantFlag("--until", w.until); err != nil {
		return err
	}
	journals, size, err := openJournals(config, w.dirs)
	if err != nil {
		return err
	}
	read, done := c.progressOf(what, size)
	defer done()
	scan.Read = read
	for _, journal := range journals {
		err := scan.Each(journal, func() func(audit.Record) error {
			to := worker()
			return func(r audit.Record) error {
				if r.Event == audit.ExchangeSummary {
					if to.summary != nil {
						to.summary(r.Count)
					}
					return nil
				}
				d := decisionOf(r)
				to.each(&d)
				return nil
			}
		})
		if err != nil {
			return &failure{code: exitError, err: err, next: "check it: cambio audit verify"}
		}
	}
	return nil
}

func openJournals(config gateway.Config, dirs []string) (journals []fs.FS, size int64, err error) {
	if len(dirs) == 0 {
		dirs = []string{filepath.Join(config.State, "journal")}
	}
	for _, dir := range dirs {
		journal, err := journalFS(dir)
		if err != nil {
			return nil, 0, err
		}
		n, err := audit.Size(journal)
		if err != nil {
			return nil, 0, err
		}
		journals, size = append(journals, journal), size+n
	}
	return journals, size, nil
}

// lastAllowed is when each trust last allowed something in the window. A trust
// that allowed nothing is not in it.
func (c *common) lastAllowed(config gateway.Config, w window) (map[string]time.Time, error) {
	var mu sync.Mutex
	last := map[string]time.Time{}
	err := c.readJournals(config, w, "reading the journal", func() decisions {
		return decisions{each: func(r *backtest.Record) {
			if !r.Allowed || r.DryRun {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if r.Time.After(last[r.Trust]) {
				last[r.Trust] = r.Time
			}
		}}
	})
	return last, err
}

// instantFlag reads a time, a day, or how long ago.
func (c *common) instantFlag(name, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	if ago, ok := strictyaml.ParseDuration(value); ok {
		return c.io.now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usage("%s %q: write how long ago, such as 30d, or a time such as 2027-03-31T12:00:00Z", name, value)
}

// decisionOf is a record as those read it who judge again.
func decisionOf(r audit.Record) backtest.Record {
	d := backtest.Record{
		Decision: r.Decision, Time: r.Time, Reason: trust.Reason(r.Reason),
		Provider: r.Provider, Workload: r.Workload, Subject: r.Subject, Trust: r.Trust, TrustSHA256: r.TrustSHA256, PolicySHA256: r.PolicySHA256,
		Target: r.Target, Resource: r.Resource, Scopes: strings.Fields(r.Scope), TTL: time.Duration(r.TTL) * time.Second,
		Allowed: r.Event == audit.ExchangeAllowed || r.Event == audit.ExchangeDryRun && r.Reason == "",
		DryRun:  r.Event == audit.ExchangeDryRun,
	}
	// The gateway judges a dry run by a trust's document, which has a hash; what a
	// trust on trial would have done carries the id of another decision, and none.
	d.Shadow = d.DryRun && r.Reason == "" && r.Trust != "" && r.TrustSHA256 == ""
	if len(r.Claims) > 0 {
		d.Claims = make(map[string]any, len(r.Claims))
		for name, value := range r.Claims {
			d.Claims[name] = claimOf(value)
		}
	}
	switch {
	case r.Event == audit.ExchangeAllowed:
		d.Nonce, d.NonceKnown = r.Replay != nil && r.Replay.Nonce != "", true
	case d.Reason == trust.ReasonNonceRequired:
		d.NonceKnown = true
	}
	if address, err := netip.ParseAddr(r.Address); err == nil {
		d.Address = address
	}
	return d
}

// claimOf is a value as the token's parser had it: integers that fit are int64,
// other numbers float64.
func claimOf(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, err := v.Float64()
		if err != nil {
			return v.String() // of another type than any number: no rule holds for it
		}
		return n
	case []any:
		for i := range v {
			v[i] = claimOf(v[i])
		}
		return v
	case map[string]any:
		for name := range v {
			v[name] = claimOf(v[name])
		}
		return v
	}
	return v
}

// configured are the issuers of the identity providers, and the audiences of
// those that have one: a proven token can have had no other.
func configured(config gateway.Config) backtest.Options {
	o := backtest.Options{Issuers: map[string]string{}, Audiences: map[string]string{}}
	for name, p := range config.IdentityProviders {
		o.Issuers[name] = p.Issuer
		if len(p.Audience) == 1 {
			o.Audiences[name] = p.Audience[0]
		}
	}
	return o
}
