#!/bin/sh
# SPDX-License-Identifier: MIT
# A worker of a superd pool, as a shell script: model = "prefork", handoff = "listen". A shell cannot accept a
# connection; a line of Perl does that, and starts this script again with the connection on stdin and stdout.
set -u

report() {
    [ -z "${SUPERD_STATUS_FD-}" ] || eval "echo $1 >&$SUPERD_STATUS_FD"
}

if [ "${1-}" = --serve ]; then
    report busy
    while read -r line; do echo "hello $line"; done
    exit 0
fi

# superd sends TERM to workers that do not watch their descriptor. Only the trap runs here: Perl continues, so a client
# that it has taken is served; if it still waits for one, it ends with this script after stop_timeout.
trap 'leaving=yes' TERM
leaving=no
report idle
while [ $leaving = no ]; do
    perl -e 'accept(C, STDIN) or exit 7; open(STDIN, "<&C"); open(STDOUT, ">&C"); exec(@ARGV)' "$0" --serve
    if [ $? -ne 7 ]; then report idle; else sleep 1; fi
done
