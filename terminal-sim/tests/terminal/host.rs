//! A host that answers by a script: it knows the codec and the MAC functions, nothing of the terminal's code.

use std::collections::BTreeMap;
use std::time::Duration;

use iso8583_spec::{Encoder, Mti, Spec, View, swap_tpdu};
use terminal_sim::terminal::{Card, Dialect, InjectedKeys, Terminal, TerminalProfile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tollgate::hsm::des::DesKey;
use tollgate::hsm::{MacAlgorithm, mac::mac};

pub(crate) const PAN: &str = "6225880012345675";
/// The golden working keys, and static keys for the other dialects.
pub(crate) const PIK: &str = "2A1F4C7691B3D5E084628CA1C2E5F708";
pub(crate) const MAK: &str = "13579BDF02468ACE";
pub(crate) const TDK: &str = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2";
pub(crate) const TMK: &str = "0123456789ABCDEFFEDCBA9876543210";
pub(crate) const TAK: &str = "98519E45CBB9291F49EFAD4AFEFDDC79";

pub(crate) fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

pub(crate) fn key(text: &str) -> [u8; 16] {
    octets(text).try_into().unwrap()
}

pub(crate) fn card() -> Card {
    Card::swiped(PAN, "3012").with_pin("123456")
}

/// What the host does with the next frame.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers with this DE 39 and, beside the usual fields, these.
    Answer(&'static str, Vec<(u8, String)>),
    /// Answers without DE 39.
    NoCode(Vec<(u8, String)>),
    /// Approves, and one field of the echo is wrong.
    WrongEcho(u8, &'static str),
    /// Approves under a MAC with one bit turned.
    BadMac,
    /// Approves without a MAC.
    NoMac,
    /// Closes the connection.
    HangUp,
}

pub(crate) fn ok() -> Act {
    Act::Answer("00", vec![])
}

pub(crate) fn code(code: &'static str) -> Act {
    Act::Answer(code, vec![])
}

/// A request as the host saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) mti: String,
    pub(crate) fields: BTreeMap<u8, String>,
    pub(crate) mac_fits: Option<bool>,
}

impl Seen {
    pub(crate) fn get(&self, de: u8) -> &str {
        self.fields.get(&de).map_or("", String::as_str)
    }

    pub(crate) fn des(&self) -> Vec<u8> {
        self.fields.keys().copied().collect()
    }
}

pub(crate) struct Host {
    pub(crate) dialect: Dialect,
    pub(crate) spec: &'static Spec,
}

impl Host {
    fn algorithm(&self) -> (MacAlgorithm, DesKey) {
        match self.dialect {
            Dialect::UnionPay => (MacAlgorithm::UnionPayEcb, DesKey::new(&octets(MAK)).unwrap()),
            Dialect::Edc | Dialect::Ascii => (MacAlgorithm::X919, DesKey::new(&octets(TAK)).unwrap()),
        }
    }

    pub(crate) async fn serve(self, listener: TcpListener, script: Vec<Act>) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut stream: Option<TcpStream> = None;
        for act in script {
            let body = loop {
                let open = match &mut stream {
                    Some(open) => open,
                    None => stream.insert(listener.accept().await.unwrap().0),
                };
                match self.frame(open).await {
                    Some(body) => break body,
                    None => stream = None,
                }
            };
            seen.push(self.read(&body));
            match self.reply(&body, &act) {
                Some(reply) => {
                    let mut frame = Vec::new();
                    self.spec.framing().encode(&reply, &mut frame).unwrap();
                    stream.as_mut().unwrap().write_all(&frame).await.unwrap();
                }
                None => stream = None,
            }
        }
        seen
    }

    pub(crate) async fn frame(&self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut input = Vec::new();
        loop {
            if let Some(frame) = self.spec.framing().decode(&input, 4096).unwrap() {
                assert_eq!(frame.consumed, input.len(), "one request in flight");
                return Some(input[frame.body].to_vec());
            }
            if stream.read_buf(&mut input).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(crate) fn read(&self, body: &[u8]) -> Seen {
        let view = View::decode(self.spec, body).unwrap();
        assert!(view.is_sound(), "{:?}", view.faults());
        let fields = view
            .fields()
            .map(|de| {
                (
                    de,
                    view.text(de)
                        .map_or_else(|| hex::encode_upper(view.bytes(de).unwrap()), |t| t.to_string()),
                )
            })
            .collect();
        let sent = view.bytes(128).or_else(|| view.bytes(64));
        let (algorithm, key) = self.algorithm();
        let mac_fits = view.mac_data().map(|data| {
            let want = mac(algorithm, &key, data).unwrap();
            sent.is_some_and(|sent| *sent == want)
        });
        Seen { mti: view.mti().as_str().to_owned(), fields, mac_fits }
    }

    pub(crate) fn reply(&self, body: &[u8], act: &Act) -> Option<Vec<u8>> {
        let request = self.read(body);
        let view = View::decode(self.spec, body).unwrap();
        let mut fields: BTreeMap<u8, String> = BTreeMap::new();
        for de in [3, 4, 11, 24, 41, 42, 60, 70] {
            if let Some(text) = request.fields.get(&de) {
                fields.insert(de, text.clone());
            }
        }
        for (de, text) in [(12, "101112"), (13, "1123"), (37, "101112000095"), (39, "00")] {
            fields.insert(de, text.to_owned());
        }
        match act {
            Act::Answer(code, extra) => {
                fields.insert(39, (*code).to_owned());
                fields.extend(extra.iter().cloned());
            }
            Act::NoCode(extra) => {
                fields.remove(&39);
                fields.extend(extra.iter().cloned());
            }
            Act::WrongEcho(0, _) | Act::BadMac | Act::NoMac => {}
            Act::WrongEcho(de, text) => {
                fields.insert(*de, (*text).to_owned());
            }
            Act::HangUp => return None,
        }
        let mti = if matches!(act, Act::WrongEcho(0, _)) {
            Mti::new("0130").unwrap()
        } else {
            view.mti().response()
        };
        let mut encoder = Encoder::new(self.spec, mti);
        if let Some(tpdu) = view.tpdu() {
            encoder.tpdu(&swap_tpdu(tpdu).unwrap()).unwrap();
        }
        if let Some(header) = view.header() {
            encoder.header(header).unwrap();
        }
        let binary = [55, 62];
        for (de, text) in &fields {
            if binary.contains(de) && self.dialect == Dialect::UnionPay {
                encoder.bytes(*de, &octets(text)).unwrap();
            } else {
                encoder.text(*de, text).unwrap();
            }
        }
        if request.mac_fits.is_some() && !matches!(act, Act::NoMac) {
            let (algorithm, key) = self.algorithm();
            let field = if fields.keys().any(|de| *de > 64) { 128 } else { 64 };
            let mut sealed = mac(algorithm, &key, encoder.mac_data(field).unwrap()).unwrap();
            if matches!(act, Act::BadMac) {
                sealed[7] ^= 1;
            }
            encoder.mac(&sealed).unwrap();
        }
        Some(encoder.finish().unwrap())
    }
}

/// A terminal with working keys, and its host at work on a script.
pub(crate) async fn bench(dialect: Dialect, script: Vec<Act>) -> (Terminal, JoinHandle<Vec<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut terminal = Terminal::switched_on(profile(dialect, &listener), None).unwrap();
    if dialect == Dialect::UnionPay {
        terminal.load_keys(&octets(PIK), &octets(MAK), None).unwrap();
    }
    let host = Host { dialect, spec: Spec::builtin(dialect.name()).unwrap() };
    (terminal, tokio::spawn(host.serve(listener, script)))
}

pub(crate) fn profile(dialect: Dialect, listener: &TcpListener) -> TerminalProfile {
    let keys = match dialect {
        Dialect::UnionPay => InjectedKeys::Master(key(TMK)),
        Dialect::Edc | Dialect::Ascii => InjectedKeys::Static { tpk: key(PIK), tak: key(TAK) },
    };
    let address = listener.local_addr().unwrap();
    TerminalProfile {
        timeout: Duration::from_secs(10),
        clock: || jiff::civil::datetime(2026, 11, 23, 9, 30, 15, 0),
        ..TerminalProfile::new(dialect, "00000101", "898310058120001", address, keys)
    }
}
