//! Tollgate, an ISO 8583 acquiring switch.

pub mod batch;
pub mod ledger;
pub mod lifecycle;
pub mod route;
pub mod transaction;
