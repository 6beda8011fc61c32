# cmake --install: the programs, the public headers, one library, and find_package(beaverpond).
# Component `programs` is what `make build` makes and a host of players needs; the rest is for
# programs of one's own.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# One archive instead of one a folder: a consumer links beaverpond::beaverpond and nothing else, and
# the folders stay our business. The factory is not in it: it is a program.
set(beaverpond_parts
    beaverpond_api beaverpond_player beaverpond_trainer beaverpond_nn beaverpond_twin
    beaverpond_protocol beaverpond_securenn beaverpond_session beaverpond_identity
    beaverpond_transport beaverpond_frame
    beaverpond_pool beaverpond_plan beaverpond_kernels beaverpond_module_file)
foreach(part IN LISTS beaverpond_parts)
  list(APPEND beaverpond_objects $<TARGET_OBJECTS:${part}>)
endforeach()
add_library(beaverpond_archive STATIC ${beaverpond_objects})
set_target_properties(beaverpond_archive PROPERTIES
                      OUTPUT_NAME beaverpond EXPORT_NAME beaverpond LINKER_LANGUAGE CXX)
target_compile_features(beaverpond_archive PUBLIC cxx_std_20)
target_include_directories(beaverpond_archive PUBLIC $<INSTALL_INTERFACE:include>)
target_link_libraries(beaverpond_archive PRIVATE OpenSSL::SSL OpenSSL::Crypto ZLIB::ZLIB
                      tomlplusplus::tomlplusplus zip Threads::Threads ${CMAKE_DL_LIBS})

# Where the programs find modules (kernels/device_module.h).
set_target_properties(beaverpond triple-factory PROPERTIES
                      INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/beaverpond)
install(TARGETS beaverpond triple-factory RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        COMPONENT programs)
if(BEAVERPOND_CUDA_ENABLED)
  install(TARGETS beaverpond_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT programs)
endif()
if(BEAVERPOND_MPI_ENABLED)
  install(TARGETS beaverpond_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT programs)
endif()
install(TARGETS beaverpond_archive EXPORT beaverpond
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/beaverpond
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT programs)
install(EXPORT beaverpond NAMESPACE beaverpond:: FILE beaverpondTargets.cmake
        DESTINATION ${package_folder} COMPONENT development)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/beaverpondConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/cmake/beaverpondConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/beaverpondConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/beaverpondConfig.cmake
              ${PROJECT_BINARY_DIR}/cmake/beaverpondConfigVersion.cmake
        DESTINATION ${package_folder} COMPONENT development)
