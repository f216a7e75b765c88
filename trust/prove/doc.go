// Package prove decides questions about a compiled policy over all tokens and all
// requests at once: does an invariant hold of every exchange that could be
// allowed, can a condition ever be true, can one request fit two trusts, does one
// policy allow all that another one does.
//
// Match, conditions, access, expiry and guardrails become formulas of package
// logic. What lies outside its fragment becomes a boolean that may have either
// value, so that "holds" is still a proof; an example is only ever shown once the
// policy itself, by [trust.Policy.Decide] and by CEL, has confirmed it. What can
// be neither proven nor shown is undecided, with the part that is to blame.
//
// All tokens are those that the table of the identity provider allows: claims
// have their declared types, those with a closed set one of its values, and those
// that are always there are there. The token is valid, give or take a clock's
// error, when it is exchanged.
package prove
