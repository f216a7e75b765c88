package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"time"

	"cambio/audit"
	"cambio/trust"
)

// refuse is the only other exit: it gives the reservation back where that is
// safe, records, and returns the error that the caller's answer is made of.
func (b *Broker) refuse(ctx context.Context, a *attempt, cause error) error {
	var e *Error
	if !errors.As(cause, &e) {
		e = &Error{Code: ServerError, Reason: trust.ReasonPanic, Err: cause}
	}
	e = a.refusedAs(e)
	outcome := b.giveBack(ctx, a, e)
	if e.Code == Limited {
		return e // counted, not journaled: a flood must not reach the disk
	}
	if e.Code == Unavailable || e.Code == ServerError {
		level := slog.LevelWarn
		if e.Code == Unavailable && a.proof.Workload == "" {
			level = slog.LevelDebug // an unproven caller must not fill the log; who fetches keys tells once
		}
		attrs := []slog.Attr{slog.String("decision_id", a.req.Decision), slog.String("reason", string(e.Reason))}
		if e.Reason != trust.ReasonMintFailed {
			// What a target said may repeat a claim's value; the journal alone has it.
			attrs = append(attrs, slog.Any("error", e.Err))
		}
		b.c.Log.LogAttrs(ctx, level, "exchange failed", attrs...)
	}
	a.rec.Event, a.rec.Reason, a.rec.Replay = audit.ExchangeDenied, string(e.Reason), nil
	if a.req.DryRun {
		a.rec.Event = audit.ExchangeDryRun
	}
	if e.Err != nil && (e.Reason == trust.ReasonMintFailed || e.Reason == trust.ReasonGrantUnfit) {
		// What the target said, and which value it would refuse, is for the owner
		// alone: the caller reads neither.
		claims := map[string]any{}
		if !a.committed { // else the record of the decision has the token's
			maps.Copy(claims, a.rec.Claims)
		}
		claims["error"] = e.Err.Error() // whatever the token calls one of its own
		a.rec.Claims = claims
	}
	if a.committed {
		a.rec.Event = audit.ExchangeFailed
		if outcome != "" {
			a.rec.Replay = &audit.Replay{Use: audit.Use{Key: a.proof.ReplayKey, Decision: a.req.Decision}, Outcome: outcome}
		}
	} else {
		a.rec.Handle, a.rec.Expires = "", time.Time{}
	}
	if err := b.c.Journal.Append(a.rec); err != nil {
		return b.unrecorded(ctx, a, err)
	}
	return e
}

// refusedAs gives the refusal of a token itself the code of the parameter that it
// came in (RFC 6749 section 5.2). What the policy says of a good token keeps its
// own.
func (a *attempt) refusedAs(e *Error) *Error {
	if a.req.RefusedAs == "" || e.Code != InvalidRequest || a.policy != nil && e.Reason != trust.ReasonReplayed && e.Reason != trust.ReasonRestarted {
		return e
	}
	as := *e
	as.Code = a.req.RefusedAs
	return &as
}

// fault is the refusal for a panic: default deny, whatever broke. The value may
// hold anything of the request, so only its type is told; and a minter that
// panicked may have issued, so the token stays burnt.
func fault(v any) *Error {
	return &Error{
		Code: ServerError, Reason: trust.ReasonPanic, Issued: true,
		Err: fmt.Errorf("panic with a %T at %s", v, debug.Stack()),
	}
}

// giveBack releases the token unless something may have been issued for it: on
// a time-out of the target or of our own journal nobody knows, and a token that
// is freed then could be used twice.
func (b *Broker) giveBack(ctx context.Context, a *attempt, e *Error) (outcome string) {
	if a.reserved == nil {
		return ""
	}
	if e.Issued || errors.Is(e.Err, context.DeadlineExceeded) {
		return "burnt"
	}
	if err := b.c.Replay.Release(ctx, *a.reserved); err != nil {
		b.c.Log.WarnContext(ctx, "reservation not released", slog.String("decision_id", a.req.Decision), slog.Any("error", err))
		return "burnt"
	}
	return "released"
}

// unrecorded is the answer when even a refusal cannot be recorded: a journal
// that is out of order refuses everything.
func (b *Broker) unrecorded(ctx context.Context, a *attempt, err error) error {
	b.c.Log.ErrorContext(ctx, "journal out of order", slog.String("decision_id", a.req.Decision), slog.Any("error", err))
	return Unanswered(trust.ReasonAuditSink, err)
}
