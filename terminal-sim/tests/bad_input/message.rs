//! A message put together octet by octet: it does not use the codec that reads it, so that it can be wrong in
//! any way.

use std::collections::BTreeMap;

use anyhow::Result;
use terminal_sim::stage::{HOLDERS, MID};
use terminal_sim::terminal::Dialect;
use tollgate::hsm::des::DesKey;
use tollgate::hsm::{MacAlgorithm, mac::mac};

/// What becomes of the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    Proper,
    OneBitOff,
    Absent,
}

/// A message: each field with its length prefix, as it is on the wire.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) dialect: Dialect,
    /// Four digits.
    pub(crate) mti: String,
    pub(crate) fields: BTreeMap<u8, Vec<u8>>,
    /// Fields that the bitmap announces and that are not there.
    pub(crate) announced: Vec<u8>,
    pub(crate) seal: Seal,
}

/// Digits in the dialect's numeric encoding, a pad nibble before an odd number of them.
pub(crate) fn digits(dialect: Dialect, text: &str) -> Vec<u8> {
    if dialect == Dialect::Ascii {
        return text.as_bytes().to_vec();
    }
    let padded = if text.len().is_multiple_of(2) { text.to_owned() } else { format!("0{text}") };
    hex::decode(padded).unwrap()
}

/// The same with the pad behind, under a length of `width` digits.
pub(crate) fn counted_digits(dialect: Dialect, width: usize, text: &str) -> Vec<u8> {
    let mut wire = digits(dialect, &format!("{:0width$}", text.len()));
    let padded = if text.len().is_multiple_of(2) { text.to_owned() } else { format!("{text}0") };
    wire.extend(digits(dialect, if dialect == Dialect::Ascii { text } else { &padded }));
    wire
}

fn counted_text(dialect: Dialect, text: &str) -> Vec<u8> {
    let mut wire = digits(dialect, &format!("{:03}", text.len()));
    wire.extend(text.as_bytes());
    wire
}

impl Message {
    /// A sound sale of 1.00 by a keyed card, without PIN.
    pub(crate) fn sale(dialect: Dialect, tid: &str, stan: u32) -> Self {
        let n = |text: &str| digits(dialect, text);
        let mut fields = BTreeMap::from([
            (2, counted_digits(dialect, 2, HOLDERS[0].pan)),
            (3, n("000000")),
            (4, n("000000000100")),
            (11, n(&format!("{stan:06}"))),
            (14, n("3012")),
            (22, n("012")),
            (25, n("00")),
            (41, tid.as_bytes().to_vec()),
            (42, MID.as_bytes().to_vec()),
        ]);
        match dialect {
            Dialect::UnionPay => {
                // DE 22 stands left of its pad nibble.
                fields.insert(22, vec![0x01, 0x20]);
                fields.insert(49, b"156".to_vec());
                fields.insert(60, counted_digits(dialect, 3, "22000001000500"));
            }
            Dialect::Edc => {
                fields.insert(24, n("003"));
                fields.insert(62, counted_text(dialect, &format!("{stan:06}")));
            }
            Dialect::Ascii => {
                fields.extend([(7, n("1123120000")), (12, n("120000")), (13, n("1123"))]);
                fields.insert(49, b"156".to_vec());
            }
        }
        Self { dialect, mti: "0200".into(), fields, announced: Vec::new(), seal: Seal::Proper }
    }

    /// A UnionPay sign-on that asks for double-length keys.
    pub(crate) fn sign_on(tid: &str) -> Self {
        let dialect = Dialect::UnionPay;
        let mut message = Self::sale(dialect, tid, 1);
        for de in [2, 3, 4, 14, 22, 25, 49] {
            message.fields.remove(&de);
        }
        message.fields.insert(60, counted_digits(dialect, 3, "00000001003"));
        message.fields.insert(63, counted_text(dialect, "01 "));
        Self { mti: "0800".into(), seal: Seal::Absent, ..message }
    }

    /// Sets a numeric field of fixed length.
    pub(crate) fn number(&mut self, de: u8, text: &str) {
        self.fields.insert(de, digits(self.dialect, text));
    }

    /// Takes a field out, bitmap bit and all.
    pub(crate) fn without(&mut self, de: u8) {
        self.fields.remove(&de);
    }

    /// A field's octets, to spoil them.
    pub(crate) fn wire(&mut self, de: u8) -> &mut Vec<u8> {
        self.fields.get_mut(&de).unwrap()
    }

    /// The whole frame, its MAC under `tak`.
    pub(crate) fn frame(&self, tak: &DesKey) -> Vec<u8> {
        framed(self.dialect, &self.body(tak).unwrap())
    }

    fn body(&self, tak: &DesKey) -> Result<Vec<u8>> {
        let mut content = digits(self.dialect, &self.mti);
        content.extend(self.bitmap());
        content.extend(self.fields.values().flatten());
        if self.seal != Seal::Absent {
            let algorithm = if self.dialect == Dialect::UnionPay {
                MacAlgorithm::UnionPayEcb
            } else {
                MacAlgorithm::X919
            };
            let mut sum = mac(algorithm, tak, &content)?;
            if self.seal == Seal::OneBitOff {
                sum[7] ^= 1;
            }
            match self.dialect {
                Dialect::Ascii => content.extend(hex::encode_upper(sum).into_bytes()),
                Dialect::UnionPay | Dialect::Edc => content.extend(sum),
            }
        }
        let mut body = hex::decode(match self.dialect {
            Dialect::UnionPay => "6000030000603100311000",
            Dialect::Edc => "6000030000",
            Dialect::Ascii => "",
        })?;
        body.extend(content);
        Ok(body)
    }

    fn bitmap(&self) -> Vec<u8> {
        let mut bits: u64 = 0;
        let mac = if self.seal == Seal::Absent { None } else { Some(&64) };
        for de in self.fields.keys().chain(&self.announced).chain(mac) {
            bits |= 1 << (64 - de);
        }
        match self.dialect {
            Dialect::Ascii => format!("{bits:016X}").into_bytes(),
            Dialect::UnionPay | Dialect::Edc => bits.to_be_bytes().to_vec(),
        }
    }
}

/// The length before a body.
pub(crate) fn framed(dialect: Dialect, body: &[u8]) -> Vec<u8> {
    let mut frame = match dialect {
        Dialect::Ascii => format!("{:04}", body.len()).into_bytes(),
        Dialect::UnionPay | Dialect::Edc => u16::try_from(body.len()).unwrap().to_be_bytes().to_vec(),
    };
    frame.extend(body);
    frame
}

/// How many octets the length takes.
pub(crate) const fn prefix(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Ascii => 4,
        Dialect::UnionPay | Dialect::Edc => 2,
    }
}
