//! A dialect declared twice: as a file of this crate, and as a specification of pyiso8583.

use std::collections::BTreeMap;

use iso8583_spec::Spec;
use serde_json::{Value, json};

use crate::{chance::Chance, pair::Pair};

/// How MTI and bitmaps may be written, as pyiso8583 calls it.
pub(crate) const FRONTS: [&str; 4] = ["b", "ascii", "cp037", "cp500"];

/// What stands before the fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Front {
    /// Octets of the TPDU, 5 or 0, and of the header: one header to pyiso8583.
    pub(crate) tpdu: usize,
    pub(crate) header: usize,
    /// How pyiso8583 reads it: `b` or `ascii`.
    pub(crate) header_enc: &'static str,
    pub(crate) mti: &'static str,
    pub(crate) bitmap: &'static str,
    /// 64, 128 or 192.
    pub(crate) last: u8,
    pub(crate) separator: char,
}

impl Front {
    /// No header, and all in ASCII: what other fronts differ from.
    pub(crate) const PLAIN: Front = Front {
        tpdu: 0,
        header: 0,
        header_enc: "b",
        mti: "ascii",
        bitmap: "ascii",
        last: 128,
        separator: '=',
    };

    fn random(chance: &mut Chance) -> Front {
        Front {
            tpdu: chance.pick(&[0, 0, 5]),
            header: if chance.once_in(2) { 0 } else { chance.within(1..=12) },
            header_enc: chance.pick(&["b", "ascii"]),
            mti: chance.pick(&FRONTS),
            bitmap: chance.pick(&FRONTS),
            last: chance.pick(&[64, 128, 192]),
            separator: chance.pick(&['=', 'D']),
        }
    }

    /// Octets before the MTI.
    pub(crate) fn head(&self) -> usize {
        self.tpdu + self.header
    }

    pub(crate) fn mti_width(&self) -> usize {
        if self.mti == "b" { 2 } else { 4 }
    }

    pub(crate) fn bitmap_width(&self) -> usize {
        if self.bitmap == "b" { 8 } else { 16 }
    }

    fn toml(&self) -> String {
        let mti = match self.mti {
            "b" => "bcd",
            "ascii" => "ascii",
            _ => "ebcdic",
        };
        let bitmap = match self.bitmap {
            "b" => "binary",
            "ascii" => "hex",
            _ => "ebcdic-hex",
        };
        let header = match self.header {
            0 => String::new(),
            length => format!("header = {{ name = \"header\", length = {length} }}\n"),
        };
        let Front { tpdu, last, separator, .. } = self;
        format!(
            "name = \"judged\"\nframing = \"length-2\"\ntpdu = {}\n{header}mti = \"{mti}\"\n\
             bitmap = {{ encoding = \"{bitmap}\", fields = {last} }}\n[defaults]\nnumeric = \"ascii\"\n\
             track = \"ascii\"\ntext = \"ascii\"\nbinary = \"hex\"\nalign_fixed = \"right\"\n\
             align_variable = \"left\"\npad = \"0\"\nprefix = \"ascii\"\nprefix_unit = \"content\"\n\
             separator = \"{separator}\"\n[fields]\n",
            *tpdu > 0
        )
    }

    fn json(&self) -> Value {
        let fixed = |data_enc: &str, length: usize| json!({ "data_enc": data_enc, "len_enc": "ascii", "len_type": 0, "max_len": length, "desc": "front" });
        json!({
            "h": fixed(self.header_enc, self.head()),
            "t": fixed(self.mti, self.mti_width()),
            "p": fixed(self.bitmap, self.bitmap_width()),
            "1": fixed(self.bitmap, self.bitmap_width()),
        })
    }
}

/// A dialect of both sides.
pub(crate) struct Dialect {
    pub(crate) front: Front,
    pub(crate) pairs: BTreeMap<u8, Pair>,
    pub(crate) spec: Spec,
    pub(crate) theirs: Value,
}

impl Dialect {
    pub(crate) fn new(front: Front, pairs: BTreeMap<u8, Pair>) -> Dialect {
        let fields: String = pairs.iter().map(|(de, pair)| pair.toml(*de)).collect();
        let file = front.toml() + &fields;
        let spec = Spec::parse(&file).unwrap_or_else(|faults| panic!("{faults:#?}\n{file}"));
        let mut theirs = front.json();
        for (de, pair) in &pairs {
            theirs[de.to_string()] = pair.json();
        }
        Dialect { front, pairs, spec, theirs }
    }

    /// Any dialect of 8 to 48 fields. Field 65 is none of them: to pyiso8583 it is a bitmap in every dialect.
    pub(crate) fn random(chance: &mut Chance) -> Dialect {
        let front = Front::random(chance);
        let many = chance.within(8..=48);
        let mut pairs = BTreeMap::new();
        while pairs.len() < many {
            let de = u8::try_from(chance.within(2..=usize::from(front.last))).unwrap();
            if de != 65 {
                pairs.insert(de, Pair::random(front.separator, chance));
            }
        }
        Dialect::new(front, pairs)
    }

    /// The request that makes it pyiso8583's specification.
    pub(crate) fn request(&self) -> Value {
        json!({ "spec": self.theirs })
    }
}
