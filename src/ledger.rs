//! Double entry. Pure: what a cleared record means for the books, their trial balance, their export.
//! Knows no store and no file.
//!
//! ```text
//! event                    debit              credit
//! sale presented           Recv.Issuer:<id>   Pay.Merchant:<mid>   amount
//!   its discount           Pay.Merchant:<mid> Inc.MDR              fee
//! refund presented         Pay.Merchant:<mid> Recv.Issuer:<id>     amount; no fee is given back
//! record taken back        the contra of every leg that was posted when it was presented
//! ```

use crate::transaction::{Amount, Currency, Day, IssuerId, Mid, Side, TxnId};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The account of the merchant discount that we earn.
pub const INCOME_MDR: &str = "Inc.MDR";

/// What an issuer owes us.
#[must_use]
pub fn receivable(issuer: IssuerId) -> String {
    format!("Recv.Issuer:{}", issuer.trimmed())
}

/// What we owe a merchant.
#[must_use]
pub fn payable(mid: Mid) -> String {
    format!("Pay.Merchant:{}", mid.trimmed())
}

/// One leg pair of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// Deterministic identity: the same event gives the same id, so posting twice changes nothing.
    pub id: String,
    /// Business day.
    pub day: Day,
    /// Account debited.
    pub debit: String,
    /// Account credited.
    pub credit: String,
    /// Minor units, positive.
    pub minor: i64,
    /// Currency.
    pub currency: Currency,
    /// What it is of: a transaction id.
    pub reference: String,
}

/// Why books cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A merchant's discount is not a decimal number from 0 to 10000 basis points.
    #[error("merchant discount {0:?} is not a number of basis points from 0 to 10000")]
    BasisPoints(String),
    /// An amount that does not fit.
    #[error("amount out of range")]
    Range,
    /// One id stands for two postings.
    #[error("posting {0} occurs twice")]
    Twice(String),
    /// A posting of nothing, of a negative amount, or from an account to itself.
    #[error("posting {0} moves nothing between two accounts")]
    Void(String),
}

/// The merchant discount of one amount: amount × basis points / 10⁴, rounded once, half to even, to
/// the minor unit (the rule of settlement: one rounding per line).
///
/// # Errors
/// [`LedgerError::BasisPoints`] when the rate is not a decimal text from 0 to 10000, such as `"150"` or `"17.5"`.
pub fn discount(amount: Amount, basis_points: &str) -> Result<i64, LedgerError> {
    let wrong = || LedgerError::BasisPoints(basis_points.to_owned());
    let rate: Decimal = basis_points.parse().map_err(|_| wrong())?;
    if rate.is_sign_negative() || rate > Decimal::from(10_000) {
        return Err(wrong());
    }
    let exact = Decimal::from(amount.minor())
        .checked_mul(rate)
        .and_then(|product| product.checked_div(Decimal::from(10_000)))
        .ok_or(LedgerError::Range)?;
    exact.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven).to_i64().ok_or(LedgerError::Range)
}

/// A record of a clearing file, as the books see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Which transaction.
    pub id: TxnId,
    /// The business day of the file.
    pub day: Day,
    /// Who owes it, or is owed.
    pub issuer: IssuerId,
    /// Who is paid, or pays back.
    pub mid: Mid,
    /// How much.
    pub amount: Amount,
    /// Debit: the cardholder pays.
    pub side: Side,
    /// The discount in minor units; refunds carry none.
    pub fee_minor: i64,
}

/// The postings of a presented record.
#[must_use]
pub fn present(record: &Presented) -> Vec<Posting> {
    let (issuer, merchant) = (receivable(record.issuer), payable(record.mid));
    let money = |debit: &str, credit: &str| record.leg("amount", debit, credit, record.amount.minor());
    let legs = match record.side {
        Side::Debit => {
            vec![money(&issuer, &merchant), record.leg("discount", &merchant, INCOME_MDR, record.fee_minor)]
        }
        Side::Credit => vec![money(&merchant, &issuer)],
        Side::None => vec![],
    };
    legs.into_iter().filter(|leg| leg.minor > 0).collect()
}

/// The contra of what was posted for a transaction when it was presented, on the day that takes it back.
#[must_use]
pub fn take_back(posted: &[Posting], id: TxnId, day: Day) -> Vec<Posting> {
    let reference = id.to_string();
    let presented =
        posted.iter().filter(|p| p.reference == reference && p.id == id_of(id, "presented", leg(p)));
    presented
        .map(|p| Posting {
            id: id_of(id, "taken-back", leg(p)),
            day,
            debit: p.credit.clone(),
            credit: p.debit.clone(),
            ..p.clone()
        })
        .collect()
}

impl Presented {
    fn leg(&self, leg: &str, debit: &str, credit: &str, minor: i64) -> Posting {
        Posting {
            id: id_of(self.id, "presented", leg),
            day: self.day,
            debit: debit.to_owned(),
            credit: credit.to_owned(),
            minor,
            currency: self.amount.currency(),
            reference: self.id.to_string(),
        }
    }
}

fn leg(posting: &Posting) -> &'static str {
    if posting.debit == INCOME_MDR || posting.credit == INCOME_MDR { "discount" } else { "amount" }
}

/// The first 16 octets of a SHA-256, hexadecimal: rebuilding the journal gives the same ids.
fn id_of(id: TxnId, event: &str, leg: &str) -> String {
    let name = format!("tollgate.ledger.1\n{id}\n{event}\n{leg}");
    let digest = openssl::sha::sha256(name.as_bytes());
    hex::encode(digest.get(..16).unwrap_or_default())
}

/// Both sides of an account, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Net {
    /// Sum of debits.
    pub debit: i128,
    /// Sum of credits.
    pub credit: i128,
}

impl Net {
    /// Debits less credits.
    #[must_use]
    pub const fn balance(self) -> i128 {
        self.debit - self.credit
    }
}

/// Debits and credits of every account. A posting debits and credits the same amount, so the balances
/// of a currency sum to zero; [`check`] is what detects a journal that was altered.
#[must_use]
pub fn trial_balance(journal: &[Posting]) -> BTreeMap<(Currency, String), Net> {
    let mut accounts: BTreeMap<(Currency, String), Net> = BTreeMap::new();
    for posting in journal {
        let minor = i128::from(posting.minor);
        accounts.entry((posting.currency, posting.debit.clone())).or_default().debit += minor;
        accounts.entry((posting.currency, posting.credit.clone())).or_default().credit += minor;
    }
    accounts
}

/// Looks for postings that [`present`] and [`take_back`] never make.
///
/// # Errors
/// The first of [`LedgerError::Twice`] and [`LedgerError::Void`] in the order of the journal.
pub fn check(journal: &[Posting]) -> Result<(), LedgerError> {
    let mut ids = BTreeSet::new();
    for posting in journal {
        if posting.minor <= 0 || posting.debit == posting.credit {
            return Err(LedgerError::Void(posting.id.clone()));
        }
        if !ids.insert(&posting.id) {
            return Err(LedgerError::Twice(posting.id.clone()));
        }
    }
    Ok(())
}

/// The journal in the text format of beancount 3, with a balance assertion for every account on the
/// day after the last posting, to the minor unit (`~ 0`: beancount would forgive one by itself).
#[must_use]
pub fn beancount(journal: &[Posting]) -> String {
    let mut text = String::from("option \"title\" \"tollgate\"\n");
    let (Some(first), Some(last)) =
        (journal.iter().map(|p| p.day).min(), journal.iter().map(|p| p.day).max())
    else {
        return text;
    };
    let accounts = trial_balance(journal);
    let names: BTreeSet<&str> = accounts.keys().map(|(_, name)| name.as_str()).collect();
    text.push('\n');
    for name in names {
        let _ = writeln!(text, "{first} open {}", beancount_account(name));
    }
    for p in journal {
        let amount = decimal(i128::from(p.minor), p.currency);
        let _ = writeln!(text, "\n{} * \"{}\"\n  id: \"{}\"", p.day, p.reference, p.id);
        let _ = writeln!(text, "  {}  {amount} {}", beancount_account(&p.debit), p.currency.code());
        let _ = writeln!(text, "  {}  -{amount} {}", beancount_account(&p.credit), p.currency.code());
    }
    text.push('\n');
    let after = last.next();
    for ((currency, name), net) in &accounts {
        let amount = decimal(net.balance(), *currency);
        let _ =
            writeln!(text, "{after} balance {}  {amount} ~ 0 {}", beancount_account(name), currency.code());
    }
    text
}

/// `Recv.Issuer:BANK1` → `Assets:Recv-Issuer:Id-BANK1`. A component may hold letters, digits and `-`
/// only, so every other character of an id is written as `-` and its hexadecimal code, and so is `-`.
fn beancount_account(name: &str) -> String {
    let (class, id) = name.split_once(':').unwrap_or((name, ""));
    let root = match class.split('.').next() {
        Some("Recv") => "Assets",
        Some("Pay") => "Liabilities",
        Some("Inc") => "Income",
        Some(_) | None => "Equity",
    };
    let mut account = format!("{root}:{}", class.replace('.', "-"));
    if !id.is_empty() {
        account.push_str(":Id-");
        for character in id.chars() {
            if character.is_ascii_alphanumeric() {
                account.push(character);
            } else {
                let _ = write!(account, "-{:02X}", u32::from(character));
            }
        }
    }
    account
}

/// Minor units as a decimal number with the places of the currency.
fn decimal(minor: i128, currency: Currency) -> String {
    Decimal::try_from_i128_with_scale(minor, currency.exponent()).unwrap_or(Decimal::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Day = Day(20_261_231);

    fn record(id: i64, side: Side, minor: i64, fee_minor: i64) -> Presented {
        Presented {
            id: TxnId(id),
            day: DAY,
            issuer: IssuerId::new("BANK1").unwrap(),
            mid: Mid::new("M-1").unwrap(),
            amount: Amount::new(minor, Currency::CNY).unwrap(),
            side,
            fee_minor,
        }
    }

    fn legs(journal: &[Posting]) -> Vec<(&str, &str, i64)> {
        journal.iter().map(|p| (p.debit.as_str(), p.credit.as_str(), p.minor)).collect()
    }

    #[test]
    fn discounts_are_rounded_half_to_even() {
        let rows = [
            (10_000, "150", Ok(150)),
            (10_000, "0", Ok(0)),
            (50, "100", Ok(0)),       // 0.5 → 0
            (150, "100", Ok(2)),      // 1.5 → 2
            (250, "100", Ok(2)),      // 2.5 → 2
            (251, "100", Ok(3)),      // 2.51 → 3
            (10_000, "17.5", Ok(18)), // 17.5 → 18
            (3_333, "29.9", Ok(10)),
            (Amount::MAX_MINOR, "10000", Ok(Amount::MAX_MINOR)),
            (1, "-1", Err(LedgerError::BasisPoints("-1".into()))),
            (1, "10001", Err(LedgerError::BasisPoints("10001".into()))),
            (1, "1,5", Err(LedgerError::BasisPoints("1,5".into()))),
            (1, "", Err(LedgerError::BasisPoints(String::new()))),
        ];
        for (minor, rate, want) in rows {
            let amount = Amount::new(minor, Currency::CNY).unwrap();
            assert_eq!(discount(amount, rate), want, "{minor} at {rate}");
        }
    }

    #[test]
    fn records_become_postings() {
        let (recv, pay) = ("Recv.Issuer:BANK1", "Pay.Merchant:M-1");
        type Row = (Side, i64, i64, Vec<(&'static str, &'static str, i64)>);
        let rows: Vec<Row> = vec![
            (Side::Debit, 10_000, 150, vec![(recv, pay, 10_000), (pay, INCOME_MDR, 150)]),
            (Side::Debit, 20, 0, vec![(recv, pay, 20)]),
            (Side::Credit, 2_000, 0, vec![(pay, recv, 2_000)]),
            (Side::None, 2_000, 0, vec![]),
        ];
        for (side, minor, fee, want) in rows {
            assert_eq!(legs(&present(&record(1, side, minor, fee))), want);
        }
    }

    #[test]
    fn a_record_taken_back_leaves_every_account_as_it_was() {
        let mut journal = present(&record(1, Side::Debit, 10_000, 150));
        journal.extend(present(&record(2, Side::Credit, 500, 0)));
        for id in [1, 2] {
            let contra = take_back(&journal, TxnId(id), Day(20_270_101));
            assert!(!contra.is_empty());
            assert!(contra.iter().all(|p| p.day == Day(20_270_101)));
            journal.extend(contra);
        }
        assert_eq!(check(&journal), Ok(()));
        assert!(trial_balance(&journal).values().all(|net| net.balance() == 0));
        assert_eq!(take_back(&journal, TxnId(1), Day(20_270_101)).len(), 2, "a contra has no contra");
    }

    #[test]
    fn ids_are_the_same_for_the_same_event_and_differ_for_others() {
        let sale = present(&record(1, Side::Debit, 10_000, 150));
        assert_eq!(sale, present(&record(1, Side::Debit, 10_000, 150)));
        let digest = openssl::sha::sha256(b"tollgate.ledger.1\n1\npresented\namount");
        assert_eq!(sale[0].id, hex::encode(&digest[..16]));
        let mut ids: Vec<String> = sale.iter().map(|p| p.id.clone()).collect();
        ids.extend(take_back(&sale, TxnId(1), DAY).into_iter().map(|p| p.id));
        ids.extend(present(&record(11, Side::Debit, 10_000, 150)).into_iter().map(|p| p.id));
        let distinct: BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 6);
    }

    #[test]
    fn an_altered_journal_is_detected() {
        let sound = present(&record(1, Side::Debit, 10_000, 150));
        let id = sound[0].id.clone();
        type Row = (&'static str, fn(&mut Vec<Posting>), fn(String) -> LedgerError);
        let rows: [Row; 4] = [
            ("a row twice", |j| j.push(j[0].clone()), LedgerError::Twice),
            ("an id reused", |j| j[1].id = j[0].id.clone(), LedgerError::Twice),
            ("a negative amount", |j| j[0].minor = -1, LedgerError::Void),
            ("one account", |j| j[0].credit = j[0].debit.clone(), LedgerError::Void),
        ];
        assert_eq!(check(&sound), Ok(()));
        for (name, alter, want) in rows {
            let mut journal = sound.clone();
            alter(&mut journal);
            assert_eq!(check(&journal), Err(want(id.clone())), "{name}");
        }
    }

    #[test]
    fn the_export_names_accounts_as_beancount_allows() {
        let rows = [
            ("Recv.Issuer:BANK1", "Assets:Recv-Issuer:Id-BANK1"),
            ("Pay.Merchant:m-1 a", "Liabilities:Pay-Merchant:Id-m-2D1-20a"),
            ("Inc.MDR", "Income:Inc-MDR"),
        ];
        for (account, want) in rows {
            assert_eq!(beancount_account(account), want);
        }
        let text = beancount(&present(&record(7, Side::Debit, 10_000, 150)));
        for line in [
            "2026-12-31 open Assets:Recv-Issuer:Id-BANK1",
            "2026-12-31 * \"7\"",
            "  Assets:Recv-Issuer:Id-BANK1  100.00 CNY",
            "  Income:Inc-MDR  -1.50 CNY",
            "2027-01-01 balance Liabilities:Pay-Merchant:Id-M-2D1  -98.50 ~ 0 CNY",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!(beancount(&[]), "option \"title\" \"tollgate\"\n");
    }

    proptest! {
        #[test]
        fn the_trial_balance_is_zero(rows in prop::collection::vec((0..1000_i64, any::<bool>(), 1..=Amount::MAX_MINOR, 0..10_000_i64), 0..60)) {
            let journal: Vec<Posting> = rows
                .into_iter()
                .flat_map(|(id, sale, minor, fee)| {
                    present(&record(id, if sale { Side::Debit } else { Side::Credit }, minor, fee))
                })
                .collect();
            let sum: i128 = trial_balance(&journal).values().map(|net| net.balance()).sum();
            prop_assert_eq!(sum, 0);
        }
    }
}
