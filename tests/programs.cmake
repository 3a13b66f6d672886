# tests/programs and tests/cli: unittest files that start real programs and use the command line as a user would.
#
# Each file is one test per account. A test case that cannot run says what is missing; a file in which every case
# was skipped counts as skipped (support/case.py).
file(GLOB program_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/test_*.py
     ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_*.py)
foreach(source IN LISTS program_tests)
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  get_filename_component(folder ${folder} NAME)
  string(REGEX REPLACE "^test_" "" name ${name})
  foreach(account root user)
    add_test(NAME ${folder}.${name}.${account}
             COMMAND ${CRS_TEST_PYTHON} ${source} --crs $<TARGET_FILE:crs> --who ${account})
    set_tests_properties(${folder}.${name}.${account} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300
                         LABELS "${folder};${account}")
  endforeach()
endforeach()
