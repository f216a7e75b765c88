package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/issuer"
	"cambio/keystore"
	"cambio/test/kmsrig"
)

// TestKeyStories runs testdata/keys/*.txt: keys in a KMS, and the published copy.
func TestKeyStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "keys"), RequireExplicitExec: true, RequireUniqueNames: true, Setup: setupKMS,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "json": checkJSON, "jsonenv": jsonEnv, "backdate": backdateKeys, "host": hostFolder,
		},
	})
}

// setupKMS gives a story keys in a stand-in of AWS KMS: $KMS_RSA, $KMS_EC,
// $KMS_EC2, and $KMS_NONE, which nobody has.
func setupKMS(e *testscript.Env) error {
	if err := setup(e); err != nil {
		return err
	}
	aws := kmsrig.NewAWS()
	e.Defer(func() {
		aws.Close()
		if faults := aws.Faults(); len(faults) > 0 {
			e.T().Fatal("the KMS was asked: " + strings.Join(faults, "; "))
		}
	})
	for name, value := range aws.Environment() {
		e.Setenv(name, value)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	e.Setenv("KMS_RSA", aws.Add(big))
	for _, name := range []string{"KMS_EC", "KMS_EC2"} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		e.Setenv(name, aws.Add(k))
	}
	e.Setenv("KMS_NONE", strings.Replace(e.Getenv("KMS_EC"), "1234abcd", "00000000", 1))
	return nil
}

// backdate makes all keys a day older.
func backdateKeys(ts *testscript.TestScript, _ bool, _ []string) {
	f := keystore.NewFiles(ts.MkAbs("state/keys"), slog.New(slog.DiscardHandler))
	_, err := f.Update(context.Background(), func(r issuer.Ring) (issuer.Ring, error) {
		for i := range r.Keys {
			r.Keys[i].Published = r.Keys[i].Published.Add(-25 * time.Hour)
		}
		return r, nil
	})
	ts.Check(err)
}

// host DIR serves the folder at the issuer's URL, as a bucket does.
func hostFolder(ts *testscript.TestScript, _ bool, args []string) {
	var l net.Listener
	eventually(ts, "a free address", func() bool {
		var err error
		l, err = net.Listen("tcp", ts.Getenv("LISTEN"))
		return err == nil
	})
	server := &http.Server{Handler: http.FileServer(http.Dir(ts.MkAbs(args[0]))), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	ts.Defer(func() { _ = server.Close() })
}
