package database_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/internal/database"
)

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		want    database.Login
		problem bool
	}{
		"PostgreSQL":       {`{"engine":"postgres","host":"db","user":"a"}`, database.Login{Engine: "postgres", Host: "db", Port: 5432, User: "a"}, false},
		"MySQL":            {`{"engine":"mysql","host":"db"}`, database.Login{Engine: "mysql", Host: "db", Port: 3306}, false},
		"a port":           {`{"engine":"mysql","host":"db","port":65535}`, database.Login{Engine: "mysql", Host: "db", Port: 65535}, false},
		"no engine":        {`{"host":"db"}`, database.Login{}, true},
		"another engine":   {`{"engine":"oracle","host":"db"}`, database.Login{}, true},
		"port 0":           {`{"engine":"mysql","host":"db","port":0}`, database.Login{}, true},
		"port 65536":       {`{"engine":"mysql","host":"db","port":65536}`, database.Login{}, true},
		"a port in quotes": {`{"engine":"mysql","host":"db","port":"3306"}`, database.Login{}, true},
		"an empty user":    {`{"engine":"mysql","host":"db","user":""}`, database.Login{}, true},
		"a user as number": {`{"engine":"mysql","host":"db","user":1}`, database.Login{}, true},
		"another member":   {`{"engine":"mysql","host":"db","password":"x"}`, database.Login{}, true},
		"two hosts":        {`{"engine":"mysql","host":"db","host":"db2"}`, database.Login{}, true},
		"no object":        {`["mysql"]`, database.Login{}, true},
	} {
		got, problem := database.Read(c.text)
		if (problem != "") != c.problem {
			t.Errorf("%s: %q", name, problem)
		} else if diff := cmp.Diff(c.want, got); problem == "" && diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"engine":"postgres","host":"db","port":1,"user":"a"}`)
	f.Add(`{"engine":"mysql","host":"db","port":1e9}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, problem := database.Read(text)
		if problem == "" && (l.Port < 1 || l.Port > 65535 || l.Engine != database.Postgres && l.Engine != database.MySQL) {
			t.Errorf("%+v", l)
		}
	})
}

func TestCredential(t *testing.T) {
	l := database.Login{Engine: database.MySQL, Host: "db", Port: 3306, User: "a"}
	got, err := l.Credential("secret", time.Date(2026, 9, 1, 14, 0, 0, 0, time.FixedZone("", 7200)))
	const want = `{"Version":1,"Engine":"mysql","Host":"db","Port":3306,"User":"a","Password":"secret","Expiration":"2026-09-01T12:00:00Z"}`
	if err != nil || got.Reveal() != want {
		t.Errorf("%s, %v", got.Reveal(), err)
	}
	if strings.Contains(got.String(), "secret") {
		t.Error("it shows itself")
	}
}
