# The index of commands. Each is one line that calls the recipe of the same name in xtask/.
.DEFAULT_GOAL := help
.PHONY: help setup demo clean-demo fmt lint test e2e autobahn reliability sim fuzz bench lifecycle wasm console wheel npm dist check tools

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: tools ## install what is missing (wasm target, Chromium, npm packages, Python tools) and nothing else
	@cargo xtask setup

demo: tools ## build everything, start a server with a live feed of this machine, print the page's address
	@cargo xtask demo $(ARGS)

clean-demo: tools ## delete what the demo built for the browser and for Python, so that it is built afresh
	@cargo xtask clean-demo

fmt: tools ## format the code
	@cargo xtask fmt

lint: tools ## check format and lints without changing a file
	@cargo xtask lint

test: tools ## every test of every language, real browser included; installs what it lacks
	@cargo xtask test $(ARGS)

e2e: tools ## only the end-to-end tests: every client at once against the real server
	@cargo xtask e2e $(ARGS)

autobahn: tools ## WebSocket conformance of server and native client by the Autobahn test suite (needs Python 2.7)
	@cargo xtask autobahn $(ARGS)

reliability: tools ## the real server under load, restarts and attacks (short forms; ARGS="--long" takes a quarter of an hour)
	@cargo xtask reliability $(ARGS)

sim: tools ## 10,000 simulated worlds of clients, servers and bad weather; ARGS=--planted proves that it sees bugs
	@cargo xtask sim $(ARGS)

fuzz: tools ## search for inputs that break something (libFuzzer, 10 minutes a target; ARGS="--seconds 60")
	@cargo xtask fuzz $(ARGS)

bench: tools ## measure server, Python and browser; writes target/bench/results.json
	@cargo xtask bench $(ARGS)

lifecycle: tools ## draw the client's lifecycle into docs/lifecycle.md
	@cargo xtask lifecycle

wasm: tools ## build the WebAssembly module for the browser
	@cargo xtask wasm

console: tools ## build the server's console page, which the next build of the server takes in
	@cargo xtask console

wheel: tools ## build the Python wheel into dist/
	@cargo xtask wheel

npm: tools ## build and pack the npm package into dist/
	@cargo xtask npm

dist: tools ## release builds of everything that is shipped, in dist/
	@cargo xtask dist

check: tools ## what to run before a push: lint and test
	@cargo xtask check

tools:
	@command -v cargo >/dev/null || { echo "cargo is not on the PATH: install Rust with rustup (https://rustup.rs), then open a new shell" >&2; exit 1; }
	@command -v rustup >/dev/null || { echo "rustup is not on the PATH: this project takes its Rust version from rust-toolchain.toml, which only rustup reads (https://rustup.rs)" >&2; exit 1; }
