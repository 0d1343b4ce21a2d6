# GPU kernels: compiled by nvcc, or by the C++ compiler for the emulator in tests/cuda_emulator, or not
# at all. Sets PROXENT_CUDA_MODE to ON, EMULATED or OFF; proxent_add_cuda(target) adds tensor/cuda.

# Makes CUDA::cublasLt where the toolkit has none: Python's packages may, and there a library has its versioned name
# only.
macro(proxent_find_cublaslt)
  if(CUDAToolkit_FOUND AND NOT TARGET CUDA::cublasLt)
    find_path(CUBLASLT_INCLUDE_DIR cublasLt.h)
    find_library(CUBLASLT_LIBRARY libcublasLt.so.${CUDAToolkit_VERSION_MAJOR})
    if(CUBLASLT_INCLUDE_DIR AND CUBLASLT_LIBRARY)
      add_library(CUDA::cublasLt UNKNOWN IMPORTED)
      set_target_properties(CUDA::cublasLt PROPERTIES IMPORTED_LOCATION ${CUBLASLT_LIBRARY}
                            INTERFACE_INCLUDE_DIRECTORIES ${CUBLASLT_INCLUDE_DIR})
    endif()
  endif()
endmacro()

set(PROXENT_CUDA_MODE ${PROXENT_CUDA})
if(PROXENT_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  find_package(CUDAToolkit QUIET)
  proxent_find_cublaslt()
  find_package(CUDNN 9.8...<10 QUIET)
  set(PROXENT_CUDA_MODE OFF)
  if(NOT CMAKE_CUDA_COMPILER)
    message(STATUS "CUDA: off, nvcc was not found (put it on PATH or set CMAKE_CUDA_COMPILER)")
  elseif(NOT TARGET CUDA::cublasLt)
    message(STATUS "CUDA: off, cuBLASLt was not found (put the folder of its include and lib on CMAKE_PREFIX_PATH)")
  elseif(NOT CUDNN_FOUND)
    message(STATUS "CUDA: off, cuDNN 9 from 9.8 on was not found (set CUDNN_ROOT to its folder)")
  else()
    set(PROXENT_CUDA_MODE ON)
  endif()
elseif(NOT PROXENT_CUDA MATCHES "^(ON|OFF|EMULATED)$")
  message(FATAL_ERROR "PROXENT_CUDA is ${PROXENT_CUDA}: expected AUTO, ON, OFF or EMULATED")
endif()

if(PROXENT_CUDA_MODE STREQUAL "ON")
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # before the language, or libcudart is linked twice
  enable_language(CUDA)
  # CMake below 3.25.2 does not know how nvcc is asked for C++20.
  if(CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" AND NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
  endif()
  find_package(CUDAToolkit REQUIRED)
  proxent_find_cublaslt()
  if(NOT TARGET CUDA::cublasLt)
    message(FATAL_ERROR "CUDA needs cuBLASLt, which the toolkit in ${CUDAToolkit_LIBRARY_ROOT} has not. Put the folder "
                        "that has its include and lib on CMAKE_PREFIX_PATH, or set PROXENT_CUDA to OFF")
  endif()
  find_package(CUDNN 9.8...<10)
  if(NOT CUDNN_FOUND)
    message(FATAL_ERROR "CUDA needs cuDNN 9 from 9.8 on, found: ${CUDNN_LIBRARY} ${CUDNN_VERSION}. Set "
                        "CUDNN_ROOT to the folder that has its include and lib, or PROXENT_CUDA to OFF")
  endif()
  list(JOIN CMAKE_CUDA_ARCHITECTURES " " built_for)
  message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER_VERSION}, for architectures ${built_for}, cuDNN ${CUDNN_VERSION}")
elseif(PROXENT_CUDA_MODE STREQUAL "EMULATED")
  message(STATUS "CUDA: emulated on the processor, for tests")
endif()

# Files that call NVIDIA's libraries; an emulated build has tests/cuda_emulator/libraries.cpp instead.
set(library_files "/(conv|matmul|cudnn.*|cublas.*|library.*)\\.cpp$")

function(proxent_add_cuda target)
  if(PROXENT_CUDA_MODE STREQUAL "OFF")
    return()
  endif()
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tensor/cuda/*.cu)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tensor/cuda/*.cpp)
  target_compile_definitions(${target} PRIVATE PROXENT_CUDA)
  if(PROXENT_CUDA_MODE STREQUAL "ON")
    target_sources(${target} PRIVATE ${kernels} ${sources})
    target_compile_definitions(${target} PRIVATE PROXENT_CUDA_ARCHITECTURES="${built_for}")
    target_compile_features(${target} PRIVATE cuda_std_20)
    # Relaxed: constexpr functions of the standard library, such as std::numeric_limits', in kernels.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>
      $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${PROXENT_WERROR}>>:-Werror=all-warnings>)
    # __launch_bounds__ is a kernel's budget of registers; one that does not fit is a warning. Not in two files,
    # where float64's and the largest k's variants spill a few bytes around calls.
    set(within_budget ${kernels})
    list(FILTER within_budget EXCLUDE REGEX "/(proxy_loss|topk)\\.cu$")
    set_source_files_properties(${within_budget} PROPERTIES
      COMPILE_OPTIONS "-Xptxas=--warn-on-spills$<$<BOOL:${PROXENT_WERROR}>:$<COMMA>--warning-as-error>")
    target_link_libraries(${target} PRIVATE CUDA::cudart CUDA::nvtx3 CUDA::cublasLt CUDNN::cudnn)
  else()
    list(FILTER sources EXCLUDE REGEX ${library_files})
    target_sources(${target} PRIVATE ${kernels} ${sources}
      ${PROJECT_SOURCE_DIR}/tests/cuda_emulator/libraries.cpp)
    set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX
      COMPILE_OPTIONS -Wno-unknown-pragmas)
    target_compile_definitions(${target} PRIVATE PROXENT_CUDA_EMULATED PROXENT_CUDA_ARCHITECTURES="")
    target_include_directories(${target} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/cuda_emulator)
    target_link_libraries(${target} PRIVATE proxent_cuda_emulator)
  endif()
endfunction()

# The emulator itself: part of an emulated build, and tested in every build but a real one.
function(proxent_add_cuda_emulator)
  if(NOT PROXENT_CUDA_MODE STREQUAL "ON")
    set(folder ${PROJECT_SOURCE_DIR}/tests/cuda_emulator)
    add_library(proxent_cuda_emulator STATIC ${folder}/block.cpp ${folder}/fiber.cpp
                ${folder}/host_functions.cpp)
    target_link_libraries(proxent_cuda_emulator PUBLIC proxent_options)
  endif()
endfunction()
