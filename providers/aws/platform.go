package aws

import (
	"errors"
	"regexp"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// under is where the claims that AWS adds stand in a token of GetWebIdentityToken,
// as the beginning of a JSON pointer: the object's name is a URL.
const under = "/https:~1~1sts.amazonaws.com~1/"

// outbound are the issuers of accounts.
var outbound = regexp.MustCompile(`^https://[a-z0-9-]+\.tokens\.sts\.global\.api\.aws$`)

// Platform is configuration type aws: the JWTs that AWS signs for a role of an
// account, by sts:GetWebIdentityToken. Each account has an issuer of its own.
//
// sub is the role's ARN. A role that is deleted and created again has the same one:
// no claim tells the two apart, and who may create roles in the account is who may
// decide it.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	claims := oidc.StandardClaims()
	claims["jti"] = trust.Claim{Type: trust.StringClaim, Always: true}
	for name, c := range map[string]trust.Claim{
		"https://sts.amazonaws.com/":               {Type: trust.MapClaim, Always: true},
		under + "aws_account":                      {Type: trust.StringClaim, Always: true},
		under + "source_region":                    text,
		under + "org_id":                           text,
		under + "ou_path":                          text,
		under + "principal_tags":                   {Type: trust.MapClaim}, // the session's, where it has some, in the place of the role's
		under + "request_tags":                     {Type: trust.MapClaim, Chosen: true},
		under + "source_identity":                  {Type: trust.StringClaim, Chosen: true},
		under + "original_session_exp":             text,
		under + "federated_provider":               text,
		under + "lambda_source_function_arn":       text,
		under + "ec2_source_instance_arn":          text,
		under + "ec2_instance_source_vpc":          text,
		under + "ec2_instance_source_private_ipv4": text,
		under + "ec2_role_delivery":                text,
		under + "glue_credential_issuing_service":  text,
		under + "identity_store_arn":               text,
		under + "identity_store_user_id":           text,
	} {
		claims[name] = c
	}
	sample := map[string]any{
		"aws_account":    "111122223333",
		"source_region":  "eu-central-1",
		"org_id":         "o-abc1234567",
		"ou_path":        "o-abc1234567/r-ab12/ou-ab12-11111111/ou-ab12-22222222/",
		"principal_tags": map[string]any{"environment": "production", "team": "payments"},
		"request_tags":   map[string]any{"job-id": "job-2026-001"},
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:   "aws",
			Claims: claims,
			Aliases: map[string]string{
				"account":        under + "aws_account",
				"region":         under + "source_region",
				"org_id":         under + "org_id",
				"ou_path":        under + "ou_path",
				"principal_tags": under + "principal_tags",
				"request_tags":   under + "request_tags",
			},
			Anchors: []string{"sub"},
			Pinned:  []string{"account"},
			Journal: []string{
				"iss", "iat", "exp", "account", "region", "org_id", "ou_path",
				under + "lambda_source_function_arn", under + "ec2_source_instance_arn", under + "federated_provider",
			},
			Sample: map[string]any{
				"iss":                        "https://abc123-def456-ghi789-jkl012.tokens.sts.global.api.aws",
				"aud":                        "https://id.acme.example",
				"sub":                        "arn:aws:iam::111122223333:role/payments-deploy",
				"iat":                        int64(1795320000),
				"exp":                        int64(1795320900),
				"jti":                        "xyz123-def456-ghi789-jkl012",
				"https://sts.amazonaws.com/": sample,
				"account":                    sample["aws_account"],
				"region":                     sample["source_region"],
				"org_id":                     sample["org_id"],
				"ou_path":                    sample["ou_path"],
				"principal_tags":             sample["principal_tags"],
				"request_tags":               sample["request_tags"],
			},
		},
		Algs:       []string{"RS256", "ES384"},
		TokenUse:   trust.Once,
		MaxAge:     time.Hour,
		Typ:        []string{"jwt"},
		Workload:   []oidc.Segment{{Claim: "sub"}},
		Check:      checkOutbound,
		IssuerForm: outbound,
		Facts: oidc.Facts{
			Title: "AWS (sts:GetWebIdentityToken)", Evidence: oidc.FromDocs, Page: "aws-workloads.md",
			Source: "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html; the request as botocore's model of STS has it",
			Obtain: "reads the file or the variable that it is pointed to; `aws sts get-web-identity-token` writes it",
			Risks: []string{
				"`request_tags` and `source_identity` are whatever the workload asked for: decide nothing by them.",
				"`principal_tags` are the session's where it has some: whoever may assume the role with sts:TagSession chooses them.",
				"A role that is deleted and created again has the same `sub`.",
				"Each account has its own issuer: one identity provider an account.",
			},
		},
	}
}

// maxPrincipal bounds it: a path has up to 512 characters, a name 64, and what is before them 38.
const maxPrincipal = 620

// principal is an ARN of whoever called, with its account.
var principal = regexp.MustCompile(`^arn:(?:aws|aws-cn|aws-us-gov):iam::([0-9]{12}):(?:role|user)/[\w+=,.@/-]+$`)

// checkOutbound compares the ARN with the account that a trust pins.
func checkOutbound(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	account, _ := claims["account"].(string)
	m := principal.FindStringSubmatch(sub)
	switch {
	case m == nil || len(sub) > maxPrincipal:
		return errors.New("sub is no ARN of a role or a user")
	case m[1] != account:
		return errors.New("sub and aws_account name different accounts")
	}
	return nil
}
