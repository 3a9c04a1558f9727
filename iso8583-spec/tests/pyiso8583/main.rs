//! pyiso8583 judges the codec: random dialects are declared to both sides, random messages are written and read by
//! both, and both must give the same octets, the same values, and the same refusals of what is damaged or does not
//! fit. Where they differ, `difference` says why.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

#[path = "../judges/chance.rs"]
mod chance;
mod damage;
mod dialect;
mod difference;
mod judge;
mod misfit;
mod pair;
mod python;
mod rows;
mod sample;
mod tally;
mod verdict;

use std::collections::BTreeSet;

use chance::Chance;
use damage::Damage;
use dialect::Dialect;
use difference::DIFFERENCES;
use judge::Judge;
use misfit::{KINDS, Kind, Misfit};
use sample::Sample;
use serde_json::{Value, json};
use tally::Tally;

/// Random dialects, and random messages of each.
const DIALECTS: usize = 500;
const MESSAGES: usize = 50;
/// How often each of them is damaged, each time anew.
const DAMAGED: usize = 2;

/// One message, and what is asked of pyiso8583 about it.
struct Case {
    sample: Sample,
    body: Vec<u8>,
    damaged: Vec<(Damage, Vec<u8>)>,
    misfit: Option<(Kind, Misfit)>,
}

impl Case {
    fn random(dialect: &Dialect, chance: &mut Chance) -> Result<Case, String> {
        let sample = Sample::random(dialect, chance);
        let body = sample.encode(dialect).map_err(|refusal| format!("{refusal:?} of {sample:?}"))?;
        if sample.encode_whole(dialect).as_ref() != Ok(&body) {
            return Err(format!("field by field and all at once are not the same: {sample:?}"));
        }
        let mut damaged = Vec::new();
        for _ in 0..DAMAGED {
            let damage = Damage::random(chance);
            damaged.extend(damage.done(dialect, &body, chance).map(|octets| (damage, octets)));
        }
        let kind = chance.pick(&KINDS);
        let misfit = kind.made(dialect, &sample, chance).map(|misfit| (kind, misfit));
        Ok(Case { sample, body, damaged, misfit })
    }

    fn requests(&self, dialect: &Dialect) -> Vec<Value> {
        let mut requests = vec![judge::encode(&self.sample.doc(dialect)), judge::decode(&self.body)];
        requests.extend(self.damaged.iter().map(|(_, octets)| judge::decode(octets)));
        requests.extend(self.misfit.as_ref().map(|(_, misfit)| judge::encode(&misfit.sample.doc(dialect))));
        requests
    }

    /// Holds the answers to its requests against what this crate does.
    fn judged(
        &self,
        dialect: &Dialect,
        answers: &mut impl Iterator<Item = Value>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        verdict::written(&self.body, &answers.next().unwrap())?;
        verdict::read(dialect, &self.sample, &self.body, &answers.next().unwrap())?;
        tally.message(dialect, &self.sample);
        for (damage, octets) in &self.damaged {
            let outcome = verdict::judged(dialect, octets, &answers.next().unwrap()).map_err(|why| {
                format!(
                    "{damage:?}: {why}\n  before {}\n  after  {}",
                    hex::encode(&self.body),
                    hex::encode(octets)
                )
            })?;
            tally.damaged(*damage, &outcome);
        }
        if let Some((kind, misfit)) = &self.misfit {
            misfit::refused(dialect, misfit, &answers.next().unwrap())
                .map_err(|why| format!("{kind:?}: {why}"))?;
            tally.misfit(*kind, misfit.difference);
        }
        Ok(())
    }
}

/// Judges messages of one dialect.
fn judge_dialect(judge: &mut Judge, chance: &mut Chance, tally: &mut Tally) -> Result<(), String> {
    let dialect = Dialect::random(chance);
    let with_dialect = |why: String| format!("{why}\n  declared to pyiso8583 as {}", dialect.theirs);
    let cases: Result<Vec<Case>, String> = (0..MESSAGES).map(|_| Case::random(&dialect, chance)).collect();
    let cases = cases.map_err(with_dialect)?;
    let mut requests = vec![dialect.request()];
    requests.extend(cases.iter().flat_map(|case| case.requests(&dialect)));
    let mut answers = judge.ask(&requests).into_iter().skip(1);
    for case in &cases {
        case.judged(&dialect, &mut answers, tally).map_err(with_dialect)?;
    }
    assert_eq!(answers.count(), 0);
    Ok(())
}

#[test]
fn both_sides_agree() {
    let seed = chance::seed();
    let (mut judge, mut chance, mut tally) = (Judge::start(), Chance::new(seed), Tally::default());
    for number in 0..DIALECTS {
        judge_dialect(&mut judge, &mut chance, &mut tally)
            .unwrap_or_else(|why| panic!("JUDGE_SEED={seed}, dialect {number}: {why}"));
    }
    println!("pyiso8583, seed {seed}: {tally}");
    assert!(tally.messages() >= 20_000);
    let short = tally.short();
    assert!(short.is_empty(), "JUDGE_SEED={seed}: not seen often enough: {short:#?}");
}

#[test]
fn every_difference_is_shown_and_has_its_reason() {
    let shown = rows::shown(&mut Judge::start()).unwrap();
    let declared: BTreeSet<_> = DIFFERENCES.iter().map(|(difference, _)| *difference).collect();
    assert_eq!(declared.len(), DIFFERENCES.len());
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), declared);
}

/// What the judge says of a request in a dialect.
fn asked(judge: &mut Judge, dialect: &Dialect, request: Value) -> Value {
    judge.ask(&[dialect.request(), request]).remove(1)
}

#[test]
fn an_altered_octet_or_value_is_reported() {
    let (mut judge, mut chance) = (Judge::start(), Chance::new(chance::seed()));
    let mut altered = 0;
    for _ in 0..20 {
        let dialect = Dialect::random(&mut chance);
        let Case { sample, body, .. } = Case::random(&dialect, &mut chance).unwrap();
        let mut write = |sample: &Sample| asked(&mut judge, &dialect, judge::encode(&sample.doc(&dialect)));
        let written = write(&sample);
        assert_eq!(verdict::written(&body, &written), Ok(()));
        for at in 0..body.len() {
            let mut octets = body.clone();
            octets[at] ^= 1 << chance.within(0..=7);
            assert!(verdict::written(&octets, &written).is_err(), "octet {at}");
        }
        let mut others = Vec::new();
        for (de, value) in &sample.fields {
            let Some(value) = changed(value) else { continue };
            let mut other = sample.clone();
            other.fields.insert(*de, value);
            assert!(verdict::written(&body, &write(&other)).is_err(), "field {de}");
            others.push((de, other));
        }
        let read = asked(&mut judge, &dialect, judge::decode(&body));
        assert_eq!(verdict::read(&dialect, &sample, &body, &read), Ok(()));
        for (de, other) in others {
            assert!(verdict::read(&dialect, &other, &body, &read).is_err(), "field {de}");
            let mut there = read.clone();
            there["doc"][de.to_string()] = dialect.pairs[de].theirs(&other.fields[de]).into();
            assert!(verdict::read(&dialect, &sample, &body, &there).is_err(), "field {de} there");
            altered += 1;
        }
    }
    assert!(altered > 50, "{altered}");
}

/// Another value of the same length and class: its last character, which is no sign, replaced.
fn changed(value: &str) -> Option<String> {
    let last = value.chars().last()?;
    Some(value[..value.len() - 1].to_owned() + if last == '1' { "2" } else { "1" })
}

#[test]
fn a_refusal_elsewhere_or_none_is_reported() {
    let (mut judge, mut chance) = (Judge::start(), Chance::new(chance::seed()));
    let mut refused = 0;
    while refused < 200 {
        let dialect = Dialect::random(&mut chance);
        let Case { damaged, .. } = Case::random(&dialect, &mut chance).unwrap();
        let Some((_, octets)) = damaged.first() else { continue };
        let answer = asked(&mut judge, &dialect, judge::decode(octets));
        let judged = |answer: &Value| verdict::judged(&dialect, octets, answer);
        if judged(&answer) != Ok(verdict::Outcome::BothRefuse) {
            continue;
        }
        refused += 1;
        let mut altered = vec![json!({ "doc": { "t": "0200", "p": "0" } })];
        if let Some(at) = answer["at"].as_u64() {
            altered.push(json!({ "refused": answer["refused"], "at": at + 1, "why": "" }));
            altered.push(json!({ "refused": "another", "at": at, "why": "" }));
        }
        for answer in altered {
            assert!(judged(&answer).is_err(), "{answer} of {}", hex::encode(octets));
        }
    }
}
