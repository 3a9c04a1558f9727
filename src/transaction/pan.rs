//! Card numbers and tracks: masked wherever they are printed, wiped when dropped.

use std::fmt;
use zeroize::Zeroizing;

/// Why card data is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// A character other than a digit in a PAN.
    #[error("card number holds a character other than a digit")]
    NotDigits,
    /// Fewer than 12 or more than 19 digits.
    #[error("card number is not 12 to 19 digits long")]
    Length,
    /// Not `PAN D YYMM …`.
    #[error("track 2 is not PAN, separator, expiry")]
    Track,
    /// Not `YYMM`.
    #[error("expiry is not YYMM")]
    Expiry,
}

/// A primary account number, DE 2, 12 to 19 digits. Prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Pan(Zeroizing<String>);

impl Pan {
    /// Reads 12 to 19 digits; the Luhn digit is judged apart, see [`Pan::luhn_valid`].
    ///
    /// # Errors
    /// [`CardError`].
    pub fn parse(digits: &str) -> Result<Self, CardError> {
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CardError::NotDigits);
        }
        if !(12..=19).contains(&digits.len()) {
            return Err(CardError::Length);
        }
        Ok(Self(Zeroizing::new(digits.to_owned())))
    }

    /// All digits. For the wire and for the HSM, never for a log.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether the last digit is the check digit of ISO/IEC 7812-1 annex B.
    #[must_use]
    pub fn luhn_valid(&self) -> bool {
        let sum: u32 = self
            .0
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                let digit = u32::from(digit - b'0');
                let doubled = if place % 2 == 1 { digit * 2 } else { digit };
                doubled / 10 + doubled % 10
            })
            .sum();
        sum.is_multiple_of(10)
    }

    /// The first six digits.
    #[must_use]
    pub fn first6(&self) -> &str {
        self.0.get(..6).unwrap_or_default()
    }

    /// The last four digits.
    #[must_use]
    pub fn last4(&self) -> &str {
        self.0.get(self.0.len().saturating_sub(4)..).unwrap_or_default()
    }
}

impl fmt::Display for Pan {
    /// First six, asterisks, last four (PCI DSS 4.0, 3.4.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.0.len().saturating_sub(10);
        write!(f, "{}{:*<hidden$}{}", self.first6(), "", self.last4())
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A PAN at rest: encrypted under a data key of the HSM, beside what a look-up and a person need.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPan {
    /// The PAN under the data key; only [`crate::hsm`] opens it.
    pub cipher: Vec<u8>,
    /// Keyed hash of the PAN, equal for equal PANs.
    pub lookup: [u8; 16],
    /// First six and last four digits with asterisks between, as they may be shown.
    pub masked: String,
}

impl fmt::Debug for SealedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedPan({})", self.masked)
    }
}

/// Card expiry, DE 14, `YYMM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(u16);

impl Expiry {
    /// Reads `YYMM` with a month from 01 to 12.
    ///
    /// # Errors
    /// [`CardError::Expiry`].
    pub fn parse(text: &str) -> Result<Self, CardError> {
        let sound = text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
        let number: u16 = text.parse().map_err(|_| CardError::Expiry)?;
        if sound && (1..=12).contains(&(number % 100)) { Ok(Self(number)) } else { Err(CardError::Expiry) }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

/// Track 2, DE 35: `PAN D YYMM SSS …` with `D` or `=` as separator, at most 37 characters
/// (ISO/IEC 7813). Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Track2(Zeroizing<String>);

impl Track2 {
    /// Reads a clear track, sentinels stripped; `=` is kept as `D`.
    ///
    /// # Errors
    /// [`CardError::Track`].
    pub fn parse(text: &str) -> Result<Self, CardError> {
        let inner = text.trim_start_matches(';').trim_end_matches('?');
        let plain: Zeroizing<String> = Zeroizing::new(inner.replace('=', "D"));
        let track = Self(plain);
        let well_formed = track.0.len() <= 37
            && track.0.bytes().filter(|b| *b == b'D').count() == 1
            && track.0.bytes().all(|b| b.is_ascii_digit() || b == b'D');
        if !well_formed {
            return Err(CardError::Track);
        }
        track.pan()?;
        track.expiry()?;
        Ok(track)
    }

    /// The characters, `D` as separator. For the wire and the HSM only.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The PAN before the separator.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn pan(&self) -> Result<Pan, CardError> {
        Pan::parse(self.0.split('D').next().unwrap_or_default())
    }

    /// The expiry after the separator.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn expiry(&self) -> Result<Expiry, CardError> {
        let rest = self.0.split('D').nth(1).unwrap_or_default();
        Expiry::parse(rest.get(..4).unwrap_or_default())
    }
}

impl fmt::Debug for Track2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Track2(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pans_print_masked_and_know_their_check_digit() {
        let rows = [
            ("6225880012345675", "622588******5675", true),
            ("6225880012345676", "622588******5676", false),
            ("4000000000000002", "400000******0002", true),
            ("6225881234567890123", "622588*********0123", false),
        ];
        for (digits, masked, luhn) in rows {
            let pan = Pan::parse(digits).unwrap();
            assert_eq!(format!("{pan} {pan:?}"), format!("{masked} {masked}"));
            assert_eq!(pan.luhn_valid(), luhn, "{masked}");
        }
        assert_eq!(Pan::parse("62258800123A5675"), Err(CardError::NotDigits));
        assert_eq!(Pan::parse("12345678901"), Err(CardError::Length));
        assert_eq!(Pan::parse("12345678901234567890"), Err(CardError::Length));
    }

    #[test]
    fn track_2_gives_pan_and_expiry() {
        let track = Track2::parse(";6225880012345675=30122010000012300?").unwrap();
        assert_eq!(track.text(), "6225880012345675D30122010000012300");
        assert_eq!(track.pan().unwrap().digits(), "6225880012345675");
        assert_eq!(track.expiry().unwrap().to_string(), "3012");
        assert_eq!(format!("{track:?}"), "Track2(…)");
        for bad in
            ["", "6225880012345675", "6225880012345675D3013", "6225880012345675D30122010000012300000000"]
        {
            assert_eq!(
                Track2::parse(bad).err(),
                Some(CardError::Track).filter(|_| !bad.contains("D3013")).or(Some(CardError::Expiry)),
                "{bad}"
            );
        }
    }
}
