package audit_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/audit/audittest"
)

// written makes a journal of three segments: two ended in order, the last cut off
// by a crash behind some records.
func written(t testing.TB) (*setup, fstest.MapFS) {
	t.Helper()
	s := newSetup(t)
	for range 2 {
		j, _ := s.open(t)
		for i := range 20 {
			mustCommit(t, j, allowed(i, time.Now().Add(time.Hour)))
		}
		mustClose(t, j)
	}
	disk := new(audittest.PowerLoss)
	s.Config.Open = disk.Open
	j, _ := s.open(t)
	for i := range 5 {
		mustCommit(t, j, allowed(100+i, time.Now().Add(time.Hour)))
	}
	if err := disk.Crash(0); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	return s, snapshot(t, s.Dir)
}

// snapshot reads a journal into memory.
func snapshot(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(name)] = &fstest.MapFile{Data: b}
	}
	return m
}

func lines(f *fstest.MapFile) [][]byte { return bytes.SplitAfter(f.Data, []byte("\n")) }

const (
	one   = "00000001.jsonl"
	two   = "00000002.jsonl"
	three = "00000003.jsonl"
)

func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	s, whole := written(t)
	captured := s.out.String()
	if report, err := audit.Verify(whole, audit.Options{Upto: strings.NewReader(captured)}); err != nil || len(report.Problems) > 0 || report.Uncovered != 5 {
		t.Fatalf("untouched: %+v, %v", report, err)
	}
	edit := func(name string, change func([][]byte) [][]byte) func(fstest.MapFS) {
		return func(m fstest.MapFS) { m[name] = &fstest.MapFile{Data: bytes.Join(change(lines(m[name])), nil)} }
	}
	for _, tt := range []struct {
		name   string
		change func(fstest.MapFS)
		file   string
		line   int
	}{
		{"a changed value", edit(one, func(l [][]byte) [][]byte {
			l[4] = bytes.Replace(l[4], []byte("aws-prod"), []byte("aws-test"), 2)
			return l
		}), one, 6},
		{"a changed byte that ends the form", edit(one, func(l [][]byte) [][]byte { l[4][0] = 'x'; return l }), one, 5},
		{"a changed last line of a segment", edit(one, func(l [][]byte) [][]byte {
			i := len(l) - 2
			l[i] = bytes.Replace(l[i], []byte("segment-end"), []byte("segment-out"), 1)
			return l
		}), one, 23},
		{"a changed signature", edit(one, func(l [][]byte) [][]byte {
			i := len(l) - 2
			at := bytes.Index(l[i], []byte(`"handle":"key-1.`)) + 30
			l[i][at] ^= 1
			return l
		}), one, 23},
		{"a removed line", edit(two, func(l [][]byte) [][]byte { return slices.Delete(l, 9, 10) }), two, 10},
		{"two lines changed about", edit(two, func(l [][]byte) [][]byte { l[9], l[10] = l[10], l[9]; return l }), two, 10},
		{"a line twice", edit(two, func(l [][]byte) [][]byte { return slices.Insert(l, 9, l[9]) }), two, 11},
		{"the end of a middle segment", edit(two, func(l [][]byte) [][]byte { return l[:10] }), three, 1},
		{"the newline and last byte of a middle segment", func(m fstest.MapFS) {
			m[two] = &fstest.MapFile{Data: bytes.TrimSuffix(m[two].Data, []byte("}\n"))}
		}, three, 1},
		{"the first line of a middle segment", edit(two, func(l [][]byte) [][]byte { return l[1:] }), two, 1},
		{"a removed segment", func(m fstest.MapFS) { delete(m, two) }, three, 1},
		{"a removed first segment", func(m fstest.MapFS) { delete(m, one) }, two, 1},
		{"two segments changed about", func(m fstest.MapFS) { m[one], m[two] = m[two], m[one] }, one, 1},
		{"a line too long", edit(two, func(l [][]byte) [][]byte { return slices.Insert(l, 5, append(bytes.Repeat([]byte("x"), 2<<20), '\n')) }), two, 6},
		{"all segments", func(m fstest.MapFS) { clear(m) }, ".", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := fstest.MapFS{}
			for name, f := range whole {
				m[name] = &fstest.MapFile{Data: bytes.Clone(f.Data)}
			}
			tt.change(m)
			report, err := audit.Verify(m, audit.Options{})
			if err != nil || len(report.Problems) == 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			if p := report.Problems[0]; p.File != tt.file || p.Line != tt.line {
				t.Errorf("the first problem is %s, want it at %s:%d", p, tt.file, tt.line)
			}
		})
	}
}

// TestVerifyFindsChangedBytes changes bytes all over a journal that was
// closed.
func TestVerifyFindsChangedBytes(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	j, _ := s.open(t)
	mustCommit(t, j, allowed(1, time.Now().Add(time.Hour)))
	mustClose(t, j)
	m := snapshot(t, s.Dir)
	b := m[one].Data
	captured := s.out.String()
	for i := 0; i < len(b); i += 5 {
		b[i] ^= 0x01
		report, err := audit.Verify(m, audit.Options{Upto: strings.NewReader(captured)})
		if err != nil || len(report.Problems) == 0 {
			t.Errorf("byte %d of %s: %+v, %v", i, b, report, err)
		}
		b[i] ^= 0x01
	}
}

func TestVerifyUpto(t *testing.T) {
	t.Parallel()
	s, whole := written(t)
	captured := s.out.String()
	upto := func(m fs.FS, captured string) audit.Report {
		t.Helper()
		report, err := audit.Verify(m, audit.Options{Upto: strings.NewReader(captured)})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}

	noise := "plain text\n{\"level\":\"INFO\",\"event\":\"checkpoint\"}\n\n" + strings.ReplaceAll(captured, "\n", "\r\nmore\n") + strings.TrimSuffix(captured, "\n")
	if report := upto(whole, noise); len(report.Problems) > 0 || report.Captured != 10 {
		t.Errorf("with other lines between: %+v", report)
	}
	cut := fstest.MapFS{one: whole[one]}
	if report, err := audit.Verify(cut, audit.Options{}); err != nil || len(report.Problems) > 0 {
		t.Errorf("a cut tail cannot be seen by itself: %+v, %v", report, err)
	}
	if report := upto(cut, captured); len(report.Problems) == 0 {
		t.Error("a cut tail was not found")
	}
	if report := upto(whole, "nothing\n"); len(report.Problems) == 0 {
		t.Error("an empty capture was taken")
	}

	// A journal rewritten as a whole, with another key, is true in itself.
	other, forged := written(t)
	if report := upto(forged, other.out.String()); len(report.Problems) > 0 {
		t.Fatalf("%+v", report)
	}
	if report := upto(forged, captured); len(report.Problems) == 0 {
		t.Error("a rewritten journal was not found")
	}
	foreign := strings.ReplaceAll(captured, `"gw-0"`, `"gw-1"`)
	if report := upto(whole, captured+foreign); len(report.Problems) > 0 {
		t.Errorf("another replica's checkpoints: %+v", report)
	}
	if report := upto(whole, foreign); len(report.Problems) == 0 {
		t.Error("only another replica's checkpoints were taken")
	}
}

// TestVerifyUptoOfAnotherReplica rewrites a journal whose oldest segments may be
// gone under another replica's name, with another key, around the seq of a
// checkpoint that is given as a number: what was captured must not all be passed
// over.
func TestVerifyUptoOfAnotherReplica(t *testing.T) {
	t.Parallel()
	s, whole := written(t)
	first, err := audit.Verify(fstest.MapFS{one: whole[one]}, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := newSetup(t)
	other.Config.Replica = "gw-9"
	for range 2 {
		j, _ := other.open(t)
		for i := range 20 {
			mustCommit(t, j, allowed(i, time.Now().Add(time.Hour)))
		}
		mustClose(t, j)
	}
	forged := snapshot(t, other.Dir)
	delete(forged, one)
	report, err := audit.Verify(forged, audit.Options{Since: strconv.FormatInt(first.Last+2, 10), Upto: strings.NewReader(s.out.String())})
	if err != nil || report.First != first.Last+1 {
		t.Fatalf("the seq of the second segment's head is another: %+v, %v", report, err)
	}
	if len(report.Problems) == 0 {
		t.Errorf("a journal rewritten under another name was taken: %+v", report)
	}
}

func TestVerifySinceALine(t *testing.T) {
	t.Parallel()
	_, whole := written(t)
	first := lines(whole[two])
	head := string(bytes.TrimSuffix(first[1], []byte("\n")))
	if report, err := audit.Verify(whole, audit.Options{Since: head}); err != nil || len(report.Problems) > 0 || report.Segments != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	changed := strings.Replace(head, "key-1.", "key-1.A", 1)
	if report, err := audit.Verify(whole, audit.Options{Since: changed}); err != nil || len(report.Problems) == 0 {
		t.Errorf("another line of that seq: %+v, %v", report, err)
	}
}

// TestVerifyWantsAKnownKey signs with a key that the journal does not hold.
func TestVerifyWantsAKnownKey(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]func(*setup) func() []audit.Record{
		"no key": func(*setup) func() []audit.Record { return nil },
		"another key of that name": func(s *setup) func() []audit.Record {
			other, err := audittest.NewSigner("key-1")
			if err != nil {
				t.Fatal(err)
			}
			return func() []audit.Record { return append(other.Head(), s.signer.Head()...) }
		},
		"a private key": func(*setup) func() []audit.Record {
			return func() []audit.Record {
				return []audit.Record{{Event: audit.KeyPublished, Claims: map[string]any{"kty": "oct", "k": "AAAA", "kid": "key-1"}}}
			}
		},
	} {
		s := newSetup(t)
		s.Config.Head = head(s)
		j, _ := s.open(t)
		mustClose(t, j)
		if report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{}); err != nil || len(report.Problems) != 2 {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}

func TestVerifyRS256(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := newSetup(t)
	s.Config.Sign = func(text []byte) (string, []byte, error) {
		sum := sha256.Sum256(text)
		sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
		return "rsa.1", sig, err
	}
	s.Config.Head = func() []audit.Record {
		encode := base64.RawURLEncoding.EncodeToString
		return []audit.Record{{Event: audit.KeyPublished, Claims: map[string]any{
			"kty": "RSA", "kid": "rsa.1", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
		}}}
	}
	j, _ := s.open(t)
	mustClose(t, j)
	if report := s.verify(t); report.Checkpoints != 2 {
		t.Errorf("%+v", report)
	}
}

// TestAbandonedLines holds that what a failed file may hold beyond the durable
// end is reported, and is neither read nor taken for a fault.
func TestAbandonedLines(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	disk := new(audittest.Faulty)
	s.Config.Open = disk.Open
	j, _ := s.open(t)
	mustCommit(t, j, allowed(1, time.Now().Add(time.Hour)))
	disk.FailSync(1) // the line is written whole, and nobody knows
	if err := j.Commit(t.Context(), allowed(2, time.Now().Add(time.Hour))); !errors.Is(err, audit.ErrOutOfOrder) {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); j.Healthy() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the journal did not heal")
		}
	}
	mustCommit(t, j, allowed(3, time.Now().Add(time.Hour)))
	report := s.verify(t)
	if report.Abandoned != 1 || report.Segments != 2 || report.Records != report.Last {
		t.Errorf("%+v", report)
	}
	mustClose(t, j)
	if found, err := audit.Find(os.DirFS(s.Dir), decisionID(2)); err != nil || len(found) > 0 {
		t.Errorf("found %+v, %v", found, err)
	}
	j, r := s.open(t)
	defer j.Close()
	if r.Seq != s.verify(t).Last-2 { // this start's head: a key and a checkpoint
		t.Errorf("recovered seq %d of %+v", r.Seq, s.verify(t))
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	j, _ := s.open(t)
	mustCommit(t, j, allowed(1, time.Now().Add(time.Hour)))
	mustAppend(t, j, audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(1)})
	mustAppend(t, j, audit.Record{Event: audit.ExchangeDenied, Decision: decisionID(2), Subject: decisionID(1)})
	mustClose(t, j)
	fsys := os.DirFS(s.Dir)
	found, err := audit.Find(fsys, decisionID(1))
	if err != nil || len(found) != 2 || found[0].Event != audit.ExchangeAllowed || found[1].Event != audit.ExchangeMinted {
		t.Fatalf("found %+v, %v", found, err)
	}
	one, err := audit.Find(fsys, found[1].ID)
	if diff := cmp.Diff(found[1:], one); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if none, err := audit.Find(fsys, decisionID(9)); err != nil || none != nil {
		t.Error(none, err)
	}
	if _, err := audit.Find(fsys, ""); err == nil {
		t.Error("no id was taken")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synctest.Test(t, func(t *testing.T) {
		s.Config.SegmentBytes = 8192
		j, _ := s.open(t)
		for i := range 10 {
			mustCommit(t, j, allowed(i, time.Now()))
		}
		fsys := os.DirFS(s.Dir)
		decisions := func(n int, poll time.Duration, ctx context.Context, each func(string)) {
			for r, err := range audit.Tail(ctx, fsys, n, poll) {
				if err != nil {
					t.Error(err)
				}
				if r.Event == audit.ExchangeAllowed {
					each(r.Decision)
				}
			}
		}
		var last []string
		decisions(3, 0, t.Context(), func(id string) { last = append(last, id) })
		if diff := cmp.Diff([]string{decisionID(7), decisionID(8), decisionID(9)}, last); diff != "" {
			t.Error(diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		seen := make(map[string]int)
		done := make(chan struct{})
		go func() {
			defer close(done)
			decisions(0, time.Second, ctx, func(id string) { seen[id]++ })
		}()
		synctest.Wait()
		for i := range 100 { // over several segments
			mustCommit(t, j, allowed(1000+i, time.Now()))
			if i%7 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		cancel()
		<-done
		if len(seen) != 100 {
			t.Errorf("%d records were followed", len(seen))
		}
		for i := range 100 {
			if n := seen[decisionID(1000+i)]; n != 1 {
				t.Errorf("record %d was shown %d times", i, n)
			}
		}
		mustClose(t, j)
	})
}

func TestTailOfNothing(t *testing.T) {
	t.Parallel()
	for r, err := range audit.Tail(t.Context(), fstest.MapFS{"notes.txt": {}}, 5, 0) {
		t.Error(r, err)
	}
	if _, err := audit.Find(os.DirFS(filepath.Join(t.TempDir(), "none")), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// BenchmarkVerify reads 10,000 records.
func BenchmarkVerify(b *testing.B) {
	s := newSetup(b)
	j, _ := s.open(b)
	for i := range 10_000 {
		for j.Append(allowed(i, time.Now())) != nil {
			mustCommit(b, j, allowed(i, time.Now()))
		}
	}
	mustClose(b, j)
	for b.Loop() {
		report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{})
		if err != nil || len(report.Problems) > 0 {
			b.Fatal(report, err)
		}
		b.ReportMetric(float64(report.Records), "records")
	}
}
