#!/bin/sh
# SPDX-License-Identifier: MIT
# symbols.sh take ROOT SYMBOLS: strips the programs below ROOT and keeps their symbols below SYMBOLS, by build id.
# symbols.sh pack PACKAGE SYMBOLS FOLDER: makes the package PACKAGE-dbgsym of them in FOLDER, and packs PACKAGE anew:
# what CPack writes has modes of the umask in the archive's own headers. Both come out the same for the same input.
set -eu
export LC_ALL=C
umask 022

take() {
    rm -rf "$2"
    find "$1" -type f | sort | while read -r file; do
        id=$(readelf --notes "$file" 2>/dev/null | sed -n 's/^ *Build ID: //p')
        [ -n "$id" ] || continue
        folder=$2/usr/lib/debug/.build-id/$(echo "$id" | cut -c1-2)
        mkdir -p "$folder"
        objcopy --only-keep-debug --compress-debug-sections "$file" "$folder/$(echo "$id" | cut -c3-).debug"
        chmod 644 "$folder"/*
        strip --strip-unneeded --remove-section=.comment "$file"
    done
}

pack() {
    name=$(dpkg-deb --field "$1" Package)
    version=$(dpkg-deb --field "$1" Version)
    architecture=$(dpkg-deb --field "$1" Architecture)
    again=$2.again
    rm -rf "$again"
    dpkg-deb --raw-extract "$1" "$again"
    dpkg-deb --root-owner-group --build "$again" "$1" >/dev/null
    rm -rf "$again"

    mkdir -p "$2/DEBIAN" "$2/usr/share/doc"
    ln -sfn "$name" "$2/usr/share/doc/$name-dbgsym"
    cat >"$2/DEBIAN/control" <<END
Package: $name-dbgsym
Version: $version
Architecture: $architecture
Auto-Built-Package: debug-symbols
Maintainer: $(dpkg-deb --field "$1" Maintainer)
Depends: $name (= $version)
Section: debug
Priority: optional
Description: debug symbols for $name
Build-Ids: $(cd "$2/usr/lib/debug/.build-id" && find . -name '*.debug' | sort | sed 's|^\./||; s|/||; s|\.debug$||' | paste -sd' ')
END
    (cd "$2" && find usr -type f | sort | xargs md5sum >DEBIAN/md5sums)
    find "$2" -type d -exec chmod 755 {} +
    find "$2" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$2" "$3/${name}-dbgsym_${version}_$architecture.deb" >/dev/null
    rm -rf "$2"
}

"$@"
