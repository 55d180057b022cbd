# SPDX-License-Identifier: Apache-2.0
# The files of conf/ as a table in C, in the build directory, for lct_config_run: each named without its last suffix.
file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/conf/*.* ${CMAKE_SOURCE_DIR}/conf/systemd/*.*
     ${CMAKE_SOURCE_DIR}/conf/hooks/*.*)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
set(texts)
set(rows)
foreach(file ${files})
  file(READ ${file} text HEX)
  string(REGEX REPLACE "(................................)" "\\1\n    " text "${text}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1, " text "${text}")
  list(LENGTH rows number)
  cmake_path(GET file STEM LAST_ONLY name)
  if(name STREQUAL lct)
    set(name openssl)
  endif()
  string(APPEND texts "static const char text_${number}[] = {\n    ${text}0,\n};\n\n")
  list(APPEND rows "    {\"${name}\", text_${number}},\n")
endforeach()
list(LENGTH rows number)
list(SORT rows)
list(JOIN rows "" rows)
set(LCT_FRAGMENTS ${CMAKE_BINARY_DIR}/fragments.c)
file(CONFIGURE OUTPUT ${LCT_FRAGMENTS} @ONLY CONTENT
     "/* SPDX-License-Identifier: Apache-2.0 */\n/* Made from conf/ by tools/fragments.cmake. */\n#include \"tools/fragment.h\"\n\n\
${texts}const struct lct_fragment lct_fragments[] = {\n${rows}};\n\nconst size_t lct_num_fragments = ${number};\n")
