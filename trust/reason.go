package trust

// Reason is a stable slug that says why a request was refused. It goes to the
// journal, to metrics and to explanations, never to the caller. A slug is never
// renamed and never reused; docs/reference/reasons.md documents each, and a
// test produces each.
type Reason string

// What is wrong with the token itself, in the order of the checks.
const (
	ReasonTooLarge          Reason = "too-large"                 // the token is above 16 KiB
	ReasonMalformed         Reason = "malformed"                 // not a compact JWS with canonical base64url and strict JSON
	ReasonDuplicateMember   Reason = "duplicate-member"          // a JSON object names a member twice
	ReasonHeaderForbidden   Reason = "header-param-forbidden"    // crit, b64, zip, enc, jku, jwk, x5u or x5c in the header
	ReasonTypNotAllowed     Reason = "typ-not-allowed"           // the header's typ is none that the platform sends
	ReasonAlgNotAllowed     Reason = "alg-not-allowed"           // the header's alg is not among the provider's
	ReasonIssuerUnknown     Reason = "issuer-unknown"            // no identity provider has this iss
	ReasonProviderAmbiguous Reason = "provider-ambiguous"        // the token's audiences select two identity providers
	ReasonKidUnknown        Reason = "kid-unknown"               // the provider's key set has no such key, or no kid and several keys fit
	ReasonWeakKey           Reason = "weak-key"                  // the key that the token names is too weak, or too large, to be used
	ReasonSignature         Reason = "signature-invalid"         // the signature does not verify
	ReasonAudMismatch       Reason = "aud-mismatch"              // the token's audience is not the provider's
	ReasonAudMultiple       Reason = "aud-multiple"              // several audiences, and the provider takes one
	ReasonExpMissing        Reason = "exp-missing"               // no exp
	ReasonIatMissing        Reason = "iat-missing"               // no iat
	ReasonExpired           Reason = "expired"                   // exp has passed, clock skew included
	ReasonNotYetValid       Reason = "not-yet-valid"             // nbf has not come, clock skew included
	ReasonIatFuture         Reason = "iat-future"                // iat lies in the future, clock skew included
	ReasonTooOld            Reason = "too-old"                   // issued longer ago than max_token_age
	ReasonTooLongLived      Reason = "token-too-long-lived"      // exp - iat is above max_token_lifetime
	ReasonSubInvalid        Reason = "sub-invalid"               // sub is missing, empty, above 1024 bytes or not printable
	ReasonClaimInvalid      Reason = "claim-invalid"             // a claim contradicts another, or has a type that it must not have
	ReasonWorkloadClaim     Reason = "workload-claim-missing"    // a claim that the workload id is made of is missing
	ReasonNonceInvalid      Reason = "nonce-invalid"             // the nonce is not one that we handed out to this provider's callers, or is older than 5 minutes
	ReasonActorUnsupported  Reason = "actor-unsupported"         // an actor token, or act or may_act in the subject token
	ReasonJWKSUnavailable   Reason = "jwks-unavailable"          // 503: the provider's key set cannot be fetched
	ReasonJWKSStale         Reason = "jwks-stale"                // 503: the key set is older than may be used, and cannot be refreshed
	ReasonDiscoveryMismatch Reason = "issuer-discovery-mismatch" // 503: the discovery document names another issuer
	ReasonReviewRefused     Reason = "review-refused"            // the cluster says that a proven token is no longer good, or does not clearly say yes
	ReasonAWSRequestInvalid Reason = "aws-request-invalid"       // the signed request is not exactly one of GetCallerIdentity for us
	ReasonAWSSignature      Reason = "aws-signature-refused"     // AWS does not take the signature, or the credentials that made it
	ReasonProofUnavailable  Reason = "proof-unavailable"         // 503: who is asked about a proof did not answer, or not with what can be read
	ReasonProofBusy         Reason = "proof-busy"                // 503: as many proofs of the provider are asked about as may be, or this one is
	ReasonReviewUnavailable Reason = "review-unavailable"        // 503: the cluster that is asked about tokens did not answer
	ReasonSPIFFEID          Reason = "spiffe-id-invalid"         // a SPIFFE ID is not written to the letter of the standard, names no workload, or is of another trust domain
	ReasonCertMissing       Reason = "certificate-missing"       // the connection shows no client certificate
	ReasonCertInvalid       Reason = "certificate-invalid"       // the certificate is not one that a workload shows: a CA's, for another use, or with contents that cannot be read in one way
	ReasonCertUntrusted     Reason = "certificate-untrusted"     // no authority of the configuration vouches for the certificate
	ReasonBundleRollback    Reason = "bundle-rollback"           // 503: a trust bundle is older than the one in force
	ReasonFormInvalid       Reason = "form-invalid"              // the form lacks, repeats or misspells a parameter
	ReasonGrantType         Reason = "grant"                     // grant_type is not token exchange
	ReasonTokenType         Reason = "token-type"                // subject_token_type or requested_token_type is none that is served
	ReasonAudienceRepeated  Reason = "audience-repeated"         // audience is given twice
	ReasonClientAuth        Reason = "client-authentication"     // an Authorization header came with the exchange
	ReasonRateLimited       Reason = "rate-limited"              // 429: too many requests of one address or workload
	ReasonPanic             Reason = "internal"                  // 500: a fault of ours
)

// What the policy says.
const (
	ReasonNoMatchingTrust  Reason = "no-matching-trust"    // no trust is for this provider, or none with the asked name fits
	ReasonConditionFalse   Reason = "condition-false"      // a line of match, or a condition of when, is false
	ReasonCELError         Reason = "cel-error"            // a condition could not be evaluated
	ReasonCELBudget        Reason = "cel-budget"           // a condition spent its cost limit
	ReasonEventNotNamed    Reason = "event-not-named"      // a guarded event (a pull request) that match does not name
	ReasonNetwork          Reason = "network-not-allowed"  // the caller's address is outside access.networks
	ReasonHours            Reason = "outside-hours"        // now is outside access.hours
	ReasonTrustExpired     Reason = "trust-expired"        // the trust's expires has passed
	ReasonShadowOnly       Reason = "shadow-only"          // only trusts in mode shadow would allow
	ReasonAmbiguousTrust   Reason = "ambiguous-trust"      // more than one trust or grant fits
	ReasonTargetNotGranted Reason = "target-not-granted"   // no grant for the target, or no such target
	ReasonResourceNotGrant Reason = "resource-not-granted" // no grant for the resource
	ReasonScopeNotGranted  Reason = "scope-not-granted"    // more scope than the grant gives
	ReasonScopeMalformed   Reason = "scope-malformed"      // a scope that RFC 6749 does not allow
	ReasonClaimMissing     Reason = "claim-missing"        // ${claims.x} of the grant names a claim that the token lacks
	ReasonGrantUnfit       Reason = "grant-unfit"          // a value that the grant takes from a claim is one that the target refuses
	ReasonCertifyMismatch  Reason = "certify-mismatch"     // something to certify came for a target that certifies nothing, or none for one that does
	ReasonCertifyInvalid   Reason = "certify-invalid"      // the certificate request or public key cannot be certified
	ReasonNonceRequired    Reason = "nonce-required"       // the trust wants a token that carries a nonce of ours
	ReasonGuardrail        Reason = "guardrail"            // a guardrail forbids, or could not be evaluated
	ReasonStopped          Reason = "stopped"              // a stop is in force
)

// What the answer rests on and did not answer, and what it did.
const (
	ReasonReplayed    Reason = "replayed"               // the token was already used
	ReasonReplayStore Reason = "replay-store"           // 503: the replay store did not answer
	ReasonRestarted   Reason = "replay-store-restarted" // the token is older than the replay store's memory, which may have forgotten it
	ReasonStopsStale  Reason = "stops-stale"            // 503: the stop list is missing or older than 5 s
	ReasonKeysStale   Reason = "keys-stale"             // 503: the signing keys cannot be read, or not be used yet, after a change
	ReasonAuditSink   Reason = "audit-sink"             // 503: the journal cannot be written durably
	ReasonMintFailed  Reason = "mint-failed"            // 503: the target did not issue
	ReasonTargetBusy  Reason = "target-busy"            // 503: as many calls to the target are in flight as may be
)
