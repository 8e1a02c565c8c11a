# SPDX-License-Identifier: MIT
# Completion of superctl(1) in bash.

# Offers the words that begin with what is being typed. compgen -W would expand them.
_superctl_offer() {
    local word
    for word; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

_superctl_files() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

# The names that a verb lists: those of the daemon's services, none if there is no daemon; those of the recipes.
_superctl_names() {
    local names
    mapfile -t names < <(timeout 2 superctl "${control[@]}" --json "$1" 2>/dev/null |
        grep -o '"name": *"[A-Za-z0-9._@-]*"' | cut -d '"' -f 4)
    _superctl_offer "${names[@]}"
}

_superctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' place=0 i
    local -a control=() options=(--control --json --help)
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --control) control=(--control "${COMP_WORDS[++i]}") ;;
            --config | --conf-dir | --output | --format) ((++i)) ;;
            -*) ;;
            *) if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else ((++place)); fi ;;
        esac
    done
    case $previous in
        --control | --config) _superctl_files -f; return ;;
        --conf-dir | --output) _superctl_files -d; return ;;
        --offline) [[ $verb == security ]] || { _superctl_files -d; return; } ;;
        --format) _superctl_offer prometheus openmetrics; return ;;
    esac
    if [[ $cur == -* ]]; then
        case $verb in
            '') options+=(--version) ;;
            check) options+=(--config --conf-dir --portable) ;;
            security) options+=(--unit --offline --config --conf-dir) ;;
            plan) options+=(--offline --config --conf-dir) ;;
            metrics) options+=(--format) ;;
            drain) options+=(--all --no-wait) ;;
            stop) options+=(--no-wait) ;;
            explain) options+=(--via) ;;
            import) options+=(--output --dialect --force --dry-run) ;;
            schema) options+=(--drop-in) ;;
            recipe) options+=(--output) ;;
        esac
        _superctl_offer "${options[@]}"
        return
    fi
    case $verb:$place in
        :*) _superctl_offer status list check plan reload pause resume drain stop kill top explain security metrics \
            import schema recipe upgrade ;;
        status:0 | pause:0 | resume:0 | drain:0 | kill:0 | explain:0 | security:0) _superctl_names list ;;
        recipe:0) _superctl_names recipe ;;
        kill:1) _superctl_offer TERM HUP INT QUIT KILL USR1 USR2 STOP CONT ;;
        import:0) _superctl_offer inetd xinetd systemd stunnel command ;;
        import:*) _superctl_files -f ;;
        plan:*) _superctl_files -d ;;
    esac
}

complete -F _superctl superctl
