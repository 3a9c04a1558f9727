//! Money: integer minor units with a currency, never a float.

use std::fmt;

/// Why an amount cannot be formed or combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a number of at most twelve digits.
    #[error("not an amount of at most twelve digits")]
    NotDigits,
    /// Two currencies in one sum.
    #[error("amounts of two currencies")]
    Currency,
    /// The sum does not fit.
    #[error("amount out of range")]
    Range,
}

/// An ISO 4217 numeric currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

impl Currency {
    /// Chinese yuan.
    pub const CNY: Self = Self(156);
    /// Pound sterling.
    pub const GBP: Self = Self(826);
    /// US dollar.
    pub const USD: Self = Self(840);

    /// A code that ISO 4217 lists.
    #[must_use]
    pub fn from_numeric(code: u16) -> Option<Self> {
        iso_currency::Currency::from_numeric(code).map(|_| Self(code))
    }

    /// Reads three digits or three letters (DE 49).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Self::from_numeric(text.parse().ok()?);
        }
        let code = iso_currency::Currency::from_code(text)?.numeric();
        Some(Self(code))
    }

    /// The numeric code.
    #[must_use]
    pub const fn numeric(self) -> u16 {
        self.0
    }

    /// The alphabetic code.
    #[must_use]
    pub fn code(self) -> &'static str {
        iso_currency::Currency::from_numeric(self.0).map_or("XXX", |c| c.code())
    }

    /// Decimal places of the minor unit (0 for JPY, 2 for GBP, 3 for KWD).
    #[must_use]
    pub fn exponent(self) -> u32 {
        iso_currency::Currency::from_numeric(self.0)
            .and_then(iso_currency::Currency::exponent)
            .map_or(2, u32::from)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// An amount of at most twelve digits (DE 4) in minor units of its currency; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

impl Amount {
    /// The largest value of DE 4.
    pub const MAX_MINOR: i64 = 999_999_999_999;

    /// An amount within DE 4.
    ///
    /// # Errors
    /// [`AmountError::Range`] when negative or longer than twelve digits.
    pub const fn new(minor: i64, currency: Currency) -> Result<Self, AmountError> {
        if minor < 0 || minor > Self::MAX_MINOR {
            return Err(AmountError::Range);
        }
        Ok(Self { minor, currency })
    }

    /// Reads the digits of DE 4.
    ///
    /// # Errors
    /// [`AmountError::NotDigits`].
    pub fn parse(digits: &str, currency: Currency) -> Result<Self, AmountError> {
        let sound = (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !sound {
            return Err(AmountError::NotDigits);
        }
        let minor = digits.parse().map_err(|_| AmountError::NotDigits)?;
        Ok(Self { minor, currency })
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Twelve digits, as DE 4 carries it.
    #[must_use]
    pub fn digits(self) -> String {
        format!("{:012}", self.minor)
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`AmountError`] on two currencies or above twelve digits.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        if self.currency != other.currency {
            return Err(AmountError::Currency);
        }
        let minor = self.minor.checked_add(other.minor).ok_or(AmountError::Range)?;
        Self::new(minor, self.currency)
    }
}

impl fmt::Display for Amount {
    /// `100.00 CNY`, with as many decimals as the currency has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.currency.exponent();
        let scale = 10_i64.pow(places);
        let (whole, part) = (self.minor / scale, self.minor % scale);
        let width = places as usize;
        if places == 0 {
            write!(f, "{whole} {}", self.currency.code())
        } else {
            write!(f, "{whole}.{part:0width$} {}", self.currency.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_integer_minor_units_with_a_currency() {
        let rows = [
            (156, 10_000, "100.00 CNY"),
            (392, 500, "500 JPY"),
            (414, 1_234, "1.234 KWD"),
            (826, 5, "0.05 GBP"),
        ];
        for (code, minor, want) in rows {
            let currency = Currency::from_numeric(code).unwrap();
            assert_eq!(Amount::new(minor, currency).unwrap().to_string(), want);
        }
    }

    #[test]
    fn amounts_refuse_what_de4_cannot_hold() {
        assert_eq!(Amount::new(-1, Currency::CNY), Err(AmountError::Range));
        assert_eq!(Amount::new(1_000_000_000_000, Currency::CNY), Err(AmountError::Range));
        for bad in ["", "+1", "1234567890123", "12 4"] {
            assert_eq!(Amount::parse(bad, Currency::CNY), Err(AmountError::NotDigits), "{bad}");
        }
        let one = Amount::new(1, Currency::CNY).unwrap();
        assert_eq!(one.plus(Amount::new(1, Currency::GBP).unwrap()), Err(AmountError::Currency));
        assert_eq!(Currency::from_numeric(123), None);
    }
}
