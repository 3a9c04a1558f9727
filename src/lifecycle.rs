//! The life of one transaction as a table: (state, event) → (state, effects). Pure.
//!
//! ```text
//!            ┌─ Declined ◄───────────────┐ declined, not sent
//!  Sent ─────┼─ Approved ── reversal ──► Reversed      Approved ─ void ► Voided
//!            ├─ TimedOut (reversal queued)             Approved ─ cancel ► Cancelled
//!            └─ Abandoned ── outcome ──► Reversed      Approved ─ completion ► Completed
//! ```
//!
//! A void, refund, cancel or completion *claims* its original when it is stored as sent; its own
//! outcome settles or releases the claim. Both happen in the commit of the claimant's event.

use crate::transaction::Kind;

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stored, and on its way to the issuer; the outcome is unknown.
    Sent,
    /// Approved by the issuer, or an advice taken.
    Approved,
    /// Declined, or never sent.
    Declined,
    /// No usable answer in time; a reversal to the issuer is queued.
    TimedOut,
    /// The terminal reversed it while it was on its way; its answer is never delivered.
    Abandoned,
    /// Undone.
    Reversed,
    /// Voided in its own batch.
    Voided,
    /// A pre-authorization that was cancelled.
    Cancelled,
    /// A pre-authorization that was completed.
    Completed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Sent,
        Self::Approved,
        Self::Declined,
        Self::TimedOut,
        Self::Abandoned,
        Self::Reversed,
        Self::Voided,
        Self::Cancelled,
        Self::Completed,
    ];

    /// A stable name, as the store keeps it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::TimedOut => "timed-out",
            Self::Abandoned => "abandoned",
            Self::Reversed => "reversed",
            Self::Voided => "voided",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether the outcome is still open: such a row blocks its batch and its business day.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Sent | Self::Abandoned)
    }
}

/// What happens to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The issuer approved.
    Approved,
    /// The issuer declined.
    Declined,
    /// No answer in time, or one that cannot be used.
    TimedOut,
    /// Not one byte reached the issuer.
    NotSent,
    /// The terminal reversed it.
    TerminalReversal,
    /// A restart found it without an outcome.
    Recovered,
    /// Its void was approved.
    Voided,
    /// Its cancellation was approved.
    Cancelled,
    /// Its completion was approved.
    Completed,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::Approved,
        Self::Declined,
        Self::TimedOut,
        Self::NotSent,
        Self::TerminalReversal,
        Self::Recovered,
        Self::Voided,
        Self::Cancelled,
        Self::Completed,
    ];
}

/// What the store does in the same commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Queue a reversal to the issuer.
    QueueReversal,
    /// The claim on the original becomes final: it is voided, cancelled, completed.
    SettleClaim,
    /// The claim on the original is given back: it stands as before.
    ReleaseClaim,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state afterwards.
    pub next: State,
    /// What goes with it.
    pub effects: &'static [Effect],
}

const fn to(next: State, effects: &'static [Effect]) -> Option<Transition> {
    Some(Transition { next, effects })
}

/// The table. `None`: the event has no place in this state, and changes nothing.
#[must_use]
pub const fn apply(state: State, event: Event) -> Option<Transition> {
    use Effect::{QueueReversal, ReleaseClaim, SettleClaim};
    use State::{Abandoned, Approved, Cancelled, Completed, Declined, Reversed, Sent, TimedOut, Voided};
    match (state, event) {
        (Sent, Event::Approved) => to(Approved, &[SettleClaim]),
        (Sent | Abandoned, Event::Declined | Event::NotSent) => to(Declined, &[ReleaseClaim]),
        (Sent, Event::TimedOut | Event::Recovered) => to(TimedOut, &[QueueReversal, ReleaseClaim]),
        (Sent, Event::TerminalReversal) => to(Abandoned, &[]),

        (Abandoned, Event::Approved | Event::TimedOut | Event::Recovered) => {
            to(Reversed, &[QueueReversal, ReleaseClaim])
        }

        (Approved, Event::TerminalReversal) => to(Reversed, &[QueueReversal, ReleaseClaim]),
        (Approved, Event::Voided) => to(Voided, &[]),
        (Approved, Event::Cancelled) => to(Cancelled, &[]),
        (Approved, Event::Completed) => to(Completed, &[]),

        // A second reversal, or one of a transaction that moved no money: accepted, nothing to do.
        (Abandoned, Event::TerminalReversal) => to(Abandoned, &[]),
        (TimedOut, Event::TerminalReversal) => to(TimedOut, &[]),
        (Reversed, Event::TerminalReversal) => to(Reversed, &[]),
        (Declined, Event::TerminalReversal) => to(Declined, &[]),
        (Voided, Event::TerminalReversal) => to(Voided, &[]),
        (Cancelled, Event::TerminalReversal) => to(Cancelled, &[]),
        (Completed, Event::TerminalReversal) => to(Completed, &[]),

        (Sent | Abandoned, Event::Voided | Event::Cancelled | Event::Completed)
        | (
            Approved | Declined | TimedOut | Reversed | Voided | Cancelled | Completed,
            Event::Approved | Event::Declined | Event::TimedOut | Event::NotSent | Event::Recovered,
        )
        | (
            Declined | TimedOut | Reversed | Voided | Cancelled | Completed,
            Event::Voided | Event::Cancelled | Event::Completed,
        ) => None,
    }
}

/// What a claimant does to its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimKind {
    /// Voids it, in full.
    Void,
    /// Cancels a pre-authorization.
    Cancel,
    /// Completes a pre-authorization.
    Complete,
    /// Takes a part of its amount back; several may, up to the whole.
    Refund,
}

impl ClaimKind {
    /// What a kind of transaction claims, if anything.
    #[must_use]
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Void | Kind::CompletionVoid => Some(Self::Void),
            Kind::PreAuthCancel => Some(Self::Cancel),
            Kind::Completion | Kind::CompletionAdvice => Some(Self::Complete),
            Kind::Refund => Some(Self::Refund),
            Kind::Balance | Kind::Sale | Kind::PreAuth | Kind::OfflineSale | Kind::Reversal => None,
        }
    }

    /// The kinds that it may claim.
    #[must_use]
    pub const fn accepts(self, claimant: Kind, original: Kind) -> bool {
        match self {
            Self::Void => match claimant {
                Kind::CompletionVoid => matches!(original, Kind::Completion),
                Kind::Void => matches!(original, Kind::Sale | Kind::Refund),
                Kind::Balance
                | Kind::Sale
                | Kind::Refund
                | Kind::PreAuth
                | Kind::PreAuthCancel
                | Kind::Completion
                | Kind::CompletionAdvice
                | Kind::OfflineSale
                | Kind::Reversal => false,
            },
            Self::Cancel | Self::Complete => matches!(original, Kind::PreAuth),
            Self::Refund => {
                matches!(original, Kind::Sale | Kind::Completion | Kind::CompletionAdvice | Kind::OfflineSale)
            }
        }
    }

    /// The event on the original when the claimant is approved; a refund only counts up.
    #[must_use]
    pub const fn settles_as(self) -> Option<Event> {
        match self {
            Self::Void => Some(Event::Voided),
            Self::Cancel => Some(Event::Cancelled),
            Self::Complete => Some(Event::Completed),
            Self::Refund => None,
        }
    }
}

/// Whether an unknown or undone transaction of this kind must be reversed at the issuer:
/// it moved money or held some.
#[must_use]
pub const fn needs_issuer_reversal(kind: Kind) -> bool {
    match kind {
        Kind::Balance | Kind::Reversal => false,
        Kind::Sale
        | Kind::Void
        | Kind::Refund
        | Kind::PreAuth
        | Kind::PreAuthCancel
        | Kind::Completion
        | Kind::CompletionAdvice
        | Kind::CompletionVoid
        | Kind::OfflineSale => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_is_as_the_table_says() {
        use State::*;
        type Row = (State, Event, Option<(State, &'static [Effect])>);
        let rows: &[Row] = &[
            (Sent, Event::Approved, Some((Approved, &[Effect::SettleClaim]))),
            (Sent, Event::Declined, Some((Declined, &[Effect::ReleaseClaim]))),
            (Sent, Event::NotSent, Some((Declined, &[Effect::ReleaseClaim]))),
            (Sent, Event::TimedOut, Some((TimedOut, &[Effect::QueueReversal, Effect::ReleaseClaim]))),
            (Sent, Event::Recovered, Some((TimedOut, &[Effect::QueueReversal, Effect::ReleaseClaim]))),
            (Sent, Event::TerminalReversal, Some((Abandoned, &[]))),
            (Sent, Event::Voided, None),
            (Abandoned, Event::Approved, Some((Reversed, &[Effect::QueueReversal, Effect::ReleaseClaim]))),
            (Abandoned, Event::Declined, Some((Declined, &[Effect::ReleaseClaim]))),
            (Abandoned, Event::Recovered, Some((Reversed, &[Effect::QueueReversal, Effect::ReleaseClaim]))),
            (
                Approved,
                Event::TerminalReversal,
                Some((Reversed, &[Effect::QueueReversal, Effect::ReleaseClaim])),
            ),
            (Approved, Event::Voided, Some((Voided, &[]))),
            (Approved, Event::TimedOut, None),
            (TimedOut, Event::Approved, None),
            (TimedOut, Event::TerminalReversal, Some((TimedOut, &[]))),
            (Voided, Event::TerminalReversal, Some((Voided, &[]))),
            (Voided, Event::Voided, None),
            (Declined, Event::TerminalReversal, Some((Declined, &[]))),
        ];
        for (state, event, want) in rows {
            let got = apply(*state, *event).map(|t| (t.next, t.effects));
            assert_eq!(got, *want, "{state:?} {event:?}");
        }
    }

    /// What must hold in every row, listed above or not.
    #[test]
    fn an_unknown_outcome_always_queues_a_reversal_and_money_is_never_reversed_twice() {
        for state in State::ALL {
            for event in Event::ALL {
                let Some(t) = apply(state, event) else { continue };
                let queues = t.effects.contains(&Effect::QueueReversal);
                if state.is_open() && matches!(event, Event::TimedOut | Event::Recovered) {
                    assert!(queues, "{state:?} {event:?}");
                }
                if matches!(state, State::TimedOut | State::Reversed | State::Declined | State::Voided) {
                    assert!(!queues, "{state:?} {event:?} would reverse again");
                }
                assert!(
                    !t.next.is_open() || event == Event::TerminalReversal,
                    "{state:?} {event:?} stays open"
                );
            }
        }
    }

    #[test]
    fn names_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
    }
}
