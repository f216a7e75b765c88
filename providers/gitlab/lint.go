package gitlab

import (
	"slices"
	"strings"

	"cambio/trust"
)

// lint says what only this platform's claims have to say about a trust.
func lint(t trust.Trust) []trust.Remark {
	var remarks []trust.Remark
	say := func(id string, line trust.MatchLine, message, fix string) {
		remarks = append(remarks, trust.Remark{ID: id, At: line.At, Field: "match." + line.Name, Message: message, Fix: fix})
	}
	named := func(claims ...string) bool {
		return slices.ContainsFunc(t.Match, func(l trust.MatchLine) bool { return slices.Contains(claims, l.Claim.ID()) })
	}
	for _, line := range t.Match {
		if line.Claim.ID() == "/ref" && !named("/ref_type", "/ref_path", "/ref_protected") {
			// Tags are not protected by default: who may push a branch that is not
			// main may push a tag that is called main.
			say("chosen-claim", line, "ref is the name alone: a tag that is called so has it too, and whoever may push tags chooses it",
				"match ref_path, such as refs/heads/main, or ref_type: branch beside it")
		}
		for _, w := range line.Want {
			text, ok := w.Value.(string)
			if !ok {
				continue
			}
			switch line.Claim.ID() {
			case "/ref":
				if strings.HasPrefix(text, "refs/") {
					say("never-sent", line, "ref is sent without refs/heads/ and refs/tags/", "match ref_path with this value")
				}
			case "/ref_path":
				if !strings.HasPrefix(text, "refs/") {
					say("never-sent", line, "ref_path is sent whole, and a star stops at a slash", "write refs/heads/"+strings.TrimLeft(text, "/"))
				}
			case "/project_path", "/job_project_path":
				if !strings.Contains(text, "/") {
					say("never-sent", line, "a project's path is sent with its group, GROUP/PROJECT", "write GROUP/PROJECT, and the ids beside it")
				}
			case "/ci_config_ref_uri":
				if !strings.Contains(text, "@") && (!w.Glob || !strings.HasSuffix(text, "*")) {
					say("never-sent", line, "the definition is sent with the ref that it is of, such as @refs/heads/main", "write "+text+"@refs/heads/main")
				}
			}
		}
	}
	return remarks
}
