package main

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A job that may ask for the identity of this repository, or write to it, is what
// an attacker who runs code in it wants. needs says by which step such a
// permission is used: an action, or a line of a script.
type need struct{ action, script *regexp.Regexp }

func needs() map[string]need {
	return map[string]need{
		"id-token": {
			regexp.MustCompile(`^(actions/attest|\./deploy/github-action$)`),
			regexp.MustCompile(`ACTIONS_ID_TOKEN_REQUEST_|\bcambio (exchange|exec|whoami)\b|\bcosign sign`),
		},
		"attestations": {regexp.MustCompile(`^actions/attest`), nil},
		// The review of trust documents comments, and uploads findings.
		"pull-requests":   {regexp.MustCompile(`^\./deploy/github-action/check$`), nil},
		"security-events": {regexp.MustCompile(`^\./deploy/github-action/check$`), nil},
		"contents":        {nil, regexp.MustCompile(`\bgh release (create|upload)\b|\bgit push\b`)},
	}
}

// permissions wants read rights alone at the top, and each right to write at the
// one job whose steps use it.
func permissions(doc *yaml.Node, report func(*yaml.Node, string, ...any)) {
	top := get(doc, "permissions")
	if top == nil {
		report(doc, "no permissions at the top: the default of the repository may be to write everything")
	} else {
		eachWrite(top, report, func(at *yaml.Node, scope string) {
			report(at, "%s: write at the top is a right of every job: move it to the one that needs it", scope)
		})
	}
	if on := get(doc, "on"); on != nil && find(on, func(n *yaml.Node) bool { return n.Value == "pull_request_target" }) != nil {
		report(on, "pull_request_target runs with the rights of the target for whoever opens a pull request")
	}
	jobs := get(doc, "jobs")
	if jobs == nil || jobs.Kind != yaml.MappingNode {
		report(doc, "no jobs")
		return
	}
	for i := 0; i+1 < len(jobs.Content); i += 2 {
		name, job := jobs.Content[i].Value, jobs.Content[i+1]
		if own := get(job, "permissions"); own != nil {
			eachWrite(own, report, func(at *yaml.Node, scope string) {
				if !used(job, scope) {
					report(at, "job %s has %s: write, and no step that uses it", name, scope)
				}
			})
		}
	}
}

// eachWrite calls found for each scope that may be written.
func eachWrite(n *yaml.Node, report func(*yaml.Node, string, ...any), found func(at *yaml.Node, scope string)) {
	if n.Kind != yaml.MappingNode {
		report(n, "permissions: %s: name each one", n.Value)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch scope, right := n.Content[i], n.Content[i+1].Value; right {
		case "read", "none":
		case "write":
			found(scope, scope.Value)
		default:
			report(scope, "%s: %s: write read, write or none", scope.Value, right)
		}
	}
}

// used reports whether a step of the job uses the right to write this.
func used(job *yaml.Node, scope string) bool {
	n, known := needs()[scope]
	steps := get(job, "steps")
	if !known || steps == nil {
		return false
	}
	for _, step := range steps.Content {
		if uses := get(step, "uses"); uses != nil && n.action != nil && n.action.MatchString(uses.Value) {
			return true
		}
		run := get(step, "run")
		if run == nil || n.script == nil {
			continue
		}
		for line := range strings.Lines(run.Value) {
			if code, _, _ := strings.Cut(line, "#"); n.script.MatchString(code) {
				return true
			}
		}
	}
	return false
}
