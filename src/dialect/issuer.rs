//! What the switch says to an issuer, and reads from it: ISO 8583:1987 in ASCII, 128 fields.
//!
//! | transaction | MTI | DE 3 | DE 25 | beside |
//! |---|---|---|---|---|
//! | balance | 0100 | 310000 | 00 | |
//! | sale | 0200 | 000000 | 00 | |
//! | void | 0200 | 020000 | 00 | DE 90 |
//! | refund | 0200 | 200000 | 00 | DE 90 when it has an original |
//! | pre-authorization | 0100 | 000000 | 06 | |
//! | … its cancel | 0100 | 020000 | 06 | DE 90 |
//! | completion | 0200 | 000000 | 06 | DE 38, DE 90 |
//! | completion advice | 0220 | 000000 | 06 | DE 38, DE 90 |
//! | completion void | 0200 | 020000 | 06 | DE 90 |
//! | offline sale | 0220 | 000000 | 00 | DE 38 |
//! | reversal | 0420 | as the original | | DE 90 |
//!
//! Either side changes a zone key, with DE 7 and DE 11, and a MAC in DE 128 under the ZAK where the link has one
//! ([`super::zone_key`]):
//!
//! | message | MTI | DE 70 | DE 48 | DE 39 |
//! |---|---|---|---|---|
//! | a new key | 0800 | 161 | its key block of version B under the ZMK (X9.143): `P0` a ZPK, `M3` a ZAK | |
//! | … taken | 0810 | 161 | its check value, 6 hexadecimal digits | 00 |
//! | … refused | 0810 | 161 | | 30 format, 12 no ZMK, 63 not acceptable or a wrong MAC, 96 ask again |
//! | a new key is wanted | 0800 | 162 | `ZPK` or `ZAK` | |
//! | … will be sent | 0810 | 162 | | 00, or as above; the key follows as a 161 of its own |
//!
//! A new ZAK serves once its 0810 is written; the one before it is right as well until the first message under the
//! new one. A ZPK serves from the 0810 on.

use crate::transaction::{Amount, AuthCode, Kind, LinkTime, Mid, Pan, ResponseCode, Rrn, Stan, Tid};
use iso8583_spec::{EncodeError, Encoder, Mti, Spec, View};

/// The message specification of an issuer link.
///
/// # Errors
/// A text when the codec does not ship it.
pub fn spec() -> Result<&'static Spec, String> {
    Spec::builtin("iso87-ascii").ok_or_else(|| "no message specification iso87-ascii".to_owned())
}

/// MTI, DE 3 and DE 25 of a kind of transaction.
#[must_use]
pub const fn form(kind: Kind) -> (Mti, &'static str, &'static str) {
    match kind {
        Kind::Balance => (Mti::AUTHORIZATION, "310000", "00"),
        Kind::Sale => (Mti::FINANCIAL, "000000", "00"),
        Kind::Void => (Mti::FINANCIAL, "020000", "00"),
        Kind::Refund => (Mti::FINANCIAL, "200000", "00"),
        Kind::PreAuth => (Mti::AUTHORIZATION, "000000", "06"),
        Kind::PreAuthCancel => (Mti::AUTHORIZATION, "020000", "06"),
        Kind::Completion => (Mti::FINANCIAL, "000000", "06"),
        Kind::CompletionAdvice => (Mti::FINANCIAL_ADVICE, "000000", "06"),
        Kind::CompletionVoid => (Mti::FINANCIAL, "020000", "06"),
        Kind::OfflineSale => (Mti::FINANCIAL_ADVICE, "000000", "00"),
        Kind::Reversal => (Mti::REVERSAL_ADVICE, "000000", "00"),
    }
}

/// What an issuer is told of a transaction.
#[derive(Debug)]
pub struct IssuerMessage<'a> {
    /// What it is.
    pub kind: Kind,
    /// The card.
    pub pan: &'a Pan,
    /// DE 14.
    pub expiry: Option<&'a str>,
    /// DE 35 in clear, for this message only.
    pub track2: Option<&'a str>,
    /// DE 23.
    pub card_sequence: Option<&'a str>,
    /// DE 4.
    pub amount: Option<Amount>,
    /// DE 7.
    pub time: LinkTime,
    /// DE 11 on this link.
    pub stan: Stan,
    /// DE 37.
    pub rrn: Rrn,
    /// DE 13 and DE 12, `MMDDhhmmss`.
    pub terminal_time: &'a str,
    /// DE 18.
    pub mcc: &'a str,
    /// DE 22.
    pub entry_mode: &'a str,
    /// DE 32.
    pub acquirer: &'a str,
    /// DE 38 of an earlier approval.
    pub auth_code: Option<AuthCode>,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// DE 43: name 25, city 13, country 2.
    pub location: &'a str,
    /// DE 52 under the ZPK.
    pub pin_block: Option<[u8; 8]>,
    /// DE 55, byte for byte.
    pub icc: Option<&'a [u8]>,
    /// DE 90: the transaction that this one refers to.
    pub original: Option<Original<'a>>,
}

/// DE 90.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its kind; gives its MTI.
    pub kind: Kind,
    /// Its DE 11 on the link.
    pub stan: Stan,
    /// Its DE 7.
    pub time: LinkTime,
    /// Its DE 32.
    pub acquirer: &'a str,
}

impl Original<'_> {
    /// MTI 4, STAN 6, DE 7 10, acquirer 11 and forwarder 11, right-justified and zero-filled.
    #[must_use]
    pub fn digits(&self) -> String {
        format!(
            "{}{}{}{:0>11}{:011}",
            form(self.kind).0.as_str(),
            self.stan,
            self.time.as_str(),
            self.acquirer,
            0
        )
    }
}

/// Whether a message is sent for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// The first time.
    First,
    /// Again: the MTI says so.
    Again,
}

impl IssuerMessage<'_> {
    /// Encodes the request or advice, up to its MAC.
    ///
    /// # Errors
    /// [`EncodeError`] when a value does not fit its field.
    pub fn encode<'s>(&self, spec: &'s Spec, sending: Sending) -> Result<Encoder<'s>, EncodeError> {
        self.write(spec, form(self.kind), sending)
    }

    /// Encodes a reversal of this transaction, which was sent as `reversed`.
    ///
    /// # Errors
    /// [`EncodeError`] when a value does not fit its field.
    pub fn encode_reversal<'s>(
        &self,
        spec: &'s Spec,
        reversed: &Original<'_>,
        sending: Sending,
    ) -> Result<Encoder<'s>, EncodeError> {
        let (_, code, condition) = form(self.kind);
        let mut reversal = IssuerMessage { original: Some(*reversed), ..*self };
        (reversal.track2, reversal.pin_block, reversal.icc) = (None, None, None);
        reversal.write(spec, (Mti::REVERSAL_ADVICE, code, condition), sending)
    }

    fn write<'s>(
        &self,
        spec: &'s Spec,
        (first, code, condition): (Mti, &str, &str),
        sending: Sending,
    ) -> Result<Encoder<'s>, EncodeError> {
        let mti = if sending == Sending::Again { first.repeat() } else { first };
        let mut e = Encoder::new(spec, mti);
        e.text(2, self.pan.digits())?;
        e.text(3, code)?;
        optional(&mut e, 4, self.amount.map(|a| a.digits()).as_deref())?;
        e.text(7, self.time.as_str())?;
        e.text(11, &self.stan.to_string())?;
        optional(&mut e, 12, self.terminal_time.get(4..10))?;
        optional(&mut e, 13, self.terminal_time.get(..4))?;
        optional(&mut e, 14, self.expiry)?;
        e.text(18, self.mcc)?;
        e.text(22, self.entry_mode)?;
        optional(&mut e, 23, self.card_sequence)?;
        e.text(25, condition)?;
        e.text(32, self.acquirer)?;
        optional(&mut e, 35, self.track2)?;
        e.text(37, self.rrn.as_str())?;
        optional(&mut e, 38, self.auth_code.as_ref().map(AuthCode::as_str))?;
        e.text(41, self.tid.as_str())?;
        e.text(42, self.mid.as_str())?;
        e.text(43, self.location)?;
        let currency = self.amount.map(|a| a.currency().to_string());
        optional(&mut e, 49, currency.as_deref())?;
        if let Some(block) = &self.pin_block {
            e.bytes(52, block)?;
        }
        if let Some(icc) = self.icc {
            e.bytes(55, icc)?;
        }
        optional(&mut e, 90, self.original.map(|o| o.digits()).as_deref())?;
        Ok(e)
    }
}

fn optional(encoder: &mut Encoder<'_>, de: u8, value: Option<&str>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |v| encoder.text(de, v))
}

/// A network management message: sign-on 001, sign-off 002, echo 301 (DE 70).
///
/// # Errors
/// [`EncodeError`] when a value does not fit its field.
pub fn network(spec: &Spec, management: &str, stan: Stan, time: LinkTime) -> Result<Vec<u8>, EncodeError> {
    let mut e = Encoder::new(spec, Mti::NETWORK);
    e.text(7, time.as_str())?;
    e.text(11, &stan.to_string())?;
    e.text(70, management)?;
    e.finish()
}

/// Our 0810 to a network message of the issuer's own.
///
/// # Errors
/// [`EncodeError`] when a value does not fit its field.
pub fn network_answer(request: &View<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut e = Encoder::new(request.spec(), request.mti().response());
    for de in [7, 11] {
        optional(&mut e, de, request.text(de).as_deref())?;
    }
    e.text(39, "00")?;
    optional(&mut e, 70, request.text(70).as_deref())?;
    e.finish()
}

/// What an issuer answered.
#[derive(Debug)]
pub struct IssuerAnswer {
    /// DE 39.
    pub code: ResponseCode,
    /// DE 38.
    pub auth_code: Option<AuthCode>,
    /// DE 37.
    pub rrn: Option<Rrn>,
    /// DE 4.
    pub amount: Option<i64>,
    /// DE 54.
    pub additional_amounts: Option<String>,
    /// DE 55.
    pub icc: Option<Vec<u8>>,
}

/// Codes by which an issuer approves.
const APPROVED: [&str; 6] = ["00", "08", "10", "11", "16", "85"];

impl IssuerAnswer {
    /// Whether it approves, wholly or in part.
    #[must_use]
    pub fn approves(&self) -> bool {
        APPROVED.contains(&self.code.as_str())
    }

    /// Reads an answer and holds it against what was asked: its MTI is the response to the
    /// request's, DE 2 and DE 4 are the request's (DE 4 may be less in a partial approval).
    /// `None`: it cannot be used, and the outcome is unknown.
    #[must_use]
    pub fn read(answer: &View<'_>, asked: &IssuerMessage<'_>, mti: Mti) -> Option<Self> {
        if !answer.is_sound() || answer.mti() != mti.response() {
            return None;
        }
        if answer.text(2).is_some_and(|pan| *pan != *asked.pan.digits()) {
            return None;
        }
        let read = Self {
            code: ResponseCode::new(&answer.text(39)?).ok()?,
            auth_code: answer.text(38).and_then(|t| AuthCode::new(&t).ok()),
            rrn: answer.text(37).and_then(|t| Rrn::new(&t).ok()),
            amount: answer.text(4).and_then(|t| t.parse().ok()),
            additional_amounts: answer.text(54).map(|t| t.to_string()),
            icc: answer.bytes(55).map(|b| b.to_vec()),
        };
        let requested = asked.amount.map(Amount::minor);
        let partial = read.code.as_str() == "10";
        let amount_fits = match (read.amount, requested) {
            (Some(answered), Some(requested)) => answered == requested || (partial && answered < requested),
            (None, _) => !partial,
            (Some(_), None) => true,
        };
        amount_fits.then_some(read)
    }
}
