package test

import "testing"

// ssrfAttacks are the cases on where we can be made to call.
func ssrfAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
