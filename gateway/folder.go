package gateway

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

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
// keep their versions in such.
func ReadTrusts(dir string) ([]trust.Source, strictyaml.Findings) {
	var sources []trust.Source
	var findings strictyaml.Findings
	report := func(file, message, fix string) {
		findings = append(findings, strictyaml.Finding{
			ID: "document-unreadable", Severity: strictyaml.Error, File: file, Line: 1, Column: 1, Message: message, Fix: fix,
		})
	}
	err := walkTrusts(dir, func(fsys fs.FS, name string) error {
		if len(sources) >= maxDocuments {
			return fmt.Errorf("more than %d documents", maxDocuments)
		}
		shown := filepath.Join(dir, filepath.FromSlash(name))
		data, err := readDocument(fsys, name)
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

// folderSignature changes whenever a document does. It reads names, sizes and
// times, not contents, so that it may be taken every second.
func folderSignature(dir string) ([sha256.Size]byte, error) {
	h := sha256.New()
	err := walkTrusts(dir, func(fsys fs.FS, name string) error {
		info, err := fs.Stat(fsys, name)
		if err != nil {
			_, _ = fmt.Fprintf(h, "%s unreadable\n", name) // a hash never fails
			return nil                                     //nolint:nilerr // an unreadable document is a state of the folder too
		}
		_, _ = fmt.Fprintf(h, "%s %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

// walkTrusts visits the documents below dir, in order of their names. Links to
// folders are not followed, links to files inside the folder are.
func walkTrusts(dir string, visit func(fsys fs.FS, name string) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only: nothing can be lost
	fsys := root.FS()
	return fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || path.Ext(name) != ".yaml":
			return nil
		}
		return visit(fsys, name)
	})
}

// readDocument reads one byte more than a document may have, so that the parser
// sees that it is too large, whatever its size.
func readDocument(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file") // a pipe would hold the reload for ever
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
