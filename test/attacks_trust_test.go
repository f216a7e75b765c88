package test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"cambio/gateway"
	"cambio/standin"
	"cambio/test/rig"
)

// trustAttacks are the cases on what trusts of each platform must not allow, on
// the use of tokens, and on who is no workload.
func trustAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"GH-01": attackGH01, "GH-02": attackGH02, "GH-06": attackGH06, "K8S-01": attackK8S01, "K8S-02": attackK8S02, "CLD-04": attackCLD04,
		"RPL-01": attackRPL01, "RPL-05": attackRPL05, "NHI-04": attackNHI04, "NHI-06": attackNHI06,
	}
}

// tr1Saying is tr1 with these lines instead of its match.
func tr1Saying(lines string) map[string]string {
	return map[string]string{"tr1.yaml": strings.Replace(rig.TR1, `match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}`, lines, 1)}
}

// offline is the usual configuration, for documents that are only loaded.
func offline() string {
	return strings.ReplaceAll(withProviders(), "{{ISS1}}", "http://127.0.0.1:1")
}

func attackGH01(t *testing.T) {
	loads(t, offline(), tr1Saying(`match: {repository_id: "2"}`), "")
	loads(t, offline(), tr1Saying(`match: {repository_owner_id: ["1", "2"]}`), "")
	for _, lines := range []string{
		``, `when: ["true"]`, `when: ['claims.iss != ""']`, `match: {repository: acme/app}`, `match: {ref: refs/heads/main}`, `match: {repository: acme/app, ref: refs/heads/main}`,
		`match: {repository_id: {glob: "2*"}}`, `match: {repository_id: {glob: "*"}}`, `match: {repository_id: ["2", {glob: "3*"}]}`, `match: {repository_owner: acme}`,
		`match: {}`, `when: ['claims.repository_id == "2"']`, `match: {sub: "repo:acme@1/app@2:ref:refs/heads/main"}`, `match: {actor_id: "1"}`, `match: {aud: "https://gw.test"}`,
		`match: {job_workflow_ref: acme/app/.github/workflows/a.yml@refs/heads/main}`, `match: {repository_id: ""}`, `match: {environment: production, runner_environment: github-hosted}`,
	} {
		loads(t, offline(), tr1Saying(lines), "trust-too-broad")
	}
	// An empty list matches nobody, and is refused for that or for its breadth.
	dir := t.TempDir()
	r := &rig.Rig{T: t, Dir: dir}
	r.WriteTrusts(tr1Saying(`match: {repository_id: []}`))
	c, findings := gateway.ParseConfig(filepath.Join(dir, "cambio.yaml"), []byte(offline()), nil, nil)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	_, findings = gateway.LoadPolicy(c, (&rig.Clock{}).Now())
	holdsFinding(t, findings, "trust-too-broad")
	for _, name := range []string{"repository_id", "repository_owner_id"} {
		if !strings.Contains(findings.Error(), name) {
			t.Errorf("the message does not name %s: %s", name, findings)
		}
	}
	serveRefuses(t, offline(), tr1Saying(``), "trust-too-broad", "repository_id")
	// A running gateway keeps what it has.
	running := rig.New(t, rig.Setup{})
	running.Control()
	before := running.Get(running.AdminURL, "/readyz").Text("policy_sha256")
	running.WriteTrusts(tr1Saying(`match: {repository: acme/app}`))
	rig.Eventually(t, "the refusal of the broad trust", func() bool {
		return strings.Contains(running.Log.String(), "trust-too-broad")
	})
	running.Control()
	metrics := running.Get(running.AdminURL, "/metrics").Raw
	if running.Get(running.AdminURL, "/readyz").Text("policy_sha256") != before || before == "" || !strings.Contains(metrics, "cambio_policy_rejected_total 1") {
		t.Errorf("policy %s; %s", before, metrics)
	}
}

func attackGH02(t *testing.T) {
	const prefix = `when: ['claims.sub.startsWith("repo:octo-org/app")']`
	loads(t, offline(), tr1Saying(prefix), "trust-too-broad")
	for _, when := range []string{
		`when: ['claims.sub.contains("octo-org/app")']`, `when: ['claims.sub.matches("repo:octo-org/app.*")']`, `match: {sub: {glob: "repo:octo-org/*"}}`,
		`match: {repository: {glob: "octo-org/*"}}`, `when: ['claims.repository_id != "3"']`,
	} {
		loads(t, offline(), tr1Saying(when), "trust-too-broad")
	}
	r := rig.New(t, rig.Setup{Trusts: map[string]string{
		"tr1.yaml": rig.TR1, "tr2.yaml": strings.NewReplacer("name: tr1", "name: octo", "ref: refs/heads/main", "repository: octo-org/app", "to: t1", "to: t2").Replace(rig.TR1) + prefix + "\n",
	}})
	r.Control()
	octo := func(repository, sub string, changes map[string]any) rig.Answer {
		c := map[string]any{"repository": repository, "repository_owner": strings.Split(repository, "/")[0], "sub": sub, "repository_id": "2", "repository_owner_id": "1", "ref": "refs/heads/x"}
		for k, v := range changes {
			c[k] = v
		}
		form := rig.Form(r.Token(c))
		form.Set("audience", "t2")
		return r.Post(form)
	}
	if a := octo("octo-org/app", "repo:octo-org/app:ref:refs/heads/x", nil); a.Status != 200 {
		t.Fatalf("the repository itself: %s", a.Raw)
	}
	ids := map[string]any{"repository_id": "7"}
	denied(t, r, "a longer name", octo("octo-org/app-evil", "repo:octo-org/app-evil:ref:refs/heads/main", ids), "condition-false")
	denied(t, r, "another owner", octo("octo-orgX/app", "repo:octo-orgX/app:ref:refs/heads/main", map[string]any{"repository_id": "7", "repository_owner_id": "8"}), "condition-false")
	denied(t, r, "the old name, other ids", octo("octo-org/app", "repo:octo-org/app:ref:refs/heads/main", map[string]any{"repository_id": "7", "repository_owner_id": "8"}), "condition-false")
	denied(t, r, "a longer name with our ids", octo("octo-org/app-evil", "repo:octo-org/app-evil:ref:refs/heads/main", nil), "condition-false")
	denied(t, r, "a pull request", octo("octo-org/app", "repo:octo-org/app:pull_request", map[string]any{"event_name": "pull_request"}), "event-not-named", "condition-false")
	// sub and the claims that it repeats must say the same.
	for name, c := range map[string]map[string]any{
		"default form": {"sub": "repo:octo-org/app:ref:refs/heads/x", "repository": "evil/app", "repository_owner": "evil"}, "ids": {"sub": "repo:octo-org@1/app@3:ref:refs/heads/x"},
		"owner id": {"sub": "repo:octo-org@9/app@2:ref:refs/heads/x"}, "half": {"sub": "repo:octo-org@1/app:ref:refs/heads/x"}, "no name": {"sub": "repo:"}, "no repository": {"repository": nil},
	} {
		denied(t, r, "sub against "+name, octo("octo-org/app", "repo:octo-org/app:ref:refs/heads/x", c), "claim-invalid", "condition-false")
	}
	r.Control()
}

func attackGH06(t *testing.T) {
	r := rig.New(t, rig.Setup{Trusts: map[string]string{
		"tr1.yaml": rig.TR1,
		"tr2.yaml": strings.NewReplacer("name: tr1", "name: octo", `repository_owner_id: "1"`, "repository: Octo-Org/App", "to: t1", "to: t2").Replace(rig.TR1),
	}})
	r.Control()
	ask := func(changes map[string]any) rig.Answer {
		c := map[string]any{"repository": "Octo-Org/App", "repository_owner": "Octo-Org", "sub": "environment:x"}
		for k, v := range changes {
			c[k] = v
		}
		form := rig.Form(r.Token(c))
		form.Set("audience", "t2")
		return r.Post(form)
	}
	if a := ask(nil); a.Status != 200 {
		t.Fatalf("as written: %s", a.Raw)
	}
	// Another trust fits these, so that the target is what is refused.
	for name, c := range map[string]map[string]any{
		"repository": {"repository": "octo-org/app", "repository_owner": "octo-org"}, "one letter": {"repository": "Octo-Org/app"}, "space": {"repository": "Octo-Org/App "},
	} {
		r.Refused(ask(c), 400, "invalid_target", rig.Fixed, "condition-false", "target-not-granted")
		_ = name
	}
	for name, c := range map[string]map[string]any{
		"ref": {"ref": "refs/heads/Main"}, "ref prefix": {"ref": "Refs/heads/main"}, "short ref": {"ref": "main"}, "ref space": {"ref": "refs/heads/main "},
		"both": {"ref": "refs/heads/Main", "repository": "octo-org/app"}, "id as a number": {"repository_id": 2}, "id with a zero": {"repository_id": "02"}, "id with a space": {"repository_id": " 2"},
	} {
		denied(t, r, name, ask(c), "condition-false", "claim-invalid", "workload-claim-missing")
	}
	r.Control()
}

func attackCLD04(t *testing.T) {
	google := func(trust string) map[string]string {
		return map[string]string{"g.yaml": "name: g\nowner: t1-team@acme.test\npurpose: a service account reads t1\nfrom: google\n" + trust + "\ngrants: [{to: t1, scopes: [read], ttl: 15m}]\n", "tr1.yaml": rig.TR1}
	}
	const email = `when: ['claims.email.endsWith("@acme.iam.gserviceaccount.com")']`
	config := strings.Replace(offline(), "targets:", "  google: {type: gcp, audience: \"https://gw.test\"}\ntargets:", 1)
	for _, lines := range []string{
		email, `match: {email: a@acme.iam.gserviceaccount.com}`, `match: {azp: "113"}`, `match: {email_verified: true}` + "\n" + email, `match: {sub: {glob: "113*"}}`,
		`when: ['claims.sub == "113"']`, `match: {aud: "https://gw.test"}`, ``,
	} {
		loads(t, config, google(lines), "trust-too-broad")
	}
	serveRefuses(t, config, google(email), "trust-too-broad", "sub")

	idp := crowd(t, 1)[0]
	r := rig.New(t, rig.Setup{Trusts: google(`match: {sub: "113", email_verified: true}` + "\n" + email), Config: strings.Replace(withProviders(), "targets:",
		"  google: {type: gcp, issuer: \""+idp.Issuer()+"\", audience: \"https://gw.test\", insecure_loopback: true, algs: [ES256]}\ntargets:", 1)})
	r.Control()
	ask := func(changes map[string]any) rig.Answer {
		now := r.Clock.Now().Unix()
		c := map[string]any{
			"iss": idp.Issuer(), "aud": "https://gw.test", "sub": "113", "azp": "113", "email": "build@acme.iam.gserviceaccount.com", "email_verified": true, "iat": now, "exp": now + 3600,
		}
		for k, v := range changes {
			c[k] = v
		}
		return r.Exchange(r.Sign(idp, standin.JWS{Payload: jsonOf(t, c)}))
	}
	if a := ask(nil); a.Status != 200 {
		t.Fatalf("the service account: %s", a.Raw)
	}
	for name, c := range map[string]map[string]any{
		"another account": {"sub": "114", "azp": "attacker"}, "a person": {"sub": "115", "email": "a@gmail.com"}, "not verified": {"email_verified": false}, "verified as text": {"email_verified": "true"},
		"two @": {"sub": "116", "email": "a@acme.iam.gserviceaccount.com@evil"}, "two @, our sub": {"email": "a@acme.iam.gserviceaccount.com@evil"},
		"evil first": {"sub": "117", "email": "evil@x@acme.iam.gserviceaccount.com"}, "sub as a number": {"sub": 113}, "sub with a space": {"sub": "113 "}, "email missing": {"email": ""},
	} {
		denied(t, r, name, ask(c), "condition-false", "cel-error", "sub-invalid", "claim-invalid")
	}
	denied(t, r, "another sub", ask(map[string]any{"sub": "118"}), "condition-false")
	r.Control()
}

func attackNHI04(t *testing.T) {
	prod := rig.New(t, rig.Setup{})
	prod.Control()
	form := rig.Form(prod.Token(map[string]any{"environment": "staging"}))
	form.Set("audience", "t2")
	prod.Refused(prod.Post(form), 400, "invalid_target", rig.Fixed, "any")
	form = rig.Form(prod.Token(map[string]any{"environment": "production", "ref": "refs/heads/staging"}))
	form.Set("audience", "t2")
	denied(t, prod, "production of another branch", prod.Post(form), "any")

	staging := rig.New(t, rig.Setup{Config: strings.ReplaceAll(strings.Replace(withProviders(), "issuer: https://gw.test", "issuer: https://gw.staging.test", 1), "api://t", "api://t")})
	staging.Control()
	foreign := staging.Exchange(staging.Token(nil)).Text("access_token")
	own := prod.Exchange(prod.Token(nil)).Text("access_token")
	if foreign == "" || own == "" {
		t.Fatal("no tokens to mix up")
	}
	// Who takes tokens of the one does not take those of the other.
	theirs, ours := claimsOf(t, foreign), claimsOf(t, own)
	for _, claim := range []string{"iss", "sub"} {
		if theirs[claim] == ours[claim] {
			t.Errorf("%s is %v in both", claim, ours[claim])
		}
	}
	if kid := kidOf(t, foreign); strings.Contains(prod.Get(prod.URL, "/keys").Raw, kid) || !strings.Contains(staging.Get(staging.URL, "/keys").Raw, kid) {
		t.Errorf("key %s", kid)
	}
	for _, r := range []*rig.Rig{prod, staging} {
		for name, token := range map[string]string{"of staging": foreign, "of production": own} {
			denied(t, r, "our own token "+name, r.Exchange(token), "issuer-unknown")
		}
	}
	// One state has one gateway.
	second := &rig.Rig{T: t, Dir: prod.Dir, ISS1: prod.ISS1, ISS2: prod.ISS2, Clock: &rig.Clock{}, Log: &rig.Buffer{}, Checkpoints: &rig.Buffer{}}
	if err := second.Start(); !errors.Is(err, gateway.ErrStateLocked) {
		second.Stop()
		t.Errorf("a second gateway on one state: %v", err)
	}
	if code, _, stderr := runCambio(t, prod.Dir, "serve", "--config", filepath.Join(prod.Dir, "cambio.yaml")); code == 0 || !strings.Contains(stderr, "in use") {
		t.Errorf("a second process on one state: exit %d\n%s", code, stderr)
	}
	prod.Control()
	staging.Control()
}

func attackNHI06(t *testing.T) {
	r := rig.New(t, rig.Setup{Trusts: ofISS2()})
	r.Control()
	person := map[string]any{"sub": "alice@acme.test", "email": "alice@acme.test", "name": "Alice", "amr": []string{"pwd"}}
	with := func(changes map[string]any) map[string]any {
		c := map[string]any{}
		for k, v := range person {
			c[k] = v
		}
		for k, v := range changes {
			c[k] = v
		}
		return c
	}
	denied(t, r, "another issuer", r.Exchange(r.Token(with(map[string]any{"iss": "https://login.acme.test"}))), "issuer-unknown")
	deniedSaying(t, r, "another audience", r.Exchange(r.Token(with(map[string]any{"aud": "web-client"}))), "The token's audience is not ours; ask for https://gw.test.", "aud-mismatch")
	bare := map[string]any{
		"repository_id": nil, "repository_owner_id": nil, "repository": nil, "repository_owner": nil, "ref": nil, "event_name": nil,
	}
	denied(t, r, "no claims of a job", r.Exchange(r.Token(with(bare))), "condition-false")
	denied(t, r, "no repository", r.Exchange(r.Token(with(map[string]any{"repository_id": nil}))), "condition-false")
	denied(t, r, "no owner", r.Exchange(r.Token(with(map[string]any{"repository_owner_id": nil}))), "condition-false")
	denied(t, r, "no ref", r.Exchange(r.Token(with(map[string]any{"ref": nil}))), "condition-false")
	denied(t, r, "ids of nobody", r.Exchange(r.Token(with(map[string]any{"repository_id": "", "repository_owner_id": ""}))), "condition-false", "workload-claim-missing")
	denied(t, r, "the other provider, no project", r.Exchange(token2(t, r, map[string]any{"project": nil, "sub": "alice@acme.test"})), "condition-false")
	denied(t, r, "the other provider, another project", r.Exchange(token2(t, r, map[string]any{"project": "alice"})), "condition-false")
	r.Control()
}
