package trust

import (
	"net/netip"
	"strings"
	"time"

	"cambio/trust/strictyaml"
)

// testCase is one test, of a trust document or of a file of tests.
type testCase struct {
	name    string
	at      Place
	claims  map[string]any // by name; nil takes the claim away
	ask     Request
	allow   bool
	by      string     // the trust that must allow; "": any
	reason  Reason     // why it must be denied; "": for any reason
	when    time.Time  // zero: at the time of the run, within the trust's hours
	address netip.Addr // invalid: in the trust's first network
}

// test reads one test.
func (r *reader) test(n *strictyaml.Node, p *providerPolicy) (testCase, bool) {
	if !r.isMap(n) {
		return testCase{}, false
	}
	r.allow(n, Fields(TestPart)...)
	t := testCase{at: placeOf(n)}
	if name := n.Get("name"); name != nil {
		t.name = strings.Clone(r.text(name, maxText))
	} else {
		r.Missing(n, "name", "write name: and what the test shows")
	}
	if claims := n.Get("claims"); claims != nil && r.isMap(claims) && p != nil {
		t.claims = r.testClaims(claims, p)
	}
	r.expected(&t, n)
	if at := n.Get("at"); at != nil {
		t.when = r.instant(at)
	}
	if address := n.Get("address"); address != nil {
		t.address = r.address(address)
	}
	ask := n.Get("ask")
	if ask == nil {
		r.Missing(n, "ask", "write ask: {to: TARGET}")
		return t, false
	}
	if !r.isMap(ask) {
		return t, false
	}
	r.allow(ask, Fields(AskPart)...)
	for field, into := range map[string]*string{"to": &t.ask.Target, "resource": &t.ask.Resource, "trust": &t.ask.Trust} {
		if item := ask.Get(field); item != nil {
			*into = strings.Clone(r.text(item, maxResource))
		}
	}
	if ask.Get("to") == nil {
		r.Missing(ask, "to", "write to: and the name of a target")
	}
	if scope := ask.Get("scope"); scope != nil {
		if scope.Kind == strictyaml.List {
			t.ask.Scopes = r.scopes(scope)
		} else {
			t.ask.Scopes = ParseScope(strings.Clone(r.text(scope, maxResource)))
		}
	}
	if item := ask.Get("ttl"); item != nil {
		var d strictyaml.Duration
		r.Decode(item, &d)
		t.ask.TTL = time.Duration(d)
	}
	return t, true
}

// expected reads what must come of a test.
func (r *reader) expected(t *testCase, n *strictyaml.Node) {
	verdict := ""
	if expect := n.Get("expect"); expect != nil {
		verdict = r.oneOf(expect, "allow", "deny")
	} else {
		r.Missing(n, "expect", "write expect: allow, or expect: deny")
	}
	t.allow = verdict == "allow"
	if reason := n.Get("reason"); reason != nil {
		t.reason = Reason(r.oneOf(reason, Denials()...))
		if verdict == "allow" {
			r.Error(reason, FindingInvalid, "a reason is why something is denied", "leave reason out, or write expect: deny")
		}
	}
	if by := n.Get("by"); by != nil {
		t.by = strings.Clone(r.text(by, maxText))
		if verdict == "deny" {
			r.Error(by, FindingInvalid, "nobody allows what is denied", "leave by out, or write expect: allow")
		}
	}
}

// Denials are the reasons that a test can expect: those of [Policy.Decide] but
// for stops and nonces, of which a test knows nothing.
func Denials() []string {
	reasons := []Reason{
		ReasonNoMatchingTrust, ReasonConditionFalse, ReasonCELError, ReasonCELBudget, ReasonEventNotNamed, ReasonNetwork,
		ReasonHours, ReasonTrustExpired, ReasonShadowOnly, ReasonAmbiguousTrust, ReasonTargetNotGranted, ReasonResourceNotGrant,
		ReasonScopeNotGranted, ReasonScopeMalformed, ReasonClaimMissing, ReasonGrantUnfit, ReasonGuardrail,
	}
	out := make([]string, len(reasons))
	for i, reason := range reasons {
		out[i] = string(reason)
	}
	return out
}

// instant reads a time of RFC 3339. Without quotes YAML readers disagree about
// it, and this one form of it is clear.
func (r *reader) instant(n *strictyaml.Node) time.Time {
	if n.Kind == strictyaml.String || n.Kind == strictyaml.Ambiguous {
		if at, err := time.Parse(time.RFC3339, n.Text); err == nil {
			return at
		}
	}
	r.Error(n, FindingInvalid, n.Show()+" is no time", "write one of RFC 3339, such as \"2027-03-31T12:00:00Z\"")
	return time.Time{}
}

// address reads the caller's address. One with a zone is in no network.
func (r *reader) address(n *strictyaml.Node) netip.Addr {
	s := r.text(n, maxText)
	if s == "" {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(s)
	if err != nil || address.Zone() != "" {
		r.Error(n, FindingInvalid, n.Show()+" is no address", "write one such as 10.1.2.3 or \"2001:db8::1\"")
	}
	return address
}

func (r *reader) testClaims(n *strictyaml.Node, p *providerPolicy) map[string]any {
	claims := map[string]any{}
	for i, key := range n.Keys() {
		item := n.Items()[i]
		claim := p.schema.lookup(key.Text)
		if claim == nil {
			r.Error(key, FindingUnknownClaim, "the identity provider's tokens have no claim "+key.Show(), strictyaml.DidYouMean(key.Text, p.schema.names))
			continue
		}
		if item.Kind == strictyaml.Null {
			claims[key.Text] = nil
			continue
		}
		value, ok := item.Value()
		if ok {
			_, ok = claim.typed(value)
		}
		if !ok {
			r.Error(item, FindingTypeMismatch, claim.name+" is of type "+string(claim.typ)+", and "+item.Show()+" is not",
				"write a value of type "+string(claim.typ)+", or null for a token without it")
			continue
		}
		claims[key.Text] = value
	}
	return claims
}
