package gateway

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// maxDocuments bounds the trust folder: far above the largest fleet, and a
// mistaken path such as / ends quickly.
const maxDocuments = 250_000

// maxDocumentBytes is the size that the parser takes, and no more is read: a
// document of 10 MB must cost no more than one of 256 KiB.
const maxDocumentBytes = 256 << 10

// ReadTrusts reads all documents below dir. Links that lead out of the folder
// are refused: whoever may write there must not make the gateway read elsewhere.
// Entries whose name begins with a dot are passed over, as Kubernetes mounts
// keep their versions in such, and so are files of tests, unless one is a document
// after all.
func ReadTrusts(dir string) ([]trust.Source, strictyaml.Findings) {
	return readFolder(dir, false)
}

// ReadTests reads all files of tests below dir, as [ReadTrusts] does documents.
func ReadTests(dir string) ([]trust.Source, strictyaml.Findings) {
	return readFolder(dir, true)
}

func readFolder(dir string, tests bool) ([]trust.Source, strictyaml.Findings) {
	var sources []trust.Source
	var findings strictyaml.Findings
	report := func(file, message, fix string) {
		findings = append(findings, strictyaml.Finding{
			ID: "document-unreadable", Severity: strictyaml.Error, File: file, Line: 1, Column: 1, Message: message, Fix: fix,
		})
	}
	err := walkTrusts(dir, func(root *os.Root, name string) error {
		if !showable(name) {
			if strings.HasPrefix(strings.ToLower(path.Ext(name)), ".y") && !tests {
				report(filepath.Join(dir, strconv.QuoteToASCII(name)), "its name has characters that cannot be seen", "give it a plain name")
			}
			return nil
		}
		if trust.IsTestFile(name) != tests {
			if !tests && isDocument(root, name) {
				findings = append(findings, strictyaml.Finding{
					ID: "document-passed-over", Severity: strictyaml.Error, File: filepath.Join(dir, filepath.FromSlash(name)), Line: 1, Column: 1,
					Message: "is a document by what it holds and a file of tests by its name, so that it is not in force",
					Fix:     "end its name otherwise than in " + trust.TestFileSuffix,
				})
			}
			return nil
		}
		if path.Ext(name) != ".yaml" {
			// A guardrail that silently is not in force looks like one that is.
			if fix := passedOver(root, name); fix != "" {
				findings = append(findings, strictyaml.Finding{
					ID: "document-passed-over", Severity: strictyaml.Warning, File: filepath.Join(dir, filepath.FromSlash(name)), Line: 1, Column: 1,
					Message: "looks like a document and is not read", Fix: fix,
				})
			}
			return nil
		}
		if len(sources) >= maxDocuments {
			return fmt.Errorf("more than %d documents", maxDocuments)
		}
		shown := filepath.Join(dir, filepath.FromSlash(name))
		data, err := readDocument(root, name)
		if err != nil {
			report(shown, "cannot be read: "+reasonOf(err), "make it a regular file inside the folder that this process may read")
			return nil
		}
		sources = append(sources, trust.Source{Name: shown, Data: data})
		return nil
	})
	if err != nil {
		report(dir, "the trust folder cannot be read: "+reasonOf(err), "name an existing folder under trust:")
	}
	return sources, findings
}

// isDocument reports whether a file of tests holds what only a document does. A
// guardrail that was renamed to a file of tests is gone from the policy, and whoever
// reviews the folder still sees it there.
func isDocument(root *os.Root, name string) bool {
	data, err := readDocument(root, name)
	if err != nil {
		return false // told to whoever reads the tests
	}
	fields := []string{"guardrail", "invariant", "grants"}
	if !slices.ContainsFunc(fields, func(field string) bool { return bytes.Contains(data, []byte(field)) }) {
		return false // most are not worth the parser's work
	}
	document, _ := strictyaml.Inspect(name, data)
	return document != nil && document.Kind == strictyaml.Map &&
		slices.ContainsFunc(fields, func(field string) bool { return document.Get(field) != nil })
}

// showable reports a name that stays what it is in a log, on a terminal and in a
// patch. One with a line break or an escape sequence would write lines there that
// nobody of ours wrote.
func showable(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError })
}

// folderSignature changes whenever a document does. It reads names, sizes and
// times, not contents, so that it may be taken every second.
func folderSignature(dir string) ([sha256.Size]byte, error) {
	h := sha256.New()
	err := walkTrusts(dir, func(root *os.Root, name string) error {
		if path.Ext(name) != ".yaml" { // a file of tests may be a document by mistake, and is told of
			return nil
		}
		info, err := root.Stat(filepath.FromSlash(name))
		if err != nil {
			_, _ = fmt.Fprintf(h, "%s unreadable\n", name) // a hash never fails
			return nil                                     //nolint:nilerr // an unreadable document is a state of the folder too
		}
		_, _ = fmt.Fprintf(h, "%s %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

// passedOver says how to have a file read that is no document by its name, or ""
// where nobody would take it for one.
func passedOver(root *os.Root, name string) string {
	if ext := strings.ToLower(path.Ext(name)); ext == ".yml" || ext == ".yaml" {
		return "name it *.yaml"
	}
	link, err := root.Lstat(filepath.FromSlash(name))
	if err != nil || link.Mode()&fs.ModeSymlink == 0 {
		return ""
	}
	if to, err := root.Stat(filepath.FromSlash(name)); err == nil && to.IsDir() {
		return "put the folder itself in place of the link"
	}
	return ""
}

// walkTrusts visits the files below dir, in order of their names. Links to
// folders are not followed, links to files inside the folder are.
func walkTrusts(dir string, visit func(root *os.Root, name string) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only: nothing can be lost
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		}
		return visit(root, name)
	})
}

// readDocument reads one byte more than a document may have, so that the parser
// sees that it is too large, whatever its size. It opens without waiting: a
// pipe that nobody writes to would hold the start, and every reload, for ever.
func readDocument(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return io.ReadAll(io.LimitReader(f, maxDocumentBytes+1))
}

// reasonOf is an error without the path that it repeats.
func reasonOf(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
