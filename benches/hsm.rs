//! What the software HSM costs a payment: the rounds of DES, MACs, a PIN translation, and the whole first verb.

use ::des::Des;
use ::des::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tollgate::hsm::cipher::Padding;
use tollgate::hsm::dukpt::tdes::{BaseDerivationKey, KeySerialNumber, Variant, ZeroCounter};
use tollgate::hsm::host_command::HostHsm;
use tollgate::hsm::host_command::server::{self, Limits, Server};
use tollgate::hsm::pin::block::{AccountField, PinFormat};
use tollgate::hsm::pin::policy::{self, Account, PinKey, Recipient, Side};
use tollgate::hsm::{
    DesKey, Forward, Hsm, HsmError, Key, KeyLength, Lmk, MacAlgorithm, MacCheck, MacKey, Open, SoftHsm,
    TerminalKeys, Usage, Verb, mac, track,
};
use tollgate::transaction::{KeyForm, Pan, Track2};

/// The golden sale from MTI to DE 63, under other keys than here: its length is what counts.
const SALE: &str = "0200302004C020C0981100000000000001000000000702100012346225880012345675AA5A7881CAF9ED9A\
    003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000001422000001000500";
const TMK: [u8; 16] = *b"\x01\x23\x45\x67\x89\xAB\xCD\xEF\xFE\xDC\xBA\x98\x76\x54\x32\x10";
const TDK: [u8; 16] = *b"\x7C\x4A\x1F\x0D\x3B\x5E\x86\xA9\xD0\xE2\xF4\x75\x86\xB9\xCD\xA2";

/// The software HSM never waits.
fn now<T>(mut verb: Verb<'_, T>) -> Result<T, HsmError> {
    match verb.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(HsmError::Failure("the verb waits")),
    }
}

fn macs(criterion: &mut Criterion) -> Result<(), HsmError> {
    let sale = hex::decode(SALE).map_err(|_| HsmError::Failure("the sale is not hexadecimal"))?;
    let single = DesKey::new(b"\x13\x57\x9B\xDF\x02\x46\x8A\xCE")?;
    let expected = mac::mac(MacAlgorithm::UnionPayEcb, &single, &sale)?;
    let check = MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data: &sale, mac: &expected };
    mac::verify(&single, check)?;
    criterion.bench_function("hsm/mac_verify/unionpay_ecb_sale", |bench| {
        bench.iter(|| mac::verify(&single, black_box(check)));
    });

    let double = DesKey::new(&TMK)?;
    let data = [0x30; 200];
    criterion.bench_function("hsm/mac/x919_200_octets", |bench| {
        bench.iter(|| mac::mac(MacAlgorithm::X919, &double, black_box(&data)));
    });
    Ok(())
}

/// The rounds themselves, beside crate `des`: a retail MAC of 250 octets by each, and by ours for 64 at once.
fn rounds(criterion: &mut Criterion) -> Result<(), HsmError> {
    let data = [0x30; 250];
    let ours = DesKey::new(&TMK)?;
    let (left, right) = TMK.split_at(8);
    let [left, right] = [left, right].map(|half| Des::new_from_slice(half).ok());
    let (Some(left), Some(right)) = (left, right) else { return Err(HsmError::Failure("crate des")) };
    let theirs = |data: &[u8]| {
        let mut chain = Block::<Des>::default();
        for block in data.chunks(8) {
            chain.iter_mut().zip(block).for_each(|(octet, other)| *octet ^= other);
            left.encrypt_block(&mut chain);
        }
        right.decrypt_block(&mut chain);
        left.encrypt_block(&mut chain);
        <[u8; 8]>::from(chain)
    };
    assert_eq!(mac::algorithm3(&ours, Padding::Method1, &data)?, theirs(&data));
    let mut group = criterion.benchmark_group("hsm/retail_mac_250_octets");
    group.bench_function("one", |bench| {
        bench.iter(|| mac::algorithm3(&ours, Padding::Method1, black_box(&data)));
    });
    group.bench_function("crate_des", |bench| bench.iter(|| theirs(black_box(&data))));
    let keys = (0..64).map(|lane: u8| DesKey::new(&TMK.map(|octet| octet ^ (2 * lane))));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let messages: Vec<_> = keys.iter().map(|key| (key, data.as_slice())).collect();
    group.bench_function("sixty_four", |bench| {
        bench.iter(|| mac::algorithm3_of_many(black_box(&messages), Padding::Method1));
    });
    group.finish();
    Ok(())
}

/// What a payment asks of the HSM: check a MAC of 200 octets (X9.19), translate a PIN block, MAC the reply; beside the
/// same 60 DES operations by themselves: 25 blocks and two more for each MAC, three for each side of the PIN block.
fn payment(criterion: &mut Criterion) -> Result<(), HsmError> {
    let hsm = SoftHsm::new(&Lmk::from_bytes([0x41; 32]))?;
    let pan = Pan::parse("6225880012345675").map_err(|_| HsmError::Track)?;
    let tak = Key::of(hsm.import_clear(Usage::Tak, &TMK)?.0);
    let tpk = Key::of(hsm.import_clear(Usage::Tpk, &TDK)?.0);
    let zpk = Key::of(hsm.generate(Usage::Zpk, KeyLength::Double)?.0);
    let pin = tollgate::hsm::pin::block::Pin::parse("123456")?;
    let block = DesKey::new(&TDK)?.encrypt(*tollgate::hsm::pin::block::encode_iso0(&pin, &pan));
    let (data, algorithm) = ([0x30; 200], MacAlgorithm::X919);
    let expected = mac::mac(algorithm, &DesKey::new(&TMK)?, &data)?;
    let step = || -> Result<[u8; 8], HsmError> {
        now(hsm.verify_mac(
            MacKey::Terminal(&tak),
            MacCheck { algorithm, data: black_box(&data), mac: &expected },
        ))?;
        let forward = Forward { block: black_box(block), with_pan: true, tpk: &tpk, zpk: &zpk, pan: &pan };
        now(hsm.forward(forward))?;
        now(hsm.mac(MacKey::Terminal(&tak), algorithm, black_box(&data)))
    };
    step()?;
    let single = DesKey::new(&TMK[..8])?;
    let mut group = criterion.benchmark_group("hsm/payment");
    group.bench_function("mac_pin_mac", |bench| bench.iter(step));
    group.bench_function("its_des_operations", |bench| {
        bench.iter(|| (0..60).fold(black_box([0; 8]), |chain, _| single.encrypt(chain)));
    });
    group.finish();
    Ok(())
}

fn verbs(criterion: &mut Criterion) -> Result<(), HsmError> {
    let hsm = SoftHsm::new(&Lmk::from_bytes([0x41; 32]))?;
    let pan = Pan::parse("6225880012345675").map_err(|_| HsmError::Track)?;
    let tmk = Key::of(hsm.import_clear(Usage::Tmk, &TMK)?.0);
    let zpk = Key::of(hsm.generate(Usage::Zpk, KeyLength::Double)?.0);
    let tdk = Key::of(hsm.import_clear(Usage::Tdk, &TDK)?.0);
    let issued = now(hsm.issue_keys(&tmk, KeyForm::Double))?;

    let terminal = tollgate::hsm::read_working_keys(&DesKey::new(&TMK)?, KeyForm::Double, &issued.wire)?;
    let pin = tollgate::hsm::pin::block::Pin::parse("123456")?;
    let block = terminal.tpk.encrypt(*tollgate::hsm::pin::block::encode_iso0(&pin, &pan));
    let forward = || Forward { block, with_pan: true, tpk: &issued.tpk, zpk: &zpk, pan: &pan };
    now(hsm.forward(forward()))?;
    criterion.bench_function("hsm/pin_translate/tpk_to_zpk", |bench| {
        bench.iter(|| now(hsm.forward(black_box(forward()))));
    });

    let sale = hex::decode(SALE).map_err(|_| HsmError::Failure("the sale is not hexadecimal"))?;
    let expected = mac::mac(MacAlgorithm::UnionPayEcb, &terminal.tak, &sale)?;
    let clear = Track2::parse("6225880012345675D30122010000012300").map_err(|_| HsmError::Track)?;
    let track2 = track::encrypt(&DesKey::new(&TDK)?, &clear)?;
    let keys =
        [TerminalKeys { generation: 1, tpk: Some(issued.tpk.clone()), tak: issued.tak, tdk: Some(tdk) }];
    let check = MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data: &sale, mac: &expected };
    let open =
        || Open { keys: &keys, mac: Some(check), pan: None, track2: Some(&track2), track_encrypted: true };
    now(hsm.open(open()))?;
    criterion.bench_function("hsm/open/mac_track_seal", |bench| {
        bench.iter(|| now(hsm.open(black_box(open()))));
    });
    Ok(())
}

/// A PIN block from a DUKPT terminal to a zone, the schedules of BDK and ZPK at hand; beside the bare operations of
/// DES that it is made of. The counter has four ones: six blocks make the initial key, two each of four derivations,
/// three and three decrypt and encrypt the PIN block; two key set-ups each for the initial key, the three keys
/// between and the PIN key.
fn dukpt(criterion: &mut Criterion) -> Result<(), HsmError> {
    const BDK: [u8; 16] = *b"\x01\x23\x45\x67\x89\xAB\xCD\xEF\xFE\xDC\xBA\x98\x76\x54\x32\x10";
    let (bdk, zpk) = (BaseDerivationKey::new(&BDK)?, DesKey::new(&TDK)?);
    let ksn = KeySerialNumber::parse("FFFF9876543210E0003A")?;
    let account = AccountField::parse("401234567890")?;
    fn side(key: &DesKey, account: AccountField) -> Side<'_> {
        Side { key: PinKey::Tdea(key), format: PinFormat::Iso0, account: Account::Field(account) }
    }
    let pin_key = |ksn| -> Result<DesKey, HsmError> {
        let initial = bdk.initial_key(ksn)?;
        initial.transaction_key(ksn, ZeroCounter::Refused)?.des_key(Variant::Pin)
    };
    let pin = tollgate::hsm::pin::block::Pin::parse("1234")?;
    let block = side(&pin_key(ksn)?, account).seal(&pin, [0; 8])?;
    let step = || {
        let key = pin_key(black_box(ksn))?;
        policy::translate(
            black_box(block.as_slice()),
            &side(&key, account),
            &side(&zpk, account),
            Recipient::Host,
            [0; 8],
        )
    };
    let expected = side(&zpk, account).seal(&pin, [0; 8])?;
    assert_eq!(step()?.block.as_slice(), expected.as_slice());
    let mut group = criterion.benchmark_group("hsm/dukpt_pin_translate");
    group.bench_function("bdk_to_zpk", |bench| bench.iter(step));
    let single = DesKey::new(&TMK[..8])?;
    group.bench_function("its_des_operations", |bench| {
        bench.iter(|| {
            let mut chain = black_box([0x13; 8]);
            for _ in 0..10 {
                let key = DesKey::new(black_box(&chain))?;
                chain = single.encrypt(key.encrypt(chain));
            }
            Ok::<_, HsmError>(chain)
        });
    });
    group.finish();
    Ok(())
}

/// A client that keeps so many commands under way on one connection, and looks at every answer: header, command and
/// code, in the order of the commands.
struct Pipeline {
    socket: TcpStream,
    /// A command with its length and a header of 4 characters.
    command: Vec<u8>,
    /// Octets of an answer with its length.
    answer: usize,
    sent: u32,
    answered: u32,
    input: Vec<u8>,
}

impl Pipeline {
    fn send(&mut self, count: u32) -> io::Result<()> {
        let mut output = Vec::with_capacity(self.command.len() * count as usize);
        for number in self.sent..self.sent + count {
            let at = output.len() + 2;
            output.extend_from_slice(&self.command);
            output[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        self.sent += count;
        self.socket.write_all(&output)
    }

    /// Takes what answers are there, one at least.
    fn take(&mut self) -> io::Result<u32> {
        let mut chunk = [0; 16 * 1024];
        let before = self.answered;
        while self.answered == before {
            let read = self.socket.read(&mut chunk)?;
            assert!(read > 0, "the server closed the connection");
            self.input.extend_from_slice(&chunk[..read]);
            let whole = self.input.len() / self.answer * self.answer;
            for answer in self.input[..whole].chunks(self.answer) {
                assert_eq!(answer[2..6], self.answered.to_be_bytes());
                assert_eq!(&answer[6..10], b"CB00");
                self.answered += 1;
            }
            self.input.drain(..whole);
        }
        Ok(self.answered - before)
    }

    /// How long so many commands take.
    fn run(&mut self, count: u32, depth: u32) -> io::Result<Duration> {
        let begin = Instant::now();
        let first = self.answered;
        self.send(depth.min(count))?;
        while self.answered - first < count {
            let taken = self.take()?;
            self.send(taken.min(count - (self.sent - first)))?;
        }
        Ok(begin.elapsed())
    }
}

/// The server on a thread of its own and a client on this one: `CA` over one connection.
fn host_commands(criterion: &mut Criterion) -> io::Result<()> {
    let command = "CAS0007271TN00E00019BAD23B0CEF79E33328CA0568A0E186FC17E8DE738AAF9FB67C6E1FF\
        S00072P0TB00E0001EA421618B34F5FA1A77F7CF6480111B97CF0FAE7BD77D589EC921EF9\
        12E57BC634D47179070101600000000000%01";
    let hsm = Arc::new(HostHsm::with_test_keys(4).map_err(io::Error::other)?);
    let server = Server { hsm, limits: Limits::default(), threads: NonZeroUsize::MIN, tls: None };
    let listener = server::bind(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = std::thread::spawn({
        let stop = stop.clone();
        move || server::serve(&server, listener, &stop)
    });
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let length = u16::try_from(4 + command.len()).map_err(io::Error::other)?;
    let command = [&length.to_be_bytes(), b"0000".as_slice(), command.as_bytes()].concat();
    let answer = 2 + b"0000CB0006FC99D994F1D3D3B801".len();
    let mut client = Pipeline { socket, command, answer, sent: 0, answered: 0, input: Vec::new() };
    let mut group = criterion.benchmark_group("host_command");
    group.throughput(Throughput::Elements(1));
    for depth in [64, 256] {
        let name = BenchmarkId::new("CA over one pipelined loopback connection", depth);
        group.bench_function(name, |bench| {
            bench.iter_custom(|count| {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                client.run(count, depth).unwrap_or_else(|error| unreachable!("{error}"))
            });
        });
    }
    group.finish();
    stop.cancel();
    serving.join().unwrap_or_else(|_| Err(io::Error::other("the server panicked")))
}

fn all(criterion: &mut Criterion) {
    let done = rounds(criterion)
        .and_then(|()| macs(criterion))
        .and_then(|()| payment(criterion))
        .and_then(|()| dukpt(criterion))
        .and_then(|()| verbs(criterion));
    host_commands(criterion).unwrap_or_else(|error| unreachable!("the server: {error}"));
    assert_eq!(done, Ok(()), "the benches' own data");
}

criterion_group!(benches, all);
criterion_main!(benches);
