//! The wall clock, read here and nowhere else, and what is made of it: DE 7, DE 12/13, business
//! dates and transaction identities. It knows neither messages nor settings.
//!
//! Durations and deadlines inside the process are the runtime's monotonic time, not this.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall-clock time with the switch's fixed offset from UTC. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    offset: Offset,
}

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock; local time is `utc_offset_minutes` ahead of UTC. `None` when the offset
    /// is a day or more.
    #[must_use]
    pub fn system(utc_offset_minutes: i32) -> Option<Self> {
        Some(Self { source: Source::System, offset: offset(utc_offset_minutes)? })
    }

    /// A clock that stands at `now_ms` (since the Unix epoch) until it is set; local time is UTC.
    #[must_use]
    pub fn manual(now_ms: i64) -> Self {
        Self { source: Source::Manual(Arc::new(AtomicI64::new(now_ms))), offset: Offset::UTC }
    }

    /// The same clock at another offset from UTC.
    #[must_use]
    pub fn with_offset_minutes(self, utc_offset_minutes: i32) -> Option<Self> {
        Some(Self { offset: offset(utc_offset_minutes)?, ..self })
    }

    /// Sets a manual clock and all its clones; the system's clock is left alone.
    pub fn set_ms(&self, now_ms: i64) {
        match &self.source {
            Source::System => {}
            Source::Manual(now) => now.store(now_ms, Ordering::Relaxed),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.source {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Transmission date and time now, UTC, `MMDDhhmmss` (DE 7).
    #[must_use]
    pub fn utc(&self) -> String {
        Self::utc_of(self.now_ms())
    }

    /// `MMDDhhmmss` in UTC of a moment in milliseconds since the epoch.
    #[must_use]
    pub fn utc_of(ms: i64) -> String {
        month_to_second(civil(ms, Offset::UTC))
    }

    /// Local date and time now, `MMDDhhmmss` (DE 13 and DE 12).
    #[must_use]
    pub fn local(&self) -> String {
        self.local_of(self.now_ms())
    }

    /// `MMDDhhmmss` in local time of a moment in milliseconds since the epoch.
    #[must_use]
    pub fn local_of(&self, ms: i64) -> String {
        month_to_second(civil(ms, self.offset))
    }

    /// Today's local date as the number `yyyymmdd`.
    #[must_use]
    pub fn today(&self) -> i32 {
        self.date_of(self.now_ms())
    }

    /// The local date of a moment as the number `yyyymmdd`.
    #[must_use]
    pub fn date_of(&self, ms: i64) -> i32 {
        let at = civil(ms, self.offset);
        i32::from(at.year()) * 10_000 + i32::from(at.month()) * 100 + i32::from(at.day())
    }

    /// The local year, four digits.
    #[must_use]
    pub fn year(&self) -> i16 {
        civil(self.now_ms(), self.offset).year()
    }

    /// The day of the local year, 1 to 366.
    #[must_use]
    pub fn day_of_year(&self) -> i16 {
        civil(self.now_ms(), self.offset).day_of_year()
    }

    /// Local date and time of a moment with its offset, RFC 3339, for people and reports.
    #[must_use]
    pub fn rfc3339_of(&self, ms: i64) -> String {
        moment(ms).display_with_offset(self.offset).to_string()
    }
}

fn offset(minutes: i32) -> Option<Offset> {
    if minutes.abs() >= 24 * 60 {
        return None;
    }
    Offset::from_seconds(minutes * 60).ok()
}

/// Milliseconds beyond the calendar's ends (years -9999 and 9999) stand at the epoch.
fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn civil(ms: i64, offset: Offset) -> DateTime {
    offset.to_datetime(moment(ms))
}

fn month_to_second(at: DateTime) -> String {
    let mut text = String::with_capacity(10);
    for part in [at.month(), at.day(), at.hour(), at.minute(), at.second()] {
        let part = part.unsigned_abs();
        text.push(char::from(b'0' + part / 10 % 10));
        text.push(char::from(b'0' + part % 10));
    }
    text
}

/// 2020-01-01T00:00:00Z in milliseconds since the Unix epoch.
const ID_EPOCH_MS: i64 = 1_577_836_800_000;
const SEQ_BITS: u32 = 15;
const NODE_BITS: u32 = 6;
const SEQ_MASK: i64 = (1 << SEQ_BITS) - 1;

/// Makes transaction identities: ordered by time, unique over all nodes, never going back even
/// when the clock does. Shared by all threads of a node.
///
/// ```text
/// bit  62                          21 20      15 14          0
///      milliseconds since 2020-01-01 | node 0–63 | sequence    
/// ```
#[derive(Debug)]
pub struct TxnIds {
    node: i64,
    /// The last tick given out: milliseconds and sequence side by side, without the node.
    last: AtomicI64,
}

impl TxnIds {
    /// Identities of one node; only the low six bits of `node` count.
    #[must_use]
    pub fn new(node: u8) -> Self {
        Self { node: i64::from(node) & ((1 << NODE_BITS) - 1), last: AtomicI64::new(0) }
    }

    /// The next identity at `now_ms` since the Unix epoch. A full sequence runs on into the next
    /// millisecond.
    #[must_use]
    pub fn next(&self, now_ms: i64) -> i64 {
        let now = now_ms.saturating_sub(ID_EPOCH_MS).clamp(0, i64::MAX >> (SEQ_BITS + NODE_BITS)) << SEQ_BITS;
        let step = |last: i64| now.max(last + 1);
        // The closure always gives a value, so both arms hold the tick before this one.
        let before = match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| Some(step(l))) {
            Ok(before) | Err(before) => before,
        };
        let tick = step(before);
        (tick >> SEQ_BITS) << (SEQ_BITS + NODE_BITS) | self.node << SEQ_BITS | (tick & SEQ_MASK)
    }

    /// When an identity was made, milliseconds since the Unix epoch.
    #[must_use]
    pub fn made_at_ms(id: i64) -> i64 {
        (id >> (SEQ_BITS + NODE_BITS)).saturating_add(ID_EPOCH_MS)
    }

    /// Goes on after `last`, the greatest identity that the store knows.
    pub fn continue_after(&self, last: i64) {
        let tick = (last >> (SEQ_BITS + NODE_BITS)) << SEQ_BITS | (last & SEQ_MASK);
        self.last.fetch_max(tick, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-02-28T23:30:05Z
    const NOW_MS: i64 = 1_772_321_405_000;

    #[test]
    fn local_time_is_utc_moved_by_the_offset() {
        let rows = [
            (0, "0228233005", 20_260_228, 59),
            (480, "0301073005", 20_260_301, 60),
            (-90, "0228220005", 20_260_228, 59),
        ];
        for (minutes, local, date, day_of_year) in rows {
            let clock = Clock::manual(NOW_MS).with_offset_minutes(minutes).unwrap();
            assert_eq!(clock.utc(), "0228233005");
            assert_eq!(clock.local(), local, "{minutes}");
            assert_eq!(clock.today(), date, "{minutes}");
            assert_eq!(clock.day_of_year(), day_of_year, "{minutes}");
            assert_eq!(clock.year(), 2026);
        }
        let china = Clock::manual(NOW_MS).with_offset_minutes(480).unwrap();
        assert_eq!(china.rfc3339_of(NOW_MS), "2026-03-01T07:30:05+08:00");
        assert!(Clock::system(24 * 60).is_none());
    }

    #[test]
    fn the_system_clock_moves_and_cannot_be_set() {
        let clock = Clock::system(0).unwrap();
        clock.set_ms(5);
        assert!(clock.now_ms() > NOW_MS / 2);
    }

    #[test]
    fn identities_rise_when_the_clock_stands_or_goes_back() {
        let ids = TxnIds::new(5);
        let mut last = 0;
        for now in [NOW_MS, NOW_MS, NOW_MS - 60_000, 0, i64::MIN, NOW_MS + 1] {
            let id = ids.next(now);
            assert!(id > last, "{now}");
            assert_eq!(id >> 15 & 63, 5);
            last = id;
        }
        assert_eq!(last >> 21, NOW_MS + 1 - ID_EPOCH_MS);
        for _ in 0..70_000 {
            let id = ids.next(NOW_MS);
            assert!(id > last);
            last = id;
        }
        assert_eq!(last >> 15 & 63, 5, "a full sequence does not spill into the node");
    }

    #[test]
    fn identities_go_on_after_the_last_one_stored() {
        let before = TxnIds::new(63);
        let last = before.next(NOW_MS + 5_000);
        let after = TxnIds::new(1);
        after.continue_after(last);
        assert!(after.next(NOW_MS) >> 21 >= last >> 21);
        let same = TxnIds::new(63);
        same.continue_after(last);
        assert!(same.next(NOW_MS) > last);
    }

    #[test]
    fn identities_of_threads_do_not_meet() {
        let ids = Arc::new(TxnIds::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let ids = Arc::clone(&ids);
                std::thread::spawn(move || (0..5_000).map(|_| ids.next(NOW_MS)).collect::<Vec<_>>())
            })
            .collect();
        let mut all: Vec<i64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }
}
