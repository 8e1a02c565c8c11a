# SPDX-License-Identifier: MIT
# Completion of superd(8) in bash.

_superd() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then  # a program and its arguments
            compopt -o default
            COMPREPLY=()
            return
        fi
    done
    local cur=${COMP_WORDS[COMP_CWORD]} words=''
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --config | --control | --pid-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return ;;
        --conf-dir)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
            return ;;
        --set)
            compopt -o nospace
            words='model= user= limits.instances= limits.per_source= limits.rate= access.allow= environment.
                   working_directory= sandbox.preset= tls.certificate= tls.key=' ;;
        --serve) words='tcp:// udp:// unix:/// unix-dgram:/// vsock:// systemd:' ;;
        --log-format) words='auto text logfmt json journal' ;;
        --log-level) words='error warning notice info debug' ;;
        *) words='--config --conf-dir --control --log-format --log-level --check --watch --serve --set --daemon --pid-file
                  --version --help' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _superd superd
