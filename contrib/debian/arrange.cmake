# SPDX-License-Identifier: MIT
# CPack runs this on the files to pack: it moves what Debian keeps in other places than a plain installation does.
# What depends on when, where and by whom it is built would make a package that nobody can build again: times are the
# changelog's unless SOURCE_DATE_EPOCH is set, modes do not come from the umask.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/usr/share/doc/superd)

file(MAKE_DIRECTORY ${root}/etc/superd/conf.d ${root}/usr/share/zsh ${doc})
file(RENAME ${root}/usr/share/superd/superd.toml ${root}/etc/superd/superd.toml)
file(RENAME ${root}/usr/share/zsh/site-functions ${root}/usr/share/zsh/vendor-completions)
file(REMOVE ${doc}/LICENSE)
file(COPY ${CPACK_SUPERD_SOURCE}/copyright ${CPACK_SUPERD_CHANGELOG} DESTINATION ${doc})
file(MAKE_DIRECTORY ${root}/usr/share/lintian/overrides)
configure_file(${CPACK_SUPERD_SOURCE}/lintian-overrides ${root}/usr/share/lintian/overrides/superd COPYONLY)
set(modes OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
file(GLOB_RECURSE written ${doc}/* ${root}/usr/share/lintian/*)
file(CHMOD ${written} FILE_PERMISSIONS ${modes})
file(GLOB_RECURSE folders LIST_DIRECTORIES true ${root}/*)
foreach(folder ${folders})
  if(IS_DIRECTORY ${folder})
    file(CHMOD ${folder} DIRECTORY_PERMISSIONS ${modes} OWNER_EXECUTE GROUP_EXECUTE WORLD_EXECUTE)
  endif()
endforeach()
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
  execute_process(COMMAND dpkg-parsechangelog -l ${CPACK_SUPERD_CHANGELOG} -S Timestamp OUTPUT_VARIABLE time
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(ENV{SOURCE_DATE_EPOCH} ${time})
endif()
execute_process(COMMAND gzip -9n ${doc}/changelog ${doc}/CHANGELOG.md COMMAND_ERROR_IS_FATAL ANY)
# The symbols get a package of their own. CPack's would have paths of the build in its checksums.
execute_process(COMMAND sh ${CPACK_SUPERD_SOURCE}/symbols.sh take ${root} ${CPACK_TOPLEVEL_DIRECTORY}/symbols
  COMMAND_ERROR_IS_FATAL ANY)
