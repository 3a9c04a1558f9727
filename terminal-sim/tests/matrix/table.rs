//! The matrix itself: its rows, its columns, and which of its cells cannot exist, and why.
//!
//! Pure. Knows no stage and no socket.

use terminal_sim::terminal::Dialect;

/// What a terminal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    SignOn,
    SignOff,
    Echo,
    Balance,
    Sale,
    Void,
    Refund,
    PreAuth,
    PreAuthCancel,
    Completion,
    CompletionAdvice,
    CompletionVoid,
    OfflineSale,
    Reversal,
    Settlement,
    BatchUpload,
}

use Transaction::{
    Balance, BatchUpload, Completion, CompletionAdvice, CompletionVoid, Echo, OfflineSale, PreAuth,
    PreAuthCancel, Refund, Reversal, Sale, Settlement, SignOff, SignOn, Void,
};

/// Every dialect with its transactions.
pub(crate) const ROWS: [(Dialect, &[Transaction]); 3] = [
    (
        Dialect::UnionPay,
        &[
            SignOn,
            SignOff,
            Echo,
            Balance,
            Sale,
            Void,
            Refund,
            PreAuth,
            PreAuthCancel,
            Completion,
            CompletionAdvice,
            CompletionVoid,
            OfflineSale,
            Reversal,
            Settlement,
            BatchUpload,
        ],
    ),
    (
        Dialect::Edc,
        &[SignOn, Echo, Balance, Sale, Void, Refund, OfflineSale, Reversal, Settlement, BatchUpload],
    ),
    (Dialect::Ascii, &[SignOn, SignOff, Echo, Balance, PreAuth, Sale, Refund, Void, Reversal]),
];

impl Transaction {
    /// What it is called in a dialect.
    pub(crate) const fn name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (SignOn, Dialect::Edc) => "logon",
            (SignOn, _) => "sign-on",
            (SignOff, _) => "sign-off",
            (Echo, Dialect::Edc) => "test",
            (Echo, _) => "echo",
            (Balance, _) => "balance",
            (Sale, _) => "sale",
            (Void, _) => "void",
            (Refund, _) => "refund",
            (PreAuth, Dialect::Ascii) => "authorization",
            (PreAuth, _) => "pre-authorization",
            (PreAuthCancel, _) => "pre-authorization cancel",
            (Completion, _) => "completion request",
            (CompletionAdvice, _) => "completion advice",
            (CompletionVoid, _) => "completion void",
            (OfflineSale, _) => "offline sale",
            (Reversal, _) => "reversal",
            (Settlement, _) => "settlement",
            (BatchUpload, _) => "batch upload",
        }
    }

    /// What the switch's books call it, and MTI and DE 3 under which its issuer sees it. A reversal is seen
    /// by the sale that it undoes.
    pub(crate) const fn at_issuer(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Balance => Some(("balance", "0100", "310000")),
            Sale | Reversal => Some(("sale", "0200", "000000")),
            Void => Some(("void", "0200", "020000")),
            Refund => Some(("refund", "0200", "200000")),
            PreAuth => Some(("pre-auth", "0100", "000000")),
            PreAuthCancel => Some(("pre-auth-cancel", "0100", "020000")),
            Completion => Some(("completion", "0200", "000000")),
            CompletionAdvice => Some(("completion-advice", "0220", "000000")),
            CompletionVoid => Some(("completion-void", "0200", "020000")),
            OfflineSale => Some(("offline-sale", "0220", "000000")),
            SignOn | SignOff | Echo | Settlement | BatchUpload => None,
        }
    }

    pub(crate) const fn is_advice(self) -> bool {
        matches!(self, CompletionAdvice | OfflineSale)
    }
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Approved,
    Declined,
    Silent,
    Late,
    Duplicate,
    Reversed,
    BadMac,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] = [
        Self::Approved,
        Self::Declined,
        Self::Silent,
        Self::Late,
        Self::Duplicate,
        Self::Reversed,
        Self::BadMac,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Silent => "silent issuer",
            Self::Late => "late answer",
            Self::Duplicate => "duplicate",
            Self::Reversed => "reversed",
            Self::BadMac => "bad MAC",
        }
    }
}

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Test,
    NotApplicable(&'static str),
}

const NO_ISSUER: &str = "the switch answers it out of its own books: no issuer is asked, so none can decline, \
                         be silent or be late";
const NO_MONEY: &str = "it moves no money: there is nothing to reverse, and no dialect has a message for it";
const NO_MAC: &str = "the message carries no MAC in this dialect";
const NO_KEY_YET: &str = "network management carries no MAC: at sign-on there may be no key yet";
const ADVICE_DECLINED: &str = "an advice reports what has happened: it may not be declined";
const ADVICE_REVERSED: &str =
    "an advice is not reversed when its answer is lost: it is repeated until it is taken";
const REVERSAL_REVERSED: &str = "nothing reverses a reversal: it is repeated until it is answered";
const UPLOAD_DECLINED: &str =
    "an upload is evidence: what differs is kept for a person, and closes the batch all the same";

/// What is in a cell.
pub(crate) const fn cell(dialect: Dialect, transaction: Transaction, scenario: Scenario) -> Cell {
    use Cell::{NotApplicable, Test};
    match (transaction, scenario) {
        (
            SignOn | SignOff | Echo | Settlement | BatchUpload,
            Scenario::Approved | Scenario::Duplicate,
        )
        // The totals differ: result 2 or 95.
        | (Settlement, Scenario::Declined)
        | (
            Balance,
            Scenario::Approved
            | Scenario::Declined
            | Scenario::Silent
            | Scenario::Late
            | Scenario::Duplicate
            | Scenario::BadMac,
        )
        | (Sale | Void | Refund | PreAuth | PreAuthCancel | Completion | CompletionVoid, _)
        | (
            CompletionAdvice | OfflineSale,
            Scenario::Approved
            | Scenario::Silent
            | Scenario::Late
            | Scenario::Duplicate
            | Scenario::BadMac,
        )
        | (
            Reversal,
            Scenario::Approved
            // There is nothing to reverse: 25, or 00 where the terminal would repeat it for ever.
            | Scenario::Declined
            | Scenario::Silent
            | Scenario::Late
            | Scenario::Duplicate
            | Scenario::BadMac,
        ) => Test,
        (SignOn | SignOff | Echo, Scenario::Declined | Scenario::Silent | Scenario::Late)
        | (Settlement | BatchUpload, Scenario::Silent | Scenario::Late) => NotApplicable(NO_ISSUER),
        (SignOn | SignOff | Echo | Settlement | BatchUpload | Balance, Scenario::Reversed) => {
            NotApplicable(NO_MONEY)
        }
        (SignOn | SignOff | Echo, Scenario::BadMac) => NotApplicable(NO_KEY_YET),
        (Settlement, Scenario::BadMac) => NotApplicable(NO_MAC),
        // Of an upload only UnionPay's notices carry one.
        (BatchUpload, Scenario::BadMac) => match dialect {
            Dialect::UnionPay => Test,
            Dialect::Edc | Dialect::Ascii => NotApplicable(NO_MAC),
        },
        (BatchUpload, Scenario::Declined) => NotApplicable(UPLOAD_DECLINED),
        (CompletionAdvice | OfflineSale, Scenario::Declined) => NotApplicable(ADVICE_DECLINED),
        (CompletionAdvice | OfflineSale, Scenario::Reversed) => NotApplicable(ADVICE_REVERSED),
        (Reversal, Scenario::Reversed) => NotApplicable(REVERSAL_REVERSED),
    }
}

/// What became of a cell.
#[derive(Debug)]
pub(crate) enum Mark {
    Ok,
    NotApplicable(&'static str),
    Failed(String),
}

/// A cell of the finished matrix.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) dialect: Dialect,
    pub(crate) transaction: Transaction,
    pub(crate) scenario: Scenario,
    pub(crate) mark: Mark,
}

/// The matrix for people: a table for each dialect, then why cells are not applicable, then what failed.
pub(crate) fn printed(marks: &[Marked]) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut failures = String::new();
    let mut text = String::from("dialect × transaction × what happens\n");
    for (dialect, transactions) in ROWS {
        text += &format!("\n{:<28}", dialect.name());
        for scenario in Scenario::ALL {
            text += &format!("{:<15}", scenario.name());
        }
        for transaction in transactions {
            text += &format!("\n  {:<26}", transaction.name(dialect));
            for scenario in Scenario::ALL {
                let found = marks.iter().find(|m| {
                    m.dialect == dialect && m.transaction == *transaction && m.scenario == scenario
                });
                let shown = match found.map(|m| &m.mark) {
                    Some(Mark::Ok) => "ok".to_owned(),
                    Some(Mark::NotApplicable(reason)) => format!("n/a [{}]", footnote(&mut reasons, reason)),
                    Some(Mark::Failed(why)) => {
                        failures += &format!(
                            "\n{} {}, {}:\n  {why}\n",
                            dialect.name(),
                            transaction.name(dialect),
                            scenario.name()
                        );
                        "FAIL".to_owned()
                    }
                    None => "missing".to_owned(),
                };
                text += &format!("{shown:<15}");
            }
            text.truncate(text.trim_end().len());
        }
        text += "\n";
    }
    text += "\nnot applicable\n";
    for (index, reason) in reasons.iter().enumerate() {
        text += &format!("  [{}] {reason}\n", index + 1);
    }
    text + &failures
}

fn footnote<'a>(reasons: &mut Vec<&'a str>, reason: &'a str) -> usize {
    if let Some(index) = reasons.iter().position(|known| *known == reason) {
        return index + 1;
    }
    reasons.push(reason);
    reasons.len()
}
