#!/bin/sh
# Runs the SDKs against our binary in both directions; what is checked is told in tests/interop.rs.
set -eu
cd "$(dirname "$0")/../.."
COUNTERSIGN_INTEROP=1 exec cargo test --locked --all-features --test interop -- --nocapture
