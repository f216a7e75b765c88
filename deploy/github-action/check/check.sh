#!/usr/bin/env bash
# The review of a pull request that changes trust documents: fetch the client, let
# it check, test, prove and compare, and say in one comment what came of it.
# action.yml says what the variables INPUT_* mean.
set -euo pipefail
umask 077

# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# The comment of this action begins with it, and is found by it.
marker='<!-- cambio trust check -->'

# GitHub takes comments of 65,536 characters, and summaries of 1 MiB.
max_comment=60000

event=${GITHUB_EVENT_PATH:-/dev/null}
api=${GITHUB_API_URL:-https://api.github.com}

check_inputs() {
	[[ -n ${INPUT_VERSION:-} && -n ${INPUT_CONFIG:-} ]] || fail 2 "missing input" "The action needs the inputs version and config."
	check_version
	local value
	for value in "${INPUT_STRICT:-}" "${INPUT_FAIL_ON_GROWTH:-}" "${INPUT_COMMENT:-}" "${INPUT_SARIF:-}"; do
		[[ $value == true || $value == false ]] || fail 2 "unusable input" "The inputs strict, fail-on-growth, comment and sarif are true or false."
	done
	[[ ${INPUT_MIN_COVERAGE:-0} =~ ^[0-9]{1,3}$ ]] || fail 2 "unusable input" "The input min-coverage is a percentage from 0 to 100."
	# There the token may write, while the documents are those of whoever opened
	# the pull request, or not even those.
	[[ ${GITHUB_EVENT_NAME:-} != pull_request_target ]] ||
		fail 2 "unusable event" "Run this on pull_request: pull_request_target runs with the rights of the target."
	[[ $api =~ ^https:// || $api/ =~ $loopback ]] || fail 2 "unusable input" "GITHUB_API_URL begins with https://."
	command -v jq >/dev/null || fail 1 "no jq" "The runner lacks jq, which GitHub's own have."
}

# client runs Cambio without what the job may do: the configuration that it reads is
# of the pull request, and may name variables.
client() {
	env -u INPUT_TOKEN -u GITHUB_TOKEN -u GH_TOKEN -u ACTIONS_ID_TOKEN_REQUEST_TOKEN -u ACTIONS_ID_TOKEN_REQUEST_URL -u ACTIONS_RUNTIME_TOKEN \
		"$work/cambio" trust "$@" "--config=$INPUT_CONFIG"
}

# step NAME ARGUMENTS... leaves what the client said in $work/NAME, and its status in
# $status.
step() {
	local name=$1
	shift
	status=0
	client "$@" >"$work/$name" 2>"$work/$name.err" || status=$?
	shown <"$work/$name"
	shown <"$work/$name.err"
}

failed=()

# row NAME TEXT is a line of the table.
row() { table+=("| $1 | $2 |"); }

# verdict NAME TITLE notes how a step ended, and what it said where it failed.
verdict() {
	if [[ $status -eq 0 ]]; then
		row "$2" "ok"
	else
		row "$2" "**failed** ($status)"
		failed+=("$2")
	fi
	# Warnings come with a check that passes.
	if [[ $status -ne 0 || -s $work/$1.err ]]; then
		{
			printf '\n#### %s\n\n' "$2"
			cat -- "$work/$1" "$work/$1.err" | indented
		} >>"$work/details"
	fi
}

# find_base leaves the revision to compare with in $base, or "".
find_base() {
	base=${INPUT_BASE:-}
	[[ -n $base ]] || base=$(jq -r '.pull_request.base.sha // ""' "$event" 2>/dev/null || true)
	# What begins with a hyphen would be a flag.
	[[ -z $base || $base =~ ^[0-9A-Za-z][0-9A-Za-z._/~^:@{}-]*$ ]] || fail 2 "unusable input" "The input base is a revision such as main."
	# The client takes a folder of this name for what is compared with, and the
	# proposal may have brought it, with documents that differ in nothing.
	[[ -z $base || ! -e $base ]] || fail 2 "ambiguous base" "There is a file with the name of the base, $base."
}

compare() {
	effect=''
	: >"$work/markdown"
	if [[ -z $base ]]; then
		row "change of access" "not compared: no base"
		return
	fi
	step diff diff "$base" -o json
	case $status in
	0)
		effect=$(jq -r '.effect // ""' "$work/diff")
		quiet=$(jq -r 'if (.items | length) == 0 then "yes" else "" end' "$work/diff")
		step markdown diff "$base" -o markdown
		[[ $status -eq 0 ]] || fail 1 "the change cannot be compared" "The client compared it once, and not a second time: see the log."
		row "change of access" "$(words "$effect")"
		;;
	3)
		# What is proposed has its findings above; what was there is being mended.
		row "change of access" "not compared: the documents before or after do not load"
		;;
	*)
		verdict diff "change of access"
		printf '\nThe base must be there: give actions/checkout the input fetch-depth: 0.\n' >>"$work/details"
		;;
	esac
	if config_changed; then
		quiet=''
		row "configuration" "**changed**: the documents before and after are compared by the new one"
		[[ $INPUT_FAIL_ON_GROWTH != true ]] || failed+=("the configuration changed, and with it access may")
	fi
	# Documents of the base that do not load say nothing: the proposal may have taken
	# the target away that they name.
	if [[ $INPUT_FAIL_ON_GROWTH == true && $effect != none && $effect != shrinks ]]; then
		failed+=("access grows, or may")
	fi
}

# config_changed reports that the configuration is not that of the base: another
# issuer, another audience or another folder gives access too, and no document says
# so.
config_changed() {
	local was now
	was=$(git rev-parse --verify --quiet "$base:./$INPUT_CONFIG" 2>/dev/null) || return 1 # outside, or new
	now=$(git hash-object --no-filters -- "$INPUT_CONFIG" 2>/dev/null) || return 1
	[[ $was != "$now" ]]
}

# words says an effect; one that is not known here is not shown.
words() {
	case $1 in
	none) printf 'none' ;;
	grows) printf '**grows**' ;;
	shrinks) printf 'shrinks' ;;
	both) printf '**grows**, and shrinks elsewhere' ;;
	undecided) printf '**may grow**: it cannot be decided' ;;
	*) printf 'unknown' ;;
	esac
}

# report writes all that is to be said to $work/report.
report() {
	local title="nothing is wrong"
	[[ ${#failed[@]} -eq 0 ]] || title="something is wrong"
	{
		printf '### Cambio: %s with the trust documents\n\n| | |\n| --- | --- |\n' "$title"
		printf '%s\n' "${table[@]}"
		if [[ -s $work/markdown ]]; then
			printf '\n'
			cat -- "$work/markdown"
		fi
		[[ ! -s $work/details ]] || cat -- "$work/details"
	} >"$work/report"
}

# call METHOD PATH [FILE] asks the API, and leaves the answer in $work/answer and its
# status in $code. The token is in no argument: those are for everybody to see.
call() {
	local body=()
	[[ $# -lt 3 ]] || body=(--header 'Content-Type: application/json' --data-binary "@$3")
	code=$(printf 'header = "Authorization: Bearer %s"\n' "$INPUT_TOKEN" |
		curl -q --config - --globoff --silent --show-error --proto '=https,http' --max-time 60 --max-filesize 20000000 \
			--request "$1" --header 'Accept: application/vnd.github+json' --header 'X-GitHub-Api-Version: 2022-11-28' \
			${body[@]+"${body[@]}"} --output "$work/answer" --write-out '%{http_code}' -- "$api$2" 2>"$work/curl") || code=000
}

# may_write reports whether there is a token to write with, and a pull request of
# this repository: that of a fork gets a token that reads.
may_write() {
	[[ ${INPUT_TOKEN:-} =~ ^[A-Za-z0-9_.-]+$ && ${GITHUB_REPOSITORY:-} =~ ^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$ ]]
}

from_fork() {
	[[ $(jq -r '.pull_request.head.repo.full_name // ""' "$event") != "$GITHUB_REPOSITORY" ]]
}

# comment writes one comment, and the next time the same one anew.
comment() {
	local number id='' page
	[[ $INPUT_COMMENT == true ]] || return 0
	number=$(jq -r '.pull_request.number // "" | tostring' "$event" 2>/dev/null || true)
	[[ $number =~ ^[0-9]+$ ]] || return 0
	if ! may_write || from_fork; then
		workflow notice "Cambio: no comment, for the pull request of a fork has no right to write one; see the summary."
		return 0
	fi
	for page in 1 2 3 4 5 6 7 8 9 10; do
		call GET "/repos/$GITHUB_REPOSITORY/issues/$number/comments?per_page=100&page=$page"
		[[ $code == 200 ]] || { cannot "comments cannot be read"; return 0; }
		# Anybody can write the marker, and it is not theirs that is to be edited.
		id=$(jq -r --arg marker "$marker" '[.[] | select(.user.type == "Bot" and (.body // "" | startswith($marker)))][0].id // "" | tostring' "$work/answer")
		[[ -z $id && $(jq length "$work/answer") -eq 100 ]] || break
	done
	# A pull request about something else stays as it is.
	[[ -n $id || -z $quiet || ${#failed[@]} -gt 0 || -s $work/details ]] || return 0
	shortened | jq -Rs --arg marker "$marker" '{body: ($marker + "\n" + .)}' >"$work/body"
	if [[ $id =~ ^[0-9]+$ ]]; then
		call PATCH "/repos/$GITHUB_REPOSITORY/issues/comments/$id" "$work/body"
	else
		call POST "/repos/$GITHUB_REPOSITORY/issues/$number/comments" "$work/body"
	fi
	[[ $code == 20[01] ]] || cannot "no comment was written"
}

# shortened is the report as far as a comment holds it, in whole lines.
shortened() {
	# jq counts characters, as GitHub does.
	jq -Rrn --argjson most "$max_comment" '
		reduce inputs as $line ({n: 0, out: [], cut: false};
			if .cut or .n + ($line | length) > $most then .cut = true
			else .n += ($line | length) + 1 | .out += [$line] end)
		| .out[], if .cut then "", "The rest is in the summary of the job." else empty end' "$work/report"
}

# cannot says that GitHub refused: the review itself is not worse for it.
cannot() {
	workflow notice "Cambio: $1 (status $code). The job needs the permission pull-requests: write; without, the summary has it all."
}

# upload sends the findings to code scanning.
upload() {
	local ref=${GITHUB_REF:-} sha=${GITHUB_SHA:-}
	[[ $INPUT_SARIF == true ]] || return 0
	if ! may_write; then
		workflow notice "Cambio: no findings were uploaded: there is no token."
		return 0
	fi
	step sarif check -o sarif
	jq -e '.runs' "$work/sarif" >/dev/null 2>&1 || { workflow notice "Cambio: there are no findings to upload."; return 0; }
	gzip -c "$work/sarif" | base64 | tr -d '\n' >"$work/packed"
	jq -n --arg sha "$sha" --arg ref "$ref" --rawfile sarif "$work/packed" '{commit_sha: $sha, ref: $ref, sarif: $sarif, tool_name: "cambio"}' >"$work/body"
	call POST "/repos/$GITHUB_REPOSITORY/code-scanning/sarifs" "$work/body"
	[[ $code == 202 ]] || workflow notice "Cambio: the findings were not uploaded (status $code). The job needs the permission security-events: write."
}

check_inputs
find_base
install_client
table=()
quiet=''
: >"$work/details"

# Older shells than that of Linux take an empty list for one that is not set.
flags=(check)
[[ $INPUT_STRICT != true ]] || flags+=(--strict)
step check "${flags[@]}"
verdict check "check"
flags=(test)
[[ $INPUT_MIN_COVERAGE == 0 ]] || flags+=("--min-coverage=$INPUT_MIN_COVERAGE")
step test "${flags[@]}"
if [[ $status -eq 3 ]]; then
	row tests "not run: the documents do not load" # the check has said why
	row invariants "not proven"
else
	verdict test "tests"
	step prove prove
	verdict prove "invariants"
fi
compare
report
cat -- "$work/report" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
set_output effect "$effect"
comment
upload
if [[ ${#failed[@]} -gt 0 ]]; then
	workflow "error title=Cambio: the trust documents" "$(printf '%s; ' "${failed[@]}")see the summary."
	exit 1
fi
