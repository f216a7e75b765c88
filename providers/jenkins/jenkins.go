// Package jenkins describes the tokens of Jenkins's OpenID Connect Provider plugin.
package jenkins

import (
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type jenkins. The issuer is one Jenkins
// (https://HOST/oidc), one folder of it, or what the credential names; it is one's
// own, and has no default.
//
// What a token claims is what the administrator wrote into the plugin's templates.
// All of them hold a sub, and by default that is the URL of the job, so sub is the
// anchor: it is fixed by the credential's configuration and not by the job.
// It is unique, because the issuer is one Jenkins. It is a name, because Jenkins
// has nothing else: who may delete a job and create another in its folder may take
// it over, and he may also change the job as it is. A template that takes sub from
// a variable that a build sets, such as a branch's name, hands the choice to the
// build: then no trust can be safe, and our how-to says not to.
//
// Other claims of one's own templates are declared in the configuration, under
// claims, and count as the job's choice unless the administrator knows better.
func Platform() oidc.Platform {
	claims := oidc.StandardClaims()
	claims["build_number"] = trust.Claim{Type: trust.IntClaim}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "jenkins",
			Claims:  claims,
			Anchors: []string{"sub"},
			Journal: []string{"iss", "sub", "iat", "exp", "build_number"},
			Sample: map[string]any{
				"iss":          "https://jenkins.acme.example/oidc",
				"aud":          "https://id.acme.example",
				"sub":          "https://jenkins.acme.example/job/payments/job/deploy/",
				"build_number": int64(42),
				"iat":          int64(1795320000),
				"exp":          int64(1795323600),
			},
		},
		Algs: []string{"RS256"},
		// A withCredentials block holds one token for all of its steps.
		TokenUse: trust.OncePerGrant,
		MaxAge:   time.Hour, // they live so long by default
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "sub"}},
		Facts: oidc.Facts{
			Title:    "Jenkins",
			Evidence: oidc.FromSource,
			Source:   "https://github.com/jenkinsci/oidc-provider-plugin (IdTokenCredentials.java, config/IdTokenConfiguration.java)",
			Obtain:   "from `CAMBIO_TOKEN` or `CAMBIO_TOKEN_FILE`, which the pipeline binds the credential to",
			Page:     "jenkins.md",
			Risks: []string{
				"sub is the job's URL, a name: who may delete and create jobs in the folder may take it over.",
				"Claim templates are the administrator's: one that takes a variable of the build lets the build choose the claim.",
				"Anybody who may configure a job in the credential's folder can use the credential.",
				"A multibranch project's jobs are one for each branch and pull request: pin the one that is meant.",
			},
		},
	}
}
