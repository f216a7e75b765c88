package cloudbuild_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/cloudbuild"
	"cambio/providers/providertest"
)

// TestDocuments: the number of a service account decides, and nothing else can.
func TestDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		want  []string
	}{
		"the number":         {`match: {sub: "114000000000000000002"}`, nil},
		"not in quotes":      {`match: {sub: 114000000000000000002}`, []string{"type-mismatch"}},
		"an address":         {"match: {email: payments-build@acme-prod.iam.gserviceaccount.com}", []string{"trust-too-broad"}},
		"an address as well": {"match: {sub: \"114000000000000000002\", email: payments-build@acme-prod.iam.gserviceaccount.com}", nil},
		"a part of it":       {"match: {sub: \"114000000000000000002\"}\nwhen: ['claims.email.endsWith(\"@acme-prod.iam.gserviceaccount.com\")']", []string{"mutable-claim"}},
		"a repository":       {"match: {sub: \"114000000000000000002\", repository: acme/payments}", []string{"unknown-claim"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: cloudbuild.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
