package test

import "testing"

// httpAttacks are the cases on HTTP.
func httpAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
