package test

import "testing"

// formAttacks are the cases on the form of an exchange.
func formAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
