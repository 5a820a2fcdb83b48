//! The command `why503`, for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    why503::main()
}
