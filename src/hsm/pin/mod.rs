//! PINs in blocks, and how one is verified.

pub mod block;
pub mod policy;
pub mod verification;
