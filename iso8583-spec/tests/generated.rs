//! Properties of every dialect that can be declared, and of its messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../fuzz/check.rs"]
mod check;
#[path = "../fuzz/fields.rs"]
mod fields;
#[path = "../fuzz/generator.rs"]
mod generator;
#[path = "../fuzz/inside.rs"]
mod inside;
#[path = "../fuzz/model.rs"]
mod model;
#[path = "../fuzz/properties.rs"]
mod properties;
#[allow(dead_code, reason = "the fuzz targets draw in more ways")]
#[path = "../fuzz/source.rs"]
mod source;
#[path = "../fuzz/tags.rs"]
mod tags;

use proptest::{collection::vec, prelude::*};

/// Octets that a dialect and a message are drawn by.
fn choices() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(octets in choices()) {
        properties::written_and_read(&generator::case(&octets));
    }

    #[test]
    fn nothing_sensitive_is_described(octets in choices()) {
        properties::masked(&generator::case(&octets));
    }

    #[test]
    fn cut_anywhere_it_is_refused(octets in choices(), at in any::<prop::sample::Index>()) {
        let case = generator::case(&octets);
        properties::cut(&case, at.index(case.message.body().len()));
    }

    #[test]
    fn one_octet_more_is_refused(octets in choices(), octet in any::<u8>()) {
        properties::lengthened(&generator::case(&octets), octet);
    }

    #[test]
    fn one_octet_changed_is_byte_exact_or_a_fault(octets in choices(), at in any::<usize>(), octet in any::<u8>()) {
        properties::changed(&generator::case(&octets), at, octet);
    }

    #[test]
    fn what_is_written_otherwise_is_kept(octets in choices(), ways in vec(any::<u8>(), 0..200)) {
        properties::kept(&generator::case(&octets), &mut source::Source::new(&ways));
    }
}
