//! Decode and encode: a swiped UnionPay sale of 114 octets, and an 0200 of eleven fields in plain ASCII.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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
        let mut encoder = Encoder::new(self.spec, self.mti);
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
        bench.iter(|| View::decode(spec, black_box(body)).is_ok_and(|view| view.is_sound()));
    });
    group.bench_function(format!("encode/{name}"), |bench| bench.iter(|| black_box(&draft).encode()));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let Ok(sale) = hex::decode(SALE.replace(' ', "")) else { unreachable!("hexadecimal digits") };
    assert_eq!(sale.len(), 114, "the golden sale");
    both_ways(criterion, "unionpay_sale", "unionpay-pos", sale, 14);
    both_ways(criterion, "ascii_11_fields", "iso87-ascii", ASCII.as_bytes().to_vec(), 11);
}

criterion_group!(benches, all);
criterion_main!(benches);
