#!/bin/sh
# SPDX-License-Identifier: MIT
# Answers a line by the load averages of this machine. It reads the line first: a warm handler waits where it first
# touches its client, and what it had read before that would be as old as the wait.

IFS= read -r line
read -r one five fifteen rest </proc/loadavg
printf '%s %s %s\r\n' "$one" "$five" "$fifteen"
