package main

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cambio/gateway"
)

func doctorCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Examine a gateway: clock, keys, issuer, providers, targets, Redis, journal",
		Long: `Looks at all that the configuration names, and says for each whether it is as it
must be, what was seen, and what to do: the clock, the keys and their rotation,
the issuer as others see it, identity providers, targets, Redis, the stop list,
the journal and its disk, certificates, trust documents and file modes.

It is safe while the gateway runs: it takes no lock, issues nothing, and writes
one file in the state folder, to measure the disk, which it removes. What it
prints holds no secret and may be pasted into an issue. A check that gets no
answer is given up after 5 s. Run it as the user of the gateway, on its machine.

FAIL: exchanges fail, or will; the status is then 9. WARN: it works, and should
be looked at. SKIP: not configured, or not there yet.`,
		Example: `  cambio doctor
  cambio doctor -o json | jq '.checks[] | select(.status == "FAIL")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			done := c.progress("examining")
			report := gateway.Doctor(cmd.Context(), config, gateway.DoctorEnv{File: c.config, Now: c.io.now, Rand: rand.Reader})
			done()
			if err := cmd.Context().Err(); err != nil {
				return err // what was interrupted found nothing wrong
			}
			if err := c.printDoctor(report); err != nil {
				return err
			}
			return doctorFailure(report)
		},
	}
}

// doctorFailure is the error of an examination in which something failed.
func doctorFailure(r gateway.DoctorReport) error {
	failed := 0
	for _, check := range r.Checks {
		if check.Status == gateway.DoctorFail {
			failed++
		}
	}
	if r.OK {
		return nil
	}
	return &failure{code: exitDoctor, err: fmt.Errorf("%s failed", count(failed, "check")), next: "do what stands behind each FAIL, and look again"}
}

func (c *common) printDoctor(r gateway.DoctorReport) error {
	if c.json() {
		return c.writeJSON(r)
	}
	width := 0
	for _, check := range r.Checks {
		width = max(width, len(check.Name))
	}
	for _, check := range r.Checks {
		status := string(check.Status)
		switch check.Status {
		case gateway.DoctorPass:
			status = c.io.green(status)
		case gateway.DoctorFail:
			status = c.io.red(status)
		case gateway.DoctorWarn:
			status = c.io.bold(status)
		case gateway.DoctorSkip:
			status = c.io.faint(status)
		}
		if err := lines(c.io.out, "%s  %-*s  %s", status, width, check.Name, check.Detail); err != nil {
			return err
		}
		if check.Next == "" {
			continue
		}
		if err := lines(c.io.out, "%s  next: %s", strings.Repeat(" ", len("PASS")+2+width), check.Next); err != nil {
			return err
		}
	}
	return nil
}
