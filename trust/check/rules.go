package check

import (
	"slices"

	"cambio/trust/strictyaml"
)

// rules is the catalogue without its examples.
func rules() []Rule {
	return slices.Concat(identityRules(), conditionRules(), environmentRules(), lifeRules(), fleetRules(), limitRules(), documentRules())
}

// identityRules are about who may use a trust.
func identityRules() []Rule {
	return []Rule{
		{
			ID: "trust-too-broad", Severity: strictyaml.Error, NHI: []string{"NHI6", "NHI4"},
			Title: "`match` pins no immutable claim of the identity provider by equality.",
			Why: "One issuer speaks for everybody who uses the platform. A trust that rests on the audience, on a name, a prefix or a condition alone can be assumed by " +
				"strangers: anyone can ask for a token with your audience, and names can be had. Such trusts are refused, never loaded.",
			Fix: "Pin an anchor by its value: the ids of the repository and of its owner, a namespace, a number of a service account, or the claim that the configuration declares as `anchor`.",
		},
		{
			ID: "mutable-claim", Severity: strictyaml.Warning, NHI: []string{"NHI4", "NHI6"},
			Title: "A name decides, and the id of what it names does not.",
			Why: "Names are given up: an account is renamed or deleted, an address is created again. Whoever takes the name then holds the trust. A condition on a part of a name, " +
				"such as a suffix, is worse: it holds for names that nobody has thought of yet, even beside an id.",
			Fix: "Match the claim with the id, which the finding names. A name may stand beside its id, as a whole value, for those who read the document.",
		},
		{
			ID: "transferable-anchor", Severity: strictyaml.Warning, NHI: []string{"NHI4", "NHI1"},
			Title: "The id that is pinned survives being handed over to another owner.",
			Why:   "A repository that is transferred keeps its id. Its new owner can run anything in it, and the trust still holds.",
			Fix:   "Match the owner's id too: then the trust ends with the transfer.",
		},
		{
			ID: "shared-identity", Severity: strictyaml.Warning, NHI: []string{"NHI9", "NHI5"},
			Title: "Several workloads can hold this identity.",
			Why: "A trust for all of an owner's repositories, or for a whole namespace, gives each of them what one needs. The least guarded of them is the way in, and where the target sees " +
				"one subject for the trust, nobody can say afterwards which workload acted.",
			Fix: "Pin all that the workload id is made of, and write one trust for each workload.",
		},
		{
			ID: "chosen-claim", Severity: strictyaml.Warning, NHI: []string{"NHI4", "NHI6", "NHI10"},
			Title: "A claim decides that whoever starts the workload chooses.",
			Why: "The name of a branch, of a workflow or of a pod is what its author writes, and the actor is who pressed the button, not what runs. A text that an attacker can write is no proof. " +
				"It is an info where a star stands for a whole ref outside production: it narrows nothing, and may be meant.",
			Fix: "Rest on what the platform sets by itself: ids, a protected ref, an environment with reviewers.",
		},
		{
			ID: "glob-crosses-meaning", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "A star lets in more than the name beside it.",
			Why: "`acme*` also is `acme-evil`, which anybody may register; `*main` also is `notmain`. In a subject that is made of several parts a star takes their separators too, " +
				"so that a part which looks fixed is found further right, where an attacker wrote it.",
			Fix: "End the fixed text with the delimiter that follows it, list the values, or match the claims that a subject is made of. A lone `v` before a version may stand, as in `refs/tags/v*`.",
		},
		{
			ID: "star-is-literal", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "A plain value of `match` holds a star, which is no wildcard there.",
			Why:   "The line holds only for a value with a star in it, and no token has one: the trust allows nothing, and somebody will loosen it in a hurry.",
			Fix:   "Write `{glob: \"...\"}`.",
		},
		{
			ID: "subject-forms", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI4"},
			Title: "`sub` is compared in one of the two forms that the platform sends.",
			Why: "The older form of the subject names owner and repository alone, which others can take over; the newer one holds their ids too and came with a date, a rename or a transfer. A trust that knows one form " +
				"breaks on the day that the other one comes.",
			Fix: "Do not take `sub` apart: match the claims of their own that say the same.",
		},
		{
			ID: "caller-workflow", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "The claim of the workflow that was started is taken for the one that the job stands in.",
			Why:   "Two claims name a workflow: the file that was started, which is of the repository itself, and the reusable one that holds the job. Taken for each other, the trust allows nothing, or any job that is started from the right file.",
			Fix:   "Match `job_workflow_ref` for a reusable workflow, and `workflow_ref` for the one that starts it.",
		},
		{
			ID: "never-sent", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "No token ever has this value: the platform writes it otherwise.",
			Why:   "The line never holds, so that the trust allows nothing. Such a trust is soon loosened until it works, and then holds for too much.",
			Fix:   "Write the value as tokens have it; `cambio whoami` shows those of a job.",
		},
		{
			ID: "unknown-value", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "A value outside the claim's closed set.",
			Why:   "The claim has a few values, and this is none of them: the line never holds.",
			Fix:   "Write one of those that the finding lists.",
		},
	}
}

// conditionRules are about what conditions say.
func conditionRules() []Rule {
	return []Rule{
		{
			ID: "prefix-without-delimiter", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI4"},
			Title: "A prefix ends inside a name, or a suffix begins inside one.",
			Why:   "`startsWith(\"repo:acme/app\")` also holds for `repo:acme/app-evil`, and `endsWith(\"acme.io\")` for `evilacme.io`: names that anybody may register.",
			Fix:   "Go on to the delimiter, or compare the whole value with `==`. In a guardrail it is the test under a `!` that lets pass.",
		},
		{
			ID: "substring-match", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI4"},
			Title: "A condition looks for a text anywhere in a claim.",
			Why:   "What may stand anywhere may also stand in a part that an attacker writes: a branch, a group, a longer name.",
			Fix:   "Compare the whole value, or match the claim that holds just this part.",
		},
		{
			ID: "regex-dot", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "A dot in a pattern stands for any character.",
			Why:   "`acme.io` also matches `acmexio`, which is somebody else's.",
			Fix:   "Write `[.]` for a dot, or compare with `==`.",
		},
		{
			ID: "tautology", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI5"},
			Title: "A condition holds for every token; as a guardrail, it forbids everything.",
			Why:   "It looks like a rule and is none. `claims.a == \"x\" || true` holds even where the claim is missing: in CEL a true side of `||` makes up for an error on the other one.",
			Fix:   "Say what is meant, or leave the line out.",
		},
		{
			ID: "never-matching", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI1"},
			Title: "A condition holds for no token; as a guardrail, it forbids nothing.",
			Why:   "The trust allows nothing and looks as if it did, until somebody loosens it. A guardrail that forbids nothing looks like one that is in force.",
			Fix:   "Make the condition agree with `match`, with the other conditions, and with the values that the claim can have.",
		},
	}
}

// environmentRules are about what runs, where, and before which review.
func environmentRules() []Rule {
	return []Rule{
		{
			ID: "outsider-code", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI3"},
			Title: "The trust takes workloads whose code anyone may have written.",
			Why: "A pull request runs what its author wrote, before anybody reviewed it; one from a fork comes from a stranger. What the trust grants, its author can have. " +
				"It is an info where all scopes read, or where target and resource are by name for trying things out (preview, review, dev, test, sandbox, staging, plan, ci).",
			Fix: "Give such workloads a trust of their own that grants what may be public, and nothing that writes.",
		},
		{
			ID: "run-phase-unpinned", Severity: strictyaml.Warning, NHI: []string{"NHI6", "NHI8"},
			Title: "Planning gets what applying needs.",
			Why:   "A plan runs code and providers of a change that nobody has approved yet, also of a pull request. A trust that leaves the phase open hands it the role that applies.",
			Fix:   "Match the claim of the phase with `apply`, and write a second trust for planning, which reads.",
		},
		{
			ID: "production-without-gate", Severity: strictyaml.Warning, NHI: []string{"NHI8", "NHI6"},
			Title: "Production is granted, and neither an environment nor a protected ref stands before it.",
			Why: "Whoever may push any branch can then act on production. Target and resource count as production by name: a word of theirs is `prod`, `production`, `prd` or `live`. " +
				"A ref that is pinned to one value counts as a gate; a star over refs does not.",
			Fix: "Match `environment`, `ref_protected: \"true\"`, or the one ref that deploys.",
		},
		{
			ID: "self-hosted-runner", Severity: strictyaml.Warning, NHI: []string{"NHI8", "NHI6"},
			Title: "Production is granted to any machine.",
			Why:   "A machine of one's own may keep what an earlier job left: a process that waits for the next token. It is an info where the trust names such machines: then it is meant.",
			Fix:   "Match the platform's own machines, or name your own and give each job a fresh one.",
		},
	}
}

// lifeRules are about how long things last.
func lifeRules() []Rule {
	return []Rule{
		{
			ID: "ttl-long", Severity: strictyaml.Warning, NHI: []string{"NHI7"},
			Title: "A credential lives longer than the work.",
			Why:   "Nothing takes a credential back: who steals one has the rest of its life. The finding is for more than an hour.",
			Fix:   "Write the time that the job takes, and let a longer one ask again.",
		},
		{
			ID: "expired", Severity: strictyaml.Warning, NHI: []string{"NHI1"},
			Title: "The document has expired.",
			Why:   "It allows nothing any more, and whoever reads the folder has to know that.",
			Fix:   "Remove it, or have its owner prolong it.",
		},
		{
			ID: "expires-soon", Severity: strictyaml.Warning, NHI: []string{"NHI1"},
			Title: "The document expires within 30 days.",
			Why:   "On that day its workloads are refused.",
			Fix:   "Have its owner prolong it, or let it end.",
		},
		{
			ID: "unused", Severity: strictyaml.Warning, NHI: []string{"NHI1", "NHI5"},
			Title: "The trust allowed no exchange for 90 days.",
			Why: "What nobody uses nobody misses when it is stolen. Nothing is disabled by itself. It takes `--journal`; a trust that was never used is told of only " +
				"where the journal is older than 90 days.",
			Fix: "Remove it, or have its owner say in `purpose` why it stays.",
		},
		{
			ID: "unused-target", Severity: strictyaml.Info, NHI: []string{"NHI1"},
			Title: "No trust grants a target of the configuration.",
			Why:   "The gateway could issue for it, and nobody needs it.",
			Fix:   "Remove it from the configuration.",
		},
		{
			ID: "unused-provider", Severity: strictyaml.Info, NHI: []string{"NHI1"},
			Title: "No trust is from an identity provider of the configuration.",
			Why:   "Its tokens are verified and its key set is fetched, for nothing.",
			Fix:   "Remove it from the configuration.",
		},
		{
			ID: "owner-missing", Severity: strictyaml.Error, NHI: []string{"NHI1"},
			Title: "The document has no `owner`.",
			Why:   "When its workload is gone there is nobody to ask, and so it stays for ever.",
			Fix:   "Write who answers for it: a team's address lives longer than a person's.",
		},
	}
}

// fleetRules are about documents together.
func fleetRules() []Rule {
	return []Rule{
		{
			ID: "shadowed", Severity: strictyaml.Warning, NHI: []string{"NHI1", "NHI5"},
			Title: "Another trust allows all that a grant allows.",
			Why:   "Every request for the narrower one fits both, and is refused as ambiguous unless it names a trust. Often the wider one was meant to go.",
			Fix:   "Remove one of the two.",
		},
		{
			ID: "overlap", Severity: strictyaml.Warning, NHI: []string{"NHI5"},
			Title: "Some tokens fit two trusts for one target and resource.",
			Why:   "The gateway never takes the first and never the union: such a request is refused as ambiguous, on the day that such a token comes.",
			Fix:   "Tell them apart in `match`, or have the workloads name the trust.",
		},
		{
			ID: "unknown-target", Severity: strictyaml.Error, NHI: []string{"NHI1"},
			Title: "A grant names a target that the configuration does not have.",
			Why:   "What was removed there is still granted here.",
			Fix:   "Correct the name, or take the grant out.",
		},
		{
			ID: "unknown-provider", Severity: strictyaml.Error, NHI: []string{"NHI1"},
			Title: "`from` names an identity provider that the configuration does not have.",
			Why:   "What was removed there is still trusted here.",
			Fix:   "Correct the name, or remove the document.",
		},
	}
}

// limitRules are about what targets take.
func limitRules() []Rule {
	return []Rule{
		{
			ID: "subject-too-long", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "The subject would be longer than the target takes.",
			Why:   "The target refuses each exchange. The workload id is made of ids of the platform, and its length is known before the first token comes.",
			Fix:   "Set `subject: trust` for the target, or write a shorter name.",
		},
		{
			ID: "subjects-too-many", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "More workloads than the target's resource can trust.",
			Why:   "Some targets list the subjects of a resource one by one, and the list is short: who comes later is refused.",
			Fix:   "Set `subject: trust`, so that each document is one subject, or share the work among several resources.",
		},
		{
			ID: "value-unfit", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "With a usual token the target would refuse a value of the grant.",
			Why:   "The value is put together from claims at each exchange, and a usual one is too long for the target, or holds a character that it does not take.",
			Fix:   "Use a claim that fits, such as an id.",
		},
		{
			ID: "value-chosen", Severity: strictyaml.Info, NHI: []string{"NHI10"},
			Title: "A value of the grant is made of a claim that whoever starts the workload chooses.",
			Why:   "It may be too long for the target one day, or hold what it refuses. In a log it says what the workload says of itself.",
			Fix:   "Use an id, or leave it where people read it and nothing rests on it.",
		},
	}
}

// documentRules are about the text of documents.
func documentRules() []Rule {
	return []Rule{
		{
			ID: "wrong-type", Severity: strictyaml.Error, NHI: []string{"NHI6"},
			Title: "A value has another type than the field.",
			Why: "YAML readers disagree about words and digits: `on`, `no`, `010`, `2027-03-31` are a boolean, a number or a date to one and text to another. " +
				"Here each has one reading, and digits that have two are refused: a policy must not mean one thing to its reviewer and another to the gateway.",
			Fix: "Write `true` or `false` for a boolean, and quotes around what is text.",
		},
		{
			ID: "type-mismatch", Severity: strictyaml.Error, NHI: []string{"NHI6"},
			Title: "A value or comparison of another type than the claim's.",
			Why:   "Nothing is coerced: `1` is not `\"1\"`. Ids are text on most platforms, and without quotes YAML reads them as numbers, without their leading zeros.",
			Fix:   "Write quotes around ids.",
		},
		{
			ID: "unknown-claim", Severity: strictyaml.Error, NHI: []string{"NHI6"},
			Title: "The identity provider's tokens have no such claim.",
			Why:   "A misspelt claim in a `match` never holds, and in a guardrail would not be what was meant.",
			Fix:   "Correct it, or declare it under `claims` of the identity provider.",
		},
		{
			ID: "yaml-mixed-scripts", Severity: strictyaml.Warning, NHI: []string{"NHI4"},
			Title: "A word mixes alphabets whose letters look alike.",
			Why:   "A reviewer reads a name that it is not.",
			Fix:   "Type the word anew.",
		},
		{
			ID: "yaml-word", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "A word without quotes is text here, and a boolean to other readers.",
			Why: "`on`, `off`, `yes`, `no`, `y` and `n` are booleans in YAML 1.1, which many tools still read: what reviews or rewrites the document may see `true` " +
				"where the gateway compares a claim with `on`.",
			Fix: "Write quotes around the word; the gateway itself takes only `true` and `false` for a boolean.",
		},
		{
			ID: "document-passed-over", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "A file looks like a document and is not read.",
			Why:   "A guardrail that is not in force looks like one that is. It is an error where a file of tests, `*_test.yaml`, holds a guardrail, an invariant or grants.",
			Fix:   "Name it `*.yaml`, inside the folder, and no link.",
		},
		{
			ID: "no-documents", Severity: strictyaml.Warning, NHI: []string{"NHI6"},
			Title: "The trust folder holds no document.",
			Why:   "Every request is denied. It may be the wrong folder.",
			Fix:   "Check `trust:` of the configuration.",
		},
	}
}
