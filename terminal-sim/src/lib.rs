//! The outside world of Tollgate, both ends of its wire: POS terminals and card issuers, for demonstration,
//! load and tests.

pub mod bench;
pub mod counter;
pub mod demo;
pub mod device;
pub mod issuer;
pub mod load;
pub mod record;
pub mod relay;
pub mod stage;
pub mod terminal;
