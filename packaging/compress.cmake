# SPDX-License-Identifier: Apache-2.0
# Debian policy 12.1 and 12.7: manual pages and changelogs are compressed, without a date.
file(GLOB_RECURSE files ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*/share/man/*.[157]
     ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*/share/doc/lct/changelog)
foreach(file ${files})
  execute_process(COMMAND gzip -9n ${file} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
