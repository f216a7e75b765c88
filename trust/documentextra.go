package trust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cambio/trust/strictyaml"
)

// extraField is one of the target type's own fields of a grant, as the document
// has it. A field is either constant or made of templates.
type extraField struct {
	name      string
	constant  any             // string or []string
	templates []claimTemplate // of a TemplatesField one a key, of a TemplateField one
	keyed     bool            // a TemplatesField
}

// resolve returns the field's value for these claims. missing names the part that
// rests on a claim which the token lacks, or has as something else than a text:
// to leave it out would tell the target less than what was reviewed.
func (f *extraField) resolve(claims map[string]any) (value any, missing string) {
	if f.constant != nil {
		return f.constant, ""
	}
	texts := make(map[string]string, len(f.templates))
	for i := range f.templates {
		t := &f.templates[i]
		text, ok := t.text(claims)
		if !ok {
			return nil, f.part(t.name)
		}
		texts[t.name] = text
	}
	return f.shape(texts), ""
}

// literal is the field without what depends on claims: what a load can judge.
func (f *extraField) literal() any {
	if f.constant != nil {
		return f.constant
	}
	texts := make(map[string]string, len(f.templates))
	for i := range f.templates {
		if text, ok := f.templates[i].value.(string); ok {
			texts[f.templates[i].name] = text
		}
	}
	if !f.keyed && len(texts) == 0 {
		return nil
	}
	return f.shape(texts)
}

func (f *extraField) shape(texts map[string]string) any {
	if f.keyed {
		return texts
	}
	return texts[""]
}

func (f *extraField) part(key string) string {
	if !f.keyed {
		return f.name
	}
	return f.name + "." + key
}

// text resolves a template that must give a text.
func (c *claimTemplate) text(claims map[string]any) (string, bool) {
	v, ok := c.resolve(claims)
	if !ok {
		return "", false
	}
	s, ok := v.(string)
	return s, ok
}

// extras reads the target type's own fields.
func (r *reader) extras(g *grantRule, t *rule, n *strictyaml.Node, target Target) {
	for _, name := range slices.Sorted(maps.Keys(target.Type.Fields)) {
		item := n.Get(name)
		if item == nil {
			continue
		}
		f := extraField{name: name}
		ok := false
		switch field := target.Type.Fields[name]; {
		case field.Type == TemplateField:
			f.templates, ok = r.oneTemplate(item, t)
		case field.Type == TemplatesField:
			f.keyed = true
			f.templates, ok = r.manyTemplates(item, t)
		case field.Type == StringField && field.Narrows == Opaque:
			text := r.text(item, maxResource)
			f.constant, ok = strings.Clone(text), text != ""
		case field.Type == StringsField && field.Narrows == Opaque:
			f.constant, ok = r.texts(item)
		case field.Type == DocumentField:
			f.constant, ok = r.embedded(item)
		}
		if ok {
			g.extras = append(g.extras, f)
		}
	}
	r.misfit(g, n, target)
}

// misfit lets the target type judge what the document alone decides: what is too
// long or malformed here would be refused at each exchange.
func (r *reader) misfit(g *grantRule, n *strictyaml.Node, target Target) {
	g.misfit = target.Type.Misfit
	if g.misfit == nil {
		return
	}
	field, problem := g.misfit(g.literal())
	if problem == "" {
		return
	}
	if pattern := target.Type.Fields[field].Pattern; pattern != nil && field == "resource" && !pattern.MatchString(g.resource) {
		return // it has its finding
	}
	name, part, _ := strings.Cut(field, ".")
	at := n.Find(name)
	if part != "" {
		at = n.Find(name, part)
	}
	r.Error(at, FindingGrantUnfit, field+": "+problem, "write what the target takes")
}

// literal is the grant as the document alone has it: without what depends on claims.
func (g *grantRule) literal() Grant {
	literal := Grant{Target: g.target, Resource: g.resource, Scopes: g.scopes, TTL: g.ttl}
	for i := range g.extras {
		if v := g.extras[i].literal(); v != nil {
			literal.set(g.extras[i].name, v)
		}
	}
	return literal
}

func (g *Grant) set(field string, value any) {
	if g.Extra == nil {
		g.Extra = make(map[string]any)
	}
	g.Extra[field] = value
}

func (r *reader) oneTemplate(n *strictyaml.Node, t *rule) ([]claimTemplate, bool) {
	c := claimTemplate{}
	if !r.textTemplate(&c, n, t) {
		return nil, false
	}
	return []claimTemplate{c}, true
}

func (r *reader) manyTemplates(n *strictyaml.Node, t *rule) ([]claimTemplate, bool) {
	if !r.isMap(n) {
		return nil, false
	}
	if len(n.Keys()) > maxTemplates {
		r.Error(n, FindingTooMany, fmt.Sprintf("%d names; at most %d are allowed", len(n.Keys()), maxTemplates), "name fewer")
		return nil, false
	}
	if len(n.Keys()) == 0 {
		r.Error(n, FindingInvalid, "names nothing", "write a name and its value, or leave it out")
		return nil, false
	}
	var out []claimTemplate
	whole := true
	for i, key := range n.Keys() {
		c := claimTemplate{name: r.c.intern(key.Text)}
		if !r.textTemplate(&c, n.Items()[i], t) {
			whole = false
			continue
		}
		out = append(out, c)
	}
	return out, whole
}

// textTemplate reads a text with ${claims.x}; unlike a claim of a JWT it has no
// other type than text.
func (r *reader) textTemplate(c *claimTemplate, n *strictyaml.Node, t *rule) bool {
	if n.Kind != strictyaml.String {
		r.WrongType(n, "text")
		return false
	}
	parts, ok := r.template(n, t.provider)
	if !ok {
		return false
	}
	for _, p := range parts {
		if p.claim != nil && p.claim.typ != StringClaim {
			r.Error(n, FindingTypeMismatch, p.claim.name+" is of type "+string(p.claim.typ)+", and a text is wanted", "name a claim that is a text")
			return false
		}
	}
	c.parts = parts
	if parts == nil {
		c.value = strings.Clone(n.Text)
	}
	return true
}

// texts reads a list of texts that the caller has no say in.
func (r *reader) texts(n *strictyaml.Node) (any, bool) {
	if n.Kind == strictyaml.List && len(n.Items()) == 0 {
		return nil, false // as if it were not there: the document says that there are none
	}
	items := r.list(n, maxItems)
	out := make([]string, 0, len(items))
	for _, item := range items {
		if s := r.text(item, maxResource); s != "" {
			out = append(out, r.c.intern(s))
		}
	}
	return out, len(out) == len(items) && len(out) > 0
}

// embedded turns an object of the target's own language into compact JSON with
// sorted names, so that one document always sends the same bytes.
func (r *reader) embedded(n *strictyaml.Node) (any, bool) {
	if !r.isMap(n) {
		return nil, false
	}
	if r.ambiguous(n) {
		return nil, false
	}
	v, ok := n.Value()
	if !ok {
		return nil, false // it has its finding
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the target counts characters
	if err := enc.Encode(v); err != nil {
		r.Error(n, FindingInvalid, "cannot be written as JSON", "write texts, numbers, lists and maps")
		return nil, false
	}
	return strings.TrimSuffix(b.String(), "\n"), true
}

// ambiguous reports, and tells of, values that YAML readers disagree about: the
// date of a policy's version without quotes is the usual one.
func (r *reader) ambiguous(n *strictyaml.Node) bool {
	if n.Kind == strictyaml.Ambiguous {
		r.WrongType(n, "text")
		return true
	}
	found := false
	for _, item := range n.Items() {
		found = r.ambiguous(item) || found
	}
	return found
}
