package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cambio/audit"
	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/backtest"
)

// traced is a recorded decision, judged again with the documents on disk.
type traced struct {
	trust.Explanation
	// Recorded is the policy that decided then. Where it is another one than
	// Explanation.Policy, the documents changed since.
	Recorded string `json:"recorded_policy_sha256"`
	// Unknown is what is not recorded and the verdict depends on: with some of it
	// Allow and Reason mean nothing.
	Unknown []string `json:"not_recorded,omitempty"`
}

// traceOf judges the decision of these records again; nil where there is nothing
// to judge: the token itself was refused, or no claim of it was kept.
func (c *common) traceOf(config gateway.Config, records []audit.Record) *traced {
	at := slices.IndexFunc(records, func(r audit.Record) bool {
		judged := r.Event == audit.ExchangeAllowed || r.Event == audit.ExchangeDenied || r.Event == audit.ExchangeDryRun
		return judged && (r.Reason == "" || explainable(trust.Reason(r.Reason))) && !decisionOf(r).Shadow
	})
	if at < 0 {
		return nil
	}
	policy, findings := gateway.LoadPolicy(config, c.io.now())
	if policy == nil {
		c.io.say("not judged again, as the documents on disk do not load (%s): cambio trust check", count(len(findings), "finding"))
		return nil
	}
	record := decisionOf(records[at])
	e, unknown, ok := backtest.NewJudge(policy, configured(config)).Explain(&record)
	if !ok {
		return nil
	}
	return &traced{Explanation: e, Recorded: record.PolicySHA256, Unknown: unknown}
}

// printTrace prints the whole trace, below the records. It says plainly what it
// rests on: a verdict of other documents, or of half a token, is not the one that
// the caller got.
func (c *common) printTrace(decision string, t *traced) error {
	if c.json() {
		line, err := json.Marshal(map[string]any{"decision": decision, "judged_again": t})
		if err != nil {
			return err
		}
		return lines(c.io.out, "%s", line)
	}
	head := "judged again with the documents on disk, which are those that decided: policy " + t.Policy
	if t.Recorded != t.Policy {
		head = fmt.Sprintf("judged again with the documents on disk, which changed since: policy %s then, %s now", orDash(t.Recorded), t.Policy)
	}
	if err := lines(c.io.out, "%s", head); err != nil {
		return err
	}
	verdict, rest, _ := strings.Cut(strings.TrimRight(t.String(), "\n"), "\n")
	if len(t.Unknown) > 0 {
		verdict = "no verdict: it depends on what was not recorded: " + strings.Join(t.Unknown, ", ")
	}
	if rest != "" {
		verdict += "\n" + rest
	}
	return lines(c.io.out, "%s", verdict)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// visible is a text of a record as a terminal shows it unharmed: a caller chose
// parts of it, and must not move the cursor of whoever reads of its refusal.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
