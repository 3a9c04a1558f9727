//! What a run has seen, and how often it must have seen it.

use std::{collections::BTreeMap, fmt};

use crate::{
    damage::{DAMAGES, Damage},
    dialect::{Dialect, FRONTS},
    difference::{DIFFERENCES, Difference},
    misfit::{KINDS, Kind},
    pair::{self, Pair},
    sample::Sample,
    verdict::Outcome,
};

/// How often an encoding with a prefix and a unit must have been written and read.
const LEAST_OF_CELL: usize = 50;
/// The same of everything else that is counted.
const LEAST: usize = 25;

#[derive(Default)]
pub(crate) struct Tally {
    messages: usize,
    fields: usize,
    /// Encoding, prefix and unit, as pyiso8583 calls them.
    cells: BTreeMap<String, usize>,
    /// Content and encoding, as dialect files call them.
    forms: BTreeMap<String, usize>,
    /// MTI, bitmaps, headers, pads.
    others: BTreeMap<String, usize>,
    /// Both refuse, both read, they differ.
    damages: BTreeMap<Damage, [usize; 3]>,
    misfits: BTreeMap<Kind, usize>,
    differences: BTreeMap<Difference, usize>,
}

fn form(content: &str, encoding: &str) -> String {
    format!("{content} in {encoding}")
}

fn pad_of(pair: &Pair) -> String {
    let kind = if pair.prefix.is_some() { "variable" } else { "fixed" };
    format!("odd digits, {kind}, {} aligned, pad {}", pair.align, pair.pad)
}

impl Tally {
    /// A message that both sides wrote and read alike.
    pub(crate) fn message(&mut self, dialect: &Dialect, sample: &Sample) {
        self.messages += 1;
        self.fields += sample.fields.len();
        let front = dialect.front;
        let last = sample.fields.keys().last().copied().unwrap_or_default();
        let bitmaps = 1 + usize::from(last > 64) + usize::from(last > 128);
        let mut others = vec![
            format!("MTI in {}", front.mti),
            format!("{bitmaps} bitmaps in {}", front.bitmap),
            format!("a head of {} octets in {}", front.head().min(1), front.header_enc),
        ];
        for (de, value) in &sample.fields {
            let pair = &dialect.pairs[de];
            *self.cells.entry(pair.cell()).or_default() += 1;
            *self.forms.entry(form(pair.content, pair.encoding)).or_default() += 1;
            if pair.is_padded() && value.len() % 2 == 1 {
                others.push(pad_of(pair));
            }
        }
        others.into_iter().for_each(|other| *self.others.entry(other).or_default() += 1);
    }

    pub(crate) fn damaged(&mut self, damage: Damage, outcome: &Outcome) {
        let [refused, read, differ] = self.damages.entry(damage).or_default();
        match outcome {
            Outcome::BothRefuse => *refused += 1,
            Outcome::BothRead => *read += 1,
            Outcome::Differ(differences) => {
                *differ += 1;
                differences.iter().for_each(|found| *self.differences.entry(*found).or_default() += 1);
            }
        }
    }

    pub(crate) fn misfit(&mut self, kind: Kind, difference: Option<Difference>) {
        *self.misfits.entry(kind).or_default() += 1;
        if let Some(difference) = difference {
            *self.differences.entry(difference).or_default() += 1;
        }
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// What was not seen often enough.
    pub(crate) fn short(&self) -> Vec<String> {
        let mut short = Vec::new();
        let mut need = |least: usize, seen: Option<&usize>, what: String| {
            let seen = seen.copied().unwrap_or_default();
            if seen < least {
                short.push(format!("{what}: {seen} of {least}"));
            }
        };
        for cell in pair::cells() {
            need(LEAST_OF_CELL, self.cells.get(&cell), cell);
        }
        for (content, encoding, _) in pair::forms() {
            let form = form(content, encoding);
            need(LEAST_OF_CELL, self.forms.get(&form), form);
        }
        let mut others = vec!["a head of 1 octets in b".to_owned(), "a head of 1 octets in ascii".to_owned()];
        for front in FRONTS {
            others.push(format!("MTI in {front}"));
            others.extend((1..=3).map(|bitmaps| format!("{bitmaps} bitmaps in {front}")));
        }
        for align in ["left", "right"] {
            for pad in ['0', 'F'] {
                let fixed = Pair { align, pad, ..Pair::PLAIN };
                let prefix = Some(pair::Prefix { encoding: "b", letters: 1 });
                others.extend([pad_of(&fixed), pad_of(&Pair { prefix, ..fixed })]);
            }
        }
        for other in others {
            need(LEAST, self.others.get(&other), other);
        }
        for (damage, must_be_refused) in DAMAGES {
            let [refused, read, differ] = self.damages.get(&damage).copied().unwrap_or_default();
            need(LEAST, Some(&(refused + read + differ)), format!("{damage:?}"));
            if must_be_refused {
                need(LEAST, Some(&refused), format!("{damage:?} refused by both"));
            }
        }
        for kind in KINDS {
            need(LEAST, self.misfits.get(&kind), format!("{kind:?}"));
        }
        for (difference, reason) in DIFFERENCES {
            need(1, self.differences.get(&difference), format!("{difference:?} ({reason})"));
        }
        short
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = |counts: &BTreeMap<String, usize>| counts.values().min().copied().unwrap_or_default();
        write!(
            f,
            "{} messages, {} fields · {} of encoding, prefix and unit, each at least {} times · {} of content and \
             encoding, each at least {} times",
            self.messages,
            self.fields,
            self.cells.len(),
            least(&self.cells),
            self.forms.len(),
            least(&self.forms),
        )?;
        let [refused, read, differ] =
            self.damages.values().fold([0; 3], |[a, b, c], [x, y, z]| [a + x, b + y, c + z]);
        write!(f, " · damaged: {refused} refused by both, {read} read by both, {differ} differ")?;
        for (damage, [refused, read, differ]) in &self.damages {
            write!(f, ", {damage:?} {refused}/{read}/{differ}")?;
        }
        write!(f, " · misfits: {}", self.misfits.values().sum::<usize>())?;
        for (kind, seen) in &self.misfits {
            write!(f, ", {kind:?} {seen}")?;
        }
        f.write_str(" · differences")?;
        for (difference, seen) in &self.differences {
            write!(f, ", {difference:?} {seen}")?;
        }
        Ok(())
    }
}
