# SPDX-License-Identifier: MIT
# CPack runs this on the files to pack: it moves what Debian keeps in other places than a plain installation does.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/usr/share/doc/superd)

file(MAKE_DIRECTORY ${root}/etc/superd/conf.d ${root}/lib ${root}/usr/share/zsh ${doc})
file(RENAME ${root}/usr/share/superd/superd.toml ${root}/etc/superd/superd.toml)
file(RENAME ${root}/usr/share/zsh/site-functions ${root}/usr/share/zsh/vendor-completions)
# System units are below /lib, user units below /usr/lib.
file(MAKE_DIRECTORY ${root}/lib/systemd)
file(RENAME ${root}/usr/lib/systemd/system ${root}/lib/systemd/system)
file(REMOVE ${doc}/LICENSE)
file(COPY ${CPACK_SUPERD_SOURCE}/copyright ${CPACK_SUPERD_CHANGELOG} DESTINATION ${doc})
file(MAKE_DIRECTORY ${root}/usr/share/lintian/overrides)
configure_file(${CPACK_SUPERD_SOURCE}/lintian-overrides ${root}/usr/share/lintian/overrides/superd COPYONLY)
execute_process(COMMAND gzip -9n ${doc}/changelog ${doc}/CHANGELOG.md COMMAND_ERROR_IS_FATAL ANY)
