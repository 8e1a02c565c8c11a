# SPDX-License-Identifier: MIT
# Completion of superd(8) in bash.

_superd() {
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
        --log-format) words='auto text logfmt json journal' ;;
        --log-level) words='error warning notice info debug' ;;
        *) words='--config --conf-dir --control --log-format --log-level --check --daemon --pid-file --version
                  --help' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _superd superd
