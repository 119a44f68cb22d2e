//! The data plane beside an agent; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign_authbridge::run(std::env::args_os())
}
