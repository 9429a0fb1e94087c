# Common tasks; `just --list` shows them.

# Everything that must be true of a commit.
ci:
    .ci/run

test:
    cargo test --workspace

lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings

# The main job.
run experiment="payment-slow":
    cargo run --release -- run experiments/{{experiment}}.yaml

# Figures beside direct loopback, HAProxy and nginx (Debian's haproxy, nginx, libnginx-mod-stream), from the optimised build.
bench:
    cargo run --profile dist -p squall-bench

# What the shop's patterns gain and cost, written to docs/shop-figures.md; on a quiet machine.
bench-shop:
    cargo run --profile dist -p squall-bench -- shop --markdown docs/shop-figures.md

# Every fuzz target for so many seconds.
fuzz seconds="180":
    fuzz/run {{seconds}}
