// Package junit writes the results of a policy's tests as JUnit XML, which
// continuous integration shows beside the tests of programs.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"

	"cambio/trust"
)

// There is no standard of the format. These elements and attributes are those
// that GitLab, Jenkins and the usual actions of GitHub read.
type report struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Suites   []*suite `xml:"testsuite"`
}

type suite struct {
	Name     string  `xml:"name,attr"` // the file
	File     string  `xml:"file,attr"`
	Tests    int     `xml:"tests,attr"`
	Failures int     `xml:"failures,attr"`
	Errors   int     `xml:"errors,attr"`
	Cases    []tcase `xml:"testcase"`
}

type tcase struct {
	Name    string   `xml:"name,attr"`
	Class   string   `xml:"classname,attr"` // the trust, or the identity provider
	File    string   `xml:"file,attr"`
	Line    int      `xml:"line,attr"`
	Failure *failure `xml:"failure"`
}

type failure struct {
	Type    string `xml:"type,attr"` // the reason of the denial, or allow
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// Write writes the results: one testsuite for each file, in the order of the
// results. Texts of documents are escaped, and characters that XML cannot hold
// become U+FFFD.
func Write(w io.Writer, results []trust.TestResult) error {
	r := report{Name: "cambio trust test", Tests: len(results)}
	suites := map[string]*suite{}
	for i := range results {
		t := &results[i]
		s := suites[t.File]
		if s == nil {
			s = &suite{Name: t.File, File: t.File}
			suites[t.File] = s
			r.Suites = append(r.Suites, s)
		}
		c := tcase{Name: t.Name, Class: t.Subject(), File: t.File, Line: t.Line}
		if !t.OK {
			f := t.Failure()
			c.Failure = &failure{Type: "allow", Message: f.Message, Text: f.String()}
			if t.Reason != "" {
				c.Failure.Type = string(t.Reason)
			}
			s.Failures++
			r.Failures++
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	return nil
}
