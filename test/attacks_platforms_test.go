package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cambio/test/rig"
)

// platformAttacks are the cases on platforms beside GitHub, Kubernetes and Google.
func platformAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"GLT-01": attackGLT01, "GLT-03": attackGLT03,
		"CLD-01": attackCLD01, "CLD-02": attackCLD02,
		"SPF-01": attackSPF01, "SPF-04": attackSPF04,
	}
}

// platformTrust is a trust for t1 with these lines.
func platformTrust(provider, lines string) string {
	return "name: p\nowner: team@acme.test\npurpose: a platform's workload reads\nfrom: " + provider + "\n" + lines + "\ngrants: [{to: t1, ttl: 5m}]\n"
}

// besides are the usual trusts and one more.
func besides(doc string) map[string]string {
	return map[string]string{"tr1.yaml": rig.TR1, "p.yaml": doc}
}

// onISS2 configures a platform whose issuer is iss2's, for an audience of its own.
func onISS2(name, platform string) string {
	return fmt.Sprintf("%s: {type: %s, issuer: %q, audience: %q, insecure_loopback: true}", name, platform, "{{ISS2}}", "https://gw.test/"+name)
}

// offlinePlatform is a configuration for documents that are only loaded.
func offlinePlatform(name, platform, issuer string) string {
	return fmt.Sprintf("issuer: https://gw.test\nidentity_providers:\n  %s: {type: %s, issuer: %q, audience: \"https://gw.test\"}\ntargets:\n  t1: {type: jwt, audience: \"api://t1\"}\n", name, platform, issuer)
}

// attackGLT01: gitlab.com speaks for everybody, and a subject is made of names.
func attackGLT01(t *testing.T) {
	config := offlinePlatform("gitlab", "gitlab-ci", "https://gitlab.com")
	for _, lines := range []string{
		`match: {}`, `match: {iss: "https://gitlab.com"}`, `match: {project_path: group/app}`, `match: {namespace_path: group, ref: main, ref_type: branch}`,
		`match: {sub: "project_path:group/app:ref_type:branch:ref:main"}`, `match: {project_id: {glob: "2*"}}`, `match: {user_id: "1"}`, `match: {ref_protected: "true"}`,
		"match: {ref: main}\nwhen: ['claims.sub.contains(\"group/app\")']", "match: {ref: main}\nwhen: ['claims.project_id == \"20\"']",
	} {
		loads(t, config, map[string]string{"p.yaml": platformTrust("gitlab", lines)}, "trust-too-broad")
	}
	const beside = "match: {namespace_id: \"72\"}\nwhen: ['claims.sub.contains(\"group/app\")']"
	loads(t, config, map[string]string{"p.yaml": platformTrust("gitlab", beside)}, "")
	warns(t, config, platformTrust("gitlab", beside), "substring-match")
	r := rig.New(t, rig.Setup{Providers: onISS2("gitlab", "gitlab-ci"), Trusts: besides(platformTrust("gitlab",
		"match: {namespace_id: \"72\"}\nwhen: ['claims.sub.contains(\"group/app\")']"))})
	good := map[string]any{
		"namespace_id": "72", "namespace_path": "group", "project_id": "20", "project_path": "group/app",
		"job_namespace_id": "72", "job_namespace_path": "group", "job_project_id": "20", "job_project_path": "group/app",
		"sub": "project_path:group/app:ref_type:branch:ref:main",
	}
	show := func(changes map[string]any) rig.Answer {
		claims := map[string]any{}
		for _, m := range []map[string]any{good, changes} {
			for k, v := range m {
				claims[k] = v
			}
		}
		return r.Exchange(r.Sample("gitlab-ci", r.ISS2, "https://gw.test/gitlab", claims))
	}
	taken(t, r, show(nil))
	r.Deny(show(map[string]any{
		"namespace_id": "666", "namespace_path": "evil/group", "project_id": "667", "project_path": "evil/group/app",
		"job_namespace_id": "666", "job_namespace_path": "evil/group", "job_project_id": "667", "job_project_path": "evil/group/app",
		"sub": "project_path:evil/group/app:ref_type:branch:ref:main",
	}), "condition-false")
	for _, bad := range []any{72, nil, "", []any{"72"}, "072", " 72"} {
		a := show(map[string]any{"namespace_id": bad})
		if a.Status == http.StatusOK {
			t.Errorf("namespace_id %v is taken", bad)
		}
	}
	taken(t, r, show(nil))
}

// attackGLT03: names of organisations begin alike, and a plan runs what anyone
// proposed.
func attackGLT03(t *testing.T) {
	config := offlinePlatform("tfc", "hcp-terraform", "https://app.terraform.io")
	for _, lines := range []string{
		`match: {sub: {glob: "organization:acme:*"}}`, `match: {terraform_organization_name: acme, terraform_workspace_name: app}`,
		`match: {terraform_organization_id: org-1}`, `match: {terraform_workspace_id: ws-1}`, `match: {terraform_run_phase: apply}`,
		`match: {terraform_organization_id: {glob: "org-*"}, terraform_workspace_id: ws-1}`, `match: {terraform_organization_id: org-1, terraform_workspace_id: {glob: "ws-*"}}`,
	} {
		loads(t, config, map[string]string{"p.yaml": platformTrust("tfc", lines)}, "trust-too-broad")
	}
	const open = "match: {terraform_organization_id: org-GRNbCjYNpBB6NEH9, terraform_workspace_id: ws-mbsd5E3Ktt5Rg2Xm}"
	loads(t, config, map[string]string{"p.yaml": platformTrust("tfc", open)}, "")
	warns(t, config, platformTrust("tfc", open), "run-phase-unpinned")
	r := rig.New(t, rig.Setup{Providers: onISS2("tfc", "hcp-terraform"), Trusts: besides(platformTrust("tfc",
		"match: {terraform_organization_id: org-1, terraform_workspace_id: ws-1, terraform_run_phase: apply}"))})
	show := func(org, name, workspace, phase string) rig.Answer {
		full := "organization:" + name + ":project:P:workspace:app"
		return r.Exchange(r.Sample("hcp-terraform", r.ISS2, "https://gw.test/tfc", map[string]any{
			"terraform_organization_id": org, "terraform_organization_name": name, "terraform_workspace_id": workspace, "terraform_workspace_name": "app",
			"terraform_project_name": "P", "terraform_full_workspace": full, "terraform_run_phase": phase, "sub": full + ":run_phase:" + phase,
		}))
	}
	taken(t, r, show("org-1", "acme", "ws-1", "apply"))
	r.Deny(show("org-2", "acme-evil", "ws-1", "apply"), "condition-false")
	r.Deny(show("org-1", "acme", "ws-2", "apply"), "condition-false")
	r.Deny(show("org-1", "acme", "ws-1", "plan"), "condition-false")
	taken(t, r, show("org-1", "acme", "ws-1", "apply"))
}

// attackCLD02: a role of the same name in another account is somebody else's.
func attackCLD02(t *testing.T) {
	config := offlinePlatform("aws", "aws", "https://abc123-def456-ghi789-jkl012.tokens.sts.global.api.aws")
	for _, lines := range []string{
		`match: {sub: "arn:aws:iam::123456789012:role/deployer"}`, `match: {account: "123456789012"}`, `match: {sub: {glob: "arn:aws:iam::*:role/deployer"}, account: "123456789012"}`,
		`match: {sub: {glob: "*:role/deployer"}}`, `match: {account: {glob: "*"}, sub: "arn:aws:iam::123456789012:role/deployer"}`,
	} {
		loads(t, config, map[string]string{"p.yaml": platformTrust("aws", lines)}, "trust-too-broad")
	}
	const whole = `match: {account: "123456789012", sub: "arn:aws:iam::123456789012:role/deployer"}`
	loads(t, config, map[string]string{"p.yaml": platformTrust("aws", whole)}, "")
	r := rig.New(t, rig.Setup{Providers: onISS2("aws", "aws"), Trusts: besides(platformTrust("aws", whole))})
	show := func(account string) rig.Answer {
		return r.Exchange(r.Sample("aws", r.ISS2, "https://gw.test/aws", map[string]any{
			"sub": "arn:aws:iam::" + account + ":role/deployer", "/https:~1~1sts.amazonaws.com~1/aws_account": account,
		}))
	}
	taken(t, r, show("123456789012"))
	r.Deny(show("999999999999"), "condition-false")
	taken(t, r, show("123456789012"))
}

// taken fails the test unless the answer is a credential.
func taken(t *testing.T, r *rig.Rig, a rig.Answer) {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("the control request got %d %s\n%s", a.Status, a.Raw, r.Log)
	}
}

// warns fails the test unless `trust check` warns of the document by this finding.
func warns(t *testing.T, config, doc, finding string) {
	t.Helper()
	r := &rig.Rig{T: t, Dir: t.TempDir()}
	r.WriteTrusts(map[string]string{"p.yaml": doc})
	if err := os.WriteFile(filepath.Join(r.Dir, "cambio.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, errs := runCambio(t, r.Dir, "trust", "check"); !strings.Contains(out+errs, finding) {
		t.Errorf("no %s:\n%s%s", finding, out, errs)
	}
}
