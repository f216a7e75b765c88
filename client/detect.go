package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
)

// ErrNoIdentity means that the workload has no identity to show.
var ErrNoIdentity = errors.New("no identity found")

// Env is what [Detect] may look at. A nil Getenv or ReadFile finds nothing.
type Env struct {
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error) // os.ReadFile
	// HTTP reaches the token services of platforms, the Kubernetes API server and
	// metadata servers. Only its Transport is used, so that nothing follows a
	// redirect; nil means a default.
	HTTP *http.Client
	// Exec runs a command that gives out tokens (circleci, buildkite-agent) and
	// returns what it prints; an error that wraps fs.ErrNotExist says that there is
	// no such command. nil: no command is run.
	Exec func(ctx context.Context, name string, args ...string) ([]byte, error)
	// Dial reaches the socket of a machine at Fly.io; nil means the system's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TokenFile is the file that the user named, "-" for Stdin, "" for none.
	TokenFile string
	Stdin     io.Reader
	// Audience is the audience that the gateway takes, and Server the gateway's
	// URL, which it usually is. They only complete the advice; a token is fetched
	// for the audience that [Source.Token] is given.
	Audience string
	Server   string
}

// Look is one place that was looked at in vain, and why.
type Look struct {
	Place string
	Found string
}

// NoIdentityError says where [Detect] looked, and what to do about it. It wraps
// [ErrNoIdentity].
type NoIdentityError struct {
	Looked []Look
	Advice string // what to do, with the lines to paste
}

func (e *NoIdentityError) Error() string {
	var b strings.Builder
	b.WriteString(ErrNoIdentity.Error() + "; looked at:")
	for _, l := range e.Looked {
		fmt.Fprintf(&b, "\n  %s: %s", l.Place, l.Found)
	}
	if e.Advice != "" {
		b.WriteString("\n" + e.Advice)
	}
	return b.String()
}

func (e *NoIdentityError) Unwrap() error { return ErrNoIdentity }

// Detect finds the identity that the workload has. The first place wins:
//
//  1. TokenFile, the file or standard input that the user named
//  2. the variable CAMBIO_TOKEN, which holds a token, then CAMBIO_TOKEN_FILE,
//     which names a file
//  3. with CAMBIO_AWS_IDENTITY=1, the role of AWS whose keys are in the environment,
//     at the container's endpoint or at the instance's: see 9
//  4. a GitHub Actions job with `permissions: id-token: write`
//  5. GitLab CI (an id_tokens entry CAMBIO_TOKEN), CircleCI, Buildkite, Bitbucket
//     Pipelines, Azure DevOps, HCP Terraform, Spacelift, env0, Codefresh,
//     Semaphore, Vercel, Fly.io: what each puts into the environment
//  6. the managed identity of an Azure service
//  7. a projected Kubernetes token at /var/run/secrets/tokens/cambio or
//     /var/run/secrets/cambio/token
//  8. the Kubernetes API server, where the pod's service account may create
//     tokens of its own (TokenRequest)
//  9. Google's metadata server, if one answers, then Azure's, then the role of AWS
//     that the container or the instance has: it signs a request that says whose it
//     is, and the keys themselves are not sent
//
// A JWT-SVID that spiffe-helper writes, and the tokens that Jenkins, Harness and
// Pulumi hand to their steps, come by CAMBIO_TOKEN_FILE and CAMBIO_TOKEN. The
// Workload API itself is gRPC, which this package does not speak.
//
// A place that was named or that is clearly meant is never passed over because
// it fails: the workload would show another identity than the one its owner
// thinks of. So a job without a token is an error also on a runner with an
// identity of its own.
//
// Tokens that were mounted for someone else (AWS_WEB_IDENTITY_TOKEN_FILE,
// AZURE_FEDERATED_TOKEN_FILE, the pod's default token) are never sent to a
// gateway: they open other doors. The pod's default token goes to the pod's own
// API server, which it is for.
//
// The error is a [*NoIdentityError] where nothing was found.
func Detect(ctx context.Context, env Env) (*Source, error) {
	d := detection{env: env}
	for _, place := range d.places() {
		s, err := place(ctx)
		if err != nil {
			return nil, err
		}
		if s != nil {
			s.Looked = d.looked
			return s, nil
		}
	}
	return nil, d.none()
}

// places are what Detect looks at, in order.
func (d *detection) places() []func(context.Context) (*Source, error) {
	return []func(context.Context) (*Source, error){
		d.named, d.variables, d.amazonNamed, d.gitHub, d.ambient, d.azureService,
		d.mounted, d.tokenRequest, d.google, d.azureMachine, d.amazon,
	}
}

// detection is one run of Detect. Each place returns a source, or neither source
// nor error to go on.
type detection struct {
	env    Env
	looked []Look
	advice []string
}

func (d *detection) named(context.Context) (*Source, error) {
	switch path := d.env.TokenFile; {
	case path == "":
		d.missed("token file", "none named")
		return nil, nil
	case path == "-" && d.env.Stdin == nil:
		return nil, errors.New("no standard input to read the token from")
	case path == "-":
		return &Source{Name: "token file", Place: "standard input", fetch: fromReader(d.env.Stdin)}, nil
	default:
		return &Source{Name: "token file", Place: path, fetch: fromFile(d.readFile, path)}, nil
	}
}

func (d *detection) variables(context.Context) (*Source, error) {
	if token := d.getenv("CAMBIO_TOKEN"); token != "" {
		return &Source{Name: "environment", Place: "CAMBIO_TOKEN", fetch: fixed(token)}, nil
	}
	if path := d.getenv("CAMBIO_TOKEN_FILE"); path != "" {
		return &Source{Name: "environment", Place: "CAMBIO_TOKEN_FILE=" + path, fetch: fromFile(d.readFile, path)}, nil
	}
	d.missed("environment", "neither CAMBIO_TOKEN nor CAMBIO_TOKEN_FILE is set")
	return nil, nil
}

// none is the error for nothing found.
func (d *detection) none() error {
	if len(d.advice) == 0 {
		d.advice = []string{"Name a file that holds the workload's token, or set CAMBIO_TOKEN or CAMBIO_TOKEN_FILE. " + d.audienceAdvice()}
	}
	return &NoIdentityError{Looked: d.looked, Advice: strings.Join(d.advice, "\n")}
}

func (d *detection) missed(place, why string) {
	d.looked = append(d.looked, Look{Place: place, Found: why})
}

// audience is the one to put into a line to paste.
func (d *detection) audience() string {
	return cmp.Or(d.env.Audience, d.env.Server, "the gateway's issuer")
}

// audienceAdvice says for whom a token must be, and when it is a guess.
func (d *detection) audienceAdvice() string {
	switch {
	case d.env.Audience != "":
		return "The token's audience must be " + d.env.Audience + "."
	case d.env.Server != "":
		return "The token's audience is usually the gateway's URL, here " + d.env.Server + "; whoever runs the gateway knows."
	}
	return "The token's audience is usually the gateway's URL; whoever runs the gateway knows."
}

func (d *detection) getenv(name string) string {
	if d.env.Getenv == nil {
		return ""
	}
	return strings.TrimSpace(d.env.Getenv(name))
}

func (d *detection) readFile(path string) ([]byte, error) {
	if d.env.ReadFile == nil {
		return nil, fs.ErrNotExist
	}
	return d.env.ReadFile(path)
}
