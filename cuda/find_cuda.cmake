# Finds what the CUDA backend is built with: nvcc, and cuBLAS of the toolkit or of NVIDIA's wheel.
#
# Sets DRML_WITH_CUDA. Where it is ON, the language CUDA is enabled, the target drml_cublas brings
# cuBLAS, and DRML_CUBLAS_RPATH is where the installed module looks for it.

set(DRML_CUDA AUTO CACHE STRING
    "Build the CUDA backend: ON, OFF, AUTO (where it can be built), or EMULATE (on the CPU)")
set(DRML_CUDA_ARCHITECTURES all-major CACHE STRING
    "GPUs to compile for: all-major, all, native, or numbers such as 35;70")
set(DRML_CUBLAS_DIR "" CACHE PATH "Folder with include/ and lib/ of the cuBLAS to take")
set(DRML_WITH_CUDA OFF)

# Leaves this file without a CUDA backend, for the reason given in one or more pieces. The blank
# before a message keeps CMake from breaking it into lines.
macro(drml_without_cuda)
  string(CONCAT DRML_REASON ${ARGN})
  if(DRML_CUDA STREQUAL "ON")
    message(FATAL_ERROR " DRML_CUDA=ON: ${DRML_REASON}")
  endif()
  message(STATUS "CUDA: not built: ${DRML_REASON}")
  return()
endmacro()

if(NOT DRML_CUDA MATCHES "^(AUTO|ON|OFF|EMULATE)$")
  message(FATAL_ERROR " DRML_CUDA is AUTO, ON, OFF or EMULATE, not '${DRML_CUDA}'")
endif()
if(DRML_CUDA STREQUAL "EMULATE")
  return()
endif()
if(DRML_CUDA STREQUAL "OFF")
  drml_without_cuda("DRML_CUDA=OFF")
endif()
if(CMAKE_VERSION VERSION_LESS 3.23)
  drml_without_cuda("that takes CMake 3.23 or later, and this is ${CMAKE_VERSION}")
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  drml_without_cuda("no nvcc that works (put nvcc on PATH or name it by CUDACXX, and name a "
                    "host compiler that it takes by CUDAHOSTCXX)")
endif()

# nvcc's own complaint comes wrapped in a page of CMake's.
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-code OUTPUT_VARIABLE DRML_KNOWN_GPUS
                ERROR_QUIET)
string(REGEX MATCHALL "[0-9]+" DRML_KNOWN_GPUS "${DRML_KNOWN_GPUS}")
foreach(gpu IN LISTS DRML_CUDA_ARCHITECTURES)
  string(REGEX MATCH "^[0-9]+" number "${gpu}")
  if(number AND DRML_KNOWN_GPUS AND NOT number IN_LIST DRML_KNOWN_GPUS)
    list(SORT DRML_KNOWN_GPUS COMPARE NATURAL)
    list(JOIN DRML_KNOWN_GPUS ", " DRML_KNOWN_GPUS)
    message(FATAL_ERROR " DRML_CUDA_ARCHITECTURES: ${CMAKE_CUDA_COMPILER} does not compile for "
                        "${gpu}, only for ${DRML_KNOWN_GPUS}")
  endif()
endforeach()

set(CMAKE_CUDA_ARCHITECTURES ${DRML_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

add_library(drml_cublas INTERFACE)
if(TARGET CUDA::cublas AND NOT DRML_CUBLAS_DIR)
  target_link_libraries(drml_cublas INTERFACE CUDA::cublas)
  set(DRML_CUBLAS ${CUDA_cublas_LIBRARY})
  get_filename_component(DRML_CUBLAS_RPATH ${DRML_CUBLAS} DIRECTORY)
else()
  # A wheel holds the library under its versioned name alone, for the linker to take by its path.
  set(major ${CUDAToolkit_VERSION_MAJOR})
  set(wheels ${Python_SITELIB}/nvidia/cu${major} ${Python_SITELIB}/nvidia/cublas)
  unset(DRML_CUBLAS CACHE)
  find_file(DRML_CUBLAS libcublas.so.${major} PATHS ${DRML_CUBLAS_DIR} ${wheels}
            PATH_SUFFIXES lib lib64 NO_DEFAULT_PATH)
  get_filename_component(DRML_CUBLAS_RPATH "${DRML_CUBLAS}" DIRECTORY)
  get_filename_component(include "${DRML_CUBLAS_RPATH}" DIRECTORY)
  string(APPEND include /include)
  if(NOT EXISTS ${include}/cublas_v2.h)
    set(wheel nvidia-cublas)
    if(major LESS 13)
      string(APPEND wheel -cu${major})
    endif()
    drml_without_cuda("nvcc ${CUDAToolkit_VERSION} is here, its cuBLAS is not (pip install "
                      "'${wheel}==${major}.*' into ${Python_SITELIB}, or name the folder of its "
                      "include/ and lib/ by DRML_CUBLAS_DIR)")
  endif()
  target_include_directories(drml_cublas SYSTEM INTERFACE ${include})
  target_link_libraries(drml_cublas INTERFACE ${DRML_CUBLAS})
  # The wheel stays beside the module when an environment is moved.
  string(REPLACE "${Python_SITELIB}/" "$ORIGIN/../" DRML_CUBLAS_RPATH "${DRML_CUBLAS_RPATH}")
endif()
set(DRML_WITH_CUDA ON)
message(STATUS "CUDA: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, cuBLAS ${DRML_CUBLAS}, "
               "architectures ${DRML_CUDA_ARCHITECTURES}")
