package kubernetes

import (
	"strings"

	"cambio/providers/internal/draft"
)

// Import turns what another system trusts of a cluster into documents, one for
// each namespace. Nothing is widened: what a document cannot say is an error in
// notes, and then there is no document.
func Import(f draft.Foreign, notes *draft.Notes) []draft.Document {
	whole := true
	refuse := func(id, message, fix string) {
		notes.Error(f.Where, id, message, fix)
		whole = false
	}
	f.Take("aud") // the audience of the tokens is the identity provider's in the configuration
	subjects := f.Take("sub")
	switch namespaces := take(&f, "namespace", "/kubernetes.io/namespace"); {
	case namespaces == nil:
	case subjects == nil:
		return named(f, namespaces, notes)
	default:
		refuse("import-condition", "sub and another condition both name the namespace", "keep one of the two")
	}
	if subjects == nil {
		refuse("import-no-anchor", "no condition on sub: any pod of the cluster is let in", "this is a hole today; write a document for the one service account that is meant")
	}
	if _, ok := notes.CarryRest(f, func(string) bool { return false }); !ok {
		whole = false
	}
	var docs []draft.Document
	for _, v := range subjects {
		rest, ok := strings.CutPrefix(v.Text, "system:serviceaccount:")
		namespace, account, divided := strings.Cut(rest, ":")
		switch {
		case v.Glob && (!ok || !divided || strings.ContainsAny(namespace, "*?")):
			refuse("import-no-anchor", "sub "+draft.Show(v.Text)+" lets in service accounts of every namespace that fits", "this is a hole today; write a document for the one namespace that is meant")
			continue
		case !ok || !divided || !label.MatchString(namespace):
			refuse("import-subject", "sub "+draft.Show(v.Text)+" is no subject of a service account", "write what is meant: system:serviceaccount:NAMESPACE:NAME")
			continue
		case v.Glob && strings.Trim(account, "*") == "":
			notes.Warn(f.Where, "import-broad", "sub "+draft.Show(v.Text)+" lets in every service account of the namespace", "name the account that is meant")
			docs = append(docs, document(namespace, nil))
			continue
		}
		if v.Glob && strings.Contains(account, "*") && !strings.ContainsAny(account, `?[{\`) {
			notes.Warn(f.Where, "import-broad", "sub "+draft.Show(v.Text)+" lets in every account whose name fits, those that are yet to be created too", "list the accounts that are meant")
			docs = add(docs, namespace, draft.Value{Text: strings.ReplaceAll(account, "**", "*"), Glob: true}) // no name has a slash
			continue
		}
		if !subdomain.MatchString(account) {
			refuse("import-pattern", "the service account "+draft.Show(account)+" is no name, and no pattern that globs have", "list the accounts that are meant")
			continue
		}
		docs = add(docs, namespace, draft.Value{Text: account})
	}
	if !whole {
		return nil
	}
	return docs
}

// take removes the line of a claim that has two names, and returns its values.
func take(f *draft.Foreign, alias, pointer string) []draft.Value {
	if values := f.Take(alias); values != nil {
		return values
	}
	return f.Take(pointer)
}

// named is one document for conditions on the claims that sub is made of.
func named(f draft.Foreign, namespaces []draft.Value, notes *draft.Notes) []draft.Document {
	whole := true
	for i, v := range namespaces {
		if !label.MatchString(v.Text) {
			notes.Error(f.Where, "import-no-anchor", "the namespace "+draft.Show(v.Text)+" is no name", "write a document for the one namespace that is meant")
			whole = false
		}
		namespaces[i].Glob = false // a name holds no star
	}
	accounts := take(&f, "service_account", "/kubernetes.io/serviceaccount/name")
	if _, ok := notes.CarryRest(f, func(string) bool { return false }); !ok || !whole {
		return nil
	}
	if accounts == nil {
		notes.Warn(f.Where, "import-broad", "every service account of the namespace "+draft.Show(namespaces[0].Text)+" is let in", "name the account that is meant")
	} else if accounts, whole = notes.CarryAll(f.Where, "service_account", accounts); !whole {
		return nil
	}
	d := document(namespaces[0].Text, accounts)
	d.Match[0].Values = namespaces
	return []draft.Document{d}
}

// add joins the accounts of one namespace: they are alternatives of one line.
func add(docs []draft.Document, namespace string, account draft.Value) []draft.Document {
	for i := range docs {
		m := docs[i].Match
		if m[0].Values[0].Text != namespace || len(m) == 1 {
			continue
		}
		for _, have := range m[1].Values {
			if have == account {
				return docs
			}
		}
		m[1].Values = append(m[1].Values, account)
		return docs
	}
	return append(docs, document(namespace, []draft.Value{account}))
}

func document(namespace string, accounts []draft.Value) draft.Document {
	d := draft.Document{
		Name:    draft.Name(namespace),
		Purpose: "Pods of the namespace " + namespace,
		Match:   []draft.Line{{Claim: "namespace", Values: one(namespace)}},
	}
	if accounts != nil {
		d.Name = draft.Name(namespace + "-" + accounts[0].Text)
		d.Match = append(d.Match, draft.Line{Claim: "service_account", Values: accounts})
	}
	return d
}
