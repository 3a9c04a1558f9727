//! What stands of each payment in a book, and where books differ. Pure: knows no file, no process and
//! no book's own form.

use super::narrator::money;
use std::collections::{BTreeMap, BTreeSet};

/// Net of each issuer in minor units: what cardholders paid less what they got back.
pub(super) type Net = BTreeMap<String, i64>;

/// Issuer and RRN of each payment that moved money and stands, and what it moved: minor units, positive
/// from the cardholder. A void is booked under what it voids, so that the two leave nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing(BTreeMap<(String, String), i64>);

impl Standing {
    /// Books an amount under a payment.
    pub(super) fn book(&mut self, issuer: &str, rrn: &str, minor: i64) {
        let payment = (issuer.to_owned(), rrn.to_owned());
        let stands = self.0.get(&payment).copied().unwrap_or(0) + minor;
        if stands == 0 {
            self.0.remove(&payment);
        } else {
            self.0.insert(payment, stands);
        }
    }

    /// Adds up each issuer's payments.
    pub(super) fn net(&self) -> Net {
        let mut net = Net::new();
        for ((issuer, _), minor) in &self.0 {
            *net.entry(issuer.clone()).or_default() += minor;
        }
        net
    }
}

/// Payments that do not stand in all books with one amount, one line each.
pub(super) fn differences(books: &[(&str, Standing)]) -> Vec<String> {
    let payments: BTreeSet<_> = books.iter().flat_map(|(_, standing)| standing.0.keys()).collect();
    let mut found = Vec::new();
    for payment in payments {
        let amounts = books.iter().map(|(name, standing)| (name, standing.0.get(payment).copied()));
        let amounts: Vec<_> = amounts.collect();
        if amounts.windows(2).any(|pair| pair[0].1 != pair[1].1) {
            let told: Vec<String> = amounts
                .iter()
                .map(|(name, minor)| format!("{name} {}", minor.map_or_else(|| "nothing".to_owned(), money)))
                .collect();
            found.push(format!("{} at {}: {}", payment.1, payment.0, told.join(", ")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Standing {
        let mut book = Standing::default();
        for (issuer, rrn, minor) in [
            ("BANKA", "1", 100),
            ("BANKA", "2", 250),
            ("BANKA", "2", -250),
            ("BANKA", "3", -40),
            ("BANKB", "1", 7),
        ] {
            book.book(issuer, rrn, minor);
        }
        book
    }

    #[test]
    fn what_is_voided_does_not_stand() {
        let net = book().net();
        assert_eq!(net, Net::from([("BANKA".to_owned(), 60), ("BANKB".to_owned(), 7)]));
        assert_eq!(book().0.len(), 3);
    }

    #[test]
    fn one_altered_amount_in_any_book_is_a_difference() {
        let names = ["terminals", "switch", "issuers", "clearing files"];
        let books = || names.map(|name| (name, book()));
        assert_eq!(differences(&books()), Vec::<String>::new());
        for altered in 0..names.len() {
            for (issuer, rrn) in [("BANKA", "1"), ("BANKA", "2"), ("BANKA", "3"), ("BANKB", "1")] {
                for minor in [1, -1] {
                    let mut books = books();
                    books[altered].1.book(issuer, rrn, minor);
                    let found = differences(&books);
                    assert_eq!(found.len(), 1, "{altered} {rrn}");
                    assert!(found[0].starts_with(&format!("{rrn} at {issuer}: ")), "{}", found[0]);
                }
            }
            // Two that cancel out leave the sums as they were.
            let mut books = books();
            books[altered].1.book("BANKA", "1", 1);
            books[altered].1.book("BANKA", "3", -1);
            assert_eq!(books[altered].1.net(), book().net());
            assert_eq!(differences(&books).len(), 2);
        }
    }
}
