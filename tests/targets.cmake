# tests/targets/*.cc (and .c): one program each, saved and brought back by run_target.py in every variant.
#
# The comments at the head of a target (target.h lists them) are read here where they concern the compiler or
# which tests there are, and by run_target.py otherwise. Targets are built without sanitizers whatever the build
# does: the memory layout of an instrumented program is not what most of them are about.

file(GLOB target_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/targets/*.cc
     ${CMAKE_CURRENT_SOURCE_DIR}/targets/*.c)

# The value of "// NAME: value" in a source, or "".
function(crs_target_directive source name result)
  file(STRINGS ${source} lines REGEX "^// ${name}: *[^ ].*$" LIMIT_COUNT 1)
  string(REGEX REPLACE "^// ${name}: *" "" value "${lines}")
  set(${result} "${value}" PARENT_SCOPE)
endfunction()

set(target_directory ${CMAKE_BINARY_DIR}/targets)
foreach(source IN LISTS target_sources)
  get_filename_component(name ${source} NAME_WE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  crs_target_directive(${source} flags flags)
  crs_target_directive(${source} compiler compiler)
  crs_target_directive(${source} needs needs)
  crs_target_directive(${source} expect expect)
  crs_target_directive(${source} variants variants)
  crs_target_directive(${source} lock lock)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  separate_arguments(needs UNIX_COMMAND "${needs}")
  separate_arguments(variants UNIX_COMMAND "${variants}")

  if(compiler)
    string(MAKE_C_IDENTIFIER ${compiler} compiler_id)
    find_program(CRS_TEST_${compiler_id} ${compiler})
    if(CRS_TEST_${compiler_id})
      add_custom_command(
        OUTPUT ${target_directory}/${name}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${target_directory}
        COMMAND ${CRS_TEST_${compiler_id}} -g -O1 -I${CMAKE_SOURCE_DIR} ${source} -o ${target_directory}/${name} ${flags}
        DEPENDS ${source} ${CMAKE_CURRENT_SOURCE_DIR}/target.h
        COMMENT "Building target ${name} with ${compiler}")
      add_custom_target(target_${name} ALL DEPENDS ${target_directory}/${name})
    endif()
  else()
    add_executable(target_${name} ${source})
    set_target_properties(target_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${target_directory} OUTPUT_NAME ${name})
    target_include_directories(target_${name} PRIVATE ${CMAKE_SOURCE_DIR})
    # clang calls it an error to be told of linking while it compiles.
    set(compile_flags ${flags})
    list(FILTER compile_flags EXCLUDE REGEX "^-(no-)?pie$|^-static|^-l|^-Wl,")
    target_compile_options(target_${name} PRIVATE -O1 -g -pthread -fno-sanitize=all ${compile_flags})
    target_link_options(target_${name} PRIVATE -pthread -fno-sanitize=all ${flags})
  endif()

  if(expect MATCHES "^refused")
    set(variants running)
  elseif(NOT variants)
    set(variants once twice running)
  endif()
  set(accounts root user)
  if("root" IN_LIST needs)
    set(accounts root)
  elseif("user" IN_LIST needs)
    set(accounts user)
  endif()
  foreach(variant IN LISTS variants)
    foreach(account IN LISTS accounts)
      set(test target.${name}.${variant}.${account})
      add_test(NAME ${test}
               COMMAND ${CRS_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/run_target.py --crs $<TARGET_FILE:crs>
                       --target ${target_directory}/${name} --source ${source} --variant ${variant} --who ${account})
      set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180 LABELS "targets;${account}")
      if(lock)
        set_tests_properties(${test} PROPERTIES RESOURCE_LOCK ${lock})
      endif()
    endforeach()
  endforeach()
  # The target by itself: what fails here is no finding about crs. As whoever starts the tests, unless it needs
  # one of the accounts.
  set(only)
  list(LENGTH accounts count)
  if(count EQUAL 1)
    set(only --who ${accounts})
  endif()
  add_test(NAME target.${name}.itself
           COMMAND ${CRS_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/run_target.py --crs $<TARGET_FILE:crs>
                   --target ${target_directory}/${name} --source ${source} --variant none ${only})
  set_tests_properties(target.${name}.itself PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 60 LABELS "targets;itself")
  if(lock)
    set_tests_properties(target.${name}.itself PROPERTIES RESOURCE_LOCK ${lock})
  endif()
endforeach()
