//! Tollgate, an ISO 8583 acquiring switch.

pub mod batch;
pub mod clock;
pub mod crash;
pub mod dialect;
pub mod flow;
pub mod hsm;
pub mod ledger;
pub mod lifecycle;
pub mod link;
pub mod metrics;
pub mod route;
pub mod settlement;
pub mod store;
pub mod transaction;
