//! A whole authorization, from a request's octets to its answer's: one terminal connection with 64 sales in
//! flight, SQLite, and an issuer that approves, all on this thread.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iso8583_spec::{Encoder, Framing, Mti, Spec, View};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;
use tollgate::clock::{Clock, TxnIds};
use tollgate::dialect::Dialect;
use tollgate::flow::{FlowOptions, IssuerLinkDialect, Link, Numbers, Shared, Switch, TerminalFrames};
use tollgate::hsm::pin::block::{Pin, encode_iso0};
use tollgate::hsm::{DesKey, Lmk, MacAlgorithm, SoftHsm, Usage, mac, track};
use tollgate::link::{self, LinkOptions, LinkState, ListenerOptions, Sharing};
use tollgate::metrics::AnswerMeter;
use tollgate::store::{
    self, Issuer, Merchant, Op, Reference, Route, Store, StoreOptions, Terminal, WorkingKeys,
};
use tollgate::transaction::{Currency, Day, IssuerId, Mid, NodeId, Pan, TerminalDialect, Tid, Track2};

/// Sales in flight, each of its own terminal.
const IN_FLIGHT: u64 = 64;
/// Sales of a terminal in one batch.
const BATCH: u32 = 900;
const TPK: [u8; 16] = *b"\x2A\x1F\x4C\x76\x91\xB3\xD5\xE0\x84\x62\x8C\xA1\xC2\xE5\xF7\x08";
const TAK: [u8; 8] = *b"\x13\x57\x9B\xDF\x02\x46\x8A\xCE";
const TDK: [u8; 16] = *b"\x7C\x4A\x1F\x0D\x3B\x5E\x86\xA9\xD0\xE2\xF4\x75\x86\xB9\xCD\xA2";
const ZPK: [u8; 16] = *b"\x98\x51\x9E\x45\xCB\xB9\x29\x1F\x49\xEF\xAD\x4A\xFE\xFD\xDC\x79";
const MID: &str = "898310058120001";
const MAX_BODY: usize = 8192;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// What the terminals know.
struct Terminals {
    tak: DesKey,
    track: String,
    pin_block: [u8; 8],
    spec: &'static Spec,
    turn: u32,
}

impl Terminals {
    fn new() -> Fallible<Self> {
        let pan = Pan::parse("6225880012345675")?;
        let clear = Track2::parse("6225880012345675D30122010000012300")?;
        Ok(Self {
            tak: DesKey::new(&TAK)?,
            track: track::encrypt(&DesKey::new(&TDK)?, &clear)?,
            pin_block: DesKey::new(&TPK)?.encrypt(*encode_iso0(&Pin::parse("123456")?, &pan)),
            spec: Spec::builtin("unionpay-pos").ok_or("unionpay-pos")?,
            turn: 0,
        })
    }

    /// One sale of each terminal, framed.
    fn sales(&mut self) -> Fallible<Vec<u8>> {
        let (stan, batch) = (1 + self.turn % BATCH, 1 + self.turn / BATCH);
        self.turn += 1;
        let mut frames = Vec::new();
        for terminal in 0..IN_FLIGHT {
            let mut sale = Encoder::new(self.spec, Mti::new("0200").ok_or("0200")?);
            sale.tpdu(&[0x60, 0, 3, 0, 0])?;
            sale.header(&[0x60, 0x31, 0, 0x31, 0x10, 0])?;
            let tid = Tid::from_number(terminal);
            let fields: [(u8, &str); 10] = [
                (3, "000000"),
                (4, "000000010000"),
                (11, &format!("{stan:06}")),
                (22, "021"),
                (25, "00"),
                (26, "12"),
                (35, &self.track),
                (41, tid.as_str()),
                (42, MID),
                (49, "156"),
            ];
            fields.iter().try_for_each(|(de, text)| sale.text(*de, text))?;
            sale.bytes(52, &self.pin_block)?;
            sale.text(53, "2610000000000000")?;
            sale.text(60, &format!("22{batch:06}000500"))?;
            let mac = mac::mac(MacAlgorithm::UnionPayEcb, &self.tak, sale.mac_data(64)?)?;
            sale.mac(&mac)?;
            self.spec.framing().encode(&sale.finish()?, &mut frames)?;
        }
        Ok(frames)
    }
}

/// Approves whatever comes, one burst after the other.
async fn issuer(listener: TcpListener) -> Fallible<()> {
    let spec = Spec::builtin("iso87-ascii").ok_or("iso87-ascii")?;
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    while stream.read_buf(&mut input).await? > 0 {
        let (mut answers, mut start) = (Vec::new(), 0);
        while let Some(frame) = Framing::ASCII_4.decode(input.get(start..).unwrap_or_default(), MAX_BODY)? {
            let body = input.get(start..).and_then(|rest| rest.get(frame.body)).unwrap_or_default();
            let request = View::decode(spec, body)?;
            let mut answer = Encoder::new(spec, request.mti().response());
            for de in [7, 11, 32] {
                answer.text(de, &request.text(de).ok_or("a field of the key")?)?;
            }
            answer.text(38, "123456")?;
            answer.text(39, "00")?;
            Framing::ASCII_4.encode(&answer.finish()?, &mut answers)?;
            start += frame.consumed;
        }
        input.drain(..start);
        stream.write_all(&answers).await?;
    }
    Ok(())
}

/// Keys, a merchant, its terminals and an issuer, in a new store.
fn furnish(hsm: &SoftHsm, backend: &mut dyn store::Backend) -> Fallible<()> {
    let block = |usage, clear: &[u8]| hsm.import_clear(usage, clear).map(|(block, _)| block);
    let static_keys = WorkingKeys {
        generation: 1,
        tpk: block(Usage::Tpk, &TPK)?.as_str().to_owned(),
        tak: block(Usage::Tak, &TAK)?.as_str().to_owned(),
        tdk: Some(block(Usage::Tdk, &TDK)?.as_str().to_owned()),
    };
    let mid = Mid::new(MID)?;
    let merchant = Merchant {
        mid,
        name: "Harbour Tea House".into(),
        city: "Shanghai".into(),
        country: "CN".into(),
        mcc: "5812".into(),
        fee_basis_points: "60".into(),
        active: true,
    };
    let id = IssuerId::new("BANKA")?;
    let zpk = Some(block(Usage::Zpk, &ZPK)?.as_str().to_owned());
    let mut references = vec![
        Reference::Merchant(merchant),
        Reference::Issuer(Issuer { id, acquirer_code: "48310000".into(), zpk, zak: None, zmk: None }),
        Reference::Route(Route { prefix: "622588".into(), pan_min: 12, pan_max: 19, issuer: id }),
    ];
    references.extend((0..IN_FLIGHT).map(|terminal| {
        Reference::Terminal(Terminal {
            tid: Tid::from_number(terminal),
            mid,
            dialect: TerminalDialect::UnionPayPos,
            currency: Currency::CNY,
            tmk: None,
            static_keys: Some(static_keys.clone()),
            active: true,
        })
    }));
    for reference in references {
        store::commit_one(backend, Op::Put(Box::new(reference)))?;
    }
    Ok(())
}

/// A link to the issuer, once it is up.
async fn linked(at: SocketAddr, clock: &Clock) -> Fallible<Link> {
    let options = LinkOptions {
        name: "BANKA".into(),
        address: at.to_string(),
        framing: Framing::ASCII_4,
        max_frame: MAX_BODY,
        max_in_flight: 1000,
        sign_on: false,
        connect: Duration::from_secs(5),
        echo_after: Duration::ZERO,
        echo_misses: 3,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(1),
        jitter_seed: 1,
        tls: None,
    };
    let spec = Spec::builtin("iso87-ascii").ok_or("iso87-ascii")?;
    let dialect = Rc::new(IssuerLinkDialect::new(spec, clock.clone()));
    let (client, _late) = link::start(options, dialect, (1, 999_999));
    client.watch().wait_for(|state| *state == LinkState::Up).await?;
    Ok(Link::new(IssuerId::new("BANKA")?, client, Duration::from_secs(15)))
}

/// A switch with one connection to it.
async fn open(folder: &std::path::Path) -> Fallible<TcpStream> {
    let clock = Clock::system(0).ok_or("the clock")?;
    let hsm = SoftHsm::new(&Lmk::from_bytes([0x41; 32]))?;
    let url = format!("sqlite:{}", folder.join("bench.db").display());
    let options = StoreOptions { url, first_day: Day(clock.today()), ca_file: None };
    let (mut backend, mut reader) = store::open(&options)?;
    furnish(&hsm, &mut *backend)?;
    let issuers = TcpListener::bind("127.0.0.1:0").await?;
    let at = issuers.local_addr()?;
    spawn_local(async move {
        // It ends with the link.
        let _ = issuer(issuers).await;
    });
    let link = linked(at, &clock).await?;
    let switch = Rc::new(Switch {
        options: FlowOptions {
            node: NodeId(1),
            acquirer: "48310000".into(),
            completion_ceiling_percent: 115,
            settle_wait: Duration::from_secs(3),
            mac_failures_force_sign_on: 3,
            key_limits: tollgate::flow::KeyLimits::default(),
        },
        clock,
        hsm: Arc::new(hsm),
        store: Store::inline(backend),
        shared: Arc::new(Shared::new(&reader.directory()?)),
        numbers: Numbers::new(Arc::new(TxnIds::new(1))),
        links: HashMap::from([(link.issuer, link)]),
        in_flight: RefCell::default(),
        answers: AnswerMeter::default(),
    });
    let listener = link::bind("127.0.0.1:0".parse()?, Sharing::Sole)?;
    let at = listener.local_addr()?;
    let options = ListenerOptions {
        name: "pos".into(),
        dialect: "unionpay-pos",
        framing: Framing::LENGTH_2,
        max_frame: MAX_BODY,
        half_frame: Duration::from_secs(30),
        idle: Duration::from_secs(300),
        max_connections: 1,
        tls: None,
    };
    let handler = TerminalFrames { switch, dialect: Dialect::of(TerminalDialect::UnionPayPos) };
    let listener = TcpListener::from_std(listener)?;
    spawn_local(link::listen(listener, Rc::new(options), Rc::new(handler), CancellationToken::new()));
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends the sales and reads as many approvals.
async fn exchange(stream: &mut TcpStream, spec: &Spec, sales: &[u8]) -> Fallible<()> {
    stream.write_all(sales).await?;
    let (mut input, mut start, mut left) = (Vec::with_capacity(16 * 1024), 0, IN_FLIGHT);
    while left > 0 {
        if stream.read_buf(&mut input).await? == 0 {
            return Err("the switch hung up".into());
        }
        while let Some(frame) = spec.framing().decode(input.get(start..).unwrap_or_default(), MAX_BODY)? {
            let body = input.get(start..).and_then(|rest| rest.get(frame.body)).unwrap_or_default();
            if View::decode(spec, body)?.raw(39) != Some(b"00") {
                return Err("a sale was not approved".into());
            }
            start += frame.consumed;
            left -= 1;
        }
    }
    Ok(())
}

fn authorize(criterion: &mut Criterion) -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let mut terminals = Terminals::new()?;
    let spec = terminals.spec;
    let mut stream = local.block_on(&runtime, open(folder.path()))?;
    let mut group = criterion.benchmark_group("flow");
    group.throughput(Throughput::Elements(IN_FLIGHT));
    let mut failure = None;
    group.bench_function("authorize/64_in_flight", |bench| {
        bench.iter_batched(
            || terminals.sales().unwrap_or_default(),
            |sales| {
                let done = local.block_on(&runtime, exchange(&mut stream, spec, &sales));
                failure = failure.take().or(done.err());
            },
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
    failure.map_or(Ok(()), Err)
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = authorize(criterion) {
        unreachable!("the bench's own parts: {error}");
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
