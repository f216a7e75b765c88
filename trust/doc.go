// Package trust says who may have what.
//
// A trust relationship, short trust, is a reviewed document: this identity may
// have these grants under these conditions. A guardrail is a rule above all
// trusts that can only forbid. [Compile] turns a folder of documents into one
// immutable [Policy]; [Policy.Decide] judges one request against it.
//
// The package is pure: it reads no file, no clock and no network. Time, the
// stop list and the documents are handed in. No platform and no cloud is named
// here: [Platform] and [TargetType] describe them as data.
package trust
