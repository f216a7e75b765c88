package gcp

import "cambio/providers/internal/draft"

// Import turns what another system trusts of Google into one document. Nothing is
// widened: what a document cannot say is an error in notes, and then there is
// none.
func Import(f draft.Foreign, notes *draft.Notes) []draft.Document {
	f.Take("oaud") // the token's aud: the identity provider's in the configuration
	azp := f.Take("aud")
	subjects := f.Take("sub")
	_, whole := notes.CarryRest(f, func(string) bool { return false })
	if subjects == nil {
		notes.Error(f.Where, "import-no-anchor", "no condition on sub: any Google account is let in", "this is a hole today; write a document for the one service account that is meant")
		return nil
	}
	for _, v := range subjects {
		if !uniqueID.MatchString(v.Text) {
			notes.Error(f.Where, "import-subject", "sub "+draft.Show(v.Text)+" is no service account's unique number", "write the number: gcloud iam service-accounts describe ADDRESS")
			whole = false
		}
	}
	if !whole {
		return nil
	}
	number := subjects[0].Text
	for i := range subjects {
		subjects[i].Glob = false // a number holds no star
	}
	d := draft.Document{
		Name: draft.Name("sa-" + number), Purpose: "Workloads of the Google service account " + number,
		Match: []draft.Line{{Claim: "sub", Values: subjects}},
	}
	if azp != nil { // AWS calls azp aud, and aud oaud
		values, ok := notes.CarryAll(f.Where, "azp", azp)
		if !ok {
			return nil
		}
		d.Match = append(d.Match, draft.Line{Claim: "azp", Values: values})
	}
	return []draft.Document{d}
}
