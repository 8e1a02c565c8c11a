# SPDX-License-Identifier: MIT
# Completion of superctl(1) in fish.

# The names of the daemon's services; none if there is no daemon.
function __superctl_services
    set -l words (commandline -opc)
    set -l control
    if set -l at (contains -i -- --control $words)
        set control --control $words[(math $at + 1)]
    end
    timeout 2 superctl $control --json list 2>/dev/null | grep -o '"name": *"[A-Za-z0-9._@-]*"' | cut -d '"' -f 4
end

function __superctl_recipes
    timeout 2 superctl --json recipe 2>/dev/null | grep -o '"name": *"[A-Za-z0-9._@-]*"' | cut -d '"' -f 4
end

# Is the argument being typed number PLACE, counting from 0, of one of these VERBS?
function __superctl_at --argument-names place
    set -l plain
    set -l skip 1
    for word in (commandline -opc)
        if test $skip = 1
            set skip 0
        else if contains -- $word --control --config --conf-dir --output --format
            set skip 1
        else if test $word = --offline; and not contains -- security $plain
            set skip 1
        else if not string match -q -- '-*' $word
            set -a plain $word
        end
    end
    test (count $plain) = (math $place + 1); and contains -- $plain[1] $argv[2..]
end

set -l verbs status list check plan reload pause resume drain stop kill top explain security metrics import schema recipe upgrade

set -l first "not __fish_seen_subcommand_from $verbs"

complete -c superctl -f
complete -c superctl -l control -r -F -d 'control socket of the daemon'
complete -c superctl -l json -d 'print JSON for programs'
complete -c superctl -s h -l help -d 'print the options'
complete -c superctl -n $first -l version -d 'print the version'

complete -c superctl -n $first -a status -d 'each service, or one'
complete -c superctl -n $first -a list -d 'all services and their addresses'
complete -c superctl -n $first -a check -d 'check all definitions and print every error'
complete -c superctl -n $first -a plan -d 'what a reload would change'
complete -c superctl -n $first -a reload -d 'read the definitions again'
complete -c superctl -n $first -a pause -d 'take no more clients of a service'
complete -c superctl -n $first -a resume -d 'take clients again'
complete -c superctl -n $first -a drain -d 'take no more clients and let handlers finish'
complete -c superctl -n $first -a stop -d 'end superd'
complete -c superctl -n $first -a upgrade -d 'continue as the superd on disk'
complete -c superctl -n $first -a kill -d 'send a signal to handlers'
complete -c superctl -n $first -a top -d 'live table of services and connections'
complete -c superctl -n $first -a explain -d 'what would happen to a client'
complete -c superctl -n $first -a security -d 'how exposed services are'
complete -c superctl -n $first -a metrics -d 'OpenMetrics text'
complete -c superctl -n $first -a import -d "definitions from other super-servers' files"
complete -c superctl -n $first -a schema -d "JSON Schema of a service's file"
complete -c superctl -n $first -a recipe -d 'definitions for well-known programs'

complete -c superctl -n '__superctl_at 0 status pause resume drain kill explain security' -a '(__superctl_services)'
complete -c superctl -n '__fish_seen_subcommand_from explain' -l via -x -d 'the proxy that names the client'
complete -c superctl -n '__superctl_at 1 kill' -a 'TERM HUP INT QUIT KILL USR1 USR2 STOP CONT'
complete -c superctl -n '__fish_seen_subcommand_from check plan security' -l config -r -F -d 'settings and defaults'
complete -c superctl -n '__fish_seen_subcommand_from check plan security' -l conf-dir -x -a '(__fish_complete_directories)' \
    -d definitions
complete -c superctl -n '__fish_seen_subcommand_from plan' -l offline -x -a '(__fish_complete_directories)' \
    -d 'between two folders'
complete -c superctl -n '__fish_seen_subcommand_from check' -l portable -d 'pass over what this machine lacks'
complete -c superctl -n '__fish_seen_subcommand_from security' -l offline -d 'rate the definitions on disk'
complete -c superctl -n '__fish_seen_subcommand_from security' -l unit -d 'print it as a systemd unit'
complete -c superctl -n '__superctl_at 0 import' -a 'inetd xinetd systemd stunnel command'
complete -c superctl -n '__fish_seen_subcommand_from import; and not __superctl_at 0 import' -F
complete -c superctl -n '__fish_seen_subcommand_from import' -l output -x -a '(__fish_complete_directories)' \
    -d 'where to write them'
complete -c superctl -n '__fish_seen_subcommand_from import' -l dialect -x -a 'bsd openbsd netbsd freebsd gnu' \
    -d 'the inetd that the files are for'
complete -c superctl -n '__fish_seen_subcommand_from import' -l force -d 'also replace files that were edited or not imported'
complete -c superctl -n '__fish_seen_subcommand_from import' -l dry-run -d 'show what would change without writing'
complete -c superctl -n '__fish_seen_subcommand_from drain stop' -l no-wait -d 'return at once'
complete -c superctl -n '__fish_seen_subcommand_from drain' -l all -d 'superd itself, before its end'
complete -c superctl -n '__fish_seen_subcommand_from metrics' -l format -x -a 'prometheus openmetrics' \
    -d 'how counters are declared'
complete -c superctl -n '__superctl_at 0 recipe' -a '(__superctl_recipes)'
complete -c superctl -n '__fish_seen_subcommand_from recipe' -l output -x -a '(__fish_complete_directories)' \
    -d 'where to write it'
complete -c superctl -n '__fish_seen_subcommand_from schema' -l drop-in -d 'for a drop-in, in which no key is required'
