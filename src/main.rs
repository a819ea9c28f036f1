//! The program: see `keyswap --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyswap::cli::main()
}
