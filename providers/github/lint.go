package github

import (
	"strings"

	"cambio/trust"
)

// lint says what only this platform's claims have to say about a trust.
func lint(t trust.Trust) []trust.Remark {
	l := linter{trust: t, repositories: map[string]bool{}}
	for _, line := range t.Match {
		if line.Claim.ID() == "/repository" {
			for _, w := range line.Want {
				if name, ok := w.Value.(string); ok && !w.Glob {
					l.repositories[name] = true
				}
			}
		}
	}
	l.subjects()
	for _, line := range t.Match {
		for _, w := range line.Want {
			if text, ok := w.Value.(string); ok {
				l.value(line, text, w.Glob)
			}
		}
	}
	return l.remarks
}

type linter struct {
	trust        trust.Trust
	repositories map[string]bool // that match names
	remarks      []trust.Remark
}

func (l *linter) remark(id string, at trust.Place, field, message, fix string) {
	l.remarks = append(l.remarks, trust.Remark{ID: id, At: at, Field: field, Message: message, Fix: fix})
}

// subjects looks for a sub in one of its two forms. A trust that knows one alone
// stops working on the day that the repository is renamed or transferred, or
// never works for a new one.
func (l *linter) subjects() {
	const fix = "match repository_owner_id, repository_id, and ref or environment in place of sub"
	for _, line := range l.trust.Match {
		if line.Claim.ID() != "/sub" {
			continue
		}
		named, immutable := false, false
		for _, w := range line.Want {
			text, _ := w.Value.(string)
			switch isSubject, ids := subjectForm(text); {
			case isSubject && ids:
				immutable = true
			case isSubject:
				named = true
			}
		}
		if named != immutable {
			l.remark("subject-forms", line.At, "match."+line.Name, oneForm(immutable), fix)
		}
	}
	for _, c := range l.trust.When {
		if !strings.Contains(c.Source, "claims.sub") && !strings.Contains(c.Source, "identity.subject") {
			continue
		}
		named, immutable := false, false
		for _, quote := range []string{`"`, `'`} {
			for i, text := range strings.Split(c.Source, quote) {
				if i%2 == 0 {
					continue // outside quotes
				}
				if isSubject, ids := subjectForm(text); isSubject {
					named, immutable = named || !ids, immutable || ids
				}
			}
		}
		if named != immutable {
			l.remark("subject-forms", c.At, "when", oneForm(immutable), fix)
		}
	}
}

func oneForm(immutable bool) string {
	if immutable {
		return "sub is compared in its form with ids alone; repositories from before 2026-07-15 send repo:OWNER/REPO:..."
	}
	return "sub is compared in its form without ids alone; repositories created, renamed or transferred since 2026-07-15 send repo:OWNER@ID/REPO@ID:..."
}

// subjectForm reports a text that begins as a default sub does, and whether it is
// the form with ids.
func subjectForm(text string) (subject, ids bool) {
	rest, ok := strings.CutPrefix(text, "repo:")
	if !ok {
		return false, false
	}
	full, _, _ := strings.Cut(rest, ":")
	return true, strings.Contains(full, "@")
}

// value looks for values that no token has, so that the line never holds.
func (l *linter) value(line trust.MatchLine, text string, glob bool) {
	field := "match." + line.Name
	switch line.Claim.ID() {
	case "/environment":
		if strings.Contains(strings.ToUpper(text), "%3A") {
			l.remark("never-sent", line.At, field, "the claim environment holds the name as it is; only sub writes its colon as %3A",
				"write "+strings.NewReplacer("%3A", ":", "%3a", ":").Replace(text))
		}
	case "/sub":
		if _, name, ok := strings.Cut(text, ":environment:"); ok && strings.Contains(name, ":") {
			l.remark("never-sent", line.At, field, "sub writes a colon inside a name as %3A", "match environment in place of sub")
		}
	case "/ref", "/base_ref":
		if line.Claim.ID() == "/ref" && !strings.HasPrefix(text, "refs/") {
			l.remark("never-sent", line.At, field, "a ref is sent whole, such as refs/heads/main, and a star stops at a slash", fullRef(text, glob))
		}
	case "/repository":
		if strings.Count(text, "/") != 1 {
			l.remark("never-sent", line.At, field, "a repository is sent as OWNER/REPO", "write OWNER/REPO, and the ids beside it")
		}
	case "/workflow_ref", "/job_workflow_ref":
		l.workflow(line, field, text, glob)
	}
}

func fullRef(text string, glob bool) string {
	if glob {
		return `write {glob: "refs/heads/` + strings.TrimLeft(text, "/") + `"}`
	}
	return "write refs/heads/" + strings.TrimLeft(text, "/")
}

// workflow tells the two claims apart that people take for each other:
// workflow_ref is the file that was started, always of the repository itself, and
// job_workflow_ref the one that the job stands in, which may be of another.
func (l *linter) workflow(line trust.MatchLine, field, text string, glob bool) {
	path, ref, hasRef := strings.Cut(text, "@")
	switch {
	case !hasRef && (!glob || !strings.HasSuffix(text, "*")):
		l.remark("never-sent", line.At, field, "a workflow is sent with the ref that its file is of, such as @refs/heads/main", "write "+text+"@refs/heads/main")
		return
	case glob && strings.HasPrefix(ref, "*"):
		l.remark("never-sent", line.At, field, "a star stops at a slash, and the ref after @ has some", `write {glob: "`+path+`@refs/heads/*"}`)
		return
	}
	repository, _, ok := strings.Cut(path, "/.github/")
	if line.Claim.ID() == "/workflow_ref" && ok && !strings.Contains(repository, "*") && len(l.repositories) > 0 && !l.repositories[repository] {
		l.remark("caller-workflow", line.At, field, "workflow_ref is the workflow that was started, which is of the repository itself; "+repository+" is another one",
			"match job_workflow_ref, which is the reusable workflow that the job stands in")
	}
}
