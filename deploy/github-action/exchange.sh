#!/usr/bin/env bash
# One exchange in a job of GitHub Actions: fetch the client, check what was
# fetched, show the job's identity to the gateway, and hand the credential to the
# steps that follow. action.yml says what the variables INPUT_* mean.
set -euo pipefail
umask 077

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_inputs() {
	[[ -n ${INPUT_SERVER:-} && -n ${INPUT_TO:-} && -n ${INPUT_VERSION:-} ]] ||
		fail 2 "missing input" "The action needs the inputs server, to and version."
	check_version
}

# Without the permission the runner sets no address to ask for a token.
check_permission() {
	[[ -z ${ACTIONS_ID_TOKEN_REQUEST_URL:-} || -z ${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-} ]] || return 0
	fail 4 "the job may not ask for its identity token" 'Paste this into the job:

permissions:
  id-token: write
  contents: read

A permissions: block replaces the defaults, so name what else the job needs.
A reusable workflow gets no more than the job that calls it.
The pull request of a fork gets none, whatever is written.'
}

# exchange leaves the client's answer in $answer: lines of export NAME='VALUE'.
exchange() {
	# --flag=value: a value that begins with a hyphen stays a value.
	local arguments=("--server=$INPUT_SERVER" "--to=$INPUT_TO") status=0
	[[ -z ${INPUT_AUDIENCE:-} ]] || arguments+=("--audience=$INPUT_AUDIENCE")
	[[ -z ${INPUT_RESOURCE:-} ]] || arguments+=("--resource=$INPUT_RESOURCE")
	[[ -z ${INPUT_SCOPE:-} ]] || arguments+=("--scope=$INPUT_SCOPE")
	[[ -z ${INPUT_TTL:-} ]] || arguments+=("--ttl=$INPUT_TTL")
	[[ -z ${INPUT_TRUST:-} ]] || arguments+=("--trust=$INPUT_TRUST")
	answer=$("$work/cambio" exchange "${arguments[@]}" --output env 2>"$work/said") || status=$?
	shown <"$work/said"
	[[ $status -eq 0 ]] || refused "$status"
}

# refused ends the step with what the gateway or the client said, and where to
# read why.
refused() {
	local decision title why hint
	decision=$(sed -n 's/.*decision_id \([0-9a-f-]\{36\}\).*/\1/p' "$work/said" | head -n 1)
	case $1 in
	2) title="unusable input" ;;
	4) title="no identity found" ;;
	6) title="the exchange was refused" ;;
	7) title="the gateway cannot answer now: run the job again" ;;
	8) title="too many requests: run the job again later" ;;
	*) title="the exchange failed" ;;
	esac
	why=$(head -n 1 "$work/said")
	# Which claim of the job's token it was, where the gateway says so.
	hint=$(sed -n 's/^  hint: //p' "$work/said" | head -n 1)
	[[ -z $hint ]] || why+=" $hint"
	workflow "error title=Cambio: $title" "$why"
	summary "### Cambio: $title"
	quoted <"$work/said"
	if [[ -n $decision ]]; then
		set_output decision-id "$decision"
		summary "Decision \`$decision\`. The reason is in the gateway's journal, and not told to callers: whoever runs it reads it with" "" \
			"    cambio audit show $decision" "" \
			"The reasons and what to do about each are in \`docs/reference/reasons.md\`."
	fi
	exit "$1"
}

# deliver masks every secret before any is set: what is set may be printed by the
# very next step.
deliver() {
	local line name value i names=() values=() decision='' expires=''
	while IFS= read -r line; do
		# One line each, and no quote within: credentials hold neither. What does
		# not look so is not set and not shown.
		[[ $line =~ ^export\ ([A-Z_]+)=\'([^\']+)\'$ ]] ||
			fail 1 "the client's answer was not understood" "Nothing was set. Is version the one that the action was made for?"
		name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
		case $name in
		CAMBIO_ACCESS_TOKEN | AWS_ACCESS_KEY_ID | AWS_SECRET_ACCESS_KEY | AWS_SESSION_TOKEN) workflow add-mask "$value" ;;
		CAMBIO_DECISION_ID) decision=$value ;;
		CAMBIO_EXPIRES_AT) expires=$value ;;
		AWS_CREDENTIAL_EXPIRATION) ;;
		*) continue ;; # a name that is not known here is not set: PATH could be one
		esac
		names+=("$name") values+=("$value")
	done <<<"$answer"
	[[ -n $decision && -n $expires ]] ||
		fail 1 "the client's answer was not understood" "It names no decision, or no end. Nothing was set."
	for i in "${!names[@]}"; do put "$GITHUB_ENV" "${names[i]}" "${values[i]}"; done
	set_output decision-id "$decision"
	set_output expires-at "$expires"
	summary "### Cambio: a credential for the following steps" "" "| | |" "| --- | --- |"
	row target "$INPUT_TO"
	row resource "${INPUT_RESOURCE:-}"
	row trust "${INPUT_TRUST:-}"
	row decision "$decision"
	row expires "$expires"
}

# row is a line of the summary's table, where there is something to say.
row() { [[ -z $2 ]] || summary "| $1 | \`${2//[\`|$'\r\n']/ }\` |"; }

check_inputs
check_permission
install_client
exchange
deliver
