//! Decode and encode: a swiped UnionPay sale of 114 octets, and an 0200 of eleven fields in plain ASCII, the latter
//! beside crate `iso_8583_rs`, which knows ASCII only: its strict parse, its pack, and its build and pack together.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iso_8583_rs::{Builder, CompiledSpec, specfile};
use iso8583_spec::{EncodeError, Encoder, Mti, Spec, View};
use std::hint::black_box;

/// The golden sale: TPDU, header, MTI, bitmap, fields, MAC.
const SALE: &str = "6000030000603100311000 0200302004C020C09811 000000 000000010000 000007 0210 00 12 \
    346225880012345675AA5A7881CAF9ED9A00 3030303030313031 383938333130303538313230303031 313536 \
    605CAB8CE0D1A2B9 2610000000000000 001422000001000500 4441443644393837";
/// DE 3, 4, 7, 11, 12, 13, 22, 32, 37, 41 and 49.
const ASCII: &str = "02003238040108808000000000000000012345112307050000000315050011230210848310000\
    63270000003000000101156";

/// One field as it is written.
enum Content {
    Text(String),
    Octets(Vec<u8>),
}

/// What an encoder writes again and again.
struct Draft {
    spec: &'static Spec,
    mti: Mti,
    head: Option<(Vec<u8>, Vec<u8>)>,
    fields: Vec<(u8, Content)>,
}

impl Draft {
    fn of(view: &View<'static>) -> Self {
        let content = |de| match view.text(de) {
            Some(text) => Content::Text(text.to_string()),
            None => Content::Octets(view.bytes(de).unwrap_or_default().into_owned()),
        };
        Self {
            spec: view.spec(),
            mti: view.mti(),
            head: view.tpdu().zip(view.header()).map(|(tpdu, header)| (tpdu.to_vec(), header.to_vec())),
            fields: view.fields().map(|de| (de, content(de))).collect(),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        self.write(Encoder::new(self.spec, self.mti))
    }

    /// Over the octets of the last message.
    fn encode_over(&self, last: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
        self.write(Encoder::reuse(self.spec, self.mti, last))
    }

    fn write(&self, mut encoder: Encoder<'_>) -> Result<Vec<u8>, EncodeError> {
        if let Some((tpdu, header)) = &self.head {
            encoder.tpdu(tpdu)?;
            encoder.header(header)?;
        }
        for (de, content) in &self.fields {
            match content {
                Content::Text(text) => encoder.text(*de, text)?,
                Content::Octets(octets) => encoder.bytes(*de, octets)?,
            }
        }
        encoder.finish()
    }
}

fn both_ways(criterion: &mut Criterion, name: &str, dialect: &str, body: Vec<u8>, fields: usize) {
    let Some(spec) = Spec::builtin(dialect) else { unreachable!("a dialect of the crate") };
    // Leaked once: a bench borrows it for as long as it runs.
    let body: &'static [u8] = body.leak();
    let Ok(view) = View::decode(spec, body) else { unreachable!("a vector of this file") };
    assert!(view.is_sound() && view.fields().count() == fields, "{name}: {view:?}");
    let draft = Draft::of(&view);
    assert_eq!(draft.encode().as_deref(), Ok(body), "{name} is not written as it was read");
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function(format!("decode/{name}"), |bench| {
        bench.iter(|| View::decode(spec, black_box(body)).as_ref().is_ok_and(View::is_sound));
    });
    group.bench_function(format!("encode/{name}"), |bench| bench.iter(|| black_box(&draft).encode()));
    group.bench_function(format!("encode_over/{name}"), |bench| {
        let mut out = Vec::with_capacity(256);
        bench.iter(|| out = black_box(&draft).encode_over(std::mem::take(&mut out)).unwrap_or_default());
        assert_eq!(out, body);
    });
    group.finish();
}

/// The peer's declaration of the eleven fields, from ours.
fn peer_spec(spec: &Spec) -> CompiledSpec {
    let field = |(de, field): (u8, &iso8583_spec::Field)| {
        let (min_len, max_len) = field.lengths();
        let len_type = match field.notation().matches('.').count() {
            0 => "fixed",
            2 => "llvar",
            3 => "lllvar",
            _ => "llllvar",
        };
        let content_type = field.content().notation().to_owned();
        let (len_type, label) = (len_type.to_owned(), field.name().to_owned());
        (i64::from(de), specfile::FieldDescription { content_type, max_len, min_len, len_type, label })
    };
    let wanted = [3, 4, 7, 11, 12, 13, 22, 32, 37, 41, 49];
    let fields = spec.fields().filter(|(de, _)| wanted.contains(de)).map(field).collect();
    let Ok(compiled) = CompiledSpec::compile(&specfile::Spec { fields }) else {
        unreachable!("plain fields")
    };
    compiled
}

fn peer(criterion: &mut Criterion) {
    let Some(spec) = Spec::builtin("iso87-ascii") else { unreachable!("a dialect of the crate") };
    let (peer, body) = (peer_spec(spec), ASCII.as_bytes());
    let Ok(parsed) = iso_8583_rs::Message::parse(&peer, body) else { unreachable!("a vector of this file") };
    let fields: Vec<(usize, &[u8])> = parsed.fields().collect();
    let build = || {
        let mut builder = Builder::new(&peer, b"0200").ok()?;
        for (de, content) in black_box(&fields) {
            builder.set(*de, content).ok()?;
        }
        Some(builder)
    };
    let Some(built) = build() else { unreachable!("what it has parsed") };
    let mut out = Vec::with_capacity(256);
    built.pack_into(&mut out);
    assert_eq!(out, body, "the peer writes the same");
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("peer_parse/ascii_11_fields", |bench| {
        bench.iter(|| iso_8583_rs::Message::parse(&peer, black_box(body)).is_ok());
    });
    group.bench_function("peer_pack/ascii_11_fields", |bench| {
        bench.iter(|| black_box(&built).pack_into(&mut out));
    });
    group.bench_function("peer_build_and_pack/ascii_11_fields", |bench| {
        let mut out = Vec::with_capacity(256);
        bench.iter(|| build().map(|built| built.pack_into(&mut out)));
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let Ok(sale) = hex::decode(SALE.replace(' ', "")) else { unreachable!("hexadecimal digits") };
    assert_eq!(sale.len(), 114, "the golden sale");
    both_ways(criterion, "unionpay_sale", "unionpay-pos", sale, 14);
    both_ways(criterion, "ascii_11_fields", "iso87-ascii", ASCII.as_bytes().to_vec(), 11);
    peer(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
