package gateway

import "context"

// StopsCheck is what /readyz says of a stop list with this error.
func StopsCheck(err error) string { return stopsCheck(err) }

// FollowKeys looks at the keys now.
func (g *Gateway) FollowKeys(ctx context.Context) { g.followKeys(ctx) }
