# SPDX-License-Identifier: MIT
# CPack runs this on the package that it has made.
execute_process(COMMAND sh ${CPACK_SUPERD_SOURCE}/symbols.sh pack ${CPACK_PACKAGE_FILES}
  ${CPACK_TOPLEVEL_DIRECTORY}/symbols ${CPACK_PACKAGE_DIRECTORY} COMMAND_ERROR_IS_FATAL ANY)
