#!/usr/bin/env bash
# One exchange in a job of GitHub Actions: fetch the client, check what was
# fetched, show the job's identity to the gateway, and hand the credential to the
# steps that follow. action.yml says what the variables INPUT_* mean.
set -euo pipefail
umask 077

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${RUNNER_TEMP:-/tmp}/cambio.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A larger file is no release of ours.
max_bytes=$((200 * 1024 * 1024))

# workflow NAME TEXT writes a workflow command. Text must not end the command and
# begin another.
workflow() {
	local text=${2//'%'/%25}
	text=${text//$'\r'/%0D}
	printf '::%s::%s\n' "$1" "${text//$'\n'/%0A}"
}

summary() { printf '%s\n' "$@" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"; }

# quoted indents text for the summary: Markdown shows it as it is, so that an
# answer cannot draw links and pictures there.
quoted() {
	summary ""
	sed 's/^/    /' >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
	summary ""
}

# fail STATUS TITLE TEXT ends the step.
fail() {
	workflow "error title=Cambio: $2" "$3"
	summary "### Cambio: $2"
	printf '%s\n' "$3" | quoted
	exit "$1"
}

# shown prints text of others; no line of it is a workflow command. The text may
# lack its last line end: the mark that ends the pause has a line of its own, or
# no mask after it would be one.
shown() {
	local pause
	pause=$(random)
	printf '::stop-commands::%s\n' "$pause"
	cat
	printf '\n::%s::\n' "$pause"
}

random() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

check_inputs() {
	[[ -n ${INPUT_SERVER:-} && -n ${INPUT_TO:-} && -n ${INPUT_VERSION:-} ]] ||
		fail 2 "missing input" "The action needs the inputs server, to and version."
	# It becomes part of a URL and of a file's name.
	[[ $INPUT_VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+([-.+][0-9A-Za-z.+-]*)?$ ]] ||
		fail 2 "unusable input" "The input version is a release such as v0.2.0."
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

# find_platform leaves such as linux_amd64 in $platform.
find_platform() {
	local os arch
	case $(uname -s) in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	*) fail 1 "no release for this runner" "There are releases for Linux and macOS." ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) fail 1 "no release for this runner" "There are releases for amd64 and arm64." ;;
	esac
	platform=${os}_$arch
}

# expected_sums prints the SHA-256 that the tarball may have, one a line.
expected_sums() {
	if [[ -n ${INPUT_SHA256:-} ]]; then
		tr -s ' \t\r\n' '\n' <<<"$INPUT_SHA256"
		return
	fi
	local version sum name
	while read -r version sum name; do
		[[ $version != "$INPUT_VERSION" || $name != "$1" ]] || printf '%s\n' "$sum"
	done <"$here/releases.txt"
}

sum_of() {
	if command -v sha256sum >/dev/null; then sha256sum -- "$1"; else shasum -a 256 -- "$1"; fi | cut -d' ' -f1
}

# loopback is a URL on this machine. What stands before an @ is a name of a user,
# and the host comes behind it.
loopback='^http://(127\.0\.0\.1|localhost):[0-9]{1,5}/'
user='^[a-z]+://[^/?#]*[@\]'

# fetch URL FILE. Plain http would let anyone on the way choose how often we fail.
# With -q, and first, curl reads no file of the runner's that could add to it.
fetch() {
	local scheme
	[[ ! $1 =~ $user ]] || fail 2 "unusable input" "The input base-url names a user; a mirror is read without."
	case $1 in
	https://*) scheme='=https' ;;
	file://*) scheme='=file' ;;
	*)
		[[ $1 =~ $loopback ]] || fail 2 "unusable input" "The input base-url begins with https://."
		scheme='=http'
		;;
	esac
	curl -q --globoff --fail --silent --show-error --location --proto "$scheme" --proto-redir =https \
		--max-time 300 --max-filesize "$max_bytes" --retry 2 --output "$2" -- "$1" 2>"$work/curl" || {
		shown <"$work/curl"
		fail 7 "the release was not fetched" "$1: see the log. A mirror is named by the input base-url."
	}
}

# install_client puts the client into $work/cambio. Nothing is unpacked before its sum
# is known to be the one that was asked for.
install_client() {
	local version=${INPUT_VERSION#v} name sums got
	find_platform
	name=cambio_${version}_$platform
	sums=$(expected_sums "$name.tar.gz")
	[[ -n $sums ]] || fail 2 "no checksum" "$name.tar.gz of $INPUT_VERSION is not in releases.txt: name its SHA-256, from the release's SHA256SUMS, with the input sha256."
	local base=${INPUT_BASE_URL:-}
	if [[ -z $base ]]; then
		# The repository of the job is another one, and may hold releases of its own.
		[[ -n ${ACTION_REPOSITORY:-} ]] ||
			fail 2 "no place to fetch from" "The runner does not say which repository this action is of, as with one that is used by its path: name where the releases are with the input base-url, such as https://github.com/OWNER/cambio/releases/download."
		base=${GITHUB_SERVER_URL:-https://github.com}/$ACTION_REPOSITORY/releases/download
	fi
	fetch "${base%/}/$INPUT_VERSION/$name.tar.gz" "$work/release.tar.gz"
	got=$(sum_of "$work/release.tar.gz")
	grep -Fxq -- "${got:-none}" <<<"$sums" ||
		fail 1 "wrong checksum" "$name.tar.gz has SHA-256 $got, which is not the one that was named. It was not unpacked."
	tar -xzf "$work/release.tar.gz" -C "$work" "$name/cambio"
	mv "$work/$name/cambio" "$work/cambio"
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

# put FILE NAME VALUE writes one value. The end mark is random, so that no value
# can end itself and set another name.
put() {
	local mark
	mark=cambio_$(random)
	printf '%s<<%s\n%s\n%s\n' "$2" "$mark" "$3" "$mark" >>"$1"
}

set_output() { put "$GITHUB_OUTPUT" "$1" "$2"; }

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
