# What there is to do in this repository. `deploy/setup` installs what these recipes need.

set positional-arguments

tools := justfile_directory() / ".tools"
target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
cargo_home := env("CARGO_HOME", env("HOME", "/nonexistent") / ".cargo")
# With the packages of deploy/test-requirements.txt, if `deploy/setup test` has put them there.
test_python := if path_exists(tools / "venv/bin/python") == "true" { tools / "venv/bin/python" } else { "python3" }
live_nodes := env("HIVE_NODES", "https://api.hive.blog,https://api.openhive.network,https://api.deathwing.me,https://techcoderx.com")

export PATH := tools / "bin:" + cargo_home / "bin:" + env("PATH")

[private]
default:
    @'{{ just_executable() }}' --list --unsorted

# Build every program, optimized, into target/release
[group('run')]
bootstrap:
    cargo build --release --locked

# What a swarm needs: without the crates that measure and test, which draw and compile much more
[private]
_programs:
    cargo build --release --locked --workspace --exclude bench --exclude guard --exclude soak --exclude testkit

# Build, then start the swarm; arguments go to process-compose: `just up -n hive`, `just up --tui=false`
[group('run')]
up *arguments: _programs
    @'{{ just_executable() }}' _compose "$@"

# Build, then start the swarm on public nodes (HIVE_NODES=URL,URL) from the chain's head, with state of its own
[group('run')]
up-live *arguments: _programs
    @PROCESSION_BROADCASTER__NODES='{{ live_nodes }}' PROCESSION_BROADCASTER__START="${HIVE_START:-head}" \
        PC_DISABLED_PROCESSES=hive-node \
        PROCESSION_STATE="${PROCESSION_STATE:-.procession/live/state}" \
        PROCESSION_RUNTIME="${PROCESSION_RUNTIME:-.procession/live/run}" \
        '{{ just_executable() }}' _compose "$@"

# Its own socket instead of port 8080, which may be taken; no terminal view where there is no terminal.
[private]
_compose *arguments:
    #!/bin/sh
    set -eu
    mkdir -p .procession
    export PC_SOCKET_PATH="${PC_SOCKET_PATH:-.procession/compose.sock}"
    export PROCESSION_BIN_DIR='{{ target }}/release'
    if ! { [ -t 0 ] && [ -t 1 ]; }; then
        export PC_DISABLE_TUI="${PC_DISABLE_TUI:-1}"
    fi
    # It complains on its first start, as long as the user has no settings for it.
    if ! [ -d "${XDG_CONFIG_HOME:-${HOME-}/.config}/process-compose" ]; then
        export PROC_COMP_CONFIG="${PROC_COMP_CONFIG:-{{ tools }}}"
    fi
    command -v process-compose >/dev/null || { echo 'process-compose is missing: run deploy/setup' >&2; exit 1; }
    exec process-compose up "$@"

# Stop the swarm that `just up` started, also if process-compose is gone and its processes run on
[group('run')]
down:
    #!/bin/sh
    set -eu
    export PC_SOCKET_PATH="${PC_SOCKET_PATH:-.procession/compose.sock}"
    if ! [ -d "${XDG_CONFIG_HOME:-${HOME-}/.config}/process-compose" ]; then
        export PROC_COMP_CONFIG="${PROC_COMP_CONFIG:-{{ tools }}}"
    fi
    if said=$(process-compose down 2>&1); then
        exit 0
    fi
    stopped=
    for home in .procession .procession/live; do
        for lock in "$home"/state/*/lock; do
            if [ -e "$lock" ] && ! flock --nonblock --shared "$lock" true; then
                name=${lock%/lock}
                name=${name##*/}
                echo "process-compose does not answer: $name is asked to stop" >&2
                PROCESSION_STATE="$home/state" PROCESSION_RUNTIME="$home/run" \
                    '{{ target }}/release/procession' call "$name" Stop >/dev/null || :
                stopped=1
            fi
        done
    done
    [ -n "$stopped" ] || echo "nothing runs here; process-compose: $said" >&2

# Delete all that the processes have kept in .procession: journals, cursors, sockets
[group('run')]
[confirm("Delete all journals in .procession? (y/N)")]
reset:
    #!/bin/sh
    set -eu
    for lock in .procession/state/*/lock .procession/live/state/*/lock; do
        if [ -e "$lock" ] && ! flock --nonblock --shared "$lock" true; then
            echo "${lock%/lock} is in use: stop the swarm first" >&2
            exit 1
        fi
    done
    rm -rf .procession

# Every test and every check
[group('check')]
test: lint doc
    cargo build --workspace --locked
    PROCESSION_BIN_DIR="${PROCESSION_BIN_DIR:-{{ target }}/debug}" \
        PROCESSION_TEST_PYTHON="${PROCESSION_TEST_PYTHON:-{{ test_python }}}" \
        cargo test --workspace --locked --no-fail-fast
    cargo test --package journal --features faults --locked --no-fail-fast faults
    cargo build --package procession --features faults --examples --locked
    cargo test --package procession --features faults --test it --locked -- poisoned whoever_dies_between
    @'{{ just_executable() }}' bench-guard

# Count the instructions of what is done most often: none may have grown by more than 3 %; `--record` writes them anew
[group('check')]
bench-guard *arguments:
    #!/bin/sh
    set -eu
    if ! command -v valgrind >/dev/null; then
        echo 'guard: LEFT OUT, no instruction was counted: valgrind is missing' >&2
        exit 0
    fi
    cargo build --release --locked --package guard
    exec '{{ target }}/release/guard' "$@"

# Prove for a time that nothing is lost, whoever is killed and whatever fails: `just prove 30m`
[group('check')]
prove budget='10m':
    @deploy/prove '{{ budget }}'

# Bad bytes: every fuzz target for its share of the time: `just fuzz 300s`, `just fuzz 60s varlink`
[group('check')]
fuzz seconds='60s' *targets:
    @CARGO_TARGET_DIR='{{ target }}' fuzz/run "$@"

# The memory model: every order of the accesses by which processes and threads share memory
[group('check')]
loom:
    RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR='{{ target }}/loom' \
        cargo test --locked --package journal --package acks-loom --lib loom_tests

# Undefined behaviour, by Miri, in what does not map files: needs a nightly toolchain, and is skipped without one
[group('check')]
miri:
    @CARGO_TARGET_DIR='{{ target }}' deploy/miri

# Plant each known bug in a copy of the tree, and see that its proof catches it: `just mutants folder-not-synced`
[group('check')]
mutants *names:
    @CARGO_TARGET_DIR='{{ target }}' crates/journal/mutants/run "$@"

# Format, clippy, shell scripts, systemd units
[group('check')]
lint: _shell units
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --package journal --features faults --all-targets --locked -- -D warnings

# Check the systemd units: that systemd finds nothing to say, and how far they are locked down
[group('check')]
units:
    @deploy/systemd/check

# Try production in a booted Debian tree: install, attack, boot again (needs root, debootstrap and systemd-nspawn)
[group('check')]
production folder=(target / 'production'): bootstrap
    @CARGO_TARGET_DIR='{{ target }}' deploy/production/run '{{ folder }}'

# Build the documentation
[group('check')]
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# Measure Procession and the floors on this machine, in a few minutes: table and plots in target/bench
[group('measure')]
bench *arguments: bootstrap
    @'{{ target }}/release/bench' run --out '{{ target }}/bench' "$@"
    @'{{ target }}/release/procession' bench keyed
    @'{{ target }}/release/procession' bench ordering

# The same beside the systems people would pick instead; `deploy/setup bench-peers` installs them first
[group('measure')]
bench-peers *arguments: bootstrap
    cargo build --release --locked --package bench --features peers
    @'{{ target }}/release/bench' run --peers --out '{{ target }}/bench' "$@"

# Keep a small swarm under load and kill parts of it for so long: what grows, what is lost; the report is in target/soak
[group('check')]
soak time='10m' *arguments:
    cargo build --release --locked --package soak
    '{{ target }}/release/soak' --for '{{ time }}' --out '{{ target }}/soak' {{ arguments }}

# Format the code
[group('change')]
fmt:
    cargo fmt --all

# Write process-compose.yaml and all of deploy/ again from deploy/swarm.toml
[group('change')]
generate:
    cargo run --quiet --locked --package procession-cli -- deploy generate

[private]
_shell:
    #!/bin/sh
    set -eu
    PATH="$PATH:{{ tools }}/venv/bin"
    if command -v shellcheck >/dev/null; then
        shellcheck deploy/setup deploy/prove deploy/miri fuzz/run deploy/systemd/check deploy/production/run \
            deploy/production/attack crates/journal/mutants/run .ci/run
    else
        echo 'shellcheck is missing: the shell scripts are not checked'
    fi
