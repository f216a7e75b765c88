package providers

import (
	"slices"
	"strings"

	"cambio/providers/aws"
	"cambio/providers/azure"
	"cambio/providers/gcp"
	"cambio/providers/github"
	"cambio/providers/internal/draft"
	"cambio/providers/kubernetes"
	"cambio/providers/octosts"
	"cambio/providers/oidc"
	"cambio/providers/vault"
	"cambio/trust/strictyaml"
)

// ImportSource is what another system keeps of whom it trusts.
type ImportSource struct {
	Kind string // aws, gcp, azure, octo-sts or vault
	File string // its name, for findings
	Data []byte
	// Bindings are the IAM policy of the service account, for gcp; nil for none.
	Bindings []byte
	// Issuer of the tokens, where the file does not say it.
	Issuer string
	// GitHub says that the target gives tokens of a GitHub App, as octo-sts does.
	GitHub bool
	// Same says that the target gives what the file's system gave: Entra's tokens, or
	// Vault's.
	Same bool
	// Claims hold the ids of the repositories that the file names.
	Claims [][]byte
}

// Import is what was read of a source. There are drafts only where nothing that
// narrows had to be left out; where something was, a finding says what and why.
type Import struct {
	Drafts   []Imported
	Of       string // what it was, for people
	Resource string // that it is of, where the file says it
	Lived    string // how long a job has its credential there
	Findings strictyaml.Findings
}

// Imported is a draft made of what another system trusts.
type Imported struct {
	Draft
	Issuer string // of the identity provider that it is from
	Where  string // for findings
}

// ImportWorld is what whoever imports knows of identity providers.
type ImportWorld struct {
	Platform func(issuer string) string             // type of the issuer's tokens
	Declares func(issuer string, claim string) bool // it has a claim of this name that is a text
}

// ReadImport turns what another system trusts into drafts. world says what is
// known of an issuer's tokens.
func ReadImport(source ImportSource, world ImportWorld) Import {
	notes := &draft.Notes{File: source.File}
	im := Import{Lived: "an hour, unless it asked for less"}
	trusted := im.read(source, notes)
	claims := readClaims(source.Claims, notes)
	for _, f := range trusted {
		if !strings.HasPrefix(f.Issuer, "https://") || draft.Check(f.Issuer) != nil {
			notes.Error(f.Where, "import-issuer", draft.Show(f.Issuer)+" is no issuer's URL", "it begins with https://")
			continue
		}
		platform := world.Platform(f.Issuer)
		for _, d := range importFrom(platform, f, claims, world, notes) {
			finish(&d, f, platform)
			im.Drafts = append(im.Drafts, Imported{Draft: d, Issuer: f.Issuer, Where: f.Where})
		}
	}
	if notes.Findings.HasErrors() {
		im.Drafts = nil
	}
	im.Findings = notes.Findings
	return im
}

// read reads the file as the system that it is of does.
func (im *Import) read(source ImportSource, notes *draft.Notes) []draft.Foreign {
	var trusted []draft.Foreign
	var name string
	switch source.Kind {
	case "aws":
		trusted, im.Resource = aws.ReadTrustPolicy(source.Data, notes)
		im.Of = "the trust policy of an AWS role"
		if len(trusted) == 0 && !notes.Findings.HasErrors() {
			notes.Error("", "import-nothing", "no statement lets in web identities: there is nothing to import", "name the trust policy of a role that workloads assume")
		}
	case "gcp":
		trusted, name = gcp.ReadProvider(source.Data, source.Bindings, notes)
		im.Of = "the workload identity provider " + name
	case "azure":
		trusted, name = azure.ReadCredential(source.Data, source.Same, notes)
		im.Of = "the federated credential " + name
		im.Lived = "60 to 90 minutes"
	case "octo-sts":
		trusted = octosts.ReadPolicy(source.Data, source.Issuer, source.GitHub, notes)
		im.Of = "an octo-sts trust policy"
		im.Lived = "an hour"
	case "vault":
		trusted, im.Lived = vault.ReadRole(source.Data, source.Issuer, source.Same, notes)
		im.Of = "a role of Vault"
	default:
		notes.Error("", "import-syntax", "nothing is known of "+draft.Show(source.Kind), "name aws, gcp, azure, octo-sts or vault")
	}
	return trusted
}

func readClaims(known [][]byte, notes *draft.Notes) []map[string]any {
	claims := make([]map[string]any, 0, len(known))
	for _, k := range known {
		object, err := oidc.ReadObject(k)
		if err != nil {
			notes.Error("", "import-ids-missing", "the claims are not one JSON object", "give what cambio whoami -o json prints")
			continue
		}
		claims = append(claims, object)
	}
	return claims
}

// importFrom makes documents of what is let in of one identity provider.
func importFrom(platform string, f draft.Foreign, claims []map[string]any, world ImportWorld, notes *draft.Notes) []draft.Document {
	if f.Audiences != nil {
		audience(f, platform == "oidc", notes)
	}
	switch platform {
	case "github-actions":
		return github.Import(f, claims, notes)
	case "kubernetes":
		return kubernetes.Import(f, notes)
	case "gcp":
		return gcp.Import(f, notes)
	}
	return importGeneric(f, world.Declares(f.Issuer, "azp"), notes)
}

// audience says that the audience is another one now. Where a workload names it
// when it asks for a token, it keeps nobody out; an issuer such as Keycloak may
// choose it by the client, and then it does.
func audience(f draft.Foreign, chosen bool, notes *draft.Notes) {
	shown := make([]string, len(f.Audiences))
	for i, a := range f.Audiences {
		shown[i] = draft.Show(a)
	}
	what := "the audience " + strings.Join(shown, ", ") + " is not carried over: tokens are for the audience of the identity provider in the configuration"
	if chosen {
		notes.Warn(f.Where, "import-audience", what+"; where the issuer gives each client an audience of its own, the document lets in every client of it", "add the claim that names the client to match; nothing, where workloads choose the audience")
		return
	}
	notes.Info(f.Where, "import-audience", what, "")
}

// finish adds what holds of every document alike.
func finish(d *draft.Document, f draft.Foreign, platform string) {
	table, _ := Platform(platform)
	d.When = append(d.When, f.When...)
	for _, path := range f.Present {
		claim := draft.Pointer(path)
		if table.Claims[claim].Always || slices.ContainsFunc(d.Match, func(l draft.Line) bool { return l.Claim == claim || table.Aliases[l.Claim] == claim }) {
			continue
		}
		c := draft.Condition{CEL: draft.CELPresent(path), Comment: "as it was: a token without this claim is refused there"}
		if !slices.Contains(d.When, c) {
			d.When = append(d.When, c)
		}
	}
	d.Networks, d.TTL, d.Scopes, d.Repositories, d.Policies = f.Networks, f.TTL, f.Scopes, f.Repositories, f.Policies
}

// importGeneric carries the claims as they are; whether they pin anything that
// cannot be taken over is the configuration's to say.
//
// What AWS compares with aud is azp, where a token has one: the client, of many
// that an issuer such as Keycloak serves. Left out, every client of it would be
// let in.
func importGeneric(f draft.Foreign, azp bool, notes *draft.Notes) []draft.Document {
	aud := f.Take("aud")
	if aud != nil && azp {
		if slices.ContainsFunc(f.Claims, func(l draft.Line) bool { return l.Claim == "azp" }) {
			notes.Error(f.Where, "import-condition", "aud and azp both name the client", "keep one of the two")
			return nil
		}
		notes.Info(f.Where, "import-audience", "aud is compared with azp, as AWS does where a token has one", "where tokens have no azp, take the line out: their audience is the identity provider's in the configuration")
		f.Claims = append(f.Claims, draft.Line{Claim: "azp", Values: aud})
	}
	lines, ok := notes.CarryRest(f, func(string) bool { return true })
	switch {
	case len(lines) == 0:
		notes.Error(f.Where, "import-no-anchor", "no condition but the audience: any workload of the issuer is let in", "this is a hole today; write a document for the one that is meant")
		return nil
	case !ok:
		return nil
	}
	if aud != nil && !azp {
		shown := make([]string, len(aud))
		for i, v := range aud {
			shown[i] = draft.Show(v.Text)
		}
		notes.Warn(f.Where, "import-audience", "aud "+strings.Join(shown, ", ")+" is not carried over: where a token has azp, AWS compares that, and the document lets in every client of the issuer",
			"declare azp under the identity provider's claims and import again; nothing, where its tokens have no azp")
	}
	host := strings.TrimPrefix(f.Issuer, "https://")
	return []draft.Document{{Name: draft.Name(host), Purpose: "Workloads of " + host, Match: lines}}
}

// PlatformOf guesses the type of an issuer that no configuration names.
func PlatformOf(issuer string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(issuer, "https://"), "/")
	switch {
	case host == "token.actions.githubusercontent.com":
		return "github-actions"
	case issuer == "https://accounts.google.com":
		return "gcp"
	case strings.HasPrefix(host, "oidc.eks.") || strings.HasPrefix(host, "oidc-eks.") || strings.HasSuffix(host, ".oic.prod-aks.azure.com") || host == "container.googleapis.com":
		return "kubernetes"
	}
	return "oidc"
}
