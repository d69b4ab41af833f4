# The commands of the project. `make run` and `make test` do all the set-up that they need.
.PHONY: run test bench soak prompts fmt lint packages-run packages-test

CONFIG ?= jiesu.toml
# 1: simulated citizens and agents call and answer, so that no phone is needed. 0: an empty hotline.
DEMO ?= 1

# Starts the hotline on embedded SQLite, with agents 1001 (fuzhou) and 2001 (quanzhou) whose phones may register.
run: packages-run
	cargo build --release --quiet
	@./scripts/demo-agents.sh $(CONFIG)
	@./target/release/jiesu serve --config $(CONFIG) $(if $(filter 1,$(DEMO)),--demo)

# Everything: format, lints, unit tests, and the integration tests with their own servers and real SIP clients.
test: packages-test
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings
	cargo build --quiet
	cargo test --quiet --no-fail-fast -- --test-threads=4

bench:
	./scripts/bench.sh

# The full sizes of the random tests and fault sweeps, and 200,000 real calls in a row (benches/SOAK.md).
soak: packages-test
	JIESU_SOAK=1 cargo test --release -- --include-ignored --test-threads=2
	./scripts/soak.sh

# Makes every ivr-flows/prompts/NAME.wav and src/demo/voices/NAME.wav from the text beside it.
prompts:
	./ivr-flows/make-prompts.sh

fmt:
	cargo fmt

lint:
	cargo clippy --all-targets -- -D warnings

packages-run:
	@./scripts/packages.sh run

packages-test:
	@./scripts/packages.sh test
