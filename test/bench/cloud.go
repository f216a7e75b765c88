package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// The targets of the gateway whose credentials AWS hands out.
const (
	awsTarget     = "aws-prod"
	stalledTarget = "aws-stalled"
)

// How the way to AWS is driven.
const (
	cloudConnections = 16
	cloudRounds      = 6
	cloudTokens      = 400
)

// awsFigures is "aws" in bench.json.
type awsFigures struct {
	Connections int     `json:"connections"`
	Gateway     row     `json:"gateway"`
	SDK         row     `json:"sdk"`
	CPURatio    float64 `json:"cpu_ratio"`   // median of the rounds
	Overhead    float64 `json:"overhead_us"` // CPU
}

// cloudServers are those of this part.
type cloudServers struct {
	sts, gateway, sdk *process
	hole              *hole
	check             *checker
}

// cloud measures exchanges for AWS beside the SDK's bare call, and then how a
// target that stalls changes those of a healthy one.
func (b *bench) cloud(ctx context.Context, f *figures) (err error) {
	s := &cloudServers{}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := b.startCloud(ctx, s); err != nil {
		return err
	}
	if err := b.besideSDK(ctx, s, f); err != nil {
		return err
	}
	return b.besideStalled(ctx, s, f)
}

func (b *bench) startCloud(ctx context.Context, s *cloudServers) error {
	dir, err := b.folder(setup{name: "keys-only", trusts: 1})
	if err != nil {
		return err
	}
	if s.sts, err = start(ctx, standIn, dir); err != nil {
		return err
	}
	if s.hole, err = newHole(ctx); err != nil {
		return err
	}
	dir, err = b.folder(setup{
		name: "cloud", trusts: busyTrusts,
		targets: cloudTarget(awsTarget, s.sts.URL) + cloudTarget(stalledTarget, s.hole.url),
		grants:  cloudGrant(awsTarget) + ", " + cloudGrant(stalledTarget),
	})
	if err != nil {
		return err
	}
	if s.gateway, err = start(ctx, embedded, dir); err != nil {
		return err
	}
	if s.sdk, err = start(ctx, sdk, dir, s.sts.URL); err != nil {
		return err
	}
	if s.check, err = newChecker(ctx, s.gateway.URL, dir); err != nil {
		return err
	}
	tokens, err := b.provider.tokens(200)
	if err != nil {
		return err
	}
	for _, server := range []*process{s.gateway, s.sdk} {
		if _, err := drive(server.URL, awsTarget, cloudConnections, tokens); err != nil {
			return err
		}
	}
	return nil
}

// cloudTarget is a line of a configuration. The subject is the trust, so that
// the stand-in's role can name those that it lets in.
func cloudTarget(name, endpoint string) string {
	return fmt.Sprintf("  %s: {type: aws, account: %q, endpoint: %q, subject: trust}\n", name, awsAccount, endpoint)
}

func cloudGrant(target string) string {
	return fmt.Sprintf("{to: %s, resource: %q, ttl: %dm}", target, awsRole, awsLife/time.Minute)
}

// besideSDK measures the gateway and the bare call in turns.
func (b *bench) besideSDK(ctx context.Context, s *cloudServers, f *figures) error {
	var ours, theirs total
	for i := range cloudRounds {
		tokens, err := b.provider.tokens(cloudTokens)
		if err != nil {
			return err
		}
		turns := []struct {
			server *process
			total  *total
		}{{s.gateway, &ours}, {s.sdk, &theirs}}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, t := range turns {
			if err := ctx.Err(); err != nil {
				return err
			}
			answers, err := turn(t.server, awsTarget, cloudConnections, tokens, t.total)
			if err != nil {
				return err
			}
			if t.server != s.gateway {
				continue
			}
			for _, a := range answers {
				if err := s.check.checkCloud(a); err != nil {
					return err
				}
			}
		}
	}
	f.aws = awsFigures{
		Connections: cloudConnections, Gateway: newRow(&ours), SDK: newRow(&theirs),
		CPURatio: ours.ratio(&theirs), Overhead: ours.cpuEach() - theirs.cpuEach(),
	}
	return nil
}

func (s *cloudServers) end() error {
	var errs []error
	if s.hole != nil {
		errs = append(errs, s.hole.close())
	}
	for _, p := range []*process{s.gateway, s.sdk, s.sts} {
		if p != nil {
			errs = append(errs, p.end())
		}
	}
	return errors.Join(errs...)
}

func (f *figures) printCloud(out io.Writer) {
	a := f.aws
	fmt.Fprintf(out, "\nAWS, by a stand-in, %d connections: the gateway %.0f us CPU, p50 %.2f ms, p99 %.2f ms; the SDK's bare call %.0f us, %.2f ms, %.2f ms; over it %.0f us CPU (%.2f times)\n",
		a.Connections, a.Gateway.CPU, a.Gateway.P50, a.Gateway.P99, a.SDK.CPU, a.SDK.P50, a.SDK.P99, a.Overhead, a.CPURatio)
	s := f.stalled
	verdict := "within noise"
	if s.Ratio > s.Noise {
		verdict = "beyond noise"
	}
	fmt.Fprintf(out, "a healthy target's p99 over %d connections: alone %.2f ms (rounds from %.2f to %.2f), beside a stalled one %.2f ms (%.2f times; alone the rounds differ by up to %.2f times: %s); the stalled one held %d calls, and refused %d callers as busy\n\n",
		healthyConnections, s.Alone, s.AloneLeast, s.AloneMost, s.Beside, s.Ratio, s.Noise, verdict, s.Held, s.Busy)
}
