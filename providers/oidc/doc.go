// Package oidc is the generic verifier of identity tokens: it proves that a
// token was signed by a configured identity provider, is for us, is current, and
// names one workload.
//
// A [Set] holds all configured identity providers. [Set.Verify] chooses one by
// exact (iss, aud) and uses the keys of that one only. A platform that differs
// from another only by its claims is data: a [Platform].
//
// The order of the checks is a security property: nothing about a token whose
// issuer is not configured reaches the network, and an algorithm that is not
// allowed is refused before a key is looked for.
package oidc
