//! Hands over to the command line; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle::cli::main()
}
