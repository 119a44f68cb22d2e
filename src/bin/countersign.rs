//! The binary `countersign`: the command line and, in the images, the operator.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "operator")]
    if let Some(arguments) = operator_arguments() {
        return countersign_operator::main(arguments);
    }
    countersign_cli::run(std::env::args_os())
}

/// The arguments of the operator; `None` starts the command line. The operator starts by `countersign operator …`, or
/// by the program name `manager`, which existing Deployments use.
#[cfg(feature = "operator")]
fn operator_arguments() -> Option<impl Iterator<Item = std::ffi::OsString>> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    let is_manager = std::path::Path::new(&program).file_name().is_some_and(|name| name == "manager");
    (is_manager || arguments.next().is_some_and(|command| command == "operator")).then_some(arguments)
}
