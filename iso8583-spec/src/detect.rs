//! Which dialect octets are of: every built-in one is tried, with and without a frame around the message, and each
//! says whether it fits and why.

use std::fmt;

use crate::{Framing, Message, Spec, View};

/// One reading of the octets.
#[derive(Debug, Clone)]
pub struct Guess {
    /// The dialect.
    pub spec: &'static Spec,
    /// The frame taken off before; `None` when the octets are the message itself.
    pub framing: Option<Framing>,
    /// The messages, when there are several frames.
    pub messages: usize,
    /// Fields that could be read, in all messages.
    pub fields: usize,
    /// The message type of the first message; empty when it could not be read.
    pub mti: String,
    /// The rule of the dialect that the first message is one of, and broken rules in all messages.
    pub rule: Option<String>,
    /// How often a rule of the dialect is broken.
    pub breaches: usize,
    /// What speaks against it: the first fault of the octets; `None` when it fits.
    pub against: Option<String>,
    /// Octets that could be read before the first fault.
    reach: usize,
}

impl Guess {
    /// Whether every octet can be read so.
    pub fn fits(&self) -> bool {
        self.against.is_none()
    }

    /// Best first: what fits, and of that what a rule knows and breaks least, then what reaches furthest.
    fn rank(&self) -> (bool, bool, usize, bool, usize) {
        let reach = usize::MAX - self.reach;
        (!self.fits(), self.rule.is_none(), self.breaches, self.framing.is_some(), reach)
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.spec.name())?;
        if let Some(framing) = self.framing {
            write!(f, " in {framing}")?;
        }
        if let Some(reason) = &self.against {
            return write!(f, ": {reason}");
        }
        let several = if self.messages > 1 { format!("{} messages, ", self.messages) } else { String::new() };
        write!(f, " fits: {several}{}, {} fields", self.mti, self.fields)?;
        match (&self.rule, self.breaches) {
            (None, _) => Ok(()),
            (Some(rule), 0) => write!(f, ", keeps the rules of {rule:?}"),
            (Some(rule), breaches) => write!(f, ", breaks the rules of {rule:?} {breaches} times"),
        }
    }
}

/// Every dialect that comes with the crate, best first: those that fit, then those that do not with what speaks
/// against them (of the framings of a dialect the one that gets furthest).
///
/// # Example
///
/// ```
/// let best = &iso8583_spec::detect(b"08002020000000800000000000000042TERM0001")[0];
/// assert!(best.fits());
/// assert_eq!((best.spec.name(), best.framing), ("iso87-ascii", None));
/// ```
pub fn detect(octets: &[u8]) -> Vec<Guess> {
    let mut guesses: Vec<Guess> = Spec::builtins().flat_map(|spec| of_dialect(spec, octets)).collect();
    guesses.sort_by_key(Guess::rank);
    guesses
}

/// Every reading of a dialect that fits, or else the one that gets furthest.
fn of_dialect(spec: &'static Spec, octets: &[u8]) -> Vec<Guess> {
    let framings = Framing::NAMED.iter().map(|(_, framing)| Some(*framing));
    let framings = framings
        .chain([Some(spec.framing())])
        .filter(|framing| *framing != Some(Framing::STX_ETX) || octets.first() == Some(&2));
    let readings = std::iter::once(None).chain(framings).filter_map(|framing| read(spec, framing, octets));
    let mut guesses: Vec<Guess> = readings.collect();
    guesses.sort_by_key(Guess::rank);
    guesses.dedup_by_key(|guess| guess.framing);
    let fitting = guesses.iter().filter(|guess| guess.fits()).count();
    guesses.truncate(fitting.max(1));
    guesses
}

/// The octets read so; `None` when they are no frames of this framing.
fn read(spec: &'static Spec, framing: Option<Framing>, octets: &[u8]) -> Option<Guess> {
    let bodies = match framing {
        None => vec![octets],
        Some(framing) => bodies(framing, octets)?,
    };
    let mut guess = Guess {
        spec,
        framing,
        messages: bodies.len(),
        fields: 0,
        mti: String::new(),
        rule: None,
        breaches: 0,
        against: None,
        reach: 0,
    };
    for (index, body) in bodies.iter().enumerate() {
        guess.add(body, index == 0);
    }
    Some(guess)
}

impl Guess {
    fn add(&mut self, body: &[u8], is_first: bool) {
        let view = match View::decode(self.spec, body) {
            Ok(view) => view,
            Err(error) => {
                self.against.get_or_insert(error.to_string());
                return;
            }
        };
        self.fields += view.fields().count();
        if let Some(fault) = view.inspect().first() {
            self.reach += fault.offset;
            self.against.get_or_insert(view.explain(fault));
            return;
        }
        self.reach += body.len();
        let message = Message::from_view(&view);
        if is_first {
            self.mti = view.mti().to_string();
            self.rule = self.spec.rule_of(&message).map(str::to_owned);
        }
        self.breaches += self.spec.check(&message).len();
    }
}

/// The bodies when the octets are frames from end to end; keep-alives are left out.
fn bodies(framing: Framing, octets: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut found, mut rest) = (Vec::new(), octets);
    while !rest.is_empty() {
        let frame = framing.decode(rest, rest.len()).ok()??;
        found.extend(rest.get(frame.body).filter(|body| !body.is_empty()));
        rest = rest.get(frame.consumed..)?;
    }
    (!found.is_empty()).then_some(found)
}
