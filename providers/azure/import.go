// Package azure is the target type for Microsoft Entra: an assertion of ours becomes an
// access token of an application or managed identity that trusts it. It also reads
// what Entra trusts of other identity providers.
package azure

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/providers/oidc"
)

// maxCredential bounds what is read of a file: a federated credential has a dozen
// members, and Entra keeps at most 600 characters of each.
const maxCredential = 64 << 10

const show = "name what `az identity federated-credential show` or `az ad app federated-credential show` printed"

// ReadCredential reads a federated identity credential, of a managed identity or
// of an application, as az prints it, and returns whom it lets in. name is the
// credential's. With an error in notes what is returned is only for finding out
// what else is wrong.
//
// same says that the grant is for Entra: then it has a scope.
func ReadCredential(b []byte, same bool, notes *draft.Notes) (trusted []draft.Foreign, name string) {
	if len(b) > maxCredential {
		notes.Error("", "import-syntax", fmt.Sprintf("is larger than %d bytes", maxCredential), show)
		return nil, ""
	}
	c, err := oidc.ReadObject(b)
	if err != nil {
		notes.Error("", "import-syntax", "is not one JSON object in which each name stands once", show)
		return nil, ""
	}
	notes.Only("", c, "@odata.context", "@odata.id", "audiences", "claimsMatchingExpression", "description", "id", "issuer", "name", "resourceGroup", "subject", "systemData", "type")
	name, _ = c["name"].(string)
	issuer, isText := c["issuer"].(string)
	audiences := draft.Texts(c["audiences"])
	if !isText || issuer == "" || audiences == nil {
		notes.Error("", "import-syntax", "the file is no federated credential: issuer or audiences are missing", show)
		return nil, name
	}
	f := draft.Foreign{Where: "subject", Issuer: issuer, Audiences: audiences}
	if same {
		f.Scopes = []string{"https://management.azure.com/.default"}
		notes.Warn("", "import-permissions", "a credential does not say which resource a job asks tokens for; https://management.azure.com/.default is written", "write the scope that the job uses")
	}
	subject, _ := c["subject"].(string)
	expression, flexible := c["claimsMatchingExpression"].(map[string]any)
	switch {
	case (subject != "") == flexible:
		notes.Error("", "import-syntax", "a credential has one of subject and claimsMatchingExpression", show)
		return nil, name
	case !flexible:
		f.Claims = []draft.Line{{Claim: "sub", Values: []draft.Value{{Text: subject}}}}
		return []draft.Foreign{f}, name
	}
	f.Where = "claimsMatchingExpression"
	notes.Only(f.Where, expression, "value", "languageVersion", "@odata.type")
	text, _ := expression["value"].(string)
	if expression["languageVersion"] != int64(1) {
		notes.Error(f.Where, "import-syntax", "languageVersion is not 1", "write the document by hand")
		return nil, name
	}
	lines, err := readExpression(text)
	if err != nil {
		notes.Error(f.Where, "import-condition", err.Error(), "write the document by hand")
		return nil, name
	}
	for _, l := range lines {
		if !notes.Narrow(&f, l) {
			return nil, name
		}
	}
	return []draft.Foreign{f}, name
}

// comparison is one part of an expression, up to the next. No backslash and no
// second quote is read inside a text: how Entra reads them is not documented, and
// a text that ends elsewhere has another meaning.
var comparison = regexp.MustCompile(`^claims\['([A-Za-z0-9_.:/-]{1,256})'\] (eq|matches) '([^'\\]{1,600})'`)

var errExpression = errors.New("the expression is more than claims['NAME'] eq or matches 'TEXT', joined by and")

// readExpression reads a flexible credential's expression: comparisons joined by
// and, whose patterns know * for any text and ? for one character.
func readExpression(text string) ([]draft.Line, error) {
	var lines []draft.Line
	for {
		m := comparison.FindStringSubmatch(text)
		if m == nil {
			return nil, errExpression
		}
		if strings.HasPrefix(m[1], "/") {
			return nil, errExpression // a document would read it as a pointer
		}
		lines = append(lines, draft.Line{Claim: m[1], Values: []draft.Value{{Text: m[3], Glob: m[2] == "matches"}}})
		text = text[len(m[0]):]
		if text == "" {
			return lines, nil
		}
		rest, ok := strings.CutPrefix(text, " and ")
		if !ok {
			return nil, errExpression
		}
		text = rest
	}
}
