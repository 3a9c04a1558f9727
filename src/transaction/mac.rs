//! Names of MAC algorithms: a dialect says which, the HSM knows how.

/// A MAC algorithm. Each dialect names its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacAlgorithm {
    /// UnionPay POS "ECB": XOR of the blocks, eight hexadecimal characters as the result.
    UnionPayEcb,
    /// ANSI X9.9 (ISO 9797-1 algorithm 1, padding 1, single-length key).
    X99,
    /// ANSI X9.19 (ISO 9797-1 algorithm 3, padding 1, double-length key).
    X919,
}
