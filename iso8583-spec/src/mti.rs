//! The message type indicator: four digits for version, class, function and origin (ISO 8583:1987, clause 4.1).

use std::fmt;

/// Four ASCII digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mti([u8; 4]);

impl Mti {
    /// Authorization request of ISO 8583:1987.
    pub const AUTHORIZATION: Mti = Mti(*b"0100");
    /// Financial request of ISO 8583:1987.
    pub const FINANCIAL: Mti = Mti(*b"0200");
    /// Financial advice of ISO 8583:1987.
    pub const FINANCIAL_ADVICE: Mti = Mti(*b"0220");
    /// Acquirer reversal advice of ISO 8583:1987.
    pub const REVERSAL_ADVICE: Mti = Mti(*b"0420");
    /// Network management request of ISO 8583:1987.
    pub const NETWORK: Mti = Mti(*b"0800");

    /// From four decimal digits; `None` for anything else.
    pub fn new(digits: &str) -> Option<Mti> {
        Mti::from_ascii(digits.as_bytes())
    }

    pub(crate) fn from_ascii(digits: &[u8]) -> Option<Mti> {
        let digits = <[u8; 4]>::try_from(digits).ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Mti(digits))
    }

    pub(crate) fn from_bcd(octets: [u8; 2]) -> Option<Mti> {
        let [a, b] = octets;
        let digits = [a >> 4, a & 15, b >> 4, b & 15].map(|nibble| nibble + b'0');
        Mti::from_ascii(&digits)
    }

    pub(crate) fn to_bcd(self) -> [u8; 2] {
        let [a, b, c, d] = self.0.map(|digit| digit & 15);
        [a << 4 | b, c << 4 | d]
    }

    pub(crate) fn ascii(&self) -> &[u8; 4] {
        &self.0
    }

    /// The four digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The MTI of the answer: function plus one, a repeat's origin collapsed to its base
    /// (0200 → 0210, 0201 → 0210, 0421 → 0430). An MTI that is an answer already keeps its function.
    pub fn response(self) -> Mti {
        let [version, class, function, origin] = self.0;
        Mti([version, class, function | 1, even(origin)])
    }

    /// The MTI of a repeat: 0200 → 0201, 0420 → 0421. A repeat stays what it is.
    pub fn repeat(self) -> Mti {
        let [version, class, function, origin] = self.0;
        Mti([version, class, function, even(origin) + 1])
    }

    /// Whether the origin says that the message has been sent before (1, 3 or 5).
    pub fn is_repeat(self) -> bool {
        let [.., origin] = self.0;
        matches!(origin, b'1' | b'3' | b'5')
    }

    /// The version digit: `0` for 1987, `1` for 1993, `2` for 2003.
    pub fn version(self) -> char {
        let [version, ..] = self.0;
        char::from(version)
    }

    /// The class digit: 1 authorization, 2 financial, 3 file action, 4 reversal, 5 reconciliation, 8 network.
    pub fn class(self) -> char {
        let [_, class, ..] = self.0;
        char::from(class)
    }

    /// The function digit: 0 request, 1 its response, 2 advice, 3 its response.
    pub fn function(self) -> char {
        let [_, _, function, _] = self.0;
        char::from(function)
    }
}

/// The even one of a pair of digits: the ASCII codes of 0, 2, 4, 6, 8 are even.
fn even(digit: u8) -> u8 {
    digit & !1
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mti({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Mti;

    #[test]
    fn responses_and_repeats() {
        // (MTI, response, repeat, is a repeat)
        let rows = [
            ("0200", "0210", "0201", false),
            ("0201", "0210", "0201", true),
            ("0420", "0430", "0421", false),
            ("0421", "0430", "0421", true),
            ("0800", "0810", "0801", false),
            ("0210", "0210", "0211", false),
            ("1420", "1430", "1421", false),
            ("0402", "0412", "0403", false),
        ];
        for (mti, response, repeat, is_repeat) in rows {
            let parsed = Mti::new(mti).unwrap();
            assert_eq!(parsed.response().as_str(), response, "{mti}");
            assert_eq!(parsed.repeat().as_str(), repeat, "{mti}");
            assert_eq!(parsed.is_repeat(), is_repeat, "{mti}");
            assert_eq!(Mti::from_bcd(parsed.to_bcd()), Some(parsed));
        }
    }

    #[test]
    fn only_four_digits() {
        for bad in ["", "020", "02000", "02A0", "０200", " 200"] {
            assert_eq!(Mti::new(bad), None, "{bad:?}");
        }
        assert_eq!(Mti::from_bcd([0x02, 0x0A]), None);
    }

    #[test]
    fn digits_by_name() {
        let mti = Mti::new("0421").unwrap();
        assert_eq!((mti.version(), mti.class(), mti.function()), ('0', '4', '2'));
    }
}
