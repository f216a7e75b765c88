package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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
