# SPDX-License-Identifier: MIT
# Completion of superd(8) in fish.

complete -c superd -f
complete -c superd -l config -r -F -d 'settings and defaults'
complete -c superd -l conf-dir -x -a '(__fish_complete_directories)' -d 'service definitions'
complete -c superd -l control -r -F -d 'where to make the control socket'
complete -c superd -l log-format -x -a 'auto text logfmt json journal' -d 'how the log looks'
complete -c superd -l log-level -x -a 'error warning notice info debug' -d 'least severe level that is logged'
complete -c superd -l check -d 'check all definitions, print every error, and exit'
complete -c superd -l watch -d 'reload by itself when files change'
complete -c superd -l serve -x -a 'tcp:// udp:// unix:///' -d 'serve a program here, without any file'
complete -c superd -l set -x -d 'KEY=VALUE: a key of that service'
complete -c superd -l daemon -d 'detach; returns once superd is ready'
complete -c superd -l pid-file -r -F -d 'write the process id here'
complete -c superd -l version -d 'print the version'
complete -c superd -s h -l help -d 'print the options'
