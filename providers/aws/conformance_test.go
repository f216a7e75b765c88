package aws_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/aws"
	"cambio/providers/providertest"
)

// A store that speaks STS and does everything right, or lies in one way.
func TestMinterConformance(t *testing.T) {
	t.Parallel()
	const answer = `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/deployer/` + decision + `</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>
<Credentials><SessionToken>CANARYTOKENCANARYTOKENCANARY</SessionToken><SecretAccessKey>CANARYSECRETCANARYSECRETCANARYSECRET</SecretAccessKey>
<Expiration>2026-09-01T12:15:00Z</Expiration><AccessKeyId>ASIAAAAAAAAAAAAAAAAA</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>`
	lie := func(old, with string) func(providertest.Response) providertest.Response {
		return func(good providertest.Response) providertest.Response {
			good.Body = strings.Replace(good.Body, old, with, 1)
			return good
		}
	}
	for name, grant := range map[string]string{
		"role":     `resource: "` + deployer + `", ttl: 15m`,
		"database": `resource: "` + deployer + `", ttl: 15m, database: {engine: postgres, host: orders.cabc123.eu-central-1.rds.amazonaws.com, user: orders}`,
	} {
		t.Run(name, func(t *testing.T) { conforms(t, grant, answer, lie) })
	}
}

func conforms(t *testing.T, grant, answer string, lie func(old, with string) func(providertest.Response) providertest.Response) {
	t.Helper()
	providertest.Minter{
		Ask: exchangetest.Ask{
			Type: aws.TargetType(account, ""), Target: exchange.Target{Types: aws.Types(), TypesOf: aws.TypesOf, Cloud: true},
			Grant: grant,
		},
		New: func(tb testing.TB, endpoint string, timeout time.Duration, places int) exchange.Minter {
			tb.Helper()
			m, err := aws.New(aws.Config{
				Account: account, Region: "eu-central-1", Audience: audience, Endpoint: endpoint,
				Now: exchangetest.Now, Timeout: timeout, MaxInFlight: places,
			})
			if err != nil {
				tb.Fatal(err)
			}
			return m
		},
		Answer: func(r providertest.Request) (providertest.Response, bool) {
			ok := r.Method == http.MethodPost && r.Path == "/" && r.Form.Get("Action") == "AssumeRoleWithWebIdentity" &&
				r.Form.Get("RoleArn") == deployer && r.Form.Get("RoleSessionName") == decision && r.Form.Get("DurationSeconds") == "900" && r.Form.Get("WebIdentityToken") != ""
			return providertest.Response{Header: http.Header{"Content-Type": {"text/xml"}}, Body: answer}, ok
		},
		Secrets: func(providertest.Response) []string {
			return []string{"CANARYTOKENCANARYTOKENCANARY", "CANARYSECRETCANARYSECRETCANARYSECRET"}
		},
		Lies: map[string]func(providertest.Response) providertest.Response{
			"a longer life":        lie("12:15:00Z", "12:17:00Z"),
			"an end in the past":   lie("12:15:00Z", "11:59:00Z"),
			"no end":               lie("<Expiration>2026-09-01T12:15:00Z</Expiration>", ""),
			"no secret":            lie("CANARYSECRETCANARYSECRETCANARYSECRET", ""),
			"two tokens":           lie("<SessionToken>", "<SessionToken>other</SessionToken><SessionToken>"),
			"another document":     lie("AssumeRoleWithWebIdentityResponse", "AssumeRoleResponse"),
			"a key with a newline": lie("ASIAAAAAAAAAAAAAAAAA", "ASIAAAAAAAAA&#10;AAAAAAA"),
		},
	}.Run(t)
}
