package providertest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/trust"
)

// Local is a minter that calls nobody: what it gives, it makes with a key of ours.
type Local struct {
	Ask exchangetest.Ask
	// New makes the minter, with a key that Canaries are of.
	New func(tb testing.TB) exchange.Minter
	// Handle is what the record calls the credential of an order with this ID, before
	// it exists; nil: the ID.
	Handle func(id string) string
	// Canaries are texts that are, or hold, the private key. The suite finds none of
	// them in what leaves the minter.
	Canaries []string
	// BadCertify are things that cannot be certified, by what is wrong with them; nil
	// where the target certifies nothing. Each is refused before the token is used up.
	BadCertify map[string]string
	// BadGrants are grants that do not load, by what is wrong with them, as YAML in
	// flow form, like Ask.Grant.
	BadGrants map[string]string
	// Broken are minters, and orders, that must fail: with no credential, and having
	// issued nothing.
	Broken map[string]func(tb testing.TB, o exchange.Order) (exchange.Minter, exchange.Order)
	// Check looks at the good credential, and at what it was made of.
	Check func(tb testing.TB, o exchange.Order, got exchange.Credential)
}

// Run holds the minter to the contract.
func (m Local) Run(t *testing.T) {
	t.Helper()
	t.Run("good", m.good)
	t.Run("two orders", m.two)
	t.Run("shorter", m.shorter)
	for name, certify := range m.BadCertify {
		t.Run("certify: "+name, func(t *testing.T) {
			ask := m.Ask
			ask.Request.Certify = certify
			m.refused(t, ask, trust.ReasonCertifyInvalid, certify)
		})
	}
	for _, other := range []exchange.Certifies{exchange.CertifiesNothing, exchange.CertifiesRequest, exchange.CertifiesSSHKey} {
		if other == m.Ask.Target.Certifies {
			continue
		}
		t.Run("the parameter "+string(other), func(t *testing.T) {
			ask := m.Ask
			ask.Request.Certifies = other
			if other == exchange.CertifiesNothing {
				ask.Request.Certify = ""
			} else if ask.Request.Certify == "" {
				ask.Request.Certify = "x"
			}
			m.refused(t, ask, trust.ReasonCertifyMismatch, "")
		})
	}
	for name, grant := range m.BadGrants {
		t.Run("grant: "+name, func(t *testing.T) {
			if exchangetest.Loads(t, exchangetest.Ask{Type: m.Ask.Type, Grant: grant}) {
				t.Errorf("%s loads", grant)
			}
		})
	}
	for name, broken := range m.Broken {
		t.Run("broken: "+name, func(t *testing.T) {
			minter, o := broken(t, exchangetest.Order(t, m.Ask))
			got, err := minter.Mint(t.Context(), o)
			if got.Value != "" {
				t.Error("a credential came with the error")
			}
			var e *exchange.Error
			if !errors.As(err, &e) || e.Issued || e.Reason == "" {
				t.Fatalf("%v is no refusal, or says that something was issued", err)
			}
			m.silent(t, fmt.Sprintf("%v %+v", e, e.Err), o.Certify)
		})
	}
}

// good: the credential is what was ordered, under the name that the record has.
func (m Local) good(t *testing.T) {
	o := exchangetest.Order(t, m.Ask)
	got, err := m.New(t).Mint(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	handle := o.ID
	if m.Handle != nil {
		handle = m.Handle(o.ID)
	}
	if got.Handle != handle || got.Handle == "" {
		t.Errorf("handle %q, and the decision said %q", got.Handle, handle)
	}
	if got.Value == "" || got.Type != o.Type || got.Type == "" {
		t.Errorf("incomplete: type %q, ordered %q", got.Type, o.Type)
	}
	if !got.Expires.After(o.Issued) || got.Expires.After(o.Expires) || got.Expires.Nanosecond() != 0 {
		t.Errorf("ends %s, ordered until %s", got.Expires, o.Expires)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", got, got, got), got.Value.Reveal()) {
		t.Error("the credential shows itself")
	}
	m.silent(t, got.Value.Reveal()+" "+got.Handle, "")
	if m.Check != nil {
		m.Check(t, o, got)
	}
}

// two: each order gets a credential of its own, also those of one workload.
func (m Local) two(t *testing.T) {
	minter := m.New(t)
	seen, handles := map[exchange.Secret]bool{}, map[string]bool{}
	for _, workload := range []string{exchangetest.Workload, exchangetest.Workload, exchangetest.Workload + "-2"} {
		ask := m.Ask
		ask.Workload = workload
		got, err := minter.Mint(t.Context(), exchangetest.Order(t, ask))
		if err != nil {
			t.Fatal(err)
		}
		if seen[got.Value] || handles[got.Handle] {
			t.Error("two orders got the same")
		}
		seen[got.Value], handles[got.Handle] = true, true
	}
}

// shorter: who asks for less gets less.
func (m Local) shorter(t *testing.T) {
	ask := m.Ask
	ask.Request.Ask.TTL = time.Minute
	o := exchangetest.Order(t, ask)
	got, err := m.New(t).Mint(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got.Expires.After(o.Issued.Add(time.Minute)) {
		t.Errorf("ends %s, issued at %s for a minute", got.Expires, o.Issued)
	}
}

// refused: by the broker, before the minter is asked, with a sentence that names
// the parameter and repeats nothing of it.
func (m Local) refused(t *testing.T, ask exchangetest.Ask, want trust.Reason, sent string) {
	t.Helper()
	_, err := exchangetest.Try(t, ask)
	e := refusal(t, err)
	if e.Code != exchange.InvalidRequest || e.Reason != want {
		t.Errorf("%s %s, want %s", e.Code, e.Reason, want)
	}
	if !strings.Contains(e.Tell, " parameter ") || strings.ContainsAny(e.Tell, "\r\n\x1b") {
		t.Errorf("the caller is told %q", e.Tell)
	}
	m.silent(t, e.Error()+e.Tell, sent)
}

// silent: neither the key nor what was sent is repeated.
func (m Local) silent(t *testing.T, text, sent string) {
	t.Helper()
	for _, canary := range m.Canaries {
		if canary != "" && strings.Contains(text, canary) {
			t.Error("the private key is shown")
		}
	}
	for word := range strings.FieldsSeq(sent) {
		if len(word) > 24 && strings.Contains(text, word[len(word)-20:]) {
			t.Error("what was sent is repeated")
		}
	}
}
