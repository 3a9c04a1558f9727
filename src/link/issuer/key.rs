//! What an answer is matched on.

use std::fmt;

/// Room for MTI class, DE 7, DE 32 and DE 37.
const REST_MAX: usize = 44;

/// What a request and its answer have in common: the link's own STAN (DE 11) and the rest that
/// the dialect names (MTI class, DE 7, DE 32, DE 37). Never a PAN.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    stan: u32,
    len: u8,
    rest: [u8; REST_MAX],
}

impl Key {
    /// A key of STAN and the other fields, written one behind the other, at most 44 octets
    /// together. `None` when they are longer.
    #[must_use]
    pub fn new(stan: u32, rest: &[&str]) -> Option<Self> {
        let mut key = Self { stan, len: 0, rest: [0; REST_MAX] };
        for part in rest {
            let from = usize::from(key.len);
            key.rest.get_mut(from..from + part.len())?.copy_from_slice(part.as_bytes());
            key.len += u8::try_from(part.len()).ok()?;
        }
        Some(key)
    }

    /// The trace number.
    #[must_use]
    pub const fn stan(&self) -> u32 {
        self.stan
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.rest.get(..usize::from(self.len)).unwrap_or_default();
        write!(f, "{:06}/{}", self.stan, rest.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_equal_when_every_part_is() {
        let key = Key::new(7, &["0210", "1122093015"]).unwrap();
        assert_eq!(key, Key::new(7, &["02101122093015"]).unwrap());
        assert_eq!(format!("{key:?}"), "000007/02101122093015");
        for other in [Key::new(8, &["0210", "1122093015"]), Key::new(7, &["0210", "1122093016"])] {
            assert_ne!(Some(key), other);
        }
        assert!(Key::new(1, &["x".repeat(44).as_str()]).is_some());
        assert!(Key::new(1, &["x".repeat(40).as_str(), "12345"]).is_none());
    }
}
