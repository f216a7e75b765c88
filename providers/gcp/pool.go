package gcp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/providers/oidc"
)

// maxPoolFile bounds what is read of a file: Google keeps at most 4,096
// characters of condition and 1,500 principals of a policy.
const maxPoolFile = 1 << 20

const (
	describe = "name what `gcloud iam workload-identity-pools providers describe PROVIDER --format=json` printed"
	policy   = "name what `gcloud iam service-accounts get-iam-policy ADDRESS --format=json` printed"
)

// ReadProvider reads a provider of a workload identity pool, as gcloud describes
// it in JSON, and returns what it lets in. With the IAM policy of a service
// account (nil for none) that is only who may act as that account: one
// [draft.Foreign] for each attribute that its members are named by. name is the
// provider's.
//
// Nothing is passed over in silence, see [draft.Notes]: with an error in notes
// what is returned is only for finding out what else is wrong.
func ReadProvider(b, bindings []byte, notes *draft.Notes) (trusted []draft.Foreign, name string) {
	if len(b) > maxPoolFile || len(bindings) > maxPoolFile {
		notes.Error("", "import-syntax", fmt.Sprintf("is larger than %d bytes", maxPoolFile), describe)
		return nil, ""
	}
	provider, err := oidc.ReadObject(b)
	if err != nil {
		notes.Error("", "import-syntax", "is not one JSON object in which each name stands once", describe)
		return nil, ""
	}
	name, _ = provider["name"].(string)
	pool, _, ok := strings.Cut(name, "/providers/")
	if !ok || !strings.Contains(pool, "/workloadIdentityPools/") {
		notes.Error("name", "import-syntax", "the file is no provider of a workload identity pool", describe)
		return nil, ""
	}
	p := &poolProvider{notes: notes, pool: pool, mapping: map[string]string{}}
	f, ok := p.read(provider)
	if !ok {
		return nil, name
	}
	if bindings == nil {
		notes.Warn("", "import-bindings", "everybody that the provider lets in is carried over; a service account may let in fewer of them", "give its policy with --bindings: gcloud iam service-accounts get-iam-policy ADDRESS --format=json")
		return []draft.Foreign{f}, name
	}
	return p.bound(f, bindings), name
}

// poolProvider is the provider that is read.
type poolProvider struct {
	notes   *draft.Notes
	pool    string // its resource name
	mapping map[string]string
}

func (p *poolProvider) read(provider map[string]any) (draft.Foreign, bool) {
	for _, kind := range []string{"aws", "saml", "x509"} {
		if provider[kind] != nil {
			p.notes.Error(kind, "import-principal", "the provider is for "+kind+", not for OIDC", "there is nothing to import: configure that identity provider where it is offered")
			return draft.Foreign{}, false
		}
	}
	p.notes.Only("", provider, "name", "displayName", "description", "state", "disabled", "attributeMapping", "attributeCondition", "oidc", "expireTime")
	if provider["disabled"] == true || provider["state"] == "DELETED" {
		p.notes.Error("", "import-nothing", "the provider is disabled or deleted: it lets in nobody", "there is nothing to import")
		return draft.Foreign{}, false
	}
	settings, _ := provider["oidc"].(map[string]any)
	issuer, ok := settings["issuerUri"].(string)
	if !ok {
		p.notes.Error("oidc", "import-issuer", "the file does not say whose tokens are taken: issuerUri is missing", describe)
		return draft.Foreign{}, false
	}
	p.notes.Only("oidc", settings, "issuerUri", "allowedAudiences", "jwksJson")
	if settings["jwksJson"] != nil {
		p.notes.Warn("oidc", "import-keys", "the issuer's keys were uploaded; a document holds no keys", "give the identity provider jwks_file in the configuration, where its keys cannot be fetched")
	}
	f := draft.Foreign{Where: "attributeCondition", Issuer: issuer, Audiences: draft.Texts(settings["allowedAudiences"])}
	if f.Audiences == nil { // what Google then takes
		name, _ := provider["name"].(string)
		f.Audiences = []string{"https://iam.googleapis.com/" + name}
	}
	mapping, _ := provider["attributeMapping"].(map[string]any)
	for _, attribute := range slices.Sorted(maps.Keys(mapping)) {
		text, _ := mapping[attribute].(string)
		p.mapping[attribute] = text
		// A token that a mapping cannot be evaluated on is refused today: left
		// out, one without the claim would be let in.
		path, err := mapped(text)
		if err != nil {
			p.notes.Warn("attributeMapping", "import-mapping", attribute+" is mapped by "+draft.Show(text)+"; tokens on which that fails are refused today", "add the claims that it needs to when, where they may be missing")
			continue
		}
		f.Present = append(f.Present, path)
	}
	condition, isText := provider["attributeCondition"].(string)
	if provider["attributeCondition"] != nil && !isText {
		p.notes.Error("attributeCondition", "import-syntax", "is no text", describe)
		return f, false
	}
	if strings.TrimSpace(condition) == "" {
		return f, true
	}
	lines, err := readCondition(condition, p.mapping)
	if err != nil {
		p.notes.Error(f.Where, "import-condition", err.Error(), "write the document by hand")
		return f, false
	}
	whole := true
	for _, l := range lines {
		whole = p.notes.Narrow(&f, l) && whole
	}
	return f, whole
}

// actAs is the role that lets a workload act as a service account.
const actAs = "roles/iam.workloadIdentityUser"

// bound are the members of a service account's policy that are of this pool.
func (p *poolProvider) bound(f draft.Foreign, b []byte) []draft.Foreign {
	document, err := oidc.ReadObject(b)
	list, ok := document["bindings"].([]any)
	if err != nil || !ok {
		p.notes.Error("bindings", "import-syntax", "the bindings are no IAM policy in JSON", policy)
		return nil
	}
	p.notes.Only("bindings", document, "bindings", "etag", "version")
	var out []draft.Foreign
	members := 0
	for i, v := range list {
		where := fmt.Sprintf("bindings[%d]", i)
		binding, _ := v.(map[string]any)
		role, _ := binding["role"].(string)
		names := draft.Texts(binding["members"])
		if role == "" || names == nil {
			p.notes.Error(where, "import-syntax", "is no binding of members to a role", policy)
			continue
		}
		p.notes.Only(where, binding, "role", "members", "condition")
		if role != actAs {
			p.notes.Info(where, "import-permissions", "the role "+draft.Show(role)+" is not carried over: what a workload may do stands in its grant", "")
			continue
		}
		if binding["condition"] != nil {
			// Left out, it would let in whom it keeps out today.
			p.notes.Error(where, "import-condition", "a condition on the binding cannot be carried over", "write the document by hand")
			continue
		}
		members++
		out = append(out, p.members(f, where, names)...)
	}
	if len(out) == 0 && !p.notes.Findings.HasErrors() {
		p.notes.Error("bindings", "import-nothing", fmt.Sprintf("no member of the pool has the role %s in %d bindings", actAs, members), "name the policy of the service account that workloads act as")
	}
	return out
}

// members reads who is bound. The members of one attribute are alternatives of
// one line.
func (p *poolProvider) members(f draft.Foreign, where string, names []string) []draft.Foreign {
	var lines []draft.Line
	everybody := false
	for _, name := range names {
		kind, rest, _ := strings.Cut(name, "://iam.googleapis.com/"+p.pool+"/")
		if kind != "principal" && kind != "principalSet" || rest == "" {
			p.notes.Info(where, "import-not-web-identity", draft.Show(name)+" is nobody of this pool", "it stays in the policy as it is")
			continue
		}
		if kind == "principalSet" && rest == "*" {
			everybody = true
			p.notes.Warn(where, "import-broad", "everybody that the provider lets in may act as the service account", "name the workload that is meant")
			continue
		}
		attribute, value, _ := strings.Cut(rest, "/")
		if kind == "principal" && attribute == "subject" {
			attribute = "google.subject"
		} else if kind != "principalSet" || !strings.HasPrefix(attribute, "attribute.") {
			p.notes.Error(where, "import-principal", "the member "+draft.Show(name)+" cannot be carried over", "write the document by hand")
			continue
		}
		path, err := mapped(p.mapping[attribute])
		if err != nil {
			p.notes.Error(where, "import-mapping", "the member "+draft.Show(name)+" is named by "+attribute+", which is no claim as it is", "write the document by hand")
			continue
		}
		lines = join(lines, draft.Pointer(path), draft.Value{Text: value})
	}
	if everybody {
		lines = nil
	}
	var out []draft.Foreign
	for _, l := range lines {
		narrowed := f
		narrowed.Where = where
		if p.notes.Narrow(&narrowed, l) {
			out = append(out, narrowed)
		}
	}
	if everybody {
		out = append(out, f)
	}
	return out
}

func join(lines []draft.Line, claim string, v draft.Value) []draft.Line {
	for i := range lines {
		if lines[i].Claim == claim {
			lines[i].Values = append(lines[i].Values, v)
			return lines
		}
	}
	return append(lines, draft.Line{Claim: claim, Values: []draft.Value{v}})
}
