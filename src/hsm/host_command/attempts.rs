//! Limits on failing verifications, so that nobody finds a PIN, a card value or a cryptogram by trying: so many in a
//! row for one card under one key, so many in a minute for the whole HSM. Pure: time is an argument, and a card is a
//! number that says nothing of it.
//!
//! What is remembered is bounded. Cards with failures stand in two generations: when the young one is full it becomes
//! the old one, and the old one is forgotten. A generation holds as many cards as can fail within the time that a
//! failure counts, for no more fail than the limit of a minute lets; so a flood of other cards pushes nothing out
//! before its time. Where there is no such limit, or one too high for [`MOST_CARDS`], a flood may make failures of
//! other cards forgotten, and it is told. A locked card is never pushed out: when no further one can be locked,
//! verifications of cards that are not known are refused until a lock ends.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failures of one card under one key without a success between them, after which it is locked. 0: no limit.
    pub in_a_row: u32,
    /// How long a card is locked, and how long a failure counts.
    pub lock: Duration,
    /// Failures of all cards within 60 s, after which nothing is verified. 0: no limit.
    pub per_minute: u32,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { in_a_row: 5, lock: Duration::from_hours(24), per_minute: 1000 }
    }
}

impl AttemptLimits {
    /// How many cards can fail within the time that a failure counts; at most [`MOST_CARDS`].
    fn cards(self) -> usize {
        let minutes = self.lock.as_secs().div_ceil(60).max(1);
        let cards = u64::from(self.per_minute).saturating_mul(minutes).saturating_mul(NUMBERS);
        match usize::try_from(cards) {
            Ok(0) | Err(_) => MOST_CARDS,
            Ok(cards) => cards.min(MOST_CARDS),
        }
    }

    /// Whether a failure is remembered for its whole time, whatever comes.
    #[must_use]
    pub fn are_kept(self) -> bool {
        self.per_minute > 0 && self.cards() < MOST_CARDS
    }
}

/// Numbers that a card is known by at most.
const NUMBERS: u64 = 2;
/// Numbers of cards in a generation at most: some 70 MB, should all of them be there.
const MOST_CARDS: usize = 3_600_000;

/// Why nothing is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The card is locked.
    Card,
    /// Too many failed within a minute.
    Minute,
    /// No further card could be locked.
    Full,
}

/// What a failure led to, that somebody should know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// The card is locked from now on.
    pub(super) is_locked: bool,
    /// It is the last failure that this minute may have.
    pub(super) is_last_of_minute: bool,
    /// Failures of so many cards are forgotten before their time.
    pub(super) forgotten: usize,
}

/// A moment: seconds since the HSM began.
type Second = u32;

/// Failures of a card.
#[derive(Clone, Copy)]
struct Failures {
    in_a_row: u32,
    /// When they count no more.
    until: Second,
}

/// What is remembered.
pub(super) struct Attempts {
    limits: AttemptLimits,
    /// Cards in a generation, and cards that are locked at most.
    cards: usize,
    young: HashMap<u64, Failures>,
    old: HashMap<u64, Failures>,
    /// Locked cards, and until when.
    locked: HashMap<u64, Second>,
    /// No lock ends before.
    first_end: Second,
    minute: Minute,
    latest: Second,
}

impl Attempts {
    pub(super) fn new(limits: AttemptLimits) -> Self {
        Self::with_room(limits, limits.cards())
    }

    fn with_room(limits: AttemptLimits, cards: usize) -> Self {
        Self {
            limits,
            cards,
            young: HashMap::new(),
            old: HashMap::new(),
            locked: HashMap::new(),
            first_end: 0,
            minute: Minute::default(),
            latest: 0,
        }
    }

    /// Whether the card may be verified now.
    pub(super) fn check(&mut self, card: u64, now: Duration) -> Result<(), Refused> {
        let now = self.at(now);
        if self.limits.per_minute > 0 && self.minute.count(now) >= self.limits.per_minute {
            return Err(Refused::Minute);
        }
        if self.locked.get(&card).is_some_and(|until| now < *until) {
            return Err(Refused::Card);
        }
        if self.locked.len() >= self.cards && self.failures(card, now) == 0 {
            self.unlock(now);
            if self.locked.len() >= self.cards {
                return Err(Refused::Full);
            }
        }
        Ok(())
    }

    /// A verification failed of a card, which may be known by two numbers.
    pub(super) fn failed(&mut self, card: &[u64], now: Duration) -> Noted {
        let now = self.at(now);
        let of_minute = self.minute.add(now);
        let mut noted = Noted {
            is_last_of_minute: self.limits.per_minute > 0 && of_minute == self.limits.per_minute,
            ..Noted::default()
        };
        if self.limits.in_a_row > 0 {
            card.iter().for_each(|number| self.count(*number, now, &mut noted));
        }
        noted
    }

    fn count(&mut self, card: u64, now: Second, noted: &mut Noted) {
        let in_a_row = self.failures(card, now).saturating_add(1);
        self.succeeded(card);
        let until = now.saturating_add(seconds(self.limits.lock));
        if in_a_row < self.limits.in_a_row {
            noted.forgotten += self.make_room(now);
            self.young.insert(card, Failures { in_a_row, until });
        } else {
            noted.is_locked = true;
            self.unlock(now);
            self.first_end = if self.locked.is_empty() { until } else { self.first_end.min(until) };
            self.locked.insert(card, until);
        }
    }

    /// A verification of the card succeeded: its failures are no more in a row.
    pub(super) fn succeeded(&mut self, card: u64) {
        if self.young.remove(&card).is_none() {
            self.old.remove(&card);
        }
    }

    /// Time does not go back.
    fn at(&mut self, now: Duration) -> Second {
        self.latest = self.latest.max(seconds(now));
        self.latest
    }

    /// Failures of a card that count.
    fn failures(&self, card: u64, now: Second) -> u32 {
        let found = self.young.get(&card).or_else(|| self.old.get(&card));
        found.filter(|failures| now < failures.until).map_or(0, |failures| failures.in_a_row)
    }

    /// Makes room for one more card with failures, and says how many are forgotten that still count.
    fn make_room(&mut self, now: Second) -> usize {
        if self.young.len() < self.cards {
            return 0;
        }
        let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        forgotten.values().filter(|failures| now < failures.until).count()
    }

    /// Drops locks that have ended, when one may have.
    fn unlock(&mut self, now: Second) {
        if now >= self.first_end {
            self.locked.retain(|_, until| now < *until);
            self.first_end = self.locked.values().min().copied().unwrap_or_default();
        }
    }
}

/// Whole seconds; more than 136 years are as many.
fn seconds(time: Duration) -> Second {
    Second::try_from(time.as_secs()).unwrap_or(Second::MAX)
}

/// Failures of the last 60 seconds, by the second.
#[derive(Default)]
struct Minute {
    counts: VecDeque<(Second, u32)>,
    sum: u32,
}

impl Minute {
    /// Those that are less than 60 s old.
    fn count(&mut self, now: Second) -> u32 {
        while let Some((second, count)) = self.counts.front().copied() {
            if now < second.saturating_add(60) {
                break;
            }
            self.counts.pop_front();
            self.sum = self.sum.saturating_sub(count);
        }
        self.sum
    }

    /// One more.
    fn add(&mut self, now: Second) -> u32 {
        self.count(now);
        match self.counts.back_mut() {
            Some((second, count)) if *second == now => *count = count.saturating_add(1),
            Some(_) | None => self.counts.push_back((now, 1)),
        }
        self.sum = self.sum.saturating_add(1);
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        Fails,
        Succeeds,
        /// And is refused.
        Meets(Refused),
    }
    use Does::{Fails, Meets, Succeeds};

    fn limits(in_a_row: u32, per_minute: u32) -> AttemptLimits {
        AttemptLimits { in_a_row, lock: Duration::from_hours(24), per_minute }
    }

    /// At a second, a card does something.
    fn check(name: &str, mut attempts: Attempts, rows: &[(u64, u64, Does)]) -> Vec<Noted> {
        let mut noted = Vec::new();
        for (row, (at, card, does)) in rows.iter().enumerate() {
            let now = Duration::from_secs(*at);
            let found = attempts.check(*card, now);
            match does {
                Meets(refused) => assert_eq!(found, Err(*refused), "{name}, row {row}"),
                Fails => {
                    assert_eq!(found, Ok(()), "{name}, row {row}");
                    noted.push(attempts.failed(&[*card], now));
                }
                Succeeds => {
                    assert_eq!(found, Ok(()), "{name}, row {row}");
                    attempts.succeeded(*card);
                }
            }
        }
        noted
    }

    #[test]
    fn a_card_is_locked_after_failures_in_a_row_until_its_time_is_over() {
        let in_a_row = || Attempts::new(limits(3, 1000));
        let noted = check(
            "locked",
            in_a_row(),
            &[
                (0, 1, Fails),
                (10, 1, Fails),
                (10, 2, Fails),
                (20, 1, Fails),
                (21, 1, Meets(Refused::Card)),
                // Another card, or the same under another key, goes on.
                (21, 2, Succeeds),
                (24 * HOUR + 19, 1, Meets(Refused::Card)),
                (24 * HOUR + 20, 1, Fails),
                (24 * HOUR + 20, 1, Fails),
                (24 * HOUR + 20, 1, Fails),
                (24 * HOUR + 20, 1, Meets(Refused::Card)),
                // Time that goes back ends no lock.
                (0, 1, Meets(Refused::Card)),
            ],
        );
        let locked = noted.iter().map(|noted| noted.is_locked).collect::<Vec<_>>();
        assert_eq!(locked, [false, false, false, true, false, false, true]);
        check(
            "a success ends the row",
            in_a_row(),
            &[(0, 1, Fails), (1, 1, Fails), (2, 1, Succeeds), (3, 1, Fails), (4, 1, Fails), (5, 1, Succeeds)],
        );
        check(
            "a failure counts for a day",
            in_a_row(),
            &[
                (0, 1, Fails),
                (0, 1, Fails),
                (24 * HOUR, 1, Fails),
                (24 * HOUR, 1, Fails),
                (48 * HOUR - 1, 1, Fails),
                (48 * HOUR, 1, Meets(Refused::Card)),
            ],
        );
        check("no limit", Attempts::new(limits(0, 0)), &[(0, 1, Fails); 2000]);
    }

    #[test]
    fn a_minute_has_so_many_failures_of_all_cards() {
        let rows = [
            (0, 1, Fails),
            (30, 2, Fails),
            (59, 3, Fails),
            (59, 4, Meets(Refused::Minute)),
            (59, 1, Meets(Refused::Minute)),
            // The first is 60 s old, then the second.
            (60, 4, Succeeds),
            (60, 4, Fails),
            (89, 5, Meets(Refused::Minute)),
            (90, 5, Fails),
            (90, 5, Meets(Refused::Minute)),
            (300, 5, Fails),
        ];
        let noted = check("a minute", Attempts::new(limits(9, 3)), &rows);
        let last = noted.iter().map(|noted| noted.is_last_of_minute).collect::<Vec<_>>();
        assert_eq!(last, [false, false, true, true, true, false]);
    }

    #[test]
    fn a_flood_of_cards_pushes_no_locked_card_out() {
        let mut attempts = Attempts::with_room(limits(2, 0), 100);
        let now = Duration::from_secs(1);
        attempts.failed(&[7], now);
        assert!(attempts.failed(&[7], now).is_locked);
        let mut forgotten = 0;
        for card in 1000..11_000 {
            assert_eq!(attempts.check(card, now), Ok(()));
            forgotten += attempts.failed(&[card], now).forgotten;
            assert_eq!(attempts.check(7, now), Err(Refused::Card), "{card}");
            assert!(attempts.young.len() + attempts.old.len() <= 200, "{card}");
        }
        // What is not here any more was told.
        assert_eq!(forgotten + attempts.young.len() + attempts.old.len(), 10_000);
        // All room for locks taken: a card that is not known is refused, one that is known is locked.
        let known = *attempts.young.keys().next().unwrap();
        for card in 20_000.. {
            if attempts.check(card, now) == Err(Refused::Full) {
                break;
            }
            attempts.failed(&[card], now);
            attempts.failed(&[card], now);
        }
        assert_eq!(attempts.locked.len(), 100);
        assert_eq!(attempts.check(7, now), Err(Refused::Card));
        assert_eq!(attempts.check(known, now), Ok(()));
        assert!(attempts.failed(&[known], now).is_locked);
        // Once the locks end there is room again.
        let later = Duration::from_secs(24 * HOUR + 1);
        assert_eq!(attempts.check(20_000, later), Ok(()));
        assert_eq!(attempts.locked.len(), 0);
    }

    #[test]
    fn a_flood_at_the_limit_of_a_minute_makes_nothing_forgotten_before_its_time() {
        let limits = AttemptLimits { in_a_row: 3, lock: Duration::from_secs(600), per_minute: 10 };
        assert!(limits.are_kept() && AttemptLimits::default().are_kept());
        assert!(!AttemptLimits { per_minute: 0, ..limits }.are_kept());
        let mut attempts = Attempts::new(limits);
        for minute in 0..50 {
            let now = Duration::from_secs(60 * minute);
            for card in 0..10 {
                // One card fails anew a minute before its failure is over; all others fail once.
                let is_target = card == 0 && [0, 9, 18].contains(&minute);
                let card = if is_target { 7 } else { 1000 + 10 * minute + card };
                assert_eq!(attempts.check(card, now), Ok(()), "{minute}");
                let noted = attempts.failed(&[card], now);
                assert_eq!(noted.forgotten, 0, "{minute}");
                assert_eq!(
                    noted.is_locked,
                    is_target && minute == 18,
                    "its failures are all known: {minute}"
                );
            }
            assert_eq!(attempts.check(1, now), Err(Refused::Minute), "{minute}");
        }
    }
}
