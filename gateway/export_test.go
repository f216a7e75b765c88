package gateway

// StopsCheck is what /readyz says of a stop list with this error.
func StopsCheck(err error) string { return stopsCheck(err) }
