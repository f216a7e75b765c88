package junit_test

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/junit"
)

func results() []trust.TestResult {
	return []trust.TestResult{
		{File: "a.yaml", Line: 7, Column: 5, Trust: "a", Provider: "ci", Name: "main", Expect: "allow", OK: true, By: "a", Decision: trust.Decision{Allow: true}},
		{
			File: "a.yaml", Line: 8, Column: 5, Trust: "a", Provider: "ci", Name: `<&"]]>` + "\x00", Expect: "allow",
			Reason: trust.ReasonConditionFalse, Because: `match.ref: expected "x", found "y"`,
		},
		{File: "b_test.yaml", Line: 3, Column: 5, Provider: "ci", Name: "nobody", Expect: "deny", By: "a", Decision: trust.Decision{Allow: true}},
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := junit.Write(&b, results()); err != nil {
		t.Fatal(err)
	}
	want := `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="cambio trust test" tests="3" failures="2" errors="0">
  <testsuite name="a.yaml" file="a.yaml" tests="2" failures="1" errors="0">
    <testcase name="main" classname="a" file="a.yaml" line="7"></testcase>
    <testcase name="&lt;&amp;&#34;]]&gt;` + "\ufffd" + `" classname="a" file="a.yaml" line="8">
      <failure type="condition-false" message="a: &#34;&lt;&amp;\&#34;]]&gt;\x00&#34;: got deny condition-false (match.ref: expected &#34;x&#34;, found &#34;y&#34;), expected allow">a.yaml:8:5: error: tests: a: &#34;&lt;&amp;\&#34;]]&gt;\x00&#34;: got deny condition-false (match.ref: expected &#34;x&#34;, found &#34;y&#34;), expected allow; mend the trust, or the test&#39;s claims, ask or expect [test-failed]</failure>
    </testcase>
  </testsuite>
  <testsuite name="b_test.yaml" file="b_test.yaml" tests="1" failures="1" errors="0">
    <testcase name="nobody" classname="ci" file="b_test.yaml" line="3">
      <failure type="allow" message="ci: &#34;nobody&#34;: got allow, expected deny">b_test.yaml:3:5: error: tests: ci: &#34;nobody&#34;: got allow, expected deny; mend the trust, or the test&#39;s claims, ask or expect [test-failed]</failure>
    </testcase>
  </testsuite>
</testsuites>
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var back struct {
		Cases []struct {
			Name string `xml:"name,attr"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &back); err != nil || len(back.Cases) != 3 {
		t.Errorf("%v %v", back, err)
	}
}

// full is a place where nothing can be written after so many bytes.
type full int

func (f *full) Write(p []byte) (int, error) {
	*f -= full(len(p))
	if *f < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestWriteFails(t *testing.T) {
	t.Parallel()
	for room := range 3 {
		place := full(room * 40)
		if err := junit.Write(&place, results()); err == nil {
			t.Errorf("room for %d bytes: no error", room*40)
		}
	}
}
