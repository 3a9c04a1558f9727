//! The `tollgate` binary.

use std::process::ExitCode;

/// Hundreds of payments are under way at once, and what one thread allocates the store's writer frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(tollgate::cli::main(std::env::args_os()))
}
