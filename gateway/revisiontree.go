package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

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
