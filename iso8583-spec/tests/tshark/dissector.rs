//! tshark's dissector of ISO 8583: how it is asked, what it shows, and what it gets wrong.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use iso8583_spec::{Content, Field};
use serde_json::{Map, Value};

use crate::capture::{TO_PORT, capture};

/// How the messages are written, in the preferences of the dissector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `ascii` or `bcd`.
    pub(crate) charset: &'static str,
    /// `ascii`, which is hexadecimal, or `bin`.
    pub(crate) binary: &'static str,
}

/// The messages that tshark finds in each of these segments.
pub(crate) fn shown(segments: &[&[u8]], preferences: Preferences) -> Vec<Vec<Map<String, Value>>> {
    let Preferences { charset, binary } = preferences;
    let options = [
        "tcp.desegment_tcp_streams:TRUE".to_owned(),
        "iso8583.len_endian:bigendian".to_owned(),
        format!("iso8583.charset:{charset}"),
        format!("iso8583.binencode:{binary}"),
    ];
    let mut child = Command::new("tshark")
        .args(["-n", "-r", "-", "-d", &format!("tcp.port=={TO_PORT},iso8583")])
        .args(options.iter().flat_map(|option| ["-o", option]))
        .args(["-T", "json", "--no-duplicate-keys", "-J", "iso8583"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("tshark is needed (on Debian, apt-get install tshark): {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let file = capture(segments);
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(&file));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "tshark broke: {}", String::from_utf8_lossy(&output.stderr));
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(packets.len(), segments.len());
    packets.iter().map(|packet| messages(&packet["_source"]["layers"]["iso8583"])).collect()
}

/// One message is an object, several are an array of them.
fn messages(layer: &Value) -> Vec<Map<String, Value>> {
    let one = std::slice::from_ref(layer);
    let layers = layer.as_array().map_or(one, Vec::as_slice);
    layers.iter().filter_map(Value::as_object).cloned().collect()
}

/// Fields that tshark 4.0.17 cannot read as the standard has them, with the reason.
const LEFT_OUT: [(u8, &str); 6] = [
    (53, "n 16, of which it takes 8"),
    (55, "b, which it takes for ans"),
    (86, "n 16, of which it takes 15"),
    (87, "n 16, of which it takes 15"),
    (88, "n 16, of which it takes 15"),
    (89, "n 16, of which it takes 15"),
];

/// Whether the dissector reads a field as the standard has it.
pub(crate) fn is_judged(de: u8, field: &Field, preferences: Preferences) -> bool {
    let is_raw = match field.content() {
        // Written as they are, it unpacks octets into half the room that they need, and track data too.
        Content::B | Content::Z | Content::Zx => preferences.binary == "bin",
        // The sign counts as a nibble.
        Content::Xn => preferences.charset == "bcd",
        Content::N | Content::A | Content::An | Content::Ans | Content::Ns => false,
    };
    // An `an` that it takes for packed digits.
    let is_packed = de == 92 && preferences.charset == "bcd";
    !is_raw && !is_packed && !LEFT_OUT.iter().any(|(left_out, _)| *left_out == de)
}

/// The least units of a variable field: it takes an empty one for malformed, and of packed prefixes it reads twice the
/// octets, which must be there.
pub(crate) fn least(preferences: Preferences) -> usize {
    if preferences.charset == "bcd" { 2 } else { 1 }
}

/// The characters that it takes in a field, fewer than the standard's in some.
pub(crate) fn alphabet(de: u8, content: Content) -> String {
    let printable = || ' '..='~';
    match (de, content) {
        // `an` to it is without blanks, and track 3 and a code are of other characters.
        (36 | 92, _) | (_, Content::N | Content::Xn) => "0123456789".to_owned(),
        (_, Content::A | Content::An) => printable().filter(char::is_ascii_alphanumeric).collect(),
        (_, Content::Ns) => printable().filter(|c| !c.is_ascii_alphabetic()).collect(),
        (_, Content::Z) => "0123456789D".to_owned(),
        (_, Content::Zx | Content::B) => "0123456789ABCDEF".to_owned(),
        (_, Content::Ans) => printable().collect(),
    }
}

/// Whether the dissector looks at a frame at all. It wants 22 octets, and with raw bitmaps it still takes the octets
/// from the seventh on for a string, and wants hexadecimal when that string has 16 octets in UTF-8.
pub(crate) fn is_looked_at(frame: &[u8], preferences: Preferences) -> bool {
    let Some(string) = frame.get(6..22) else { return false };
    let until_zero = || string.iter().take_while(|octet| **octet != 0);
    let length: usize = until_zero().map(|octet| if octet.is_ascii() { 1 } else { 3 }).sum();
    preferences.binary == "ascii" || length != 16 || until_zero().all(u8::is_ascii_hexdigit)
}
