package azure_test

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/azure"
	"cambio/standin"
)

// TestAsMicrosoftsOwn holds our request against that of Microsoft's own library for
// the same assertion, over TLS: the same bytes but for what only it wants.
func TestAsMicrosoftsOwn(t *testing.T) {
	t.Parallel()
	e := entra(t)
	s := httptest.NewTLSServer(e)
	t.Cleanup(s.Close)
	o := exchangetest.Order(t, ask())
	ours := open(t, azure.Config{Endpoint: s.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})})
	if _, err := ours.Mint(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	requests := e.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests: we look nothing up", len(requests))
	}
	mine := form(t, requests[0])
	theirs, err := azidentity.NewClientAssertionCredential(tenant, clientID, func(context.Context) (string, error) { return mine.Get("client_assertion"), nil }, library(s))
	if err != nil {
		t.Fatal(err)
	}
	token, err := theirs.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{management + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, found := strings.CutPrefix(token.Token, "eyJ"); !found {
		t.Error("no token")
	}
	requests = e.Requests()
	last := requests[len(requests)-1]
	yours := form(t, last)
	if last.Path != requests[0].Path || last.Method != requests[0].Method {
		t.Errorf("%s %s, and we %s %s", last.Method, last.Path, requests[0].Method, requests[0].Path)
	}
	// It asks for an ID token beside, and for who the user is: there is none.
	if yours.Get("scope") != management+"/.default openid offline_access profile" {
		t.Errorf("scope %q", yours.Get("scope"))
	}
	yours.Set("scope", management+"/.default")
	yours.Del("client_info")
	if diff := cmp.Diff(yours.Encode(), mine.Encode()); diff != "" {
		t.Error(diff)
	}
}

// TestTheLibraryKeepsTokens shows why the library is not what mints: one credential
// gives the second workload the first one's token, without asking Entra.
func TestTheLibraryKeepsTokens(t *testing.T) {
	t.Parallel()
	e := entra(t)
	s := httptest.NewTLSServer(e)
	t.Cleanup(s.Close)
	var orders []exchange.Order
	for _, workload := range []string{exchangetest.Workload + "-0", exchangetest.Workload + "-1"} {
		a := ask()
		a.Workload = workload
		orders = append(orders, exchangetest.Order(t, a))
	}
	asked := 0
	theirs, err := azidentity.NewClientAssertionCredential(tenant, clientID, func(context.Context) (string, error) {
		asked++
		assertion, err := orders[asked-1].Assert(audience, exchange.RS256)
		return assertion.Reveal(), err
	}, library(s))
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]bool{}
	for range orders {
		token, err := theirs.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{management + "/.default"}})
		if err != nil {
			t.Fatal(err)
		}
		tokens[token.Token] = true
	}
	if asked != 1 || len(tokens) != 1 {
		t.Errorf("the library asked %d times and gave %d tokens: it may be used now", asked, len(tokens))
	}
	ours := open(t, azure.Config{Endpoint: s.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})})
	for _, o := range orders {
		got, err := ours.Mint(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		tokens[got.Value.Reveal()] = true
	}
	if len(tokens) != 3 {
		t.Errorf("%d tokens for three logins", len(tokens))
	}
}

func library(s *httptest.Server) *azidentity.ClientAssertionCredentialOptions {
	o := &azidentity.ClientAssertionCredentialOptions{DisableInstanceDiscovery: true}
	o.Cloud.ActiveDirectoryAuthorityHost = s.URL
	o.ClientOptions = azcore.ClientOptions{Cloud: o.Cloud, Transport: s.Client()}
	return o
}

func form(tb testing.TB, r standin.ServiceRequest) url.Values {
	tb.Helper()
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		tb.Fatal(err)
	}
	return form
}
