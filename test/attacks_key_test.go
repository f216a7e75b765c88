package test

import "testing"

// keyAttacks are the cases on the keys of identity providers and where they come from.
func keyAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
