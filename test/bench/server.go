package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/gateway"
	"cambio/issuer"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/web"
)

// serverCommand starts this program as one of the servers: MODE, its folder, for
// the floor the size of an answer, and for the SDK the endpoint.
const serverCommand = "server"

// The servers.
const (
	embedded  = "embedded" // the gateway
	withRedis = "redis"    // the gateway, with a Redis; it is started as embedded is
	bare      = "bare"     // the gateway's web, identify and sign, and no more
	floor     = "floor"    // HTTP alone
	standIn   = "sts"      // a stand-in for AWS' Security Token Service
	sdk       = "sdk"      // an assertion of ours and the SDK's call to the stand-in, and no more
)

// ready is the first line that a server writes.
type ready struct {
	URL string `json:"url"`
}

// usage is what a server has used so far: the answer to every command.
type usage struct {
	CPU      time.Duration `json:"cpu"`
	Mallocs  uint64        `json:"mallocs"`
	Resident int64         `json:"resident"`
	Error    string        `json:"error,omitempty"`
}

// serve runs one server until its commands end.
func serve(ctx context.Context, args []string, commands io.Reader, out io.Writer) error {
	if len(args) < 2 {
		return errors.New("which server, and in which folder?")
	}
	url, closeServer, err := open(ctx, args)
	if err != nil {
		return err
	}
	answer := json.NewEncoder(out)
	if err := answer.Encode(ready{URL: url}); err != nil {
		return errors.Join(err, closeServer())
	}
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		u, err := obey(lines.Text())
		if err != nil {
			u.Error = err.Error()
		}
		if err := answer.Encode(u); err != nil {
			return errors.Join(err, closeServer())
		}
	}
	return errors.Join(lines.Err(), closeServer())
}

// open starts one server, and returns where it listens and what ends it.
func open(ctx context.Context, args []string) (url string, closeServer func() error, err error) {
	if args[0] == standIn {
		s, err := newStandIn(ctx, args[1])
		if err != nil {
			return "", nil, err
		}
		return s.URL(), s.Close, nil
	}
	handler, closeHandler, err := newHandler(ctx, args)
	if err != nil {
		return "", nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		closeHandler()
		return "", nil, err
	}
	// The listener and the server are the gateway's own for all of these.
	server := web.Server(handler, slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(web.Listener(listener, web.ListenConfig{})) }() // ends with Close
	return "http://" + listener.Addr().String(), func() error {
		defer closeHandler()
		return server.Close()
	}, nil
}

// obey runs one command: usage, collect, profile FOLDER or profiled FOLDER.
func obey(line string) (usage, error) {
	command, folder, _ := strings.Cut(line, " ")
	switch command {
	case "usage":
	case "collect":
		debug.FreeOSMemory() // a collection, and what is free is given back
	case "profile":
		f, err := os.Create(filepath.Join(folder, "cpu.prof"))
		if err != nil {
			return usage{}, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return usage{}, err
		}
	case "profiled":
		pprof.StopCPUProfile()
		f, err := os.Create(filepath.Join(folder, "allocs.prof"))
		if err != nil {
			return usage{}, err
		}
		runtime.GC() // what was allocated last is counted by a collection
		if err := errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close()); err != nil {
			return usage{}, err
		}
	default:
		return usage{}, fmt.Errorf("unknown command %q", command)
	}
	return used()
}

func used() (usage, error) {
	cpu, err := cpuTime()
	if err != nil {
		return usage{}, err
	}
	resident, err := residentBytes()
	if err != nil {
		return usage{}, err
	}
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	return usage{CPU: cpu, Mallocs: sample[0].Value.Uint64(), Resident: resident}, nil
}

func newHandler(ctx context.Context, args []string) (http.Handler, func(), error) {
	mode, dir := args[0], args[1]
	switch {
	case mode == embedded:
		return newGateway(ctx, dir)
	case mode == bare:
		h, err := newBare(dir)
		return h, func() {}, err
	case mode == floor && len(args) == 3:
		size, err := strconv.Atoi(args[2])
		return newFloor(size), func() {}, err
	case mode == sdk && len(args) == 3:
		h, err := newSDK(ctx, dir, args[2])
		return h, func() {}, err
	}
	return nil, nil, fmt.Errorf("unknown server %q", mode)
}

// newGateway is the whole gateway, as serve runs it.
func newGateway(ctx context.Context, dir string) (http.Handler, func(), error) {
	config, err := loadConfig(dir)
	if err != nil {
		return nil, nil, err
	}
	g, err := gateway.Open(ctx, config, gateway.Env{
		Now: time.Now, Rand: rand.Reader, Checkpoints: io.Discard,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return nil, nil, err
	}
	return g.Public(), func() { _ = g.Close() }, nil // always nil
}

// newBare is the gateway's own way in and out, without what lies between.
func newBare(dir string) (http.Handler, error) {
	config, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	verifier, err := providers.New(oidc.Config{TrustDomain: config.TrustDomain, Providers: config.Verified(), Now: time.Now, Log: log})
	if err != nil {
		return nil, err
	}
	ring, err := issuer.Generate(time.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	voice, err := issuer.New(issuer.Config{URL: config.Issuer, Now: time.Now, Rand: rand.Reader}, ring)
	if err != nil {
		return nil, err
	}
	none := func() int { return 0 }
	counted := web.NewMetrics(web.Gauges{RememberedTokens: none, Trusts: none})
	return web.Handler(web.Config{
		Exchanger: &bareExchange{verifier: verifier, issuer: voice}, Voice: voice, Issuer: config.Issuer,
		Observe: counted.Exchanged, Now: time.Now, Rand: rand.Reader, Log: log,
	})
}

// bareExchange identifies and signs, whoever asks and for whatever.
type bareExchange struct {
	verifier *providers.Set
	issuer   *issuer.Issuer
}

// Exchange answers a verified token with one of ours.
func (b *bareExchange) Exchange(ctx context.Context, req exchange.Request) (*exchange.Result, error) {
	proof, err := b.verifier.Verify(ctx, exchange.Subject{Token: req.SubjectToken})
	if err != nil {
		return nil, err
	}
	id, err := issuer.NewID(rand.Reader)
	if err != nil {
		return nil, err
	}
	const life = 15 * time.Minute
	now := time.Now().Truncate(time.Second)
	token, err := b.issuer.Sign(issuer.ES256, issuer.Claims{
		Type: issuer.JWT, Subject: proof.Workload, Audience: targetAud, ID: id, IssuedAt: now, Expires: now.Add(life), Scope: scope,
	})
	if err != nil {
		return nil, err
	}
	return &exchange.Result{
		Decision: req.Decision, Scopes: []string{scope}, ExpiresIn: life,
		Credential: exchange.Credential{Value: exchange.Secret(token), Type: jwtType, Handle: id, Expires: now.Add(life)},
	}, nil
}

// newFloor reads the form and answers as many bytes as the gateway does.
func newFloor(size int) http.Handler {
	body := []byte(strings.Repeat("x", size))
	length := strconv.Itoa(size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", length)
		_, _ = w.Write(body) // the peer has gone
	})
}
