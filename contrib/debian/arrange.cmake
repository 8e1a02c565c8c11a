# SPDX-License-Identifier: MIT
# Run by CPack on what is to be packed: moves what Debian keeps elsewhere than a plain installation does.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/usr/share/doc/superd)

file(MAKE_DIRECTORY ${root}/etc/superd/conf.d ${root}/lib ${root}/usr/share/zsh ${doc})
file(RENAME ${root}/usr/share/superd/superd.toml ${root}/etc/superd/superd.toml)
file(RENAME ${root}/usr/share/zsh/site-functions ${root}/usr/share/zsh/vendor-completions)
# The system's units are below /lib, users' below /usr/lib.
file(MAKE_DIRECTORY ${root}/lib/systemd)
file(RENAME ${root}/usr/lib/systemd/system ${root}/lib/systemd/system)
file(REMOVE ${doc}/LICENSE)
file(COPY ${CPACK_SUPERD_DEBIAN}/copyright DESTINATION ${doc})
configure_file(${CPACK_SUPERD_DEBIAN}/changelog ${doc}/changelog COPYONLY)
execute_process(COMMAND gzip -9n ${doc}/changelog ${doc}/CHANGELOG.md COMMAND_ERROR_IS_FATAL ANY)
