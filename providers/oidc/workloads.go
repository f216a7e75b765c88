package oidc

import (
	"fmt"
	"strings"

	"cambio/trust"
)

// maxWorkloads is the most that pins are multiplied to: what a target lists by
// hand is read by people, and its policies are small.
const maxWorkloads = 100

// OpenError says which claims of the workload id are not pinned by equality to
// texts, so that the workloads cannot be listed.
type OpenError struct {
	Claims []string // as documents name them
}

func (e *OpenError) Error() string {
	return "the workloads cannot be listed: " + strings.Join(e.Claims, " and ") + " may have any value"
}

// Workloads are the ids of all workloads whose claims are pinned so, each as a
// token would prove it. pins has the values of a claim by its canonical JSON
// pointer, as [trust.Granted] has them; the values of several claims multiply,
// in the order of the id's segments.
//
// The error is an [*OpenError] where a claim of the id is left open; another one
// where there are more than 100, or where an id would be too long.
func Workloads(trustDomain string, p Provider, platform Platform, pins map[string][]any) ([]string, error) {
	segments := segmentsOf(p, platform)
	combinations := [][]string{nil}
	open := &OpenError{}
	for _, s := range segments {
		values := []string{s.Literal}
		if s.Claim != "" {
			if values = pinned(s.Claim, pins); values == nil {
				open.Claims = append(open.Claims, alias(platform, s.Claim))
				continue
			}
		}
		var longer [][]string
		for _, c := range combinations {
			for _, v := range values {
				longer = append(longer, append(c[:len(c):len(c)], v))
			}
		}
		if combinations = longer; len(combinations) > maxWorkloads {
			return nil, fmt.Errorf("the pins multiply to more than %d workloads; split the document", maxWorkloads)
		}
	}
	if len(open.Claims) > 0 {
		return nil, open
	}
	ids := make([]string, 0, len(combinations))
	for _, c := range combinations {
		fixed := make([]Segment, len(c))
		for i, text := range c {
			fixed[i] = Segment{Literal: text, Split: segments[i].Split}
		}
		id, err := workloadID(trustDomain, p.Name, fixed, nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// WorkloadOf is the workload id that a token of the provider with these claims
// has. The error names a claim of it that is missing, empty or no text.
func WorkloadOf(trustDomain string, p Provider, platform Platform, claims map[string]any) (string, error) {
	return workloadID(trustDomain, p.Name, segmentsOf(p, platform), claims)
}

// segmentsOf is what the provider's workload ids are made of: what the
// configuration says, else the platform's.
func segmentsOf(p Provider, platform Platform) []Segment {
	if len(p.Workload) == 0 {
		return platform.Workload
	}
	segments := make([]Segment, len(p.Workload))
	for i, claim := range p.Workload {
		segments[i] = Segment{Claim: claim}
	}
	return segments
}

// pinned are the texts that a claim is pinned to; nil where there are none, or
// one is no text, which no workload id is made of.
func pinned(claim string, pins map[string][]any) []string {
	pointer, ok := trust.Pointer(claim)
	if !ok {
		return nil
	}
	var out []string
	for _, v := range pins[pointer] {
		text, ok := v.(string)
		if !ok || text == "" {
			return nil
		}
		out = append(out, text)
	}
	return out
}

// alias is a claim's flat name, where the platform has one.
func alias(platform Platform, claim string) string {
	found := claim
	for name, pointer := range platform.Aliases {
		if pointer == claim && (found == claim || name < found) {
			found = name
		}
	}
	return found
}

// ReadObject reads one JSON object that has exactly one meaning, or refuses it:
// a repeated name, at any depth, and anything beyond RFC 8259. Values are as in
// [trust.Identity.Claims]. It is for files that people hand in; the error holds
// no byte of them.
func ReadObject(b []byte) (map[string]any, error) { return parseObject(b, documentLimits()) }
