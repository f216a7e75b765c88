#!/usr/bin/env bash
# What the actions of this folder share: how they speak to the runner, and how they
# fetch the client. It is sourced, and does nothing by itself but to make a folder
# for the step, $work, and to see to its end.

set -euo pipefail

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

# indented makes a block of Markdown that is shown as it is, so that a text of
# others cannot draw links and pictures there. A carriage return ends a line too.
indented() {
	tr '\r' ' ' | sed 's/^/    /'
}

# quoted writes such a block to the summary.
quoted() {
	summary ""
	indented >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
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

# check_version wants a release by its name: it becomes part of a URL and of a file's
# name.
check_version() {
	[[ $INPUT_VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+([-.+][0-9A-Za-z.+-]*)?$ ]] ||
		fail 2 "unusable input" "The input version is a release such as v0.2.0."
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

# put FILE NAME VALUE writes one value. The end mark is random, so that no value
# can end itself and set another name.
put() {
	local mark
	mark=cambio_$(random)
	printf '%s<<%s\n%s\n%s\n' "$2" "$mark" "$3" "$mark" >>"$1"
}

set_output() { put "$GITHUB_OUTPUT" "$1" "$2"; }
