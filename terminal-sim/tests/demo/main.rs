//! The demonstration as a user starts it, a process of its own: what it tells, what it leaves behind, and what
//! judges that share no code with it say of that.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

mod day;
mod ending;
mod files;
mod memory;
mod postgres;
mod secrets;
mod story;
mod wire;
