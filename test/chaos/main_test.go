//go:build chaos

package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// program is the program, built once for all tests. TestMain removes it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cambio-chaos-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	file := filepath.Join(dir, "cambio")
	build := exec.Command("go", "build", "-o", file, "cambio/cmd/cambio")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return file, nil
})

// builtIn is the folder of the program, once it was built.
var builtIn string

// TestMain prints the table of all scenarios at the end.
func TestMain(m *testing.M) {
	code := m.Run()
	results.print()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn) // a leftover in the system's folder
	}
	os.Exit(code)
}

// row is what one scenario came to.
type row struct {
	scenario  string
	counts    counts
	retries   string // by a client that asks again with a fresh token; "": nobody did
	recovered string // how long after the fault's end both replicas gave credentials
}

// table is what all scenarios came to.
type table struct {
	mu   sync.Mutex
	rows []row
}

var results table

func (r *table) add(t *testing.T, w row) {
	t.Helper()
	r.mu.Lock()
	r.rows = append(r.rows, w)
	r.mu.Unlock()
	t.Logf("%s: %+v, recovered %s", w.scenario, w.counts, w.recovered)
}

func (r *table) print() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rows) == 0 {
		return
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tREQUESTS\t200\t503\t400 USED\t400 OLD\t400 STOPPED\tNO ANSWER\tRETRIES\tDOUBLE USES\tSLOWEST\tRECOVERED")
	for _, r := range r.rows {
		c := r.counts
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%s\t%s\n",
			r.scenario, c.requests, c.by[allowed], c.by[unavailable], c.by[used], c.by[restarted], c.by[denied], c.by[unanswered],
			dash(r.retries), c.doubles, c.slowest.Round(time.Millisecond), dash(r.recovered))
	}
	_ = w.Flush() // into memory
	fmt.Println("\nTwo replicas of Cambio. Each token was shown several times, to both.")
	fmt.Println(strings.TrimRight(b.String(), "\n"))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func seconds(d ...time.Duration) string {
	var all []string
	for _, d := range d {
		all = append(all, fmt.Sprintf("%.1f s", d.Seconds()))
	}
	return strings.Join(all, ", ")
}
