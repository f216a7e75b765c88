package main

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// scripts refuses an expression in a script. The runner puts its value there as
// text before any shell reads it, so that a branch's name, a pull request's title
// or an input such as `$(curl ... | sh)` is run. Not only the contexts that are
// known as hostile (github.event, github.head_ref, inputs) are refused: a step's
// output or a matrix may hold what came from one of them.
func scripts(doc *yaml.Node, report func(*yaml.Node, string, ...any)) {
	if doc.Kind == yaml.MappingNode {
		script(get(doc, "run"), report)
		if uses := get(doc, "uses"); uses != nil && strings.HasPrefix(uses.Value, "actions/github-script@") {
			script(get(get(doc, "with"), "script"), report)
		}
	}
	for _, c := range doc.Content {
		scripts(c, report)
	}
}

func script(n *yaml.Node, report func(*yaml.Node, string, ...any)) {
	if n == nil || n.Kind != yaml.ScalarNode {
		return
	}
	if _, rest, found := strings.Cut(n.Value, "${{"); found {
		expression, _, _ := strings.Cut(rest, "}}")
		report(n, "the script holds ${{ %s }}, whose value is run as a part of it: hand it over in env", strings.TrimSpace(expression))
	}
}
