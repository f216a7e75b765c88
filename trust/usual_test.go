package trust_test

import (
	"strings"
	"testing"

	"cambio/trust"
)

// TestUsualConditionsLoad holds that the cost estimate refuses bombs and not
// what people write.
func TestUsualConditionsLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []string{
		`claims.groups.exists(g, g in ["a", "b", "c"])`,
		`claims.groups.exists(g, g.matches("team-[a-z]+"))`,
		`claims.groups.all(g, g.startsWith("team-") || g.endsWith("-ops") || g.contains("x"))`,
		`claims.sub.split(":").size() == 3`,
		`claims.sub.split(":")[1] == "acme/app"`,
		`claims["repository"].split("/")[0] == "acme"`,
		`request.scopes.all(s, s in ["read", "list"])`,
		`claims.sub.matches("` + strings.Repeat("a|", 127) + `a")`,
		`sets.contains(["dev", "ops"], claims.groups)`,
		`sets.intersects(claims.groups, ["dev", "ops"])`,
		`claims.labels.exists(k, k == "env")`,
		`claims.labels.exists(k, claims.labels[k] == "prod")`,
		`claims.labels.env in ["prod", "staging"]`,
		`claims.?labels.?env.orValue("x") == "prod"`,
		`claims.?labels.env.orValue("x") == "prod"`,
		`claims.sub.lowerAscii() == "repo:acme/app"`,
		`claims.ref.substring(0, 5) == "refs/"`,
		`claims.ref.replace("refs/heads/", "") == "main"`,
		`timestamp(claims.iat) < request.time`,
		`request.time.getHours("Europe/Zurich") < 18 && request.time.getDayOfWeek("Europe/Zurich") in [1, 2, 3, 4, 5]`,
		`string(claims.attempt) == "1"`,
		`size(claims) < 200 && claims.all(k, k != "admin")`,
		`claims.exists(k, k.startsWith("admin_"))`,
		`identity.subject.startsWith("repo:") && identity.workload.endsWith("/1/2")`,
		`request.to == "t1" ? claims.protected : claims.attempt == 1`,
		`claims.groups.filter(g, g != "x").size() > 1`,
		`claims.groups.map(g, g.lowerAscii()).exists_one(g, g == "dev")`,
		`sets.intersects(claims.groups, request.scopes)`, `request.scopes.exists(s, s in claims.groups)`,
		`grant.claims == {}`,
		`has(grant.claims) && !("admin" in grant.claims)`,
		`claims.ref + "@" + claims.actor == "main@mona"`,
		`"prod" in [claims.?environment.orValue("none")]`,
		`claims.ref.startsWith(claims.workflow)`,
		`grant.ttl <= duration("1h") && grant.scopes.size() <= 2`,
		`claims.environment.charAt(0) == "p" || claims.environment.indexOf("x") >= 0 || claims.environment.trim() == "y"`,
		`[1, 2, 3].exists(i, i == claims.attempt)`,
		`claims.score > 0.5 && double(claims.attempt) >= 1.0`,
		`dyn(claims.ref) == "x"`,
		`type(claims.ref) == string`,
	} {
		if p, findings := trust.Compile(world(), sources(withCondition(t, c)), now()); p == nil {
			t.Errorf("%s: %v", c, findings)
		}
	}
}
