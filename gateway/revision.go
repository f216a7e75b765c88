package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// ErrRevision says that a text names no revision whose documents can be read.
var ErrRevision = errors.New("no such revision")

// LoadRevision reads and compiles the documents of a git revision: REVISION, of
// which it takes the folder that the configuration names, or REVISION:FOLDER, from
// the top of the repository. The repository is the one that the configured folder
// lies in. A revision that does not have the configured folder yet has no
// documents, and is a policy that denies everything. With an error among the
// findings there is no policy.
func LoadRevision(ctx context.Context, c Config, revision string, now time.Time) (*trust.Policy, strictyaml.Findings, error) {
	sources, findings, err := readRevision(ctx, c.Trust, revision)
	if err != nil {
		return nil, nil, err
	}
	policy, more := trust.Compile(World(c), sources, now)
	findings = append(findings, more...).Sorted()
	if findings.HasErrors() {
		return nil, findings, nil
	}
	return policy, findings, nil
}

// revision is a text such as main, HEAD~1 or main:trust, taken apart.
type revision struct {
	commit string
	folder string // below the top of the repository; "" for all of it
	named  bool   // the text names the folder
}

// maxRevision is far above the longest name of a branch.
const maxRevision = 512

// commitForm are names of branches, tags and commits, and the steps back from
// them. What git reads otherwise has no place here: a hyphen in front makes an
// option of it, `..` a range, and `@{...}` and `^{/...}` ask for a search.
var commitForm = regexp.MustCompile(`^[A-Za-z0-9_@][A-Za-z0-9._/@^~+-]*$`)

func parseRevision(s string) (revision, bool) {
	if len(s) > maxRevision || !utf8.ValidString(s) {
		return revision{}, false
	}
	var r revision
	r.commit, r.folder, r.named = strings.Cut(s, ":")
	r.folder = strings.TrimSuffix(r.folder, "/")
	if !commitForm.MatchString(r.commit) || strings.Contains(r.commit, "..") {
		return revision{}, false
	}
	// A line break would be a second question to git, and a path that leads up or
	// begins at the root is none of a commit.
	if r.folder != "" && (!fs.ValidPath(r.folder) || r.folder == "." || strings.ContainsFunc(r.folder, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' })) {
		return revision{}, false
	}
	return r, true
}

// HasRevision reports whether the repository that the configured folder lies in
// has the commit that a text names. A name like ./main is none.
func HasRevision(ctx context.Context, c Config, text string) bool {
	r, ok := parseRevision(text)
	if !ok {
		return false
	}
	repo, err := openRepository(ctx, c.Trust)
	if err != nil {
		return false
	}
	_, err = repo.resolve(ctx, r.commit+"^{commit}")
	return err == nil
}

func readRevision(ctx context.Context, dir, text string) ([]trust.Source, strictyaml.Findings, error) {
	r, ok := parseRevision(text)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %q has not the form of one", ErrRevision, text)
	}
	repo, err := openRepository(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	if !r.named {
		r.folder = repo.folder
	}
	commit, err := repo.resolve(ctx, r.commit+"^{commit}")
	switch {
	case err != nil && !errors.Is(err, ErrRevision):
		return nil, nil, err
	case err != nil:
		return nil, nil, fmt.Errorf("%w: the repository of %s has no commit %q", ErrRevision, dir, r.commit)
	}
	of := commit + "^{tree}"
	if r.folder != "" {
		of = commit + ":" + r.folder
	}
	tree, err := repo.resolve(ctx, of)
	switch {
	case errors.Is(err, ErrRevision) && r.named:
		return nil, nil, fmt.Errorf("%w: %s has no folder %q", ErrRevision, r.commit, r.folder)
	case errors.Is(err, ErrRevision):
		return nil, nil, nil // the configured folder came later
	case err != nil:
		return nil, nil, err
	}
	shown := r.commit + ":"
	if r.folder != "" {
		shown += r.folder + "/"
	}
	entries, findings, err := repo.list(ctx, tree, shown)
	if err != nil {
		return nil, nil, err
	}
	sources, err := repo.read(ctx, entries)
	return sources, findings, err
}

// repository is asked through the git program, with fixed arguments: it knows
// every form that a repository may have.
type repository struct {
	dir    string
	folder string // the configured one, below the top
}

func openRepository(ctx context.Context, dir string) (repository, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return repository{}, err
	}
	missing := ""
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || filepath.Dir(dir) == dir {
			break
		}
		dir, missing = filepath.Dir(dir), path.Join(filepath.Base(dir), missing)
	}
	r := repository{dir: dir}
	prefix, err := r.ask(ctx, "rev-parse", "--show-prefix")
	if err != nil {
		return repository{}, err
	}
	top, err := r.ask(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return repository{}, err
	}
	below := strings.TrimSuffix(strings.TrimSuffix(string(prefix), "\n"), "/")
	if !leads(dir, below, strings.TrimSuffix(string(top), "\n")) {
		return repository{}, fmt.Errorf("%s is reached by a link inside the repository; name the folder itself", dir)
	}
	r.folder = path.Join(below, missing)
	return r, nil
}

// leads reports whether dir is what it says it is below the top. Where a proposal
// makes the folder a link to another one, git goes to that one, in the old revision
// too, and finds it unchanged: documents that never were in force would be compared
// with themselves.
func leads(dir, below, top string) bool {
	said, found := "", false
	for at := dir; ; at = filepath.Dir(at) {
		if to, err := filepath.EvalSymlinks(at); err == nil && filepath.ToSlash(to) == top {
			rest, err := filepath.Rel(at, dir)
			said, found = filepath.ToSlash(rest), err == nil // the last is the outermost, which no proposal reaches
		}
		if at == filepath.Dir(at) {
			return found && path.Clean(said) == path.Clean(below)
		}
	}
}

// command never runs a shell, a pager or a hook, reads the objects as they were
// committed whatever replaces them here, and fetches nothing: who asks what a
// commit holds must not call the host that the repository names.
func (r repository) command(ctx context.Context, args ...string) *exec.Cmd {
	fixed := []string{"-C", r.dir, "--no-pager", "--no-replace-objects", "--no-optional-locks", "-c", "protocol.allow=never"}
	cmd := exec.CommandContext(ctx, "git", append(fixed, args...)...) //nolint:gosec // the name of a revision was taken apart, and is no option
	// The configuration of a repository may allow a protocol by its name, and with
	// ext:: that is a program of its choice; the variable goes before it. The others
	// would make a hook that calls us read another repository than the folder's.
	cmd.Env = append(slices.DeleteFunc(cmd.Environ(), elsewhere), "GIT_ALLOW_PROTOCOL=", "GIT_NO_LAZY_FETCH=1")
	cmd.WaitDelay = time.Second
	return cmd
}

// elsewhere reports a variable that says which repository git reads.
func elsewhere(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{
		"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_GRAFT_FILE", "GIT_NAMESPACE",
	}, name)
}

// maxTold is more than git says about one mistake.
const maxTold = 4 << 10

// ask returns what git prints: a line or two.
func (r repository) ask(ctx context.Context, args ...string) ([]byte, error) {
	told := &bounded{left: maxTold}
	cmd := r.command(ctx, args...)
	cmd.Stderr = told
	out, err := cmd.Output()
	if err != nil {
		return nil, gitError(err, told)
	}
	return out, nil
}

func gitError(err error, told *bounded) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("to read a revision the program git is needed, and it is not here")
	}
	line, _, _ := strings.Cut(told.String(), "\n")
	return fmt.Errorf("git: %w: %q", err, line)
}

// bounded keeps the first bytes that are written to it, and drops the others.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.left)
	b.left -= keep
	b.Buffer.Write(p[:keep])
	return len(p), nil
}

var objectForm = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// resolve returns the id of an object; [ErrRevision] is that there is none.
func (r repository) resolve(ctx context.Context, name string) (string, error) {
	out, err := r.ask(ctx, "rev-parse", "--verify", "--quiet", name)
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == 1 {
		return "", ErrRevision
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	if !objectForm.MatchString(id) {
		return "", ErrRevision
	}
	return id, nil
}

// entry is one document of a tree.
type entry struct {
	id, shown string
	size      int
}

// list finds the documents of a tree, by the rules of [ReadTrusts].
func (r repository) list(ctx context.Context, tree, shown string) ([]entry, strictyaml.Findings, error) {
	cmd, told := r.command(ctx, "ls-tree", "-r", "-z", "--long", "--full-tree", tree), &bounded{left: maxTold}
	cmd.Stderr = told
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, gitError(err, told)
	}
	entries, findings, err := listed(out, shown)
	if err != nil {
		_ = cmd.Cancel() // it waits for somebody to read
		_ = cmd.Wait()
		return nil, nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, nil, gitError(err, told)
	}
	return entries, findings, nil
}

// maxEntry is more than the longest path that git takes, with what stands before
// it.
const maxEntry = 8 << 10

// listed reads entries as ls-tree prints them: MODE SP TYPE SP ID SP SIZE TAB PATH,
// each ended by a NUL.
func listed(out io.Reader, shown string) ([]entry, strictyaml.Findings, error) {
	var entries []entry
	var findings strictyaml.Findings
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxEntry)
	lines.Split(untilNUL)
	for lines.Scan() {
		head, name, _ := strings.Cut(lines.Text(), "\t")
		about := strings.Fields(head)
		if len(about) != 4 || name == "" {
			return nil, nil, fmt.Errorf("git: %q is no entry of a tree", lines.Text())
		}
		mode, id := about[0], about[2]
		if strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
			continue
		}
		e := entry{id: id, shown: shown + name}
		report := func(severity strictyaml.Severity, id, message, fix string) {
			findings = append(findings, strictyaml.Finding{ID: id, Severity: severity, File: e.shown, Line: 1, Column: 1, Message: message, Fix: fix})
		}
		const unreadable = "document-unreadable"
		ext := path.Ext(name)
		if !showable(name) {
			if strings.HasPrefix(strings.ToLower(ext), ".y") {
				e.shown = shown + strconv.QuoteToASCII(name)
				report(strictyaml.Error, unreadable, "its name has characters that cannot be seen", "give it a plain name")
			}
			continue
		}
		regular := mode == "100644" || mode == "100755"
		switch {
		case about[1] == "commit":
			// Its documents are in another repository, at another commit than that
			// which is asked about.
			report(strictyaml.Error, unreadable, "is a submodule, whose documents are not in this repository", "keep the documents in one repository")
			continue
		case ext != ".yaml":
			if lower := strings.ToLower(ext); lower == ".yml" || lower == ".yaml" {
				report(strictyaml.Warning, "document-passed-over", "looks like a document and is not read", "name it *.yaml")
			}
			continue
		case trust.IsTestFile(name):
			continue
		case !regular:
			// Where it leads is a file of this machine, not of the commit.
			report(strictyaml.Error, unreadable, "is a link, which is not followed in a revision", "make it a regular file")
			continue
		}
		size, err := strconv.Atoi(about[3])
		if err != nil || size < 0 || !objectForm.MatchString(id) {
			return nil, nil, fmt.Errorf("git: %q is no entry of a tree", lines.Text())
		}
		if size > maxDocumentBytes {
			report(strictyaml.Error, unreadable, fmt.Sprintf("is larger than %d bytes", maxDocumentBytes), "split it: one file is one document")
			continue
		}
		e.size = size
		if entries = append(entries, e); len(entries) > maxDocuments {
			return nil, nil, fmt.Errorf("%s: more than %d documents", shown, maxDocuments)
		}
	}
	return entries, findings, lines.Err()
}

func untilNUL(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// read fetches the documents with one process.
func (r repository) read(ctx context.Context, entries []entry) ([]trust.Source, error) {
	var ids strings.Builder
	for _, e := range entries {
		ids.WriteString(e.id + "\n")
	}
	cmd, told := r.command(ctx, "cat-file", "--batch"), &bounded{left: maxTold}
	cmd.Stdin, cmd.Stderr = strings.NewReader(ids.String()), told
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, gitError(err, told)
	}
	sources, err := objects(bufio.NewReader(out), entries)
	if err != nil {
		_ = cmd.Cancel() // it waits for somebody to read
		_ = cmd.Wait()
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, gitError(err, told)
	}
	return sources, nil
}

// objects reads what cat-file prints for each id: ID SP blob SP SIZE LF, the
// content, LF.
func objects(out *bufio.Reader, entries []entry) ([]trust.Source, error) {
	sources := make([]trust.Source, 0, len(entries))
	for _, e := range entries {
		head, err := out.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("git: %s: %w", e.shown, err)
		}
		if want := fmt.Sprintf("%s blob %d\n", e.id, e.size); string(head) != want {
			return nil, fmt.Errorf("git: %s is not in the repository", e.shown)
		}
		data := make([]byte, e.size+1)
		if _, err := io.ReadFull(out, data); err != nil {
			return nil, fmt.Errorf("git: %s: %w", e.shown, err)
		}
		sources = append(sources, trust.Source{Name: e.shown, Data: data[:e.size]})
	}
	return sources, nil
}
