# Everything that is done to this repository, one target each. Go, git and
# make are enough; a C compiler is used for the race detector where there is
# one.

GO        ?= go
BENCH     ?= .
BENCHTIME ?= 1s
FUZZTIME  ?= 20s

# Packages in which the race detector costs minutes and finds nothing: one
# goroutine that evaluates CUE, whole-binary tests whose work is done by other
# processes, and tests that only read source files.
PLAIN := /(cmd/aplomb|schema/compile|internal/arch|internal/sandbox|tools/[a-z]+)$$

.DEFAULT_GOAL := help
.PHONY: help build test engines e2e check bench demo generate fuzz clean

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: ## bin/aplomb, and bin/shop which the example runs
	$(GO) build -trimpath -o bin/ ./cmd/aplomb ./examples/shop/cmd/shop ./examples/selfservice/cmd/team

test: ## every test, with the race detector where it is worth its time
	@GO='$(GO)' PLAIN='$(PLAIN)' sh tools/test.sh

engines: ## build the engines that e2e runs against, into bin/engines
	@GO='$(GO)' sh tools/engines/build.sh

e2e: ## the tests that need OpenTofu, Vault, Consul, Nomad and PostgreSQL
	@GO='$(GO)' sh tools/e2e.sh

check: ## format, vet, staticcheck, generated files, go.mod, the house rules
	@GO='$(GO)' sh tools/check.sh

bench: ## every benchmark, one package at a time (BENCH=regexp BENCHTIME=1s)
	$(GO) test -p 1 -timeout 30m -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

demo: build ## follow a Git repository made of examples/shop, and say what to try
	@sh tools/demo/demo.sh

generate: ## make again what is generated: kinds.json, docs/kinds
	$(GO) generate ./...

fuzz: ## each fuzz target for FUZZTIME=20s
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' sh tools/fuzz.sh

clean: ## remove what was built
	rm -rf bin
