//! Terminals against a scripted host on a socket: golden frames, field sets, reversals, settlement, faults.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

mod faults;
mod host;
mod reversal;
mod settlement;
mod words;
