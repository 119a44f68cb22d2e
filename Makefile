# One entry for people and for continuous integration: `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# Tools that tests need are pinned here, built once, and kept outside the source tree (scripts/cache-dir).
export CARGO_FUZZ_VERSION := 0.13.2
# It has to read the rustdoc JSON of the compiler in rust-toolchain.toml.
export CARGO_PUBLIC_API_VERSION := 0.52.0
CARGO_DENY_VERSION := 0.20.2

# Two cores are enough, and leave a laptop usable; override to use more.
export CARGO_BUILD_JOBS ?= 2
export RUST_TEST_THREADS ?= 2
export CARGO_TERM_COLOR ?= auto

# How long each fuzz target runs, in seconds.
FUZZ_SECONDS ?= 60
FUZZ_SMOKE_SECONDS ?= 5

# `none` leaves out the SDKs, for machines without Python or Node.
INTEROP ?=
export INTEROP

# `none` leaves out what needs the rig of real parts, for machines where nobody is root or that are not Linux.
RIG ?=
export RIG

# Not empty: what tests the tools of the tests runs although it has passed with the same sources (scripts/rig-once).
ALWAYS ?=
export ALWAYS

CARGO_DENY = "$$(scripts/cargo-tool cargo-deny $(CARGO_DENY_VERSION))/cargo-deny"

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Builds the release binary: target/release/countersign
	cargo build --release --locked

.PHONY: demo
demo: ## Shows a card being signed, verified, attacked and turned into a NetworkPolicy
	cargo run --release --locked -- demo

.PHONY: check
check: lint unit deny ## What needs neither root nor a cluster: while you work, and before you commit

.PHONY: test
test: check vectors interop fuzz-smoke rig-netpol rig sidecar-tests cluster-tests ## Everything that continuous integration checks

.PHONY: test-all
test-all: ## `make test`, also what did not change since it passed, the gate of instructions, and all of Kubernetes' specs
	@$(MAKE) --no-print-directory test ALWAYS=1
	@scripts/step 'instructions per verification' scripts/bench-instructions
	@$(MAKE) --no-print-directory rig-conformance

.PHONY: lint
lint: ## Versions, workflows, formatting, clippy for everything, each binary alone and the fuzz targets, public API of the core
	@scripts/step 'versions agree' scripts/check-versions
	@scripts/step 'workflows' scripts/actionlint
	@scripts/step 'workflows, security' scripts/zizmor --persona auditor .github
	@scripts/step 'formatting' cargo fmt --all --check
	@scripts/step 'formatting, fuzz targets' cargo fmt --manifest-path fuzz/Cargo.toml --check
	@scripts/step 'clippy, everything' cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	@scripts/step 'clippy, command line alone' cargo clippy --locked --all-targets -- -D warnings
	@scripts/step 'clippy, sidecar alone' cargo clippy --locked --all-targets --no-default-features --features sidecar -- -D warnings
	@scripts/step 'clippy, fuzz targets' cargo clippy --locked --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings
	@scripts/step 'public API of the core' scripts/public-api

# The packages whose tests need no rig.
UNIT := --workspace --exclude countersign-rig --exclude countersign-cluster-tests --exclude countersign-sidecar-tests

.PHONY: unit
unit: client-tools ## Tests of the source, documentation and generated files; needs no network once built
	@scripts/step 'jq, for the README' scripts/need jq jq --version
	@scripts/step 'tests' cargo test --locked $(UNIT) --all-features --lib --bins --tests --no-fail-fast
	@scripts/step 'tests in documentation' cargo test --locked $(UNIT) --all-features --doc
	@RUSTDOCFLAGS='-D warnings' scripts/step 'API documentation' cargo doc --locked $(UNIT) --all-features --no-deps
	@scripts/step 'generated files are current' scripts/check-generated

.PHONY: vectors
vectors: ## Public test vectors from the folder VECTORS_DIR, if it is set
ifneq ($(VECTORS_DIR),)
	@VECTORS_DIR='$(VECTORS_DIR)' scripts/step 'public vectors' cargo test --locked --package countersign-core --test vectors
endif

.PHONY: deny
deny: ## Banned crates, licences and sources (deny.toml)
	@scripts/step 'dependency policy' $(CARGO_DENY) --locked check --hide-inclusion-graph bans licenses sources

.PHONY: advisories
advisories: ## Known vulnerabilities and yanked releases; needs the RustSec database
	@scripts/step 'advisories' $(CARGO_DENY) --locked check advisories

.PHONY: interop
interop: ## The A2A SDKs sign for us and verify what we sign (INTEROP=none leaves it out)
	@scripts/step 'interop with the SDKs' scripts/interop

.PHONY: fuzz-smoke
fuzz-smoke: ## Each fuzz target on its corpus for FUZZ_SMOKE_SECONDS (5)
	@scripts/step 'fuzz targets, briefly' scripts/fuzz $(FUZZ_SMOKE_SECONDS)

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZ_SECONDS (60), keeping what it finds for the next run
	@scripts/step 'fuzz targets' scripts/fuzz $(FUZZ_SECONDS) keep

.PHONY: rig
rig: ## Tests of the rig of real parts, if it has changed since they passed (ALWAYS=1: always; RIG=none: never)
	@scripts/step 'rig of real parts' scripts/rig-once rig tests/rig scripts/rig-test scripts/rig-parts Cargo.lock \
		-- scripts/rig-test tests/rig 1

.PHONY: cluster-tests
cluster-tests: ## Scenarios on real Kubernetes and SPIRE, and five of Kubernetes' own specs (RIG=none leaves them out)
	@scripts/step 'sidecar for the scenarios' \
		cargo build --locked --no-default-features --features sidecar --bin authbridge
	@scripts/step 'operator for the scenarios' cargo build --locked --features operator
	@scripts/step 'scenarios on real parts' scripts/rig-test tests/cluster 4 'scripts/rig-conformance few'

.PHONY: sidecar-tests
sidecar-tests: ## Scenarios of AuthBridge with real Keycloak, SPIRE and Envoy (RIG=none leaves them out)
	@scripts/step 'AuthBridge for the scenarios' \
		cargo build --locked --no-default-features --features sidecar --bin authbridge
	@scripts/step 'AuthBridge on real parts' scripts/rig-test --parts 'packages etcd kubernetes pause client-tools a2a keycloak envoy hypercorn opentelemetry postgresql spire h2spec faketime' tests/sidecar 4

.PHONY: bench-sidecar
bench-sidecar: ## AuthBridge beside a bare proxy of hyper and Envoy, also under attack; SECTION= runs one section alone
	cargo build --release --locked --no-default-features --features sidecar --bin authbridge
	scripts/rig-parts spire envoy
	AUTHBRIDGE="$$PWD/target/release/authbridge" cargo bench --locked \
		--package countersign-sidecar-tests --bench sidecar -- $(RATE) $(SECTION)

.PHONY: client-tools
client-tools: ## Fetches the pinned helm and kubectl, once
	@scripts/step 'helm and kubectl' scripts/rig-parts client-tools

.PHONY: rig-parts
rig-parts: ## Builds and fetches what the rig runs, once; about 20 minutes on two cores
	@scripts/step 'parts of the rig' scripts/rig-parts

# The accounts (NAMESPACE/ACCOUNT) for which SPIRE gives SVIDs on that node, also where it runs already: those of examples/,
# or yours.
REGISTER ?= agents/weather agents/forecast agents/tampered agents/caller enrolled/weather enrolled/caller

.PHONY: cluster
cluster: rig-parts ## A real Kubernetes node with SPIRE and our images on this machine, until `make cluster-down`
	@cargo build --quiet --locked --features operator
	@cargo build --quiet --locked --no-default-features --features sidecar --bin authbridge
	@cargo build --quiet --locked --package countersign-rig
	@target/debug/rig up node --operator "$$PWD/target/debug/countersign" --sidecar "$$PWD/target/debug/authbridge" \
		$(REGISTER:%=--register %)
	@scripts/cluster-env > target/cluster.env
	@echo "its settings: . target/cluster.env"

.PHONY: cluster-down
cluster-down: ## Ends that node and leaves nothing of it
	@cargo build --quiet --locked --package countersign-rig
	@target/debug/rig down

.PHONY: rig-netpol
rig-netpol: ## Tests of the stand-in that enforces NetworkPolicies, if it has changed (ALWAYS=1, RIG=none as for rig)
ifneq ($(RIG),none)
	@scripts/step 'packages for the stand-in' scripts/rig-parts packages
	@scripts/step 'stand-in for a policy engine' scripts/rig-once netpol tests/rig/netpol scripts/rig-once \
		-- go -C tests/rig/netpol test ./...
	@scripts/step 'its rules against another evaluator' scripts/rig-once judge tests/rig/netpol scripts/rig-once \
		-- go -C tests/rig/netpol/judge test ./...
endif

.PHONY: rig-conformance-few
rig-conformance-few: ## Five of Kubernetes' own NetworkPolicy specs on a node rig, or on KUBECONFIG
	@scripts/step "Kubernetes' NetworkPolicy specs, five" scripts/rig-conformance few

.PHONY: rig-conformance
rig-conformance: ## All of Kubernetes' own NetworkPolicy specs; about half an hour
	@scripts/step "Kubernetes' NetworkPolicy specs" scripts/rig-conformance all

.PHONY: bench
bench: ## Verification against the signature checks it contains, and the targets; injection against reading the Pod
	cargo bench --locked --package countersign-core --bench verify
	cargo bench --locked --package countersign-plan --bench injection

.PHONY: bench-instructions
bench-instructions: ## Instructions per verification, against the baseline in benches/instructions.toml
	scripts/bench-instructions

.PHONY: bench-instructions-update
bench-instructions-update: ## Writes that baseline again
	scripts/bench-instructions --update

.PHONY: docs
docs: ## Writes docs/reasons.md, the lists in docs/rules.md, completions, manual pages, CRDs, the schema and the public API again
	COUNTERSIGN_UPDATE=1 cargo test --locked --test rules_are_covered document
	rm -rf completions crds man schemas
	scripts/generate .
	scripts/public-api --update

.PHONY: golden
golden: ## Writes the expected output files of the tests again; review the difference before committing
	rm -rf target/golden
	cargo test --locked $(UNIT) --all-features golden || true
	cp -r target/golden/. tests/golden/

.PHONY: clean-cache
clean-cache: ## Removes the tools, SDKs and corpora kept outside the source tree
	rm -rf "$$(scripts/cache-dir)"

# The platform of the operator's image. ring's C needs a compiler, and nothing of a C library.
MUSL := $(shell uname -m)-unknown-linux-musl

.PHONY: bench-cluster
bench-cluster: rig-parts ## The operator beside a real API server: AGENTS (1000) agents, QUIET (300) seconds of quiet
	rustup target add $(MUSL)
	CC_$(subst -,_,$(MUSL))="$${CC:-cc}" cargo build --release --locked --features operator --target $(MUSL)
	COUNTERSIGN="$$PWD/target/$(MUSL)/release/countersign" cargo bench --locked --profile dev \
		--package countersign-cluster-tests --bench cluster -- $(or $(AGENTS),1000) $(or $(QUIET),300)

.PHONY: bench-inject
bench-inject: rig-parts ## What injection adds to the creation of a Pod
	rustup target add $(MUSL)
	CC_$(subst -,_,$(MUSL))="$${CC:-cc}" cargo build --release --locked --features operator --target $(MUSL)
	COUNTERSIGN="$$PWD/target/$(MUSL)/release/countersign" cargo bench --locked --profile dev \
		--package countersign-cluster-tests --bench inject
