//! Terminals whose requests are made before the clock starts: MACs and PIN blocks included, and among them a
//! few that the switch must refuse.

use crate::load::Lane;
use crate::stage::{EXPIRY, Stage};
use crate::terminal::{Card, Dialect, KeyForm, Seal, Terminal};
use anyhow::{Context, Result, bail};

/// What the terminals speak: swiped sales with a PIN and an encrypted track.
pub(super) const DIALECT: Dialect = Dialect::UnionPay;
/// Sales of a terminal in one batch; a batch holds 999 at most.
const BATCH: u32 = 900;
/// One request in so many has a bad MAC, and one a PIN block of another card.
const BAD_EVERY: u32 = 1000;
const SALE_MINOR: i64 = 1_234;

/// DE 39 of a sale, of one whose MAC is wrong, and of one whose PIN block is (`unionpay-pos`).
pub(super) const APPROVED: &str = "00";
pub(super) const BAD_MAC: &str = "A0";
pub(super) const BAD_PIN: &str = "99";

/// A signed-on terminal and its cards.
pub(super) struct Till {
    terminal: Terminal,
    card: Card,
    /// The same stripe with the PIN block of another card.
    wrong: Card,
    /// Requests made so far, of which this is the place among those of all tills.
    made: u32,
    in_batch: u32,
}

impl Till {
    /// Switches the `n`th terminal on, from 1, and signs it on through the wire.
    pub(super) async fn open(stage: &Stage, n: u32) -> Result<Self> {
        let mut terminal = Terminal::connect(stage.profile(DIALECT, n)?, None).await?;
        let outcome = terminal.sign_on(KeyForm::DoubleWithTrack).await?;
        if !outcome.approved {
            bail!("terminal {n} could not sign on: {}", outcome.code);
        }
        terminal.disconnect();
        let card = Card::swiped(&pan(u64::from(n)), EXPIRY).with_pin("123456");
        let wrong = Card { pan: pan(1_000_000_000 - u64::from(n)), ..card.clone() };
        // Each till at its own place, so that bad requests are spread evenly.
        let made = n.wrapping_mul(389) % BAD_EVERY;
        Ok(Self { terminal, card, wrong, made, in_batch: 0 })
    }

    /// The next `count` requests, each under a trace number of its own.
    pub(super) fn prepare(&mut self, count: u32) -> Result<Lane> {
        let mut lane = Lane::default();
        for _ in 0..count {
            if self.in_batch == BATCH {
                self.terminal.set_batch(self.terminal.state().batch % 999_999 + 1);
                self.in_batch = 0;
            }
            let (card, seal, code) = match self.made % BAD_EVERY {
                0 => (&self.card, Seal::Spoiled, BAD_MAC),
                500 => (&self.wrong, Seal::Proper, BAD_PIN),
                _ => (&self.card, Seal::Proper, APPROVED),
            };
            let frame = self.terminal.prepare_sale(card, SALE_MINOR, seal)?;
            let code = code.as_bytes().try_into().context("a response code is two characters")?;
            lane.push_expecting(DIALECT, &frame, code)?;
            self.made += 1;
            self.in_batch += 1;
        }
        Ok(lane)
    }
}

/// A card of the first issuer: its prefix, nine digits and the check digit.
fn pan(number: u64) -> String {
    let body = format!("622588{number:09}");
    let doubled = body.bytes().rev().enumerate().map(|(place, digit)| {
        let digit = u32::from(digit - b'0');
        if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
    });
    let check = (10 - doubled.sum::<u32>() % 10) % 10;
    format!("{body}{check}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate::transaction::Pan;

    #[test]
    fn cards_end_in_their_check_digit() {
        assert_eq!(pan(1_234_567), "6225880012345675");
        for number in [0, 1, 9, 256, 999_999_999, 999_999_744] {
            assert!(Pan::parse(&pan(number)).unwrap().luhn_valid(), "{number}");
        }
    }
}
