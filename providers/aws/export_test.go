package aws

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Password is what RDS takes for a password, at a time.
func Password(ctx context.Context, engine, host, port, user, keyID, secret, token string, at time.Time) (string, error) {
	d, problem := readDatabase(fmt.Sprintf(`{"engine":%q,"host":%q,"port":%s,"user":%q}`, engine, host, port, user))
	if problem != "" {
		return "", errors.New(problem)
	}
	password, err := d.password(ctx, issued{keyID: keyID, secret: secret, token: token}, at)
	return password.Reveal(), err
}
