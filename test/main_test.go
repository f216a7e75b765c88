package test

import (
	"os"
	"sync/atomic"
	"testing"
)

// builtIn is the folder of the built program, once there is one.
var builtIn atomic.Pointer[string]

// TestMain removes what the tests share.
func TestMain(m *testing.M) {
	code := m.Run()
	if dir := builtIn.Load(); dir != nil {
		_ = os.RemoveAll(*dir) // a leftover in the system's folder
	}
	os.Exit(code)
}
