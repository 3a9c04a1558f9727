//! The `terminal-sim` binary.

fn main() {}
