//! The program `opssc-agent`: arguments, tracing, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    opssc::cli::main(std::env::args_os(), |name| std::env::var_os(name))
}
