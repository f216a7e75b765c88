// Package octosts reads what octo-sts trusts of identity providers.
package octosts

import (
	"regexp"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/trust/strictyaml"
)

const write = "write the document by hand"

// ReadPolicy reads a trust policy of octo-sts, NAME.sts.yaml, and returns whom it
// lets in. Where the policy has a pattern of issuers, issuer says which is meant.
// With github the grant's target gives tokens of a GitHub App, as octo-sts does, and
// says which permissions and repositories.
// With an error in notes what is returned is only for finding out what else is
// wrong.
//
// The file is read by [strictyaml.Parse], which bounds it.
func ReadPolicy(b []byte, issuer string, github bool, notes *draft.Notes) []draft.Foreign {
	root, findings := strictyaml.Parse(notes.File, b)
	if root == nil {
		for _, f := range findings {
			notes.Error(f.Field, "import-syntax", f.Message, "name an octo-sts trust policy: .github/chainguard/NAME.sts.yaml")
		}
		return nil
	}
	p := &policyReader{root: root, notes: notes, whole: true, f: draft.Foreign{Where: "subject"}}
	for _, key := range root.Keys() {
		if !slices.Contains([]string{"issuer", "issuer_pattern", "subject", "subject_pattern", "audience", "audience_pattern", "claim_pattern", "permissions", "repositories", "app", "app_pattern"}, key.Text) {
			p.refuse("import-syntax", "", "the element "+draft.Show(key.Text)+" cannot be carried over", write)
		}
	}
	p.issuer(issuer)
	p.subject()
	for _, member := range []string{"audience", "audience_pattern"} {
		if text, ok := p.text(member); ok {
			p.f.Audiences = append(p.f.Audiences, text)
		}
	}
	p.claims()
	if github {
		p.granted()
	} else {
		p.permissions()
	}
	if !p.whole {
		return nil
	}
	return []draft.Foreign{p.f}
}

type policyReader struct {
	root  *strictyaml.Node
	notes *draft.Notes
	f     draft.Foreign
	whole bool
}

func (p *policyReader) refuse(id, where, message, fix string) {
	p.notes.Error(where, id, message, fix)
	p.whole = false
}

// text is a member that is a text; "" counts as absent, as it does there.
func (p *policyReader) text(member string) (string, bool) {
	n := p.root.Get(member)
	if n == nil || n.Kind == strictyaml.Null {
		return "", false
	}
	if n.Kind != strictyaml.String {
		p.refuse("import-syntax", member, "is no text", "write quotes")
		return "", false
	}
	return n.Text, n.Text != ""
}

// oneOf is a member, or the pattern in its place; exactly one is there.
func (p *policyReader) oneOf(member string) (text string, pattern, ok bool) {
	text, exact := p.text(member)
	other, pattern := p.text(member + "_pattern")
	if exact == pattern {
		p.refuse("import-syntax", member, "a policy has one of "+member+" and "+member+"_pattern", "mend the policy")
		return "", false, false
	}
	if pattern {
		text = other
	}
	return text, pattern, true
}

func (p *policyReader) issuer(named string) {
	text, isPattern, ok := p.oneOf("issuer")
	if !ok {
		return
	}
	if !isPattern {
		if named != "" && named != text {
			p.refuse("import-issuer", "issuer", "the policy takes tokens of "+draft.Show(text)+", not of "+draft.Show(named), "leave --issuer out")
		}
		p.f.Issuer = text
		return
	}
	pat, err := compile(text)
	if err != nil {
		p.refuse("import-syntax", "issuer_pattern", "is no regular expression", "mend the policy")
		return
	}
	p.halfOpen("issuer_pattern", text)
	if list, exact := pat.literals(); exact && len(list) == 1 {
		p.f.Issuer = list[0]
		return
	}
	if named == "" || !pat.matches(named) {
		p.refuse("import-issuer", "issuer_pattern", draft.Show(text)+" takes tokens of several issuers, and a document those of one", "name the one that is meant with --issuer, once for each")
		return
	}
	p.notes.Warn("issuer_pattern", "import-narrower", draft.Show(text)+" takes tokens of other issuers than "+draft.Show(named)+" too, which the document does not", "import once for each that is meant")
	p.f.Issuer = named
}

// halfOpen says where octo-sts before September 2026 let in more than is
// imported: it anchored a|b as ^a|b$, which is whatever begins with a, or ends
// with b.
func (p *policyReader) halfOpen(where, text string) {
	if divided(text) {
		p.notes.Warn(where, "import-narrower", draft.Show(text)+" has a | outside of parentheses: an octo-sts of before September 2026 also lets in what only begins or ends so", "nothing: the document takes whole values; this may be a hole today")
	}
}

func (p *policyReader) subject() {
	text, isPattern, ok := p.oneOf("subject")
	switch {
	case !ok:
	case isPattern:
		p.f.Where = "subject_pattern"
		p.pattern("sub", text)
	default:
		p.whole = p.notes.Narrow(&p.f, draft.Line{Claim: "sub", Values: []draft.Value{{Text: text}}}) && p.whole
	}
}

func (p *policyReader) claims() {
	n := p.root.Get("claim_pattern")
	if n == nil || n.Kind == strictyaml.Null {
		return
	}
	if n.Kind != strictyaml.Map {
		p.refuse("import-syntax", "claim_pattern", "is no map", "mend the policy")
		return
	}
	for i, key := range n.Keys() {
		if strings.HasPrefix(key.Text, "/") {
			p.refuse("import-condition", "claim_pattern", "the claim "+draft.Show(key.Text)+" would be read as a path", write)
			continue
		}
		if n.Items()[i].Kind != strictyaml.String {
			p.refuse("import-syntax", "claim_pattern", draft.Show(key.Text)+" is no text", "write quotes")
			continue
		}
		p.pattern(key.Text, n.Items()[i].Text)
	}
}

// pattern narrows by a regular expression of one claim: to a list of values where
// it is one. Otherwise sub becomes a pattern that lets in no less, which its ids
// can be taken out of, beside the expression itself; and of any other claim the
// expression alone is kept.
func (p *policyReader) pattern(claim, text string) {
	where := claim + " pattern"
	pat, err := compile(text)
	if err != nil {
		p.refuse("import-syntax", where, draft.Show(text)+" is no regular expression, or longer than 1024 bytes", "mend the policy")
		return
	}
	p.halfOpen(where, text)
	l := draft.Line{Claim: claim}
	if list, exact := pat.literals(); exact {
		l.Values = draft.Literals(list)
		p.whole = p.notes.Narrow(&p.f, l) && p.whole
		return
	}
	matches := draft.Condition{CEL: draft.CELClaim([]string{claim}) + ".matches(" + draft.CEL(text) + ")", Comment: "as it was in the octo-sts policy"}
	if claim != "sub" {
		p.f.When = append(p.f.When, matches)
		return
	}
	values, exact := pat.globs()
	if values == nil {
		p.refuse("import-pattern", where, draft.Show(text)+" cannot be carried over", "list the subjects that are meant")
		return
	}
	if !exact {
		p.f.When = append(p.f.When, matches)
	}
	l.Values = values
	p.whole = p.notes.Narrow(&p.f, l) && p.whole
}

// What a GitHub App's permissions and repositories look like.
var (
	permissionForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

// tokenTTL is how long an installation token lives, there and here.
const tokenTTL = "1h"

// granted carries over what the token may do, and where. What octo-sts takes for
// everything, when it is not there, a document must name.
func (p *policyReader) granted() {
	n := p.root.Get("permissions")
	if n == nil || n.Kind != strictyaml.Map || len(n.Keys()) == 0 {
		p.refuse("import-permissions", "permissions", "the policy names no permissions: the token would have all that the App has", "name those that the job needs, such as contents: read")
	}
	for i, key := range n.Keys() {
		l := n.Items()[i]
		if !permissionForm.MatchString(key.Text) || l.Kind != strictyaml.String || !slices.Contains([]string{"read", "write", "admin"}, l.Text) {
			p.refuse("import-permissions", "permissions", draft.Show(key.Text)+": "+draft.Show(l.Text)+" is no permission of a GitHub App", write)
			continue
		}
		p.f.Scopes = append(p.f.Scopes, key.Text+":"+l.Text)
	}
	for _, item := range p.root.Get("repositories").Items() {
		if item.Kind != strictyaml.String || !repositoryForm.MatchString(item.Text) {
			p.refuse("import-permissions", "repositories", draft.Show(item.Text)+" is no name of a repository", write)
			continue
		}
		p.f.Repositories = append(p.f.Repositories, item.Text)
	}
	p.f.TTL = tokenTTL
}

// permissions says what the grant does not: where a credential works, and what it
// may do there.
func (p *policyReader) permissions() {
	var granted []string
	for i, key := range p.root.Get("permissions").Keys() {
		granted = append(granted, key.Text+": "+p.root.Get("permissions").Items()[i].Text)
	}
	if granted != nil {
		p.notes.Warn("permissions", "import-permissions", "the permissions "+strings.Join(granted, ", ")+" are not carried over: what a credential may do stands at its target", "name a target of type github with --to, which takes them; else give the target no more than these")
	}
	var repositories []string
	for _, item := range p.root.Get("repositories").Items() {
		repositories = append(repositories, item.Text)
	}
	if repositories != nil {
		p.notes.Warn("repositories", "import-permissions", "the repositories "+strings.Join(repositories, ", ")+" are not carried over: where a credential works stands at its target", "give the target no more than these")
	}
}
