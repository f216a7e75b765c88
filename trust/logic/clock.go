package logic

// Cache keeps what questions have in common: when Clock predicates change. The
// zero value is ready, and it is safe for concurrent use.
type Cache struct{}
