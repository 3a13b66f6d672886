# tests/programs and tests/cli: unittest files that start real programs and use the command line as a user would.
#
# Each test_*.py is one test per account. A case that cannot run says what is missing; a file in which every case was
# skipped counts as skipped (support/case.py). Programs that they need and no machine has are built here.
set(program_directory ${CMAKE_BINARY_DIR}/programs)

file(GLOB program_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/*.cc)
foreach(source IN LISTS program_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(program_${name} ${source})
  set_target_properties(program_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${program_directory} OUTPUT_NAME ${name})
  target_compile_options(program_${name} PRIVATE -pthread -fno-sanitize=all)
  target_link_options(program_${name} PRIVATE -pthread -fno-sanitize=all)
endforeach()

find_program(CRS_TEST_GO go)
if(CRS_TEST_GO)
  add_custom_command(
    OUTPUT ${program_directory}/goroutines
    COMMAND ${CMAKE_COMMAND} -E env GOCACHE=${CMAKE_BINARY_DIR}/go-cache GO111MODULE=off GOFLAGS= ${CRS_TEST_GO} build
            -o ${program_directory}/goroutines ${CMAKE_CURRENT_SOURCE_DIR}/programs/goroutines.go
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/goroutines.go)
  add_custom_target(program_goroutines ALL DEPENDS ${program_directory}/goroutines)
endif()
find_program(CRS_TEST_JAVAC javac)
if(CRS_TEST_JAVAC)
  add_custom_command(
    OUTPUT ${program_directory}/Numbers.class
    COMMAND ${CRS_TEST_JAVAC} -d ${program_directory} ${CMAKE_CURRENT_SOURCE_DIR}/programs/Numbers.java
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/Numbers.java)
  add_custom_target(program_numbers ALL DEPENDS ${program_directory}/Numbers.class)
endif()
# A 32-bit program needs no 32-bit library when it is written in assembler.
add_custom_command(
  OUTPUT ${program_directory}/thirty_two_bits
  COMMAND ${CMAKE_COMMAND} -E make_directory ${program_directory}
  COMMAND as --32 ${CMAKE_CURRENT_SOURCE_DIR}/programs/thirty_two_bits.s -o ${program_directory}/thirty_two_bits.o
  COMMAND ld -m elf_i386 ${program_directory}/thirty_two_bits.o -o ${program_directory}/thirty_two_bits
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/thirty_two_bits.s)
add_custom_target(program_thirty_two_bits ALL DEPENDS ${program_directory}/thirty_two_bits)

file(GLOB program_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/programs/test_*.py
     ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_*.py)
foreach(source IN LISTS program_tests)
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  get_filename_component(folder ${folder} NAME)
  string(REGEX REPLACE "^test_" "" name ${name})
  foreach(account root user)
    add_test(NAME ${folder}.${name}.${account}
             COMMAND ${CRS_TEST_PYTHON} ${source} --crs $<TARGET_FILE:crs> --programs ${program_directory} --who ${account}
                     ${CRS_TEST_OPTIONS})
    set_tests_properties(${folder}.${name}.${account} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300
                         LABELS "${folder};${account}")
  endforeach()
endforeach()
foreach(account root user)
  add_test(NAME soak.killed_checkpoint.${account} CONFIGURATIONS Soak
           COMMAND ${CRS_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/programs/test_killed_checkpoint.py
                   --crs $<TARGET_FILE:crs> --programs ${program_directory} --who ${account} ${CRS_TEST_OPTIONS})
  set_tests_properties(soak.killed_checkpoint.${account} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800
                       LABELS "soak;${account}" ENVIRONMENT "CRS_TEST_KILLS=200")
endforeach()
