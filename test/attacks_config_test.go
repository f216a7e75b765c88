package test

import "testing"

// configAttacks are the cases on the configuration.
func configAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){}
}
