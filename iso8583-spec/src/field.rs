//! What one field of a dialect is: its shape on the wire, its name, who may see it, what lies inside it.
//!
//! A part, a tag's value and a field behind a bitmap within a field are fields too.

use std::collections::BTreeMap;

use crate::{
    Content, Mti,
    bitmap::BitmapEncoding,
    charset::Repertoire,
    meaning::Meaning,
    rules::Pattern,
    shape::{Data, PrefixEncoding, PrefixUnit, Shape},
    structure::ITEM,
    tlv,
};

/// Who may see a field. Everything but [`Sensitivity::None`] is masked unless asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sensitivity {
    /// Anybody.
    #[default]
    None,
    /// First six and last four digits (PCI DSS 4.0, requirement 3.4.1).
    Pan,
    /// Nothing of it: track data (PCI DSS 4.0, requirement 3.3.1).
    Track,
    /// Nothing of it: a PIN block.
    Pin,
    /// Nothing of it: keys, card verification values, codes that pay.
    Secret,
    /// Chip data: the tags that hold a PAN, track data, a name or a PIN.
    Icc,
}

impl Sensitivity {
    /// Every kind by the name in a dialect file.
    pub(crate) const NAMES: [(&str, Sensitivity); 6] = [
        ("none", Sensitivity::None),
        ("pan", Sensitivity::Pan),
        ("track", Sensitivity::Track),
        ("pin", Sensitivity::Pin),
        ("secret", Sensitivity::Secret),
        ("icc", Sensitivity::Icc),
    ];
}

/// A field of a dialect, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub(crate) shape: Shape,
    pub(crate) name: String,
    pub(crate) sensitivity: Sensitivity,
    pub(crate) meaning: Option<Meaning>,
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) structure: Structure,
}

/// What lies inside content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Structure {
    /// Nothing that the dialect knows of.
    Plain,
    /// Parts by their places; the first layout that applies is taken.
    Layouts(Vec<Layout>),
    /// Elements by their tags.
    Tagged(Tagged),
    /// Fields behind a bitmap of their own.
    Mapped(Mapped),
}

/// The parts of a field in some messages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// Beginnings of the MTIs it applies to; every MTI when there are none.
    pub(crate) mti: Vec<String>,
    /// It applies to content of at least this many characters or octets.
    pub(crate) min: usize,
    /// Parts at the front, once.
    pub(crate) parts: Vec<Member>,
    /// What repeats to the end: a field whose only layout has the item's parts.
    pub(crate) item: Option<Box<Field>>,
}

impl Layout {
    /// A part by its name, or what repeats.
    pub(crate) fn member(&self, name: &str) -> Option<&Field> {
        let part = self.parts.iter().find(|member| member.key == name).map(|member| &member.field);
        part.or(self.item.as_deref().filter(|_| name == ITEM))
    }

    pub(crate) fn suits(&self, mti: Mti) -> bool {
        self.mti.is_empty() || self.mti.iter().any(|beginning| mti.as_str().starts_with(beginning.as_str()))
    }
}

/// A field with its key among its neighbours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) field: Field,
}

/// Elements of tag, length and value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tagged {
    pub(crate) form: TagForm,
    /// What the dialect knows of tags, by their names.
    pub(crate) tags: BTreeMap<String, Field>,
    /// The value of every other tag.
    pub(crate) other: Box<Field>,
}

impl Tagged {
    pub(crate) fn field(&self, tag: &str) -> &Field {
        self.tags.get(tag).unwrap_or(&self.other)
    }
}

/// How tags and lengths are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TagForm {
    /// As EMV does (EMV 4.3 Book 3, Annex B).
    Ber,
    /// With widths of their own.
    Simple {
        tag: TagEncoding,
        /// Octets of the tag.
        tag_width: usize,
        length: PrefixEncoding,
        /// Octets of the length.
        length_width: usize,
        order: TagOrder,
        /// Whether the length counts the tag too.
        counts_tag: bool,
    },
}

/// How a tag is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagEncoding {
    /// Characters; the tag is named by them.
    Ascii,
    /// Characters in EBCDIC.
    Ebcdic,
    /// Octets or packed digits; the tag is named by their hexadecimal.
    Octets,
}

/// Which comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagOrder {
    /// Tag, length, value.
    Tlv,
    /// Length, tag, value.
    Ltv,
}

/// Fields behind a bitmap within a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) encoding: BitmapEncoding,
    /// Bits of the bitmap, from 8 to 64.
    pub(crate) bits: u8,
    pub(crate) fields: BTreeMap<u8, Field>,
}

impl Mapped {
    /// Octets of the bitmap on the wire.
    pub(crate) fn width(&self) -> usize {
        let octets = usize::from(self.bits / 8);
        match self.encoding {
            BitmapEncoding::Binary => octets,
            BitmapEncoding::Hex | BitmapEncoding::EbcdicHex => octets * 2,
        }
    }
}

impl Field {
    /// What the field is, in words.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn content(&self) -> Content {
        self.shape.content
    }

    /// Who may see it.
    pub fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// Whether it holds octets and not characters.
    pub fn is_binary(&self) -> bool {
        self.shape.is_binary()
    }

    /// Whether its octets are BER-TLV.
    pub fn is_tlv(&self) -> bool {
        matches!(&self.structure, Structure::Tagged(tagged) if tagged.form == TagForm::Ber)
    }

    /// The least and the most units: digits, characters, or octets of binary content.
    pub fn lengths(&self) -> (usize, usize) {
        (usize::from(self.shape.min), usize::from(self.shape.max))
    }

    /// What a value means, by the dialect's own table or one of the crate's.
    pub fn meaning(&self, value: &str) -> Option<String> {
        let own = self.values.get(value).cloned();
        own.or_else(|| self.meaning.and_then(|table| table.of(value)).map(Into::into))
    }

    /// Content and length as the standard writes them: `n6`, `n..19`, `ans...999`.
    pub fn notation(&self) -> String {
        let dots = self.shape.prefix.map_or(0, |prefix| usize::from(prefix.letters));
        // The standard counts the digits of x+n, not the sign.
        let max = self.shape.max - u16::from(self.shape.content == Content::Xn);
        format!("{}{:.<dots$}{max}", self.shape.content.notation(), "")
    }

    /// How it is written, in the words of a dialect file: `bcd right pad 0`, `ascii, prefix LL bcd`.
    pub fn writing(&self) -> String {
        let shape = &self.shape;
        let mut text = shape.data.name().to_owned();
        if shape.data == Data::Bcd {
            text += &format!(" {} pad {:X}", format!("{:?}", shape.align).to_lowercase(), shape.pad);
        }
        text += match shape.repertoire {
            Repertoire::Ascii => "",
            Repertoire::Latin1 => ", characters latin-1",
        };
        if let Some(prefix) = shape.prefix {
            let letters = "L".repeat(usize::from(prefix.letters));
            text += &format!(", prefix {letters} {}", prefix.encoding.name());
            text += match prefix.unit {
                PrefixUnit::Content => "",
                PrefixUnit::Nibbles => " of nibbles",
                PrefixUnit::Octets => " of octets",
            };
            text += if prefix.is_inclusive { ", inclusive" } else { "" };
        }
        text
    }

    /// What lies inside, in words; empty when nothing does.
    pub fn inside(&self) -> String {
        match &self.structure {
            Structure::Plain => String::new(),
            Structure::Layouts(layouts) => match layouts.as_slice() {
                [only] => format!("{} parts", only.parts.len() + usize::from(only.item.is_some())),
                _ => format!("{} layouts", layouts.len()),
            },
            Structure::Tagged(tagged) if tagged.form == TagForm::Ber => "BER-TLV".to_owned(),
            Structure::Tagged(_) => "tags".to_owned(),
            Structure::Mapped(mapped) => format!("bitmap of {}", mapped.bits),
        }
    }

    /// The layout of its parts in a message of this type and with so much content, if it has one.
    pub(crate) fn layout(&self, mti: Mti, length: usize) -> Option<&Layout> {
        match &self.structure {
            Structure::Layouts(layouts) => {
                layouts.iter().find(|layout| length >= layout.min && layout.suits(mti))
            }
            Structure::Plain | Structure::Tagged(_) | Structure::Mapped(_) => None,
        }
    }

    /// What a part is, by its name: that of a [`crate::Composite`]. A template of chip data that the dialect says
    /// nothing of holds what the field around it holds.
    pub fn part(&self, name: &str) -> Option<&Field> {
        let found = self.member(name)?;
        let is_template =
            self.is_tlv() && found.structure == Structure::Plain && tlv::is_constructed_name(name);
        Some(if is_template { self } else { found })
    }

    /// What the dialect says of a part by its name; of parts with layouts, the first that has it.
    pub(crate) fn member(&self, name: &str) -> Option<&Field> {
        match &self.structure {
            Structure::Plain => None,
            Structure::Layouts(layouts) => layouts.iter().find_map(|layout| layout.member(name)),
            Structure::Tagged(tagged) => Some(tagged.field(name)),
            Structure::Mapped(mapped) => mapped.fields.get(&name.parse().ok()?),
        }
    }
}
