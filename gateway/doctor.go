package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"cambio/issuer"
	"cambio/providers/oidc"
)

// DoctorStatus is what came of one check.
type DoctorStatus string

// The statuses of a check.
const (
	DoctorPass DoctorStatus = "PASS"
	DoctorWarn DoctorStatus = "WARN" // it works, and should be looked at
	DoctorFail DoctorStatus = "FAIL" // exchanges fail, or will
	DoctorSkip DoctorStatus = "SKIP" // not configured, or not there yet
)

// DoctorCheck is one thing that was looked at.
type DoctorCheck struct {
	Name   string       `json:"name"`
	Status DoctorStatus `json:"status"`
	Detail string       `json:"detail"` // what was seen
	Next   string       `json:"next"`   // what to do; "" where nothing is
}

// DoctorReport is what an examination found, always in the same order.
type DoctorReport struct {
	Checks []DoctorCheck `json:"checks"`
	OK     bool          `json:"ok"` // no check failed
}

// DoctorEnv is what an examination takes from the process. Now and Rand are
// required.
type DoctorEnv struct {
	File     string // the configuration's own path; "": it came from nowhere
	Now      func() time.Time
	Rand     io.Reader           // of a signature by each key
	Resolver oidc.Resolver       // for identity providers; nil: the system's
	Progress func(done, all int) // after each check; may be nil; one call at a time
}

const (
	// checkTime bounds one check; all run at once, so an examination takes little
	// more.
	checkTime = 5 * time.Second
	// maxDetail bounds what a check says: some of it is the words of others.
	maxDetail = 400
	// maxAnswer bounds a document of the issuer or a target: the largest key set
	// that clouds take is below it.
	maxAnswer = 512 << 10
)

// Doctor examines a configuration and all that it names: files, clock, keys, the
// issuer as others see it, identity providers, targets, Redis, journal. It may
// run beside the gateway, on the same state: it takes no lock, and changes
// nothing but one file in the state folder, which it makes to measure the disk,
// and removes. What it reports holds no secret.
//
// It calls only what the configuration names. A check that hangs is given up
// after five seconds; what it started ends with the process.
func Doctor(ctx context.Context, c Config, env DoctorEnv) DoctorReport {
	e := &examination{c: c, env: env, client: doctorClient()}
	e.alive = sync.OnceValue(func() liveness { return e.look(ctx) })
	e.ring = sync.OnceValues(func() (issuer.Ring, error) { return loadRing(ctx, c) })
	checks := e.run(ctx, e.steps())
	checks = append(e.clock(), checks...)
	report := DoctorReport{OK: true}
	for _, check := range checks {
		check.Detail, check.Next = e.clean(check.Detail), e.clean(check.Next)
		report.OK = report.OK && check.Status != DoctorFail
		report.Checks = append(report.Checks, check)
	}
	return report
}

// examination is what the checks of one run share.
type examination struct {
	c      Config
	env    DoctorEnv
	client *http.Client
	alive  func() liveness
	ring   func() (issuer.Ring, error)

	mu      sync.Mutex
	samples []sample
}

// step is one part of an examination; its checks stay together. overdue is what
// is said when it does not end.
type step struct {
	run     func(context.Context) []DoctorCheck
	overdue DoctorCheck
}

func (e *examination) steps() []step {
	local := []step{
		{e.stateFolder, failed("state-folder", "see whether the disk hangs", "the file system did not answer")},
		{e.gateway, failed("gateway", "see whether the process hangs", "no answer")},
		{e.permissions, failed("permissions", "see whether the disk hangs", "the file system did not answer")},
		{e.formats, failed("formats", "see whether the disk hangs", "the file system did not answer")},
		{e.documents, warned("trust-documents", "cambio trust check "+ShellWord(e.c.Trust), "not read within %s", checkTime)},
		{e.keys, failed("keys", "see whether the disk, or the KMS, hangs", "no answer")},
		{e.signers, failed("key-signers", "see whether the KMS answers", "no signature within %s", checkTime)},
		{e.issuer, failed("issuer", "see whether "+e.c.Issuer+" answers from here", "no answer within %s", checkTime)},
		{e.certificate, failed("certificate", "see whether the disk hangs", "the file system did not answer")},
	}
	steps := append(local, e.providerSteps()...)
	steps = append(steps, e.targetSteps()...)
	return append(steps,
		step{e.redis, failed("redis", "see whether Redis answers from here", "no answer within %s", checkTime)},
		step{e.stops, failed("stops", "see whether the disk hangs", "the file system did not answer")},
		step{e.journal, warned("journal", "cambio audit verify "+ShellWord(e.journalDir()), "not read within %s", checkTime)},
		step{e.disk, failed("disk", "look at the disk under "+e.c.State, "it did not answer within %s: nothing can be issued", checkTime)},
	)
}

// run runs all steps at once and returns their checks in order.
func (e *examination) run(ctx context.Context, steps []step) []DoctorCheck {
	results := make([][]DoctorCheck, len(steps))
	var all sync.WaitGroup
	var told sync.Mutex
	done := 0
	for i, s := range steps {
		all.Go(func() {
			results[i] = s.bounded(ctx)
			told.Lock()
			defer told.Unlock()
			if done++; e.env.Progress != nil {
				e.env.Progress(done, len(steps))
			}
		})
	}
	all.Wait()
	var out []DoctorCheck
	for _, checks := range results {
		out = append(out, checks...)
	}
	return out
}

// bounded runs a step, or gives it up: a disk or a KMS that hangs must not hold
// the others.
func (s step) bounded(ctx context.Context) []DoctorCheck {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	ended := make(chan []DoctorCheck, 1)
	go func() { ended <- s.run(ctx) }()
	select {
	case checks := <-ended:
		return checks
	case <-ctx.Done():
	}
	// What heeds the context ends now, and knows better what it waited for.
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case checks := <-ended:
		return checks
	case <-grace.C:
		return []DoctorCheck{s.overdue}
	}
}

func passed(name, format string, args ...any) DoctorCheck {
	return DoctorCheck{Name: name, Status: DoctorPass, Detail: fmt.Sprintf(format, args...)}
}

func skipped(name, format string, args ...any) DoctorCheck {
	return DoctorCheck{Name: name, Status: DoctorSkip, Detail: fmt.Sprintf(format, args...)}
}

func warned(name, next, format string, args ...any) DoctorCheck {
	return DoctorCheck{Name: name, Status: DoctorWarn, Detail: fmt.Sprintf(format, args...), Next: next}
}

func failed(name, next, format string, args ...any) DoctorCheck {
	return DoctorCheck{Name: name, Status: DoctorFail, Detail: fmt.Sprintf(format, args...), Next: next}
}

// verdict is a check that gathers what it finds: the worst status, and the next
// step of the first that is as bad.
type verdict struct {
	DoctorCheck
	said []string
}

func begin(name string) *verdict {
	return &verdict{DoctorCheck: DoctorCheck{Name: name, Status: DoctorPass}}
}

func (v *verdict) note(format string, args ...any) {
	v.said = append(v.said, fmt.Sprintf(format, args...))
}

func (v *verdict) add(status DoctorStatus, next, format string, args ...any) {
	if status == DoctorFail && v.Status != DoctorFail || v.Status == DoctorPass {
		v.Status, v.Next = status, next
	}
	v.note(format, args...)
}

func (v *verdict) end() DoctorCheck {
	v.Detail = strings.Join(v.said, "; ")
	return v.DoctorCheck
}

// clean makes a text one that may be pasted anywhere: a line, bounded, without
// the configuration's secrets, whoever repeats them.
func (e *examination) clean(s string) string {
	if r := e.c.Redis; r != nil && r.Password != "" {
		s = strings.ReplaceAll(s, r.Password.Reveal(), hidden)
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > maxDetail {
		s = string(runes[:maxDetail]) + "..."
	}
	return s
}

// doctorClient calls what the configuration names, and nothing that an answer
// does: a redirect is what relying parties do not follow either.
func doctorClient() *http.Client {
	return &http.Client{
		Timeout:       checkTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: checkTime}).DialContext,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// answer is what somebody else said.
type answer struct {
	status int
	header http.Header
	body   []byte
	tls    bool
	ends   time.Time // of the certificate that was shown
	took   time.Duration
}

// call asks, and takes the time of the answer for the clock.
func (e *examination) call(req *http.Request, who string) (answer, error) {
	return e.callBy(e.client, req, who)
}

func (e *examination) callBy(client *http.Client, req *http.Request, who string) (answer, error) {
	req.Header.Set("User-Agent", "cambio")
	start := e.env.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	seen := e.env.Now()
	a := answer{status: resp.StatusCode, header: resp.Header, took: seen.Sub(start)}
	if date, ok := oidc.DateOf(resp.Header); ok && who != "" {
		e.sample(who, date, seen)
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		a.tls, a.ends = true, resp.TLS.PeerCertificates[0].NotAfter
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(a.body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return a, err
}
