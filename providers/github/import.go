package github

import (
	"slices"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/trust"
)

// Import turns what another system trusts of GitHub into documents: one for each
// repository and kind of job, because the lines of a document multiply. known are
// claims that name repositories with their ids, for subjects that have none.
//
// Nothing is widened: what a document cannot say exactly or narrower is an error
// in notes, and then there is no document.
func Import(f draft.Foreign, known []map[string]any, notes *draft.Notes) []draft.Document {
	im := importer{where: f.Where, notes: notes, whole: true}
	for _, claims := range known {
		r, err := repositoryOf(claims)
		if err != nil {
			im.refuse("import-ids-missing", "claims: "+err.Error(), "take them from a job, or from GitHub's API")
			continue
		}
		im.known = append(im.known, r)
	}
	f.Take("aud") // the audience of the tokens is the identity provider's in the configuration
	subjects := f.Take("sub")
	if subjects == nil {
		im.named(&f)
	} else {
		im.id, im.ownerID = im.pinned(f.Take("repository_id")), im.pinned(f.Take("repository_owner_id"))
	}
	table := Platform().Claims
	extra, ok := notes.CarryRest(f, func(claim string) bool { return table[claim].Type == trust.StringClaim })
	im.whole = im.whole && ok
	for _, v := range subjects {
		im.subject(v)
	}
	docs := make([]draft.Document, len(im.jobs))
	for i, j := range im.jobs {
		events := slices.ContainsFunc(f.Claims, func(l draft.Line) bool { return l.Claim == "event_name" })
		if !events && (j.kind == anyJob || j.kind == environment) {
			// GitHub's subject is then the same for a push and for a pull request.
			notes.Info(f.Where, "import-narrower", draft.Show(j.name)+": pull requests are let in today, and the document refuses them: only one that names their event takes them", "where they are meant, write one with event_name: pull_request, which grants no more than a stranger may have")
		}
		docs[i] = j.document()
		im.narrow(&docs[i], extra)
	}
	if !im.whole {
		return nil
	}
	return docs
}

// named reads who is let in where no condition is on sub: by ids, or by names
// whose ids are known.
func (im *importer) named(f *draft.Foreign) {
	ids, owners := im.numbers("repository_id", f.Take("repository_id")), im.numbers("repository_owner_id", f.Take("repository_owner_id"))
	if ids != nil || owners != nil { // names beside them stay lines of their own
		j := jobs{kind: anyJob, ids: ids, ownerIDs: owners}
		for _, l := range []struct {
			of     string
			values []draft.Value
		}{{"account ", owners}, {"repository ", ids}} {
			if l.values != nil {
				j.name = l.of + l.values[0].Text
			}
		}
		im.add(j)
		return
	}
	repositories, accounts := f.Take("repository"), f.Take("repository_owner")
	if repositories == nil && accounts == nil {
		im.refuse("import-no-anchor", "no condition on sub, and none that says which repository or account: any workload of GitHub is let in", "this is a hole today; write a document for the one repository that is meant")
	}
	if repositories == nil {
		for _, v := range accounts {
			if v.Glob && strings.ContainsAny(v.Text, "*?") {
				im.refuse("import-no-anchor", "repository_owner "+draft.Show(v.Text)+" lets in every account whose name fits", "this is a hole today; name the account that is meant")
				continue
			}
			j := jobs{kind: anyJob}
			if im.repository(&j, v.Text, "*") {
				im.add(j)
			}
		}
		return
	}
	for _, v := range repositories {
		owner, repo, slash := strings.Cut(v.Text, "/")
		isOwner := func(account draft.Value) bool { return account.Text == owner }
		switch {
		case strings.ContainsAny(owner, "*?"):
			im.refuse("import-no-anchor", "repository "+draft.Show(v.Text)+" lets in repositories of every account whose name fits", "this is a hole today; write a document for the one repository that is meant")
			continue
		case !slash || repo == "" || strings.Contains(repo, "/") || !v.Glob && strings.ContainsAny(repo, "*?"):
			im.refuse("import-subject", "repository "+draft.Show(v.Text)+" is not of the form OWNER/REPO", "write what is meant")
			continue
		case accounts != nil && !slices.ContainsFunc(accounts, isOwner):
			im.refuse("import-condition", "repository "+draft.Show(v.Text)+" is of no account that repository_owner names", "mend the conditions")
			continue
		}
		if j := (jobs{kind: anyJob}); im.repository(&j, owner, repo) {
			im.add(j)
		}
	}
}

// numbers are ids as they are; nil where there is no condition on them.
func (im *importer) numbers(claim string, values []draft.Value) []draft.Value {
	out := make([]draft.Value, len(values))
	for i, v := range values {
		if !number.MatchString(v.Text) {
			im.refuse("import-condition", claim+" "+draft.Show(v.Text)+" is no number", "write what is meant")
		}
		out[i].Text = v.Text // a number holds no star
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// pinned is the one number that a claim must have, or "".
func (im *importer) pinned(values []draft.Value) string {
	switch {
	case values == nil:
		return ""
	case len(values) > 1 || !number.MatchString(values[0].Text):
		im.refuse("import-condition", "a condition on an id that is not one number cannot be carried over", "split the statement")
		return ""
	}
	return values[0].Text
}

// narrow adds the other conditions. One on a claim that the subject names already
// would have to hold beside it, which one line cannot say.
func (im *importer) narrow(d *draft.Document, extra []draft.Line) {
	for _, l := range extra {
		for _, have := range d.Match {
			if have.Claim == l.Claim {
				im.refuse("import-condition", "sub and another condition both name "+l.Claim, "keep one of the two")
			}
		}
		d.Match = append(d.Match, l)
	}
}

// kind is what of a repository's jobs a subject names.
type kind string

const (
	anyJob      kind = "any"
	onRef       kind = "ref"
	environment kind = "environment"
	pullRequest kind = "pull-request"
)

// jobs are the jobs of one document.
type jobs struct {
	owner, ownerID string
	name, id       string // id is "" where name is a glob
	glob           bool
	kind           kind
	values         []draft.Value
	// Where the ids are all that is known, and may be several; then the fields
	// above but name and kind are empty.
	ownerIDs, ids []draft.Value
}

type importer struct {
	where string
	notes *draft.Notes
	known []repository
	// The ids that conditions of their own pin.
	id, ownerID string
	jobs        []jobs
	whole       bool
}

func (im *importer) refuse(id, message, fix string) {
	im.notes.Error(im.where, id, message, fix)
	im.whole = false
}

// subject reads one sub: repo:OWNER/REPO:CONTEXT, the names with @ID in the form
// that new repositories have.
func (im *importer) subject(v draft.Value) {
	text := v.Text
	if !v.Glob && strings.ContainsAny(text, "*?") {
		im.refuse("import-pattern", "sub "+draft.Show(text)+" has a star that is compared as it is: it never matched", "write what is meant")
		return
	}
	if strings.HasPrefix(text, "*") || strings.HasPrefix(text, "?") || strings.HasPrefix("repo:", strings.TrimRight(text, "*?")) {
		im.refuse("import-no-anchor", "sub "+draft.Show(text)+" lets in every repository of GitHub", "this is a hole today; write a document for the one repository that is meant")
		return
	}
	rest, ok := strings.CutPrefix(text, "repo:")
	if !ok {
		im.refuse("import-subject", "sub "+draft.Show(text)+" is of a form that an organisation chose itself", "write the document from a job's claims: cambio trust init github OWNER/REPO")
		return
	}
	full, context, divided := strings.Cut(rest, ":")
	owner, repo, slash := strings.Cut(full, "/")
	account, _, _ := strings.Cut(owner, "@")
	switch {
	case strings.ContainsAny(account, "*?"):
		im.refuse("import-no-anchor", "sub "+draft.Show(text)+" lets in repositories of every account whose name fits", "this is a hole today; write a document for the one repository that is meant")
		return
	case !slash || !divided && !strings.HasSuffix(repo, "*") || strings.Contains(repo, "/"):
		im.refuse("import-subject", "sub "+draft.Show(text)+" is no subject that GitHub sends", "write the document from a job's claims: cambio trust init github OWNER/REPO")
		return
	}
	if !divided { // the star covers the rest of the name, the colon and all behind it
		context = "*"
	}
	j, ok := im.context(v, context)
	if ok && im.repository(&j, owner, repo) {
		im.add(j)
	}
}

// context reads what follows the repository in a sub.
func (im *importer) context(v draft.Value, context string) (jobs, bool) {
	if v.Glob && strings.Trim(context, "*") == "" && context != "" {
		im.notes.Warn(im.where, "import-broad", "sub "+draft.Show(v.Text)+" lets in every branch, tag and environment", "name the ref or the environment that is meant")
		return jobs{kind: anyJob}, true
	}
	if context == "pull_request" {
		im.notes.Warn(im.where, "import-broad", "sub "+draft.Show(v.Text)+" lets in pull requests, whose code is their author's", "grant no more than a stranger may have")
		return jobs{kind: pullRequest}, true
	}
	for prefix, k := range map[string]kind{"ref:": onRef, "environment:": environment} {
		value, ok := strings.CutPrefix(context, prefix)
		if !ok || value == "" {
			continue
		}
		// A colon inside a value is sent as %3A in sub, and as itself in the claim.
		carried, ok := im.notes.Carry(im.where, string(k), draft.Value{Text: strings.ReplaceAll(value, "%3A", ":"), Glob: v.Glob})
		im.whole = im.whole && ok
		return jobs{kind: k, values: []draft.Value{carried}}, ok
	}
	im.refuse("import-subject", "sub "+draft.Show(v.Text)+" goes on in a form that is not GitHub's own", "write the document from a job's claims: cambio trust init github OWNER/REPO")
	return jobs{}, false
}

// repository finds the ids, which alone are pinned.
func (im *importer) repository(j *jobs, owner, repo string) bool {
	j.owner, j.ownerID = nameAndID(owner, im.ownerID)
	name, id := nameAndID(repo, im.id)
	switch {
	case strings.ContainsAny(name, "*?"):
		j.glob = true
		carried, ok := im.globOf(name)
		if !ok {
			return false
		}
		name = carried
	default:
		j.id = id
	}
	j.name = j.owner + "/" + name
	for _, r := range im.known {
		knownOwner, _, _ := strings.Cut(r.name, "/")
		if !strings.EqualFold(knownOwner, j.owner) {
			continue
		}
		if j.ownerID == "" {
			j.ownerID = r.ownerID
		}
		if !j.glob && strings.EqualFold(r.name, j.name) {
			if j.id == "" {
				j.id = r.id
			}
			j.name = r.name // as GitHub writes it
		}
		if j.ownerID != r.ownerID || j.name == r.name && j.id != r.id {
			im.refuse("import-ids-missing", "sub and the claims have different ids for "+draft.Show(j.name), "find out which of the two is meant")
			return false
		}
	}
	if im.ownerID != "" && im.ownerID != j.ownerID || im.id != "" && im.id != j.id {
		im.refuse("import-ids-missing", "sub and the conditions on the ids name different repositories", "find out which of the two is meant")
		return false
	}
	of := j.name
	if j.glob {
		of = j.owner + "/REPO"
	}
	if !number.MatchString(j.ownerID) || !j.glob && !number.MatchString(j.id) {
		fix := "give its claims with --claims; take them from a job"
		if CheckRepository(of) == nil {
			fix = "give its claims with --claims claims.json: " + LookUp(of)
		}
		im.refuse("import-ids-missing", "the ids of "+draft.Show(of)+" are not known, and its name can be taken by somebody else", fix)
		return false
	}
	return true
}

// nameAndID takes NAME or NAME@ID apart. A pattern in place of the number leaves it to
// what else is known.
func nameAndID(s, known string) (name, id string) {
	name, id, _ = strings.Cut(s, "@")
	if id == "" || strings.ContainsAny(id, "*?") {
		id = known
	}
	return name, id
}

// globOf reads a pattern of repository names; none of them holds a slash, so that
// the star means the same here.
func (im *importer) globOf(name string) (string, bool) {
	if strings.ContainsAny(name, `?[{\`) {
		im.refuse("import-pattern", "the repository "+draft.Show(name)+" has a pattern that globs do not have", "list the repositories that are meant")
		return "", false
	}
	for strings.Contains(name, "**") {
		name = strings.ReplaceAll(name, "**", "*")
	}
	im.notes.Warn(im.where, "import-broad", "every repository whose name fits "+draft.Show(name)+" is let in, those that are yet to be created too", "list the repositories that are meant")
	return name, true
}

// add joins values of the same jobs: they are alternatives of one line.
func (im *importer) add(j jobs) {
	for i := range im.jobs {
		other := &im.jobs[i]
		if other.ownerID == j.ownerID && other.id == j.id && other.name == j.name && other.kind == j.kind {
			for _, v := range j.values {
				if !slices.Contains(other.values, v) {
					other.values = append(other.values, v)
				}
			}
			return
		}
	}
	im.jobs = append(im.jobs, j)
}

func (j jobs) document() draft.Document {
	if j.ids != nil || j.ownerIDs != nil {
		d := draft.Document{Name: draft.Name(j.name), Purpose: "GitHub Actions of the " + j.name}
		if j.ownerIDs != nil {
			d.Match = append(d.Match, draft.Line{Claim: "repository_owner_id", Values: j.ownerIDs})
		}
		if j.ids != nil {
			d.Match = append(d.Match, draft.Line{Claim: "repository_id", Values: j.ids})
		}
		return d
	}
	_, short, _ := strings.Cut(j.name, "/")
	if strings.Trim(short, "*") == "" {
		short = j.owner
	}
	d := draft.Document{
		Name:    draft.Name(short + "-" + string(j.kind)),
		Purpose: "GitHub Actions of " + strings.TrimSuffix(j.name, "/*"),
		Match:   []draft.Line{{Claim: "repository_owner_id", Values: one(j.ownerID), Comment: "the account " + j.owner}},
	}
	switch {
	case !j.glob:
		d.Match = append(d.Match, draft.Line{Claim: "repository_id", Values: one(j.id), Comment: "the repository " + j.name})
	case j.name != j.owner+"/*":
		d.Match = append(d.Match, draft.Line{Claim: "repository", Values: []draft.Value{{Text: j.name, Glob: true}}})
	}
	// GitHub names the environment in sub in place of the ref or the pull request.
	without := draft.Condition{CEL: `!("environment" in claims)`, Comment: "as it was: the sub of a job with an environment names that in place of this"}
	switch j.kind {
	case onRef:
		d.Match = append(d.Match, draft.Line{Claim: "ref", Values: j.values})
		d.When = append(d.When, without)
	case environment:
		d.Match = append(d.Match, draft.Line{Claim: "environment", Values: j.values})
	case pullRequest:
		d.Match = append(d.Match, draft.Line{Claim: "event_name", Values: one("pull_request")})
		d.When = append(d.When, without)
	case anyJob:
	}
	return d
}
