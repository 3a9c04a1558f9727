//! Rules: what an issuer does differently for a message that fits a description. The first that fits decides.
//!
//! A rule names what goes wrong (a code, a delay, silence …), never how a message is coded.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tollgate::transaction::Pan;

/// A message as a rule sees it.
pub trait Facts {
    /// Four digits.
    fn mti(&self) -> &str;
    /// DE 2, or the PAN of DE 35.
    fn pan(&self) -> Option<&Pan>;
    /// DE 4 in minor units.
    fn amount_minor(&self) -> Option<i64>;
    /// The decoded text of any field.
    fn field(&self, de: u8) -> Option<String>;
}

/// Which messages a rule is for: all that is named must fit, and what is not named fits anything.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The MTI or its first digits: `042` fits an advice and its repeat.
    pub mti: Option<String>,
    /// The PAN's first digits; all of them name one card.
    pub pan_prefix: Option<String>,
    /// The PAN's last digits.
    pub pan_suffix: Option<String>,
    /// DE 4, exactly.
    pub amount_minor: Option<i64>,
    /// DE 4, at least.
    pub amount_from_minor: Option<i64>,
    /// DE 4, at most.
    pub amount_to_minor: Option<i64>,
    /// DE 3 or its first digits.
    pub processing_code: Option<String>,
    /// Any other field's text, by its number.
    pub fields: BTreeMap<String, String>,
}

impl std::fmt::Debug for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("When")
            .field("mti", &self.mti)
            .field("pan", &(self.pan_prefix.is_some() || self.pan_suffix.is_some()))
            .field("processing_code", &self.processing_code)
            .finish_non_exhaustive()
    }
}

impl When {
    /// Messages whose PAN ends so.
    #[must_use]
    pub fn pan_suffix(digits: &str) -> Self {
        Self { pan_suffix: Some(digits.to_owned()), ..Self::default() }
    }

    /// Messages of this amount.
    #[must_use]
    pub fn amount(minor: i64) -> Self {
        Self { amount_minor: Some(minor), ..Self::default() }
    }

    /// The same, of this MTI (or its first digits) alone.
    #[must_use]
    pub fn and_mti(self, digits: &str) -> Self {
        Self { mti: Some(digits.to_owned()), ..self }
    }

    fn fits(&self, facts: &dyn Facts) -> bool {
        let starts = |wanted: &Option<String>, text: Option<&str>| {
            wanted.as_deref().is_none_or(|digits| text.is_some_and(|text| text.starts_with(digits)))
        };
        let pan = facts.pan().map(Pan::digits);
        let amount = facts.amount_minor();
        starts(&self.mti, Some(facts.mti()))
            && starts(&self.pan_prefix, pan)
            && self.pan_suffix.as_deref().is_none_or(|digits| pan.is_some_and(|pan| pan.ends_with(digits)))
            && self.amount_minor.is_none_or(|wanted| amount == Some(wanted))
            && self.amount_from_minor.is_none_or(|least| amount.is_some_and(|amount| amount >= least))
            && self.amount_to_minor.is_none_or(|most| amount.is_some_and(|amount| amount <= most))
            && (self.processing_code.is_none() || starts(&self.processing_code, facts.field(3).as_deref()))
            && self.fields.iter().all(|(de, wanted)| {
                de.parse().ok().and_then(|de| facts.field(de)).is_some_and(|text| text.trim_end() == wanted)
            })
    }
}

/// How the answer reaches the switch, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// As it should.
    #[default]
    Once,
    /// Never.
    Silent,
    /// Two times.
    Twice,
    /// Cut short within its last field, in a frame whose length is right.
    Malformed,
    /// Instead of it the connection closes.
    Close,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// For people.
    pub name: String,
    /// For which messages.
    pub when: When,
    /// Holds for so many messages, then no more; for ever when absent.
    pub times: Option<u32>,
    /// DE 39. An approving code approves whatever the account holds, any other declines; the books decide
    /// when absent.
    pub code: Option<String>,
    /// Whether the books take the message in. When `false` they neither post nor remember it, as if it had
    /// never come; the answer, if one is sent, is what they would have said.
    pub posts: bool,
    /// Waits so long, then posts and answers: a reversal that comes meanwhile finds no original.
    pub delay_ms: u64,
    /// Posts at once and answers so much later: a reversal that comes meanwhile undoes it.
    pub late_ms: u64,
    /// How the answer goes out.
    pub delivery: Delivery,
    /// Approves this much with code 10 when more is asked.
    pub partial_minor: Option<i64>,
    /// DE 4 of the answer, in spite of what was posted.
    pub answered_minor: Option<i64>,
    /// DE 55 of the answer, hexadecimal.
    pub icc: Option<String>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            name: String::new(),
            when: When::default(),
            times: None,
            code: None,
            posts: true,
            delay_ms: 0,
            late_ms: 0,
            delivery: Delivery::Once,
            partial_minor: None,
            answered_minor: None,
            icc: None,
        }
    }
}

impl Rule {
    /// Answers with this code.
    #[must_use]
    pub fn code(when: When, code: &str) -> Self {
        Self { when, code: Some(code.to_owned()), ..Self::default() }
    }

    /// Posts and says nothing.
    #[must_use]
    pub fn silent(when: When) -> Self {
        Self { when, delivery: Delivery::Silent, ..Self::default() }
    }

    /// Posts at once and answers so much later.
    #[must_use]
    pub fn late(when: When, late: Duration) -> Self {
        Self { when, late_ms: u64::try_from(late.as_millis()).unwrap_or(u64::MAX), ..Self::default() }
    }

    /// The same rule for so many messages.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// What cannot be meant, one sentence each; no content of the message it describes.
    pub(super) fn faults(&self) -> Vec<String> {
        let digits = |text: &str, most: usize| {
            !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())
        };
        let mut faults = Vec::new();
        let mut check = |sound: bool, fault: &str| {
            if !sound {
                faults.push(fault.to_owned());
            }
        };
        let when = &self.when;
        check(when.mti.as_deref().is_none_or(|t| digits(t, 4)), "when.mti is not 1 to 4 digits");
        check(
            when.pan_prefix.as_deref().is_none_or(|t| digits(t, 19)),
            "when.pan_prefix is not 1 to 19 digits",
        );
        check(
            when.pan_suffix.as_deref().is_none_or(|t| digits(t, 19)),
            "when.pan_suffix is not 1 to 19 digits",
        );
        check(
            when.processing_code.as_deref().is_none_or(|t| digits(t, 6)),
            "when.processing_code is not 1 to 6 digits",
        );
        check(
            when.fields.keys().all(|de| de.parse::<u8>().is_ok_and(|de| (2..=128).contains(&de))),
            "when.fields holds a name that is not a field number of 2 to 128",
        );
        check(
            self.code.as_deref().is_none_or(|c| c.len() == 2 && c.bytes().all(|b| b.is_ascii_alphanumeric())),
            "code is not two letters or digits",
        );
        check(self.partial_minor.is_none_or(|minor| minor > 0), "partial_minor is not positive");
        check(
            self.answered_minor.is_none_or(|minor| (0..=999_999_999_999).contains(&minor)),
            "answered_minor does not fit twelve digits",
        );
        check(
            self.icc.as_deref().is_none_or(|t| hex::decode(t).is_ok_and(|b| b.len() <= 255)),
            "icc is not hexadecimal of at most 255 octets",
        );
        faults
    }
}

/// The rules of one issuer with what is left of each.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(Arc<Rule>, Option<u32>)>);

impl Rules {
    pub(super) fn new(rules: &[Rule]) -> Self {
        Self(rules.iter().map(|rule| (Arc::new(rule.clone()), rule.times)).collect())
    }

    /// Sets a rule before all others.
    pub(super) fn put_first(&mut self, rule: Rule) {
        let times = rule.times;
        self.0.insert(0, (Arc::new(rule), times));
    }

    /// The first rule that fits and is not used up; one use of it is spent.
    pub(super) fn first(&mut self, facts: &dyn Facts) -> Option<Arc<Rule>> {
        let (rule, left) =
            self.0.iter_mut().find(|(rule, left)| *left != Some(0) && rule.when.fits(facts))?;
        if let Some(left) = left {
            *left -= 1;
        }
        Some(Arc::clone(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Message {
        mti: &'static str,
        pan: Pan,
        amount: Option<i64>,
    }

    impl Facts for Message {
        fn mti(&self) -> &str {
            self.mti
        }
        fn pan(&self) -> Option<&Pan> {
            Some(&self.pan)
        }
        fn amount_minor(&self) -> Option<i64> {
            self.amount
        }
        fn field(&self, de: u8) -> Option<String> {
            match de {
                3 => Some("000000".into()),
                42 => Some("M1             ".into()),
                _ => None,
            }
        }
    }

    fn message(mti: &'static str, amount: Option<i64>) -> Message {
        Message { mti, pan: Pan::parse("6225880012345675").unwrap(), amount }
    }

    #[test]
    fn what_is_named_must_fit() {
        let rows: &[(&str, &str, Option<i64>, bool)] = &[
            ("", "0200", Some(100), true),
            ("mti = '0200'", "0200", None, true),
            ("mti = '042'", "0421", None, true),
            ("mti = '042'", "0200", None, false),
            ("pan_prefix = '622588'", "0200", None, true),
            ("pan_prefix = '6225880012345675'", "0200", None, true),
            ("pan_prefix = '5'", "0200", None, false),
            ("pan_suffix = '5675'", "0200", None, true),
            ("pan_suffix = '5674'", "0200", None, false),
            ("amount_minor = 100", "0200", Some(100), true),
            ("amount_minor = 100", "0200", Some(101), false),
            ("amount_minor = 100", "0200", None, false),
            ("amount_from_minor = 100\namount_to_minor = 200", "0200", Some(100), true),
            ("amount_from_minor = 100\namount_to_minor = 200", "0200", Some(200), true),
            ("amount_from_minor = 100\namount_to_minor = 200", "0200", Some(99), false),
            ("amount_from_minor = 100\namount_to_minor = 200", "0200", Some(201), false),
            ("processing_code = '00'", "0200", None, true),
            ("processing_code = '02'", "0200", None, false),
            ("fields.42 = 'M1'", "0200", None, true),
            ("fields.42 = 'M2'", "0200", None, false),
            ("fields.41 = 'T'", "0200", None, false),
            ("mti = '0200'\namount_minor = 5", "0200", Some(6), false),
        ];
        for (when, mti, amount, fits) in rows {
            let parsed: When = toml::from_str(when).unwrap();
            assert_eq!(parsed.fits(&message(mti, *amount)), *fits, "{when}");
        }
    }

    #[test]
    fn the_first_that_fits_decides_and_is_used_up() {
        let mut rules = Rules::new(&[
            Rule::silent(When::amount(1)).times(2),
            Rule::code(When::amount(1), "05"),
            Rule::code(When::default(), "00"),
        ]);
        let codes: Vec<_> = [1, 2, 1, 1, 1]
            .map(|amount| rules.first(&message("0200", Some(amount))).unwrap().code.clone())
            .into_iter()
            .collect();
        let expected = [None, Some("00"), None, Some("05"), Some("05")];
        assert_eq!(codes, expected.map(|c| c.map(str::to_owned)));
        rules.put_first(Rule::code(When::default(), "91").times(1));
        assert_eq!(rules.first(&message("0800", None)).unwrap().code.as_deref(), Some("91"));
        assert_eq!(rules.first(&message("0800", None)).unwrap().code.as_deref(), Some("00"));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let rows = [
            ("code = '5'", "code"),
            ("when.mti = '02000'", "when.mti"),
            ("when.pan_prefix = '62X'", "when.pan_prefix"),
            ("when.fields.200 = 'x'", "when.fields"),
            ("when.fields.abc = 'x'", "when.fields"),
            ("partial_minor = 0", "partial_minor"),
            ("icc = '8A0'", "icc"),
        ];
        for (text, name) in rows {
            let faults = toml::from_str::<Rule>(text).unwrap().faults();
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            assert!(faults[0].starts_with(name), "{text}: {faults:?}");
        }
        assert!(toml::from_str::<Rule>("cod = '05'").is_err());
        assert!(Rule::default().faults().is_empty());
    }
}
