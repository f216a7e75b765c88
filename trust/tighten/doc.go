// Package tighten narrows trust documents to what was recorded: it proposes, for
// each trust, the document that still allows every recorded decision and as
// little else as the evidence carries.
//
// What keeps changing is not narrowed. A set of values, addresses or hours counts
// as known when the second half of the time that was looked at brought nothing
// new; a branch or a runner that appeared only lately says that more will come.
package tighten
