package test

import (
	"testing"

	"cambio/test/rig"
)

func TestRig(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	token := r.Token(nil)
	if a := r.Exchange(token); a.Status != 200 {
		t.Fatal(a.Raw)
	}
	r.Refused(r.Exchange(token), 400, "invalid_request", "This token was already used; fetch a fresh one for each exchange.", "replayed")
	r.Restart()
	r.Refused(r.Exchange(token), 400, "invalid_request", "This token was already used; fetch a fresh one for each exchange.", "replayed")
	r.Deny(r.Exchange(r.Token(map[string]any{"ref": "refs/heads/x", "sub": "custom"})), "condition-false")
	r.Control()
}
