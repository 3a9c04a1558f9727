//! Tollgate, an ISO 8583 acquiring switch.

