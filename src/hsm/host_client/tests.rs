//! The client against devices that behave in every way that a socket can, and against the host commands of this room.

use super::message::Command;
use super::pool::Pool;
use super::{Dial, Dialing, Host, HostClient, Hosts, Stream, form_for_device};
use crate::hsm::host_command::{HostHsm, Permit};
use crate::hsm::key_block::{Header, PAD, Protection, Version};
use crate::hsm::lmk::DataKey;
use crate::hsm::{
    DesKey, Forward, Hsm as _, HsmError, Key, KeyBlock, KeyDefect, KeyLength, KeyUse, Lmk, MacAlgorithm,
    MacCheck, MacKey, Open, Tak, TerminalKeys, Tmk, Usage, Zmk, read_working_keys,
};
use crate::transaction::{KeyForm, Pan, ZoneUse};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How a connection behaves. Diagnostics are always answered, unless it is said how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Every command is answered.
    Well,
    /// So many commands are gathered and answered from the last to the first.
    Backwards(usize),
    /// No command is answered.
    Silent,
    /// Commands are answered after so many milliseconds.
    After(u64),
    /// The answer bears a header that no command had.
    OtherHeader,
    /// The answer bears no number at all.
    NoHeader,
    /// The answer is another command's.
    OtherLetters,
    /// Code 41 to every command.
    Fails,
    /// The stream ends at the first command.
    Closes,
    /// The stream ends in the middle of an answer.
    ClosesInside,
    /// Diagnostics are answered with this code.
    Unwell(&'static str),
    /// As many diagnostics as this are well.
    WellFor(usize),
    /// It cannot be connected to.
    Refuses,
}

/// A device: how its connections behave one after the other, the last manner for all that follow.
struct Device {
    manners: Mutex<VecDeque<Manner>>,
    header: usize,
    dialed: AtomicUsize,
    /// Dies when it is told to: connections end, none is made.
    dead: tokio::sync::watch::Sender<bool>,
}

impl Device {
    fn new(manners: &[Manner]) -> Arc<Self> {
        Self::with_header(4, manners)
    }

    fn with_header(header: usize, manners: &[Manner]) -> Arc<Self> {
        let (dead, _) = tokio::sync::watch::channel(false);
        let manners = Mutex::new(manners.iter().copied().collect());
        Arc::new(Self { manners, header, dialed: AtomicUsize::new(0), dead })
    }

    fn next(&self) -> Manner {
        let mut manners = self.manners.lock().unwrap();
        if manners.len() > 1 { manners.pop_front().unwrap() } else { manners[0] }
    }
}

impl Dial for Device {
    fn dial(&self) -> Dialing<'_> {
        let manner = self.next();
        self.dialed.fetch_add(1, Ordering::Relaxed);
        let mut dead = self.dead.subscribe();
        let header = self.header;
        Box::pin(async move {
            if manner == Manner::Refuses || *dead.borrow() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                tokio::select! {
                    _ = attend(theirs, manner, header) => {}
                    _ = dead.wait_for(|dead| *dead) => {}
                }
            });
            Ok(Box::new(ours) as Stream)
        })
    }
}

async fn send(stream: &mut DuplexStream, parts: &[&[u8]]) -> io::Result<()> {
    let message = parts.concat();
    stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).await?;
    stream.write_all(&message).await
}

/// Answers `NC`, and echoes `B2`, in a manner.
async fn attend(mut stream: DuplexStream, manner: Manner, header: usize) -> io::Result<()> {
    let (mut gathered, mut diagnostics) = (Vec::new(), 0);
    loop {
        let mut command = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut command).await?;
        let (number, command) = command.split_at(header);
        if command == b"NC" {
            diagnostics += 1;
            let code = if let Manner::Unwell(code) = manner {
                code
            } else if matches!(manner, Manner::WellFor(count) if diagnostics > count) {
                "41"
            } else {
                "00"
            };
            send(&mut stream, &[number, b"ND", code.as_bytes(), b"0123456789ABCDEFtest"]).await?;
            continue;
        }
        let data = &command[6..];
        match manner {
            Manner::Silent | Manner::Refuses | Manner::Unwell(_) => {}
            Manner::Well | Manner::WellFor(_) => send(&mut stream, &[number, b"B300", data]).await?,
            Manner::Backwards(count) => {
                gathered.push((number.to_vec(), data.to_vec()));
                if gathered.len() == count {
                    while let Some((number, data)) = gathered.pop() {
                        send(&mut stream, &[&number, b"B300", &data]).await?;
                    }
                }
            }
            Manner::After(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                send(&mut stream, &[number, b"B300", data]).await?;
            }
            Manner::OtherHeader => send(&mut stream, &["F".repeat(header).as_bytes(), b"B300", data]).await?,
            Manner::NoHeader => send(&mut stream, &[b"?"]).await?,
            Manner::Fails => send(&mut stream, &[number, b"B341"]).await?,
            Manner::OtherLetters => send(&mut stream, &[number, b"M700", data]).await?,
            Manner::Closes => return Ok(()),
            Manner::ClosesInside => {
                stream.write_all(&[0, 60, b'0']).await?;
                return Ok(());
            }
        }
    }
}

const COMMAND: Duration = Duration::from_millis(1000);

fn host(device: &Arc<Device>) -> Host {
    Host {
        name: "device".into(),
        dial: Arc::clone(device) as Arc<dyn Dial>,
        connections: 1,
        header: device.header,
        connect: Duration::from_secs(2),
        command: COMMAND,
        health: Duration::from_secs(5),
        max_in_flight: 64,
    }
}

fn pool(devices: &[&Arc<Device>]) -> Pool {
    Pool::start(devices.iter().map(|device| host(device)).collect())
}

/// Has a device echo a number.
async fn echo(pool: &Pool, number: usize) -> Result<(), HsmError> {
    let text = format!("{number:08}");
    let mut answer = pool.ask(Command::new(*b"B2", None).counted(text.as_bytes())?).await?;
    assert_eq!(answer.text(8)?, text, "another command's answer");
    answer.end()
}

const NONE: HsmError = HsmError::Failure("no HSM is connected");
const SILENT: HsmError = HsmError::Failure("the HSM does not answer");
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn answers_out_of_order_find_their_commands() {
    for header in [4, 5, 16] {
        let device = Device::with_header(header, &[Manner::Backwards(50)]);
        let pool = Arc::new(pool(&[&device]));
        assert!(pool.ready(LONG).await);
        let mut asking = JoinSet::new();
        for number in 0..50 {
            let pool = Arc::clone(&pool);
            asking.spawn(async move { echo(&pool, number).await });
        }
        for done in asking.join_all().await {
            assert_eq!(done, Ok(()), "header of {header}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_asked_once_more_elsewhere() {
    use Manner::*;
    let zero = Duration::ZERO;
    // How the first device behaves, and after how long the second one's answer is there.
    let rows = [
        (Well, zero),
        (Silent, COMMAND),
        (After(3000), COMMAND),
        (After(900), Duration::from_millis(900)),
        (Fails, zero),
        (OtherHeader, zero),
        (NoHeader, zero),
        (OtherLetters, zero),
        (Closes, zero),
        (ClosesInside, zero),
    ];
    for (manner, expected) in rows {
        let (first, second) = (Device::new(&[manner]), Device::new(&[Well]));
        let pool = pool(&[&first, &second]);
        let mut up = pool.watch();
        up.wait_for(|count| *count == 2).await.unwrap();
        let begin = Instant::now();
        // The first is asked at first: nobody has anything to do, and it is its turn.
        assert_eq!(echo(&pool, 7).await, Ok(()), "{manner:?}");
        let took = begin.elapsed();
        assert!(took >= expected && took < expected + Duration::from_millis(10), "{manner:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_another_the_error_comes_in_time() {
    use Manner::*;
    let rows = [
        (Silent, NONE, COMMAND),
        (After(5000), NONE, COMMAND),
        (OtherHeader, NONE, Duration::ZERO),
        (Closes, NONE, Duration::ZERO),
    ];
    for (manner, error, expected) in rows {
        let device = Device::new(&[manner, Well]);
        let pool = pool(&[&device]);
        assert!(pool.ready(LONG).await);
        let begin = Instant::now();
        assert_eq!(echo(&pool, 1).await, Err(error), "{manner:?}");
        let took = begin.elapsed();
        assert!(took >= expected && took < expected + Duration::from_millis(10), "{manner:?}: {took:?}");
        // It comes back by itself, and well.
        assert!(pool.ready(LONG).await, "{manner:?}");
        assert_eq!(echo(&pool, 2).await, Ok(()), "{manner:?}");
        assert_eq!(device.dialed.load(Ordering::Relaxed), 2);
    }
    // One that fails itself, alone or beside another such.
    let failing = [Device::new(&[Fails]), Device::new(&[Fails])];
    for devices in [&[&failing[0]][..], &[&failing[0], &failing[1]]] {
        let pool = pool(devices);
        pool.watch().wait_for(|count| *count == devices.len()).await.unwrap();
        assert_eq!(echo(&pool, 1).await, Err(HsmError::Failure("the HSM says that it fails")));
    }
    // Two devices that are both silent: each gets its time, and no third is asked.
    let devices = [Device::new(&[Silent]), Device::new(&[Silent])];
    let pool = pool(&[&devices[0], &devices[1]]);
    pool.watch().wait_for(|count| *count == 2).await.unwrap();
    let begin = Instant::now();
    assert_eq!(echo(&pool, 1).await, Err(SILENT));
    assert!(begin.elapsed() >= 2 * COMMAND && begin.elapsed() < 2 * COMMAND + Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_well_is_out_until_it_answers_again() {
    use Manner::*;
    // Connections that do not come up; the pauses between them double.
    let device = Device::new(&[Refuses, Unwell("41"), Unwell("13"), Well]);
    let pool = pool(&[&device]);
    assert_eq!(echo(&pool, 0).await, Err(NONE));
    let begin = Instant::now();
    assert!(!pool.ready(Duration::from_millis(650)).await);
    assert!(pool.ready(LONG).await);
    assert!(begin.elapsed() >= Duration::from_millis(700) && begin.elapsed() < Duration::from_millis(750));
    assert_eq!(device.dialed.load(Ordering::Relaxed), 4);
    assert_eq!(echo(&pool, 1).await, Ok(()));

    // One that falls ill is found out by the next diagnostics, while nobody asks.
    let device = Device::new(&[WellFor(3), Refuses, Well]);
    let pool = self::pool(&[&device]);
    assert!(pool.ready(LONG).await);
    let begin = Instant::now();
    pool.watch().wait_for(|count| *count == 0).await.unwrap();
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(15) && took < Duration::from_millis(15_050), "{took:?}");
    assert_eq!(echo(&pool, 1).await, Err(NONE));
    assert!(pool.ready(LONG).await);
    assert_eq!(echo(&pool, 2).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn more_than_may_be_in_flight_is_refused_at_once() {
    let device = Device::new(&[Manner::After(200)]);
    let pool = Arc::new(Pool::start(vec![Host { max_in_flight: 3, ..host(&device) }]));
    assert!(pool.ready(LONG).await);
    let mut asking = JoinSet::new();
    for number in 0..3 {
        let pool = Arc::clone(&pool);
        asking.spawn(async move { echo(&pool, number).await });
    }
    tokio::task::yield_now().await;
    let begin = Instant::now();
    let refused = echo(&pool, 9).await;
    assert_eq!(refused, Err(HsmError::Failure("too many commands are in flight")));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(asking.join_all().await, vec![Ok(()); 3]);
    // The places are free again; who does not wait any more gives his back when the answer comes.
    for number in 0..3 {
        let gone = tokio::time::timeout(Duration::from_millis(1), echo(&pool, number)).await;
        assert!(gone.is_err());
    }
    assert!(echo(&pool, 9).await.is_err());
    let freed = async {
        while echo(&pool, 10).await.is_err() {
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(COMMAND, freed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_one_of_two_devices_dies() {
    let (first, second) = (Device::new(&[Manner::Well]), Device::new(&[Manner::Well]));
    let hosts = [&first, &second].map(|device| Host { connections: 2, ..host(device) });
    let pool = Arc::new(Pool::start(hosts.to_vec()));
    pool.watch().wait_for(|count| *count == 4).await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for asker in 0..16 {
        let (pool, done, first) = (Arc::clone(&pool), Arc::clone(&done), Arc::clone(&first));
        asking.spawn(async move {
            for number in 0..500 {
                echo(&pool, asker * 1000 + number).await?;
                if done.fetch_add(1, Ordering::Relaxed) == 3000 {
                    first.dead.send_replace(true);
                }
            }
            Ok::<_, HsmError>(())
        });
    }
    assert_eq!(asking.join_all().await, vec![Ok(()); 16]);
    assert_eq!(*pool.watch().borrow(), 2);
    // It comes back.
    first.dead.send_replace(false);
    pool.watch().wait_for(|count| *count == 4).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connections_end_with_the_pool() {
    let device = Device::new(&[Manner::Well]);
    let pool = pool(&[&device]);
    assert!(pool.ready(LONG).await);
    let ended = device.dead.clone();
    assert_eq!(ended.receiver_count(), 1);
    drop(pool);
    tokio::time::timeout(LONG, ended.closed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_commands_than_headers_are_told_apart() {
    let device = Device::new(&[Manner::Well]);
    let pool = pool(&[&device]);
    assert!(pool.ready(LONG).await);
    for number in 0..66_000 {
        assert_eq!(echo(&pool, number).await, Ok(()), "{number}");
    }
    assert_eq!(device.dialed.load(Ordering::Relaxed), 1);
}

/// A device of this room, under the public test LMKs.
struct Served(Arc<HostHsm>);

impl Dial for Served {
    fn dial(&self) -> Dialing<'_> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let hsm = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                let mut command = vec![0; usize::from(theirs.read_u16().await?)];
                theirs.read_exact(&mut command).await?;
                let answer = hsm.answer(&command).unwrap();
                send(&mut theirs, &[&answer]).await?;
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        });
        Box::pin(async { Ok(Box::new(ours) as Stream) })
    }
}

/// A client of a device under the test LMKs, that names the one for key blocks.
async fn client() -> HostClient {
    let hsm = HostHsm::with_test_keys(4).unwrap().with_permits(&[Permit::X917Export]);
    client_of(hsm, Some(1)).await
}

async fn client_of(hsm: HostHsm, lmk: Option<u8>) -> HostClient {
    let device = Arc::new(Served(Arc::new(hsm)));
    let host = Host { dial: device, ..host(&Device::new(&[Manner::Well])) };
    let hosts = Hosts { lmk, hosts: vec![host] };
    let client = HostClient::start(&DataKey::derived(&Lmk::from_bytes([0x41; 32])), hosts).unwrap();
    assert!(client.ready(LONG).await);
    client
}

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// A key of this clear value, as the device's console forms it.
fn formed(usage: Usage, clear: &str) -> KeyBlock {
    formed_under(None, usage, clear)
}

fn formed_under(data: Option<&DataKey>, usage: Usage, clear: &str) -> KeyBlock {
    let clear = octets(clear);
    let mask = vec![0x5A; clear.len()];
    let other: Vec<u8> = clear.iter().zip(&mask).map(|(octet, mask)| octet ^ mask).collect();
    form_for_device(data, usage, &[Zeroizing::new(mask), Zeroizing::new(other)]).unwrap().0
}

fn key<U: KeyUse>(clear: &str) -> Key<U> {
    Key::of(formed(U::USAGE, clear))
}

const TMK: &str = "0123456789ABCDEFFEDCBA9876543210";
const TPK: &str = "2A1F4C7691B3D5E084628CA1C2E5F708";
const TAK: &str = "13579BDF02468ACE";
const TDK: &str = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2";
const ZPK: &str = "98519E45CBB9291F49EFAD4AFEFDDC79";
const TRACK: &str = "6225880012345675D30122010000012300";
const TRACK_SENT: &str = "6225880012345675AA5A7881CAF9ED9A00";
/// The golden sale from MTI to DE 63, and its DE 64.
const SALE: &str = "0200302004C020C0981100000000000001000000000702100012346225880012345675AA5A\
    7881CAF9ED9A003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B9261000000000\
    00000014220000010005004441443644393837";

#[tokio::test(start_paused = true)]
async fn the_golden_sale_walks_through() {
    let client = client().await;
    let sale = octets(SALE);
    let (data, mac) = sale.split_at(sale.len() - 8);
    let generation = |number, tak: &str| TerminalKeys {
        generation: number,
        tpk: Some(key(TPK)),
        tak: key(tak),
        tdk: Some(key(TDK)),
    };
    let keys = [generation(2, "C24A8FB57AA20123"), generation(1, TAK)];
    let check = MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data, mac };
    let open = |keys, mac| Open { keys, mac, pan: None, track2: Some(TRACK_SENT), track_encrypted: true };
    let opened = client.open(open(&keys, Some(check))).await.unwrap();
    assert_eq!((opened.matched, opened.track2.unwrap().text()), (1, TRACK));
    let card = opened.pan.unwrap();
    assert_eq!(client.unseal(&opened.sealed.unwrap()).await.unwrap(), card);
    let missed = client.open(open(&keys[..1], Some(check))).await;
    assert_eq!(missed.err(), Some(HsmError::MacMismatch));
    let altered = TRACK_SENT.replace("AA5A", "AA5B");
    let open = Open { track2: Some(&altered), ..open(&keys, None) };
    assert_eq!(client.open(open).await.err(), Some(HsmError::Track));

    let (tpk, zpk) = (key(TPK), key(ZPK));
    let block: [u8; 8] = octets("605CAB8CE0D1A2B9").try_into().unwrap();
    let forward = |with_pan, block| Forward { block, with_pan, tpk: &tpk, zpk: &zpk, pan: &card };
    let translated = client.forward(forward(true, block)).await.unwrap();
    assert_eq!(DesKey::new(&octets(ZPK)).unwrap().decrypt(translated).to_vec(), octets("06126CD6FEDCBA98"));
    assert_eq!(client.forward(forward(true, [0; 8])).await, Err(HsmError::PinBlock));
    assert_eq!(client.forward(forward(false, block)).await, Err(HsmError::PinTranslation));
    let reference = Zeroizing::new("123456".to_owned());
    let verified = client.verify_pin(&zpk, translated, &card, &reference).await;
    assert!(matches!(verified, Err(HsmError::Input(_))));
}

#[tokio::test(start_paused = true)]
async fn macs_are_those_of_the_software_hsm() {
    use MacAlgorithm::{UnionPayEcb, X99, X919};
    let client = client().await;
    let double = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2";
    let long = "0200".repeat(4000);
    for (algorithm, clear) in [(UnionPayEcb, TAK), (X99, TAK), (X919, double)] {
        let tak: Key<Tak> = key(clear);
        for data in ["", "0", "0200AB", "Now is the time for all ", &long] {
            let data = data.as_bytes();
            let mac = client.mac(MacKey::Terminal(&tak), algorithm, data).await.unwrap();
            let expected = crate::hsm::mac::mac(algorithm, &DesKey::new(&octets(clear)).unwrap(), data);
            assert_eq!(Ok(mac), expected, "{algorithm:?}");
            let verify = |mac| MacCheck { algorithm, data, mac };
            let key = MacKey::Terminal(&tak);
            assert_eq!(client.verify_mac(key, verify(&mac)).await, Ok(()), "{algorithm:?}");
            for bit in [0, 7, 31, 63] {
                let mut other = mac;
                other[bit / 8] ^= 1 << (bit % 8);
                let found = client.verify_mac(key, MacCheck { algorithm, data, mac: &other }).await;
                assert_eq!(found, Err(HsmError::MacMismatch), "{algorithm:?} {bit}");
            }
            let short = client.verify_mac(key, verify(&mac[..7])).await;
            assert_eq!(short, Err(HsmError::MacMismatch));
        }
    }
    // Lower-case digits are another MAC, as they are to the software HSM.
    let tak: Key<Tak> = key(TAK);
    let mac = client.mac(MacKey::Terminal(&tak), UnionPayEcb, b"0200").await.unwrap();
    let lower = mac.to_ascii_lowercase();
    assert_ne!(lower, mac);
    let check = MacCheck { algorithm: UnionPayEcb, data: b"0200", mac: &lower };
    let found = client.verify_mac(MacKey::Terminal(&tak), check).await;
    assert_eq!(found, Err(HsmError::MacMismatch));
    let found = client.mac(MacKey::Terminal(&tak), X919, b"0200").await;
    assert_eq!(found, Err(HsmError::KeyUsage), "a key of algorithm 1");
    let found = client.mac(MacKey::Terminal(&tak), X99, &[0; 40_000]).await;
    assert_eq!(found, Err(HsmError::Input("longer than a host command may be")));
}

#[tokio::test(start_paused = true)]
async fn a_terminal_reads_the_keys_that_the_device_issues() {
    let client = client().await;
    let tmk: Key<Tmk> = key(TMK);
    let clear = DesKey::new(&octets(TMK)).unwrap();
    for form in [KeyForm::Single, KeyForm::Double, KeyForm::DoubleWithTrack] {
        let issued = client.issue_keys(&tmk, form).await.unwrap();
        let terminal = read_working_keys(&clear, form, &issued.wire).unwrap();
        // What the terminal MACs, the device verifies under its own block of the key.
        let mac = crate::hsm::mac::mac(MacAlgorithm::UnionPayEcb, &terminal.tak, b"0200").unwrap();
        let check = MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data: b"0200", mac: &mac };
        assert_eq!(client.verify_mac(MacKey::Terminal(&issued.tak), check).await, Ok(()), "{form:?}");
        for (block, key) in [(issued.tpk.block(), &terminal.tpk), (issued.tak.block(), &terminal.tak)] {
            assert_eq!(client.check_value_of(block).await, Ok(hex::encode_upper(key.check_value())));
        }
        assert_eq!(issued.tdk.is_some(), terminal.tdk.is_some());
        if let (Some(tdk), Some(key)) = (issued.tdk, terminal.tdk) {
            assert_eq!(client.check_value_of(tdk.block()).await, Ok(hex::encode_upper(key.check_value())));
        }
        let again = client.issue_keys(&tmk, form).await.unwrap();
        assert_ne!(again.wire, issued.wire);
    }
    assert!(matches!(client.issue_keys(&tmk, KeyForm::None).await.err(), Some(HsmError::Input(_))));
    // A PIN under a single-length key is refused, as by the software HSM.
    let issued = client.issue_keys(&tmk, KeyForm::Single).await.unwrap();
    let pan = Pan::parse("6225880012345675").unwrap();
    let forward = Forward { block: [0; 8], with_pan: true, tpk: &issued.tpk, zpk: &key(ZPK), pan: &pan };
    assert_eq!(client.forward(forward).await, Err(HsmError::Key(KeyDefect::Length)));
}

#[tokio::test(start_paused = true)]
async fn keys_are_generated_and_checked_by_the_device() {
    let client = client().await;
    for (usage, length) in [
        (Usage::Tmk, KeyLength::Double),
        (Usage::Zmk, KeyLength::Double),
        (Usage::Bdk, KeyLength::Double),
        (Usage::Tpk, KeyLength::Triple),
        (Usage::Zpk, KeyLength::Double),
        (Usage::Tdk, KeyLength::Double),
        (Usage::Tak, KeyLength::Single),
        (Usage::Zak, KeyLength::Double),
    ] {
        let (block, kcv) = client.generate(usage, length).await.unwrap();
        assert_eq!(client.check(usage, &block, &kcv.to_lowercase()).await, Ok(kcv), "{usage:?}");
    }
    let short = client.generate(Usage::Zpk, KeyLength::Single).await;
    assert_eq!(short.err(), Some(HsmError::Key(KeyDefect::Length)));
    let zpk = formed(Usage::Zpk, ZPK);
    let mut altered = zpk.as_str().to_owned();
    altered.replace_range(40..41, if &altered[40..41] == "0" { "1" } else { "0" });
    let rows = [
        (Usage::Zpk, zpk.clone(), "4FE9FD", Ok("4FE9FD".to_owned())),
        (Usage::Zpk, zpk.clone(), "4FE9FE", Err(HsmError::Key(KeyDefect::CheckValue))),
        (Usage::Tpk, zpk.clone(), "4FE9FD", Err(HsmError::KeyUsage)),
        (Usage::Zpk, KeyBlock::new(altered), "4FE9FD", Err(HsmError::KeyBlock)),
        (Usage::Zpk, KeyBlock::new(&zpk.as_str()[1..]), "4FE9FD", Err(HsmError::KeyBlockForm)),
    ];
    for (usage, block, kcv, expected) in rows {
        assert_eq!(client.check(usage, &block, kcv).await, expected, "{usage:?} {kcv}");
    }
}

const ZMK: &str = "642C7904A4D5C238CD6E7A9D76D36449";

/// A key block under a ZMK as the other side would make it: seven characters of header, key.
fn sent(zmk: &str, fields: &str, key: &str) -> String {
    let [u0, u1, algorithm, mode, v0, v1, exportability] = *fields.as_bytes() else { panic!("{fields}") };
    let header = Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability };
    let protection = Protection::new(Version::B, &octets(zmk)).unwrap();
    protection.wrap(&header.into(), &octets(key), 24, &[0xA5; PAD]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn zone_keys_are_made_and_taken_by_the_device() {
    let client = client().await;
    let zmk: Key<Zmk> = key(ZMK);
    for (of, head) in [(ZoneUse::Zpk, "B0080P0TB00N0000"), (ZoneUse::Zak, "B0080M3TC00N0000")] {
        let made = client.make_zone_key(&zmk, of).await.unwrap();
        assert_eq!(&made.sent[..16], head);
        let (_, clear) = Protection::new(Version::B, &octets(ZMK)).unwrap().unwrap(&made.sent).unwrap();
        assert_eq!((clear.len(), DesKey::new(&clear).unwrap().kcv()), (16, made.kcv.clone()), "{of:?}");
        let (taken, kcv) = client.take_zone_key(&zmk, of, &made.sent).await.unwrap();
        assert_eq!(kcv, made.kcv);
        for block in [&made.block, &taken] {
            assert_eq!(&client.check_value_of(block).await.unwrap()[..6], kcv);
        }
        assert_ne!(client.make_zone_key(&zmk, of).await.unwrap().kcv, kcv, "a new key each time");
        // Both serve.
        if of == ZoneUse::Zak {
            for block in [made.block, taken] {
                let zak = Key::of(block);
                assert!(client.mac(MacKey::Zone(&zak), MacAlgorithm::X919, b"0800").await.is_ok());
            }
        } else {
            let pan = Pan::parse("6225880012345675").unwrap();
            let tpk = key(TPK);
            for block in [made.block, taken] {
                let zpk = Key::of(block);
                let block = octets("605CAB8CE0D1A2B9").try_into().unwrap();
                let forward = Forward { block, with_pan: true, tpk: &tpk, zpk: &zpk, pan: &pan };
                let there = client.forward(forward).await.unwrap();
                let expected = octets("06126CD6FEDCBA98");
                let clear = Protection::new(Version::B, &octets(ZMK)).unwrap().unwrap(&made.sent).unwrap().1;
                assert_eq!(DesKey::new(&clear).unwrap().decrypt(there).to_vec(), expected);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_zone_key_is_refused_and_the_device_tells_why() {
    use ZoneUse::{Zak, Zpk};
    let client = client().await;
    let zmk: Key<Zmk> = key(ZMK);
    let single = "0123456789ABCDEF";
    let weak = "0101010101010101FEDCBA9876543210";
    let defect = |defect| Err(HsmError::Key(defect));
    let good = sent(ZMK, "P0TB00N", ZPK);
    let (front, last) = good.split_at(good.len() - 1);
    let altered = format!("{front}{}", if last == "0" { "1" } else { "0" });
    let rows = [
        ("PIN key", Zpk, good.clone(), Ok("4FE9FD")),
        ("PIN key that encrypts", Zpk, sent(ZMK, "P0TE00E", ZPK), Ok("4FE9FD")),
        ("PIN key of no restriction", Zpk, sent(ZMK, "P0TN00N", ZPK), Ok("4FE9FD")),
        ("MAC key", Zak, sent(ZMK, "M3TC00N", ZPK), Ok("4FE9FD")),
        ("PIN key that decrypts", Zpk, sent(ZMK, "P0TD00N", ZPK), Err(HsmError::KeyMode)),
        ("MAC key that makes", Zak, sent(ZMK, "M3TG00N", ZPK), Err(HsmError::KeyMode)),
        ("PIN key for MACs", Zak, good.clone(), Err(HsmError::KeyUsage)),
        ("MAC key for PINs", Zpk, sent(ZMK, "M3TC00N", ZPK), Err(HsmError::KeyUsage)),
        ("MAC key of algorithm 1", Zak, sent(ZMK, "M1TC00N", ZPK), Err(HsmError::KeyUsage)),
        ("component", Zpk, sent(ZMK, "P0TBc1N", ZPK), Err(HsmError::KeyUsage)),
        ("single", Zpk, sent(ZMK, "P0DB00N", single), defect(KeyDefect::Length)),
        ("single called triple", Zak, sent(ZMK, "M3TC00N", single), defect(KeyDefect::Length)),
        ("even parity", Zpk, sent(ZMK, "P0TB00N", &ZPK.replace("98", "99")), defect(KeyDefect::Parity)),
        ("weak half", Zpk, sent(ZMK, "P0TB00N", weak), defect(KeyDefect::Parity)),
        ("equal halves", Zak, sent(ZMK, "M3TC00N", &single.repeat(2)), defect(KeyDefect::Repeats)),
        ("under another ZMK", Zpk, sent(TMK, "P0TB00N", ZPK), Err(HsmError::KeyBlock)),
        ("altered", Zpk, altered, Err(HsmError::KeyBlock)),
        ("cut", Zpk, front.to_owned(), Err(HsmError::KeyBlockForm)),
        ("nothing", Zpk, String::new(), Err(HsmError::KeyBlockForm)),
        ("another command's fields", Zpk, format!("{good}S%01"), Err(HsmError::KeyBlockForm)),
        ("no letter", Zpk, good.replacen('B', "0", 1), Err(HsmError::KeyBlockForm)),
    ];
    for (name, of, sent, expected) in rows {
        let found = client.take_zone_key(&zmk, of, &sent).await.map(|(_, kcv)| kcv);
        assert_eq!(found, expected.map(str::to_owned), "{name}");
    }
    // What is no ZMK sends and takes nothing.
    let tmk = Key::of(formed(Usage::Tmk, ZMK));
    assert_eq!(client.make_zone_key(&tmk, Zpk).await.err(), Some(HsmError::KeyUsage));
    assert_eq!(client.take_zone_key(&tmk, Zpk, &good).await.err(), Some(HsmError::KeyUsage));
}

/// A device under an LMK file's data keys.
#[tokio::test(start_paused = true)]
async fn an_lmk_of_its_own_serves_as_the_test_keys_do() {
    let [own, other] = [0x41, 0x42].map(|octet| DataKey::derived(&Lmk::from_bytes([octet; 32])));
    let client = client_of(HostHsm::with_data_key(4, &own).unwrap(), None).await;
    let key = |data, usage, clear| formed_under(Some(data), usage, clear);
    let (tpk, zmk) = (Key::of(key(&own, Usage::Tpk, TPK)), Key::of(key(&own, Usage::Zmk, ZMK)));
    let made = client.make_zone_key(&zmk, ZoneUse::Zpk).await.unwrap();
    let pan = Pan::parse("6225880012345675").unwrap();
    let block = octets("605CAB8CE0D1A2B9").try_into().unwrap();
    let zpk = Key::of(made.block);
    let forward = Forward { block, with_pan: true, tpk: &tpk, zpk: &zpk, pan: &pan };
    let there = client.forward(forward).await.unwrap();
    let (_, clear) = Protection::new(Version::B, &octets(ZMK)).unwrap().unwrap(&made.sent).unwrap();
    let clear = DesKey::new(&clear).unwrap().decrypt(there).to_vec();
    assert_eq!(clear, octets("06126CD6FEDCBA98"));
    assert_eq!(client.kcv(zpk.block()).await, Ok(made.kcv));
    // Keys of others, and of the public LMKs, are strangers here, and so is the number of the latter.
    let rows = [(key(&other, Usage::Tpk, TPK), HsmError::KeyBlock), (formed(Usage::Tpk, TPK), NO_LMK)];
    for (block, expected) in rows {
        assert_eq!(client.kcv(&block).await.err(), Some(expected));
    }
    let numbered = client_of(HostHsm::with_data_key(4, &own).unwrap(), Some(1)).await;
    assert_eq!(numbered.generate(Usage::Zpk, KeyLength::Double).await.err(), Some(NO_LMK));
}

const NO_LMK: HsmError = HsmError::Failure("the HSM has no such LMK");

impl HostClient {
    async fn check_value_of(&self, block: &KeyBlock) -> Result<String, HsmError> {
        self.check_value(block).await.map(hex::encode_upper)
    }
}
