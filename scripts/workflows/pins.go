package main

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// pinned is an action by its commit; image is a container by its digest.
var (
	pinned  = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]+)?@[0-9a-f]{40}$`)
	image   = regexp.MustCompile(`^docker://[^@]+@sha256:[0-9a-f]{64}$`)
	version = regexp.MustCompile(`^# v[0-9]+(\.[0-9]+)*$`)
)

// pins refuses every `uses` that may mean another program tomorrow: whoever takes
// over an action's repository moves its tags first (CVE-2025-30066).
func pins(doc *yaml.Node, report func(*yaml.Node, string, ...any)) {
	if doc.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(doc.Content); i += 2 {
			if doc.Content[i].Value == "uses" {
				pin(doc.Content[i+1], report)
			}
		}
	}
	for _, c := range doc.Content {
		pins(c, report)
	}
}

func pin(n *yaml.Node, report func(*yaml.Node, string, ...any)) {
	switch {
	case n.Kind != yaml.ScalarNode:
		report(n, "uses is not a text")
	case strings.HasPrefix(n.Value, "./") && !strings.Contains(n.Value, ".."):
		// Of this commit.
	case image.MatchString(n.Value):
	case !pinned.MatchString(n.Value):
		report(n, "uses: %s: write the commit's 40 hex digits behind @, and its version as a comment", n.Value)
	case !version.MatchString(n.LineComment):
		report(n, "uses: %s: write the version behind it, such as # v4.2.2, so that people and updates see it", n.Value)
	}
}
