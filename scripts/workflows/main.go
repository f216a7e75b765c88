// Command workflows is two gates over the workflows in .github and the composite
// actions of a tree.
//
//	workflows pins [DIR]            every action is named by a commit, not by a tag that moves
//	workflows permissions [DIR]     a job may write nothing that its steps do not need,
//	                                and no script takes in text of others
//
// It ends with 1 and a line for each fault.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "workflows:", err)
		os.Exit(1)
	}
}

// gate looks at one document and reports what is wrong in it.
type gate func(doc *yaml.Node, report func(at *yaml.Node, format string, args ...any))

func run(args []string, out io.Writer) error {
	dir := "."
	if len(args) == 2 {
		dir = args[1]
	}
	if len(args) == 0 || len(args) > 2 {
		return errors.New("want pins or permissions, and a folder")
	}
	check, ok := map[string]gate{"pins": pins, "permissions": permissions}[args[0]]
	if !ok {
		return fmt.Errorf("there is no gate %q", args[0])
	}
	tree := os.DirFS(dir)
	names, err := documents(tree)
	if err != nil {
		return err
	}
	faults := 0
	for _, name := range names {
		doc, err := read(tree, name)
		if err != nil {
			return err
		}
		report := func(at *yaml.Node, format string, args ...any) {
			faults++
			fmt.Fprintf(out, "%s:%d: %s\n", name, at.Line, fmt.Sprintf(format, args...))
		}
		if args[0] == "permissions" {
			scripts(doc, report) // what runs there has the job's rights, however few
			if path.Base(path.Dir(name)) != "workflows" {
				continue // an action has the permissions of the job that uses it
			}
		}
		check(doc, report)
	}
	if faults > 0 {
		return fmt.Errorf("%s: faults: %d", args[0], faults)
	}
	fmt.Fprintf(out, "%s: ok, files: %d\n", args[0], len(names))
	return nil
}

// documents are the workflows, and every action.yml of the tree.
func documents(tree fs.FS) ([]string, error) {
	var names []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base, ext := path.Base(name), path.Ext(name)
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "node_modules", "bin"}, d.Name()):
			return fs.SkipDir
		case d.IsDir():
		case (ext == ".yml" || ext == ".yaml") && (path.Dir(name) == ".github/workflows" || strings.TrimSuffix(base, ext) == "action"):
			names = append(names, name)
		}
		return nil
	})
	if err == nil && !slices.ContainsFunc(names, func(n string) bool { return path.Dir(n) == ".github/workflows" }) {
		err = errors.New("no workflow in .github/workflows")
	}
	return names, err
}

// maxDocument is far above any workflow that people read.
const maxDocument = 256 << 10

func read(tree fs.FS, name string) (*yaml.Node, error) {
	content, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	if len(content) > maxDocument {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxDocument)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: not a map", name)
	}
	if alias := find(&doc, func(n *yaml.Node) bool { return n.Kind == yaml.AliasNode }); alias != nil {
		// Readers differ in what a merged map holds.
		return nil, fmt.Errorf("%s:%d: an alias", name, alias.Line)
	}
	return doc.Content[0], nil
}

// get is the value of a key; nil if there is none.
func get(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// find is the first node for which ok holds.
func find(n *yaml.Node, ok func(*yaml.Node) bool) *yaml.Node {
	if ok(n) {
		return n
	}
	for _, c := range n.Content {
		if f := find(c, ok); f != nil {
			return f
		}
	}
	return nil
}
