package jwt_test

import (
	"testing"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/jwt"
	"cambio/providers/providertest"
)

func TestMinter(t *testing.T) {
	providertest.Local{
		Ask: exchangetest.Ask{Type: jwt.TargetType(), Target: exchange.Target{Types: jwt.Types()}, Grant: `scopes: [read], ttl: 15m, claims: {a: "${claims.actor}"}`},
		New: func(testing.TB) exchange.Minter { return jwt.Minter{Audience: "https://orders.test"} },
		BadGrants: map[string]string{
			"a claim of ours": `claims: {sub: x}`, "an empty list": `scopes: []`, "longer than a JWT lives": `ttl: 2h`, "another's field": `principals: [a]`,
		},
		Broken: map[string]func(testing.TB, exchange.Order) (exchange.Minter, exchange.Order){
			"no audience": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) { return jwt.Minter{}, o },
			"no end": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.Expires = o.Issued
				return jwt.Minter{Audience: "https://orders.test"}, o
			},
		},
	}.Run(t)
}
