// Package backtest judges recorded decisions again, as they were asked and at
// their own time, and says what another policy makes of them.
//
// A record holds a part of the token's claims. Where the outcome depends on a
// claim that it does not hold, the decision is counted with the claim's name, and
// never guessed. Stops, the one use of a token, and whether the target issued are
// left out: they are not the policy's.
package backtest
