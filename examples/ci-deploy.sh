#!/usr/bin/env bash
# A deployment step for any CI system: once for each commit, however often the step is retried.
#
#   examples/ci-deploy.sh COMMIT program [argument ...]
#
# The output is the step's log and the job's exit code is the step's. A retry of the step, after a lost connection
# or by a person, finds the same job by its key: it is followed, not started again.
# Reads BEADLE_URL and BEADLE_TOKEN.
set -euo pipefail

commit=${1:?which commit is deployed?}
shift
exec beadle run --follow --key "deploy-$commit" --timeout 10m -- "${@:?what deploys it?}"
