package github

// journal is what the journal keeps of each token: the run, what it runs, and
// where. Who pushed the button, the branch that the author of a pull request named
// and the workflow's title tell about a person, and no decision should rest on
// them; one that does keeps them all the same.
func journal() []string {
	return []string{
		"iss", "iat", "exp",
		"repository_id", "repository_owner_id", "repository", "repository_owner", "repository_visibility",
		"ref", "ref_type", "ref_protected", "base_ref", "sha", "event_name",
		"environment", "environment_node_id", "enterprise", "enterprise_id", "issuer_scope",
		"workflow_ref", "workflow_sha", "job_workflow_ref", "job_workflow_sha",
		"run_id", "run_attempt", "run_number", "runner_environment",
	}
}
