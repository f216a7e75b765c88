// Package chaos breaks what replicas share while they are under load, and takes
// the replicas themselves down and up: real processes of the program, a real
// Redis with replicas and Sentinel. It takes minutes, and so runs only with the
// build tag chaos: `make chaos`.
package chaos
