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

# Build, then start the swarm; arguments go to process-compose: `just up -n hive`, `just up --tui=false`
[group('run')]
up *arguments: bootstrap
    @'{{ just_executable() }}' _compose "$@"

# Build, then start the swarm on public nodes (HIVE_NODES=URL,URL) from the chain's head, with state of its own
[group('run')]
up-live *arguments: bootstrap
    @HIVE_NODES='{{ live_nodes }}' HIVE_START="${HIVE_START:-head}" PC_DISABLED_PROCESSES=hive-node \
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

# Stop the swarm that `just up` started
[group('run')]
down:
    @PC_SOCKET_PATH="${PC_SOCKET_PATH:-.procession/compose.sock}" process-compose down

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

# Format, clippy, shell scripts, systemd units
[group('check')]
lint: _shell units
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Check the systemd units: that systemd finds nothing to say, and how far they are locked down
[group('check')]
units:
    @deploy/systemd/check

# Build the documentation
[group('check')]
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# Measure publishing, fan-out and latency on this machine: one JSON object each
[group('check')]
bench: bootstrap
    '{{ target }}/release/procession' bench pubsub --payload 64 --messages 20000000 --subscribers 1 --codec raw --json
    '{{ target }}/release/procession' bench pubsub --payload 64 --messages 5000000 --subscribers 8 --codec raw --json
    '{{ target }}/release/procession' bench latency --payload 64 --count 20000 --json
    '{{ target }}/release/procession' bench latency --payload 64 --count 20000 --spin --json

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
        shellcheck deploy/setup deploy/systemd/check .ci/run
    else
        echo 'shellcheck is missing: the shell scripts are not checked'
    fi
