# Warnings, which are errors with the compilers that we test with. Another compiler may know new ones; there they
# stay warnings unless -DCRS_WERROR=ON says otherwise.
add_compile_options(-Wall -Wextra $<$<COMPILE_LANGUAGE:CXX>:-Wconversion> -Wshadow
                    $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wno-sign-conversion)  # part of -Wconversion there, but not of g++'s
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-restrict)  # g++ 12 warns of the standard library's own "x" + string (GCC bug 105651)
endif()

set(crs_tested_compiler OFF)
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12
    AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
   OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 14
       AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15))
  set(crs_tested_compiler ON)
endif()
option(CRS_WERROR "treat warnings as errors" ${crs_tested_compiler})
if(CRS_WERROR)
  add_compile_options(-Werror)
endif()
