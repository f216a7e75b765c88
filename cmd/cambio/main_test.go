package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/issuer"
	"cambio/keystore"
	"cambio/standin"
	"cambio/test/rig"
)

// TestMain lets the test binary be the program too, so that each script runs it
// as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cambio": main})
}

// TestStories runs testdata/*.txt: what a user types, and what he sees. Each has
// a folder with a configuration, a trust, keys and an identity provider that
// listens; what a script brings itself is left alone.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true, Setup: setup,
		UpdateScripts: os.Getenv("UPDATE") != "", // the golden sections
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "waitready": waitReady, "waitfile": waitFile, "signal": sendSignal,
			"job": job, "token": writeToken, "requested": requested, "front": startFront, "fresh": fresh,
			"awsgateway": startAWSGateway, "sts": startSTS, "connected": setUpSTS, "assumed": assumed,
			"json": checkJSON, "jsonenv": jsonEnv, "cut": cut,
		},
	})
}

const storyConfig = `issuer: ${env:GATEWAY}
listen: ${env:LISTEN}
admin_listen: ${env:ADMIN}
identity_providers:
  github:
    type: github-actions
    issuer: ${env:IDP}
    audience: ${env:GATEWAY}
    insecure_loopback: true
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
`

const storyTrust = `name: orders-report
owner: orders-team@acme.example
purpose: The nightly report on main reads orders
from: github
match:
  repository_id: "2"
  repository_owner_id: "1"
  ref: refs/heads/main
grants:
  - {to: orders-api, scopes: ["orders:read", "orders:list"], ttl: 10m}
tests:
  - {name: main may read, claims: {}, ask: {to: orders-api}, expect: allow}
  - {name: a branch may not, claims: {ref: refs/heads/x}, ask: {to: orders-api}, expect: deny}
`

// The keys of all stories are made once: RSA keys are slow to make.
var (
	providerKeys = sync.OnceValues(func() ([]standin.Key, error) { return standin.DefaultKeys(rand.Reader) })
	ownKeys      = sync.OnceValues(func() (issuer.Ring, error) { return issuer.Generate(time.Now(), rand.Reader) })
)

type providerOf struct{}

func setup(e *testscript.Env) error {
	shared, err := providerKeys()
	if err != nil {
		return err
	}
	listen, err := rig.FreeAddress()
	if err != nil {
		return err
	}
	admin, err := rig.FreeAddress()
	if err != nil {
		return err
	}
	p, err := standin.New(standin.Config{Now: time.Now, Rand: rand.Reader, Audience: "http://" + listen, Keys: shared})
	if err != nil {
		return err
	}
	e.Defer(func() { _ = p.Close() })
	e.Values[providerOf{}], e.Values[frontOf{}], e.Values[stsOf{}] = p, map[string]*front{}, map[string]*standin.STS{}
	for name, value := range map[string]string{
		"IDP": p.Issuer(), "LISTEN": listen, "ADMIN": admin, "GATEWAY": "http://" + listen, "CAMBIO_SERVER": "http://" + listen,
		// Nobody: a test must not find the identity of the machine it runs on.
		"GCE_METADATA_HOST": "127.0.0.1:1", "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1",
		"GORACE": "atexit_sleep_ms=10", // a second by default, for each process
	} {
		e.Setenv(name, value)
	}
	for name, text := range map[string]string{"cambio.yaml": storyConfig, "trust/orders-report.yaml": storyTrust} {
		if err := writeMissing(filepath.Join(e.WorkDir, name), text); err != nil {
			return err
		}
	}
	ring, err := ownKeys()
	if err != nil {
		return err
	}
	state := filepath.Join(e.WorkDir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	return keystore.NewFiles(filepath.Join(state, "keys"), slog.New(slog.DiscardHandler)).Save(context.Background(), ring)
}

// writeMissing writes a file that the script did not bring, in a folder that it
// did not bring.
func writeMissing(path, text string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if dir := filepath.Dir(path); filepath.Base(dir) == "trust" {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil //nolint:nilerr // it is there: the script's documents are all
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("story: %w", err)
	}
	return nil
}
