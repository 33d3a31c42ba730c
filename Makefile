# Spate: build, run, test. "make run" and "make test" are all that a newcomer needs.
SHELL := /bin/bash
export CGO_ENABLED = 0
GO ?= go
FUZZTIME ?= 10s
SEED ?= $(shell date +%s)
COMPAT ?= # flags of the compatibility tests: -long (50 members in every library, minutes of faults), -kafka (groups, chains, Connect and Streams against Apache Kafka)
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

.PHONY: build run test unit race kill proof compat browser lint fuzz crash bench check clean

build: ## bin/spate, one static binary (-buildvcs=false: git refuses to look at a checkout that another user owns)
	$(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/spate ./cmd/spate

run: build ## a broker on the defaults: PLAINTEXT://127.0.0.1:9092, data in ./data
	bin/spate broker

test: unit race kill proof compat browser ## all tests that need no root (packages that are missing are installed with apt, pip, npm, Maven)

unit: build
	$(GO) test -timeout 30m ./...
	cd tools && $(GO) test ./tidy ./wirecap

race: | gcc
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...

gcc: # the race detector needs a C compiler
	@command -v gcc >/dev/null || { \
	  sudo=; test $$(id -u) = 0 || sudo='sudo -n'; \
	  $$sudo apt-get update -q; \
	  $$sudo apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 gcc libc6-dev; }
.PHONY: gcc

kill: build ## kill -9 under load, real broker, real clients, groups of consumers, transactions
	cd tools && $(GO) test -count=1 -timeout 30m -v ./chaos -seed $(SEED)

proof: build ## what the design promises of its I/O, seen from outside (strace, metrics)
	cd tools && $(GO) test -count=1 -v ./proof

compat: build ## unmodified clients, alone and in groups, and Kafka's own tools against the real binary and beside Kafka
	cd tools && $(GO) test -count=1 -timeout 90m -parallel 6 ./compat/... $(COMPAT)

browser: build ## pages that spate writes, in chromium without a window and without a network
	cd tools && $(GO) test -count=1 -v ./browser

crash: build ## power cuts on a loop device, a full disk; needs root
	cd tools && $(GO) test -count=1 -timeout 30m -v -tags crash -run 'PowerCut|FullDisk' ./chaos -seed $(SEED)
	cd tools && $(GO) test -count=1 -v -tags crash -run FullDisk ./proof

lint: bin/staticcheck ## gofmt, vet, staticcheck, and the rules of tools/tidy
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet ./... && cd tools && $(GO) vet ./... && $(GO) vet -tags crash ./chaos ./proof
	bin/staticcheck ./... && cd tools && ../bin/staticcheck ./...
	cd tools && $(GO) run ./tidy ..

bin/staticcheck: tools/go.mod
	cd tools && $(GO) build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

bench: build ## side by side with Apache Kafka; writes BENCHMARKS.md
	$(GO) run ./bench/sidebyside -out BENCHMARKS.md

check: lint test ## what must pass before a commit

clean:
	rm -rf bin
