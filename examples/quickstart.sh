#!/usr/bin/env bash
# Runs a command through the API with nothing but curl and jq: enqueue it, watch its output live, exit with its code.
#
#   export BEADLE_TOKEN=$(cat ~/.local/state/beadle/admin.token)
#   examples/quickstart.sh [program [argument ...]]
set -euo pipefail

: "${BEADLE_TOKEN:?the token that the daemon keeps in admin.token in its data directory}"
url=${BEADLE_URL:-http://127.0.0.1:7878}
[ $# -gt 0 ] || set -- sh -c 'echo "Hello from Beadle"; exit 3'

ask() {
  curl --silent --show-error --fail-with-body --no-buffer "$url/graphql" \
    --header "Authorization: Bearer $BEADLE_TOKEN" --header 'Content-Type: application/json' "$@"
}

# 1. A mutation answers once the job is safely on disk.
enqueue='mutation ($argv: [String!]!) {
  jobEnqueue(input: {run: {command: {exec: {argv: $argv}}}}) { job { id } userErrors { code message path } }
}'
body=$(jq --null-input --arg query "$enqueue" '{$query, variables: {argv: $ARGS.positional}}' --args -- "$@")
answer=$(ask --data "$body")
id=$(jq --raw-output '.data.jobEnqueue | .job.id // error(.userErrors[0].message)' <<<"$answer")
echo "enqueued $id" >&2

# 2. A subscription over server-sent events: each message is one line that begins with "data: ".
follow='subscription ($id: ID!) { jobFollow(id: $id) { job { state } log { lines { text } } } }'
body=$(jq --null-input --arg query "$follow" --arg id "$id" '{$query, variables: {$id}}')
ask --header 'Accept: text/event-stream' --data "$body" |
  sed --unbuffered --quiet 's/^data: \(.\)/\1/p' |
  jq --unbuffered --raw-output 'if .errors then error(.errors[0].message) else .data.jobFollow.log.lines[]?.text end'

# 3. The stream has ended, so the job has: its exit code is ours.
job='query ($id: ID!) { job(id: $id) { state failure { message exitCode } } }'
body=$(jq --null-input --arg query "$job" --arg id "$id" '{$query, variables: {$id}}')
answer=$(ask --data "$body")
jq --raw-output '.data.job | "\(.state) \(.failure.message // "")"' <<<"$answer" >&2
exit "$(jq '.data.job | if .state == "SUCCEEDED" then 0 else .failure.exitCode // 1 end' <<<"$answer")"
