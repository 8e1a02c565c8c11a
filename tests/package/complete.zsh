# SPDX-License-Identifier: MIT
# complete.zsh FOLDER LINE: prints what zsh, with FOLDER's completions, offers for the end of LINE, one a line.
# A shell on a terminal of its own does it; a compadd of ours there tells what would be added to its list.
zmodload zsh/zpty
setup=$(mktemp)
trap 'rm -f $setup' EXIT
cat >$setup <<END
fpath=(${(q)1} \$fpath)
END
cat >>$setup <<'END'
autoload -Uz compinit && compinit -D -u
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-[OAD]\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a found
    builtin compadd -A found "$@"
    local status_of_it=$?
    for word in "$found[@]"; do print -r -- "OFFER:$word:"; done
    builtin compadd "$@"
}
finish() { print -r -- "DONE:" }
comppostfuncs=(finish)
bindkey '^I' complete-word
PS1= PS2=
print -r -- "READY:"
END
zpty shell zsh -f -i
zpty -w shell "stty -echo; source $setup"
text=
while [[ $text != *$'\n'READY:* ]] && zpty -r shell chunk; do text+=$chunk; done
zpty -n -w shell "$2"$'\t'
text=
while [[ $text != *DONE:* ]] && zpty -r shell chunk; do text+=$chunk; done
zpty -d shell
for line in ${(f)${text//$'\r'/}}; do
    [[ $line == *OFFER:*: ]] && print -r -- ${${line##*OFFER:}%:}
done
exit 0
