package test

import "testing"

// tokenAttacks are the cases on the token itself: algorithm, header, form and claims.
func tokenAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
