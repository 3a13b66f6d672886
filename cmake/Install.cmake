# What `cmake --install` puts where: the program, headers, bash completion, and what others need to find us
# (crs.pc for pkg-config, crsConfig.cmake for find_package). Man pages: ManPages.cmake.
include(CMakePackageConfigHelpers)

if(TARGET crs)
  install(TARGETS crs EXPORT crs_targets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(EXPORT crs_targets NAMESPACE crs:: FILE crsTargets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/crs)
endif()
if(TARGET crs_library)
  install(TARGETS crs_library EXPORT crs_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(IS_DIRECTORY ${CMAKE_SOURCE_DIR}/include/crs)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/crs DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
if(EXISTS ${CMAKE_SOURCE_DIR}/completions/crs.bash)
  install(FILES ${CMAKE_SOURCE_DIR}/completions/crs.bash
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME crs)
endif()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/crsConfig.cmake.in ${CMAKE_BINARY_DIR}/package/crsConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/crs PATH_VARS CMAKE_INSTALL_BINDIR CMAKE_INSTALL_INCLUDEDIR
  CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/crsConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/crsConfig.cmake ${CMAKE_BINARY_DIR}/package/crsConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/crs)

# The .pc file finds itself (pcfiledir), so that an installed tree can be moved.
file(RELATIVE_PATH crs_pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/crs.pc.in ${CMAKE_BINARY_DIR}/package/crs.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/package/crs.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
