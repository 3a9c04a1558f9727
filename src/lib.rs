//! Tollgate, an ISO 8583 acquiring switch.

pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod crash;
pub mod dialect;
pub mod flow;
pub mod hsm;
pub mod ledger;
pub mod lifecycle;
pub mod link;
pub mod metrics;
pub mod route;
pub mod server;
pub mod settlement;
pub mod store;
pub mod tls;
pub mod transaction;

#[cfg(test)]
mod tidy;
