package test

import "testing"

// trustAttacks are the cases on what trusts of each platform must not allow.
func trustAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
