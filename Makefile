# `make demo` needs Go only; `make test` asks scripts/setup for the rest.
LINT := go tool -modfile=tools/go.mod golangci-lint

.PHONY: help demo run build test lint check chaos vuln bench fuzz golden release release-check

demo: build ## one exchange, start to end, on loopback
	bin/cambio demo

run: build ## the demo's gateway, and it stays
	bin/cambio demo --stay

build: ## bin/cambio, static and reproducible
	CGO_ENABLED=0 go build -trimpath -o bin/cambio ./cmd/cambio

test: ## everything, with the race detector; vet is lint's
	scripts/setup
	go test -race -shuffle=on -vet=off $(TESTFLAGS) ./...
	go test -tags pkcs11 -run PKCS11 $(TESTFLAGS) ./keystore

lint: ## format, lint and vet
	$(LINT) fmt --diff && $(LINT) run
	go vet ./...

check: lint ## that, and the quick tests
	go test -short $$(go list ./... | grep -v ^cambio/test)

vuln: ## known vulnerabilities in what we call
	scripts/vuln

chaos: ## two replicas, and a Redis that is killed, emptied, failed over and cut off
	scripts/setup
	go test -tags chaos -count=1 -timeout 15m -v ./test/chaos

bench: ## exchanges a second, beside a bare handler
	go run ./test/bench

fuzz: ## every fuzz target for 30 s
	scripts/fuzz 30s

golden: ## rewrite the golden files, then look at the difference
	UPDATE=1 go test -count=1 ./...
	git diff --stat

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 15

release: ## bin/release: tarballs, packages, SBOMs and their checksums
	scripts/release

release-check: ## build the release twice, in two places: the same bytes
	scripts/setup
	go test -tags release -count=1 -run Release $(TESTFLAGS) ./test
