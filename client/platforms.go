package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// platform is one whose workloads find their identity in their environment.
type platform struct {
	name  string
	marks []string // variables; each of its workloads has one of them
	// Where the token is: the first of these variables that is set, else the file,
	// else what ask says.
	hold []string
	file string
	// ask returns neither source nor error where the workload may not ask.
	ask    func(*detection) (*Source, error)
	lacks  string // what is not there, where none of these finds a token
	advice string // the lines to paste; {audience} stands for the audience
}

// platforms are looked at in this order. They do not run in each other, but where
// one does, the one that is named first has started it.
func platforms() []platform {
	return []platform{
		{
			name: "GitLab CI", marks: []string{"GITLAB_CI"},
			lacks: "the job has no id_tokens entry CAMBIO_TOKEN",
			advice: `Give the job a token for the gateway; paste this into it:

    id_tokens:
      CAMBIO_TOKEN:
        aud: {audience}`,
		},
		{
			name: "CircleCI", marks: []string{"CIRCLECI"}, ask: (*detection).circleCI,
			lacks: "neither the command circleci nor CIRCLE_OIDC_TOKEN_V2 is there",
			advice: `Tokens are for jobs that use a context; paste this into the workflow, with one of yours:

    jobs:
      - deploy:
          context: [CONTEXT]`,
		},
		{
			name: "Buildkite", marks: []string{"BUILDKITE"}, ask: (*detection).buildkite,
			lacks:  "no command can be run here, and buildkite-agent is what gives out the token",
			advice: "Put the token into CAMBIO_TOKEN: buildkite-agent oidc request-token --audience {audience} --claim " + buildkiteClaims,
		},
		{
			name: "Bitbucket Pipelines", marks: []string{"BITBUCKET_BUILD_NUMBER"}, hold: []string{"BITBUCKET_STEP_OIDC_TOKEN"},
			lacks: "BITBUCKET_STEP_OIDC_TOKEN is not set: the step may not have a token",
			advice: `Let the step have its identity token; paste this into it:

    oidc:
      audiences: [{audience}]`,
		},
		{
			name: "Azure DevOps", marks: []string{"TF_BUILD"}, ask: (*detection).azureDevOps,
			lacks: "SYSTEM_OIDCREQUESTURI, SYSTEM_ACCESSTOKEN and " + serviceConnection + " are not all set",
			advice: `Name the service connection whose identity the job has; paste this into the step:

    env:
      SYSTEM_ACCESSTOKEN: $(System.AccessToken)
      ` + serviceConnection + `: THE CONNECTION'S ID`,
		},
		{
			name: "HCP Terraform", marks: []string{"TFC_RUN_ID"}, hold: []string{"TFC_WORKLOAD_IDENTITY_TOKEN_CAMBIO", "TFC_WORKLOAD_IDENTITY_TOKEN"},
			lacks:  "TFC_WORKLOAD_IDENTITY_TOKEN_CAMBIO is not set: the workspace's runs have no token for the gateway",
			advice: "Set the workspace's environment variable TFC_WORKLOAD_IDENTITY_AUDIENCE_CAMBIO to {audience}.",
		},
		{
			name: "Spacelift", marks: []string{"TF_VAR_spacelift_run_id"}, hold: []string{"SPACELIFT_OIDC_TOKEN"}, file: "/mnt/workspace/spacelift.oidc",
			lacks:  "neither SPACELIFT_OIDC_TOKEN nor /mnt/workspace/spacelift.oidc is there",
			advice: "Runs have a token in paid plans of Spacelift alone.",
		},
		{
			name: "env0", marks: []string{"ENV0_ENVIRONMENT_ID"}, hold: []string{"ENV0_OIDC_TOKEN"},
			lacks:  "ENV0_OIDC_TOKEN is not set",
			advice: "Turn on `Enable OIDC` in the organization's policies.",
		},
		{
			name: "Codefresh", marks: []string{"CF_BUILD_ID"}, ask: (*detection).codefresh,
			lacks:  "CF_OIDC_REQUEST_URL and CF_OIDC_REQUEST_TOKEN are not both set",
			advice: "Every build has them; hand them on to the container that runs this command.",
		},
		{
			name: "Semaphore", marks: []string{"SEMAPHORE"}, hold: []string{"SEMAPHORE_OIDC_TOKEN"},
			lacks: "SEMAPHORE_OIDC_TOKEN is not set",
			advice: `Give the job a token for the gateway; paste this into it:

    oidc_tokens:
      CAMBIO_TOKEN:
        aud: {audience}`,
		},
		{
			name: "Vercel", marks: []string{"VERCEL"}, ask: (*detection).vercel,
			lacks:  "VERCEL_OIDC_TOKEN is not set",
			advice: "Builds have it. A function has its token in the header x-vercel-oidc-token of each request: put that into CAMBIO_TOKEN.",
		},
		{
			name: "Fly.io", marks: []string{"FLY_MACHINE_ID"}, ask: (*detection).fly,
		},
	}
}

// ambient looks at the environment for a platform. A workload of one that has no
// token is told what to do, and no other place is looked at: it would show an
// identity that its owner does not think of.
func (d *detection) ambient(context.Context) (*Source, error) {
	var marks []string
	for _, p := range platforms() {
		s, err := d.on(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if s != nil {
			s.Name = p.name
			return s, nil
		}
		if slices.ContainsFunc(p.marks, func(name string) bool { return d.getenv(name) != "" }) {
			d.missed(p.name, p.lacks)
			d.advice = []string{strings.ReplaceAll(p.advice, "{audience}", d.audience())}
			return nil, d.none()
		}
		marks = append(marks, p.marks...)
	}
	d.missed("CI and hosting platforms", "none of their variables is set: "+strings.Join(marks, ", "))
	return nil, nil
}

// on looks for the token of one platform.
func (d *detection) on(p platform) (*Source, error) {
	for _, name := range p.hold {
		if token := d.getenv(name); token != "" {
			return &Source{Place: name, fetch: fixed(token)}, nil
		}
	}
	if p.file != "" {
		if _, err := d.readFile(p.file); !errors.Is(err, fs.ErrNotExist) {
			return &Source{Place: p.file, fetch: fromFile(d.readFile, p.file)}, nil
		}
	}
	if p.ask == nil {
		return nil, nil
	}
	return p.ask(d)
}
