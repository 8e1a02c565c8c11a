#!/bin/sh
# SPDX-License-Identifier: MIT
# container.sh PROGRAMS FOLDER MAP USER COMMAND...: runs COMMAND as process 1 of a container: called by unshare(1) with
# namespaces for mounts and processes. The root is read-only, and has only the system's /usr and the like, PROGRAMS and
# FOLDER under their own paths, MAP (or "") as /map, and a /run and /tmp of its own. USER: root, nobody (without
# any capability), or own (as no root in a user namespace below this one).
set -eu
programs=$1 folder=$2 map=$3 user=$4
shift 4
root=/mnt
mount --make-rprivate / 2>/dev/null || true
mount -t tmpfs -o mode=755 container "$root"
show() {
    mkdir -p "$root$2"
    mount --rbind "$1" "$root$2"
    # In a user namespace the flags of what lies below are locked; the system's files are others' there anyway.
    mount -o remount,bind,ro "$root$2" 2>/dev/null || [ "$user" = own ]
}
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/tmp" "$root/map"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir "$root/run/superd"
for name in usr etc; do show /$name /$name; done
for name in bin sbin lib lib64; do
    if [ -L /$name ]; then cp -P /$name "$root/$name"; elif [ -d /$name ]; then show /$name /$name; fi
done
show "$programs" "$programs"
show "$folder" "$folder"
if [ -n "$map" ]; then show "$map" /map; fi
case $user in
    nobody) chmod 777 "$root/run/superd" ;;  # as an emptyDir is
esac
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . .
umount -l .
case $user in
    root) exec chroot . "$@" ;;
    nobody) exec chroot . setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set=-all --inh-caps=-all \
        --no-new-privs "$@" ;;
    own) exec chroot . unshare --user --map-user=1000 --map-group=1000 "$@" ;;
esac
