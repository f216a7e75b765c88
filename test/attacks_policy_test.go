package test

import "testing"

// policyAttacks are the cases on documents and conditions.
func policyAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
