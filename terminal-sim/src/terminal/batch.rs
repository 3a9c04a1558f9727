//! A terminal's own batch: what it keeps of each approved transaction, and its own arithmetic.
//!
//! Pure. Deliberately shares nothing with the switch's arithmetic: the two are compared.

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::profile::{Dialect, EdcVoids, Entry};

/// What a terminal does with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Balance inquiry.
    Balance,
    /// Purchase.
    Sale,
    /// Void of a sale, or of an EDC refund, of the open batch.
    Void,
    /// Refund.
    Refund,
    /// Pre-authorization (an ASCII terminal's 0100).
    PreAuth,
    /// Cancels a pre-authorization.
    PreAuthCancel,
    /// Completes a pre-authorization online.
    Completion,
    /// Completes a pre-authorization as an advice.
    CompletionAdvice,
    /// Voids an online completion.
    CompletionVoid,
    /// A sale that was authorized by voice: an advice.
    OfflineSale,
    /// Undoes a request whose answer was not used.
    Reversal,
    /// Sign-on, sign-off, echo, logon, test.
    Network,
    /// Settlement and batch upload.
    Settlement,
}

/// On which side of the totals a kind counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Debit,
    Credit,
    None,
}

impl Kind {
    /// A stable name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Sale => "sale",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::PreAuth => "pre-auth",
            Self::PreAuthCancel => "pre-auth-cancel",
            Self::Completion => "completion",
            Self::CompletionAdvice => "completion-advice",
            Self::CompletionVoid => "completion-void",
            Self::OfflineSale => "offline-sale",
            Self::Reversal => "reversal",
            Self::Network => "network",
            Self::Settlement => "settlement",
        }
    }

    const fn side(self) -> Side {
        match self {
            Self::Sale | Self::Completion | Self::CompletionAdvice | Self::OfflineSale => Side::Debit,
            Self::Void | Self::Refund | Self::CompletionVoid => Side::Credit,
            Self::Balance
            | Self::PreAuth
            | Self::PreAuthCancel
            | Self::Reversal
            | Self::Network
            | Self::Settlement => Side::None,
        }
    }

    /// Whether the terminal saves a reversal before it sends this.
    #[must_use]
    pub const fn is_reversible(self) -> bool {
        match self {
            Self::Sale
            | Self::Void
            | Self::Refund
            | Self::PreAuth
            | Self::PreAuthCancel
            | Self::Completion
            | Self::CompletionVoid => true,
            Self::Balance
            | Self::CompletionAdvice
            | Self::OfflineSale
            | Self::Reversal
            | Self::Network
            | Self::Settlement => false,
        }
    }

    /// Whether it reports what has already happened: repeated until it is taken.
    #[must_use]
    pub const fn is_advice(self) -> bool {
        matches!(self, Self::CompletionAdvice | Self::OfflineSale)
    }

    /// Whether it undoes an item of the batch.
    #[must_use]
    pub const fn is_void(self) -> bool {
        matches!(self, Self::Void | Self::CompletionVoid)
    }
}

/// One approved transaction as the terminal keeps it until settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What it was.
    pub kind: Kind,
    /// DE 11.
    pub stan: u32,
    /// Approved amount in minor units.
    pub minor: i64,
    /// The card, for the upload.
    pub pan: String,
    /// How the card was read.
    pub entry: Entry,
    /// DE 37 of the answer.
    pub rrn: Option<String>,
    /// DE 38 of the answer.
    pub auth_code: Option<String>,
    /// DE 39 of the answer.
    pub code: String,
    /// The request without track, PIN and MAC: its image for the upload.
    pub image: Draft,
    /// STAN of the item that this one voids.
    pub voids: Option<u32>,
    /// Another item voids this one.
    pub voided: bool,
}

impl Item {
    /// Whether it counts in totals at all.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.kind.side() != Side::None
    }

    /// Whether the item goes up alone, as its own notice (UnionPay): refunds and advices.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.kind == Kind::Refund || self.kind.is_advice()
    }

    /// Whether the item goes up alone with its DE 55 (UnionPay): a sale by chip.
    #[must_use]
    pub fn is_chip_sale(&self) -> bool {
        self.kind == Kind::Sale && self.entry == Entry::Chip
    }
}

/// Count and sum of one side, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    /// Number of transactions.
    pub count: u32,
    /// Minor units.
    pub minor: i64,
}

impl Sum {
    fn add(&mut self, item: &Item) {
        self.count += 1;
        self.minor += item.minor;
    }
}

/// A batch's totals as a terminal counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Money from cardholders.
    pub debit: Sum,
    /// Money back to cardholders.
    pub credit: Sum,
}

impl Totals {
    /// Debit less credit, minor units: the figure on which gross and net dialects agree.
    #[must_use]
    pub const fn net_minor(&self) -> i64 {
        self.debit.minor - self.credit.minor
    }

    /// The totals of these items in this dialect: UnionPay and ASCII gross, EDC net.
    #[must_use]
    pub fn of(items: &[Item], dialect: Dialect, voids: EdcVoids) -> Self {
        match (dialect, voids) {
            (Dialect::UnionPay | Dialect::Ascii, _) | (Dialect::Edc, EdcVoids::InRefund) => {
                Self::gross(items)
            }
            (Dialect::Edc, EdcVoids::Net) => Self::net(items),
        }
    }

    /// Every item on its side; a voided sale stays in debit and its void adds to credit.
    #[must_use]
    pub fn gross(items: &[Item]) -> Self {
        let mut totals = Self::default();
        for item in items {
            totals.count(item);
        }
        totals
    }

    /// Neither the voided item nor its void counts.
    #[must_use]
    pub fn net(items: &[Item]) -> Self {
        let mut totals = Self::default();
        for item in items.iter().filter(|item| !item.voided && !item.kind.is_void()) {
            totals.count(item);
        }
        totals
    }

    fn count(&mut self, item: &Item) {
        match item.kind.side() {
            Side::Debit => self.debit.add(item),
            Side::Credit => self.credit.add(item),
            Side::None => {}
        }
    }
}

/// One half of UnionPay DE 48 in an 0500: debit amount 12, count 3, credit amount 12, count 3,
/// result 1.
#[must_use]
pub(super) fn de48_half(totals: &Totals, result: char) -> String {
    format!(
        "{:012}{:03}{:012}{:03}{result}",
        totals.debit.minor, totals.debit.count, totals.credit.minor, totals.credit.count
    )
}

/// Reads what [`de48_half`] writes.
#[must_use]
pub(super) fn read_de48_half(text: &str) -> Option<(Totals, char)> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let count = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    let totals = Totals {
        debit: Sum { minor: number(0..12)?, count: count(12..15)? },
        credit: Sum { minor: number(15..27)?, count: count(27..30)? },
    };
    Some((totals, text.get(30..31)?.chars().next()?))
}

/// EDC DE 63 of an 0500: six pairs of count 3 and amount 12; the first two are credit-card sales
/// and refunds, the others stay zero.
#[must_use]
pub(super) fn de63(totals: &Totals) -> String {
    format!(
        "{:03}{:012}{:03}{:012}{:0>60}",
        totals.debit.count, totals.debit.minor, totals.credit.count, totals.credit.minor, ""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: Kind, stan: u32, minor: i64) -> Item {
        Item {
            kind,
            stan,
            minor,
            pan: "6225880012345675".to_owned(),
            entry: Entry::Swiped,
            rrn: None,
            auth_code: None,
            code: "00".to_owned(),
            image: Draft::new("0200"),
            voids: None,
            voided: false,
        }
    }

    fn voided(mut sale: Item, void: Kind, stan: u32) -> [Item; 2] {
        sale.voided = true;
        let minor = sale.minor;
        let original = sale.stan;
        [sale, Item { voids: Some(original), ..item(void, stan, minor) }]
    }

    fn totals(debit: (u32, i64), credit: (u32, i64)) -> Totals {
        Totals {
            debit: Sum { count: debit.0, minor: debit.1 },
            credit: Sum { count: credit.0, minor: credit.1 },
        }
    }

    #[test]
    fn totals_are_gross_in_unionpay_and_net_in_edc() {
        use Kind::{
            Balance, Completion, CompletionAdvice, CompletionVoid, OfflineSale, PreAuth, Refund, Sale, Void,
        };
        let mut everything = vec![
            item(Sale, 1, 10_000),
            item(Refund, 2, 250),
            item(PreAuth, 3, 99),
            item(Balance, 4, 0),
            item(Completion, 5, 7),
            item(CompletionAdvice, 6, 20),
            item(OfflineSale, 7, 1),
        ];
        everything.extend(voided(item(Sale, 8, 500), Void, 9));
        everything.extend(voided(item(Completion, 10, 30), CompletionVoid, 11));
        // Name, items, gross, net.
        let rows = [
            ("nothing", vec![], totals((0, 0), (0, 0)), totals((0, 0), (0, 0))),
            (
                "a sale and its void (H13)",
                voided(item(Sale, 1, 100), Void, 2).to_vec(),
                totals((1, 100), (1, 100)),
                totals((0, 0), (0, 0)),
            ),
            (
                "a voided refund",
                voided(item(Refund, 1, 100), Void, 2).to_vec(),
                totals((0, 0), (2, 200)),
                totals((0, 0), (0, 0)),
            ),
            ("everything", everything, totals((6, 10_558), (3, 780)), totals((4, 10_028), (1, 250))),
        ];
        for (name, items, gross, net) in rows {
            assert_eq!(Totals::of(&items, Dialect::UnionPay, EdcVoids::Net), gross, "{name}, UnionPay");
            assert_eq!(Totals::of(&items, Dialect::Edc, EdcVoids::Net), net, "{name}, EDC");
            assert_eq!(Totals::of(&items, Dialect::Edc, EdcVoids::InRefund), gross, "{name}, EDC in refund");
        }
    }

    #[test]
    fn layouts_are_as_drawn() {
        let t = totals((1, 10_000), (2, 250));
        assert_eq!(de48_half(&t, '0'), "0000000100000010000000002500020");
        assert_eq!(read_de48_half("0000000100000010000000002500021"), Some((t, '1')));
        assert_eq!(read_de48_half("00000001000000100000000025000"), None);
        assert_eq!(de63(&t), format!("001000000010000002000000000250{}", "0".repeat(60)));
        assert_eq!(de63(&t).len(), 90);
    }
}
