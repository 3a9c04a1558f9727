//! Derived unique key per transaction (DUKPT): a terminal uses each key once, and the host finds it again from the key
//! serial number (KSN) that comes with the message.
//!
//! The two generations share nothing but the idea: the counter of TDES is 21 bits of a KSN of 80, at most ten of them
//! ones, that of AES 32 of 96, at most sixteen of them ones.

pub mod aes;
pub mod tdes;
pub mod terminal;
