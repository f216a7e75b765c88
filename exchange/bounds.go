package exchange

import (
	"fmt"
	"strings"

	"cambio/trust"
)

// MaxToken is the size of the largest token that is looked at, in bytes. The
// largest real ones, of clusters with many bound objects, stay below 6 KiB.
const MaxToken = 16 << 10

// CheckBounds refuses a subject token by its size and, where it is a JWT, by its
// number of segments, before anything is split, decoded or recorded: a split of a
// million dots would cost more than the rest of the way (CVE-2025-30204).
func CheckBounds(kind SubjectType, token string) error {
	if len(token) > MaxToken {
		return Refuse(trust.ReasonTooLarge, fmt.Errorf("%d bytes", len(token)))
	}
	if kind != SubjectJWT {
		return nil
	}
	if n := strings.Count(token, "."); n != 2 {
		return Refuse(trust.ReasonMalformed, fmt.Errorf("%d dots where a compact JWS has 2", n))
	}
	return nil
}
