# The front door. `make demo` and `make test` work on a fresh Debian 12.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
JOBS ?= $(shell nproc)

.PHONY: help install install-test build demo test test-release test-asan bench \
        test-gpu bench-gpu soak format clean

help:
	@echo 'make demo    install what is missing, build, and let three players train a CNN together'
	@echo 'make test    the same, then all tests, in release and under sanitizers'
	@echo 'make bench   tables, and build/bench.json'
	@echo 'make test-gpu, make bench-gpu   the same on the GPU of this machine'
	@echo 'make soak    long campaigns: crashes, kills, an epoch of LeNet'
	@echo 'make format  clang-format over all sources'

install:
	@.ci/install

install-test:
	@.ci/install packages packages-test

build: install
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target programs

demo: build
	@online/examples/demo build/release build/demo

test: install-test
	@.ci/test release asan

test-release: install-test
	@.ci/test release

test-asan: install-test
	@.ci/test asan

bench: install
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@bench/run build/release build/bench.json

# On a machine with a GPU and CUDA's toolkit; elsewhere all of it is skipped, which is printed.
test-gpu: install-test
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@ctest --test-dir build/release -L gpu --output-on-failure

bench-gpu: test-gpu
	@build/release/bench/gpu/beaverpond-gpu-bench --tune
	@build/release/bench/gpu/beaverpond-gpu-bench --json build/bench-gpu.json

soak: install-test
	@BEAVERPOND_SOAK=1 .ci/test release
	@tests/soak/lenet_epoch build/release build/soak

format:
	@git ls-files '*.h' '*.cpp' '*.cuh' '*.cu' | xargs clang-format -i

clean:
	@rm -rf build
