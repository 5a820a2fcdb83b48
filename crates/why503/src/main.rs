//! The command `why503`; everything is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    why503::main()
}
