package test

import "testing"

// journalAttacks are the cases on the journal and what it must not hold.
func journalAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
