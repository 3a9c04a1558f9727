//! The `tollgate` binary.

use std::process::ExitCode;

/// Hundreds of payments are under way at once, and what one thread allocates the store's writer frees. What is freed is
/// wiped: frames, tracks and PIN blocks pass through buffers that nobody else can clear.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> =
    zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    ExitCode::from(tollgate::cli::main(std::env::args_os()))
}
