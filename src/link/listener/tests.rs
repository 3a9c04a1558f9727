//! One connection over a pipe in memory under a paused clock, and the listener over sockets.

use super::super::{Sharing, bind, listen};
use super::*;
use crate::metrics::recorded;
use iso8583_spec::{FrameError, Framing};
use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::io::{DuplexStream, ReadBuf};
use tokio::task::LocalSet;

/// Answers each frame `times` times with its octets reversed; keeps the handle of a frame that
/// starts with `k` until it is told to let go.
struct Mirror {
    times: usize,
    frames: Cell<usize>,
    unreadable: Cell<usize>,
    kept: RefCell<Vec<Connection>>,
}

impl Mirror {
    fn new(times: usize) -> Rc<Self> {
        Rc::new(Self { times, frames: Cell::new(0), unreadable: Cell::new(0), kept: RefCell::default() })
    }
}

impl Handler for Mirror {
    fn frame(&self, connection: &Connection, body: bytes::Bytes) {
        self.frames.set(self.frames.get() + 1);
        if body.first() == Some(&b'k') {
            self.kept.borrow_mut().push(connection.clone());
            return;
        }
        if body.first() == Some(&b'c') {
            connection.close();
        }
        let back: Vec<u8> = body.iter().rev().copied().collect();
        for _ in 0..self.times {
            connection.send(&back);
        }
    }

    fn unreadable(&self, connection: &Connection, _: &FrameError) {
        self.unreadable.set(self.unreadable.get() + 1);
        assert_eq!(connection.count_bad_frame(), 1);
        assert_eq!(connection.bad_frames(), 1);
    }
}

const HALF_FRAME: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(120);

fn options(framing: Framing) -> Rc<ListenerOptions> {
    Rc::new(ListenerOptions {
        name: "test".into(),
        dialect: "edc",
        framing,
        max_frame: 4096,
        half_frame: HALF_FRAME,
        idle: IDLE,
        max_connections: 2,
        tls: None,
    })
}

fn door(framing: Framing, handler: &Rc<Mirror>) -> Rc<Door> {
    Rc::new(Door {
        options: options(framing),
        handler: Rc::clone(handler) as Rc<dyn Handler>,
        meter: TerminalMeter::new("edc"),
        shutdown: CancellationToken::new(),
    })
}

fn here() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

/// Runs a test on one thread. Time stands, and jumps when nothing else is left to do.
fn paused(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// Runs a test on one thread in real time.
fn real(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// Serves one end of a pipe; gives the other.
fn serve(door: &Rc<Door>, octets: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(octets);
    let door = Rc::clone(door);
    tokio::task::spawn_local(async move { door.serve(ours, here()).await });
    theirs
}

fn frame(framing: Framing, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    framing.encode(body, &mut out).unwrap();
    out
}

async fn expect(stream: &mut DuplexStream, want: &[u8]) {
    let mut got = vec![0; want.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, want);
}

/// The peer closed, and sent nothing before.
async fn expect_end<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn a_frame_split_at_every_octet_is_answered_once() {
    for framing in Framing::NAMED.iter().map(|(_, framing)| *framing) {
        let request = frame(framing, b"0123456789");
        for split in 0..=request.len() {
            let mirror = Mirror::new(1);
            paused(async {
                let mut terminal = serve(&door(framing, &mirror), 64);
                for part in [&request[..split], &request[split..]] {
                    terminal.write_all(part).await.unwrap();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                expect(&mut terminal, &frame(framing, b"9876543210")).await;
            });
            assert_eq!(mirror.frames.get(), 1, "{framing} at {split}");
        }
    }
}

#[test]
fn two_and_a_half_frames_in_one_segment_with_keep_alives_between() {
    for framing in Framing::NAMED.iter().map(|(_, framing)| *framing) {
        let mirror = Mirror::new(1);
        paused(async {
            let mut terminal = serve(&door(framing, &mirror), 4096);
            let last = frame(framing, b"last");
            let keep_alive = frame(framing, b"");
            let mut sent = [frame(framing, b"one"), keep_alive.clone(), frame(framing, b"two")].concat();
            sent.extend_from_slice(&last[..3]);
            terminal.write_all(&sent).await.unwrap();
            let want = [frame(framing, b"eno"), keep_alive.clone(), frame(framing, b"owt")].concat();
            expect(&mut terminal, &want).await;
            terminal.write_all(&last[3..]).await.unwrap();
            expect(&mut terminal, &frame(framing, b"tsal")).await;
        });
        assert_eq!(mirror.frames.get(), 3, "keep-alives are no frames");
    }
}

#[test]
fn a_stream_that_is_no_longer_frames_is_closed_and_counted() {
    let rows: [(Framing, &[u8], &str); 3] = [
        (Framing::LENGTH_2, b"\xFF\xFF", "oversize"),
        (Framing::ASCII_4, b"9999", "oversize"),
        (Framing::ASCII_4, b"12a4", "length"),
    ];
    for (framing, sent, reason) in rows {
        let mirror = Mirror::new(1);
        let figures = recorded(|| {
            paused(async {
                let mut terminal = serve(&door(framing, &mirror), 64);
                terminal.write_all(sent).await.unwrap();
                expect_end(&mut terminal).await;
            });
        });
        assert_eq!(mirror.unreadable.get(), 1);
        let refused = format!(r#"tollgate_frames_refused_total{{dialect="edc",reason="{reason}"}} 1"#);
        assert!(figures.contains(&refused), "{figures}");
        assert!(
            figures.contains(r#"tollgate_connections_closed_total{dialect="edc",reason="unreadable"} 1"#)
        );
        assert!(figures.contains(r#"tollgate_connections{dialect="edc"} 0"#));
    }
}

/// Sends each part after a pause; tells after how long the connection was closed.
async fn closed_after(terminal: &mut DuplexStream, parts: &[(u64, &[u8])]) -> Duration {
    let began = Instant::now();
    for (pause, part) in parts {
        tokio::time::sleep(Duration::from_secs(*pause)).await;
        terminal.write_all(part).await.unwrap();
    }
    let mut rest = Vec::new();
    terminal.read_to_end(&mut rest).await.unwrap();
    began.elapsed()
}

#[test]
fn silence_closes_a_connection() {
    type Parts = &'static [(u64, &'static [u8])];
    let rows: [(&str, Parts, u64, &str); 6] = [
        ("never a word", &[], 120, "idle"),
        ("a frame, then silence", &[(7, b"0001a")], 127, "idle"),
        ("a keep-alive counts", &[(100, b"0000")], 220, "idle"),
        ("half a frame", &[(5, b"0009a")], 15, "half-frame"),
        ("octets that drip", &[(5, b"0009a"), (4, b"b"), (4, b"c")], 15, "half-frame"),
        ("half a frame behind a whole one", &[(5, b"00"), (4, b"01a00")], 19, "half-frame"),
    ];
    for (name, parts, seconds, reason) in rows {
        let figures = recorded(|| {
            paused(async {
                let mut terminal = serve(&door(Framing::ASCII_4, &Mirror::new(1)), 64);
                let after = closed_after(&mut terminal, parts).await;
                let limit = Duration::from_secs(seconds);
                assert!(after >= limit && after < limit + Duration::from_millis(5), "{name}: {after:?}");
            });
        });
        let closed = format!(r#"tollgate_connections_closed_total{{dialect="edc",reason="{reason}"}} 1"#);
        assert!(figures.contains(&closed), "{name}: {figures}");
    }
}

#[test]
fn a_terminal_that_waits_for_its_answer_is_not_idle() {
    let mirror = Mirror::new(1);
    paused(async {
        let mut terminal = serve(&door(Framing::ASCII_4, &mirror), 64);
        terminal.write_all(b"0001k").await.unwrap();
        tokio::time::sleep(IDLE * 3).await;
        let kept = mirror.kept.borrow_mut().pop().unwrap();
        assert!(kept.is_open());
        kept.send(b"late");
        expect(&mut terminal, b"0004late").await;
    });
}

#[test]
fn there_is_a_limit_on_answers_not_taken() {
    let big = frame(Framing::ASCII_4, &[b'x'; 4000]);
    for (times, seconds) in [(1, 11), (20, 1)] {
        let figures = recorded(|| {
            paused(async {
                let began = Instant::now();
                let mut terminal = serve(&door(Framing::ASCII_4, &Mirror::new(times)), 64);
                terminal.write_all(&big).await.unwrap();
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                let mut rest = Vec::new();
                terminal.read_to_end(&mut rest).await.unwrap();
                assert!(rest.len() < 4004, "{times}");
                assert!(began.elapsed() < HALF_FRAME * 2, "{times}");
            });
        });
        assert!(figures.contains(r#"reason="not-taken"} 1"#), "{times}: {figures}");
    }
}

/// Counts writes.
struct Counting(DuplexStream, Rc<Cell<usize>>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.set(self.1.get() + 1);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn what_is_due_together_is_written_in_one_call() {
    paused(async {
        let writes = Rc::new(Cell::new(0));
        let (ours, mut terminal) = tokio::io::duplex(4096);
        let stream = Counting(ours, Rc::clone(&writes));
        let door = door(Framing::ASCII_4, &Mirror::new(5));
        tokio::task::spawn_local(async move { door.serve(stream, here()).await });
        terminal.write_all(b"0002ab0002ed").await.unwrap();
        expect(&mut terminal, &[b"0002ba".repeat(5), b"0002de".repeat(5)].concat()).await;
        assert_eq!(writes.get(), 1);
    });
}

#[test]
fn close_writes_what_is_queued_first() {
    paused(async {
        // The handler closes, then sends: what comes after the close is dropped.
        let mut terminal = serve(&door(Framing::ASCII_4, &Mirror::new(1)), 64);
        terminal.write_all(b"0001a0002cx").await.unwrap();
        let mut got = Vec::new();
        terminal.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"0001a");
    });
}

#[test]
fn payments_of_a_terminal_that_hung_up_are_finished() {
    let mirror = Mirror::new(1);
    paused(async {
        let mut terminal = serve(&door(Framing::ASCII_4, &mirror), 64);
        terminal.write_all(b"0001k").await.unwrap();
        terminal.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let kept = mirror.kept.borrow_mut().pop().unwrap();
        kept.send(b"done");
        drop(kept);
        let mut got = Vec::new();
        terminal.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"0004done");
    });
}

#[test]
fn there_is_a_limit_on_payments_under_way() {
    use super::super::connection::HANDLES_MAX;
    let mirror = Mirror::new(1);
    paused(async {
        let mut terminal = serve(&door(Framing::ASCII_4, &mirror), 64);
        let sent = b"0001k".repeat(3 * HANDLES_MAX);
        let sender = tokio::task::spawn_local(async move {
            terminal.write_all(&sent).await.unwrap();
            terminal
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let taken = mirror.frames.get();
        assert!((HANDLES_MAX..2 * HANDLES_MAX).contains(&taken), "{taken}");
        // Handles that come back let it go on.
        while mirror.frames.get() < 3 * HANDLES_MAX {
            drop(mirror.kept.take());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        drop(sender.await.unwrap());
    });
}

/// A listener on a free port; cancel the token to stop it.
async fn listening(mirror: &Rc<Mirror>) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    // At a loopback address that no other test has: a port that is free again there stays free.
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let host = Ipv4Addr::new(127, 0, 1, HOSTS.fetch_add(1, Ordering::Relaxed));
    let socket = bind((host, 0).into(), Sharing::Sole).unwrap();
    let listener = tokio::net::TcpListener::from_std(socket).unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let handler = Rc::clone(mirror) as Rc<dyn Handler>;
    let run = listen(listener, options(Framing::LENGTH_2), handler, shutdown.clone());
    (address, shutdown, tokio::task::spawn_local(run))
}

async fn ask(stream: &mut TcpStream, body: &[u8]) -> Vec<u8> {
    stream.write_all(&frame(Framing::LENGTH_2, body)).await.unwrap();
    let mut got = vec![0; body.len() + 2];
    stream.read_exact(&mut got).await.unwrap();
    got.split_off(2)
}

#[test]
fn there_is_a_limit_on_connections() {
    let figures = recorded(|| {
        real(async {
            let (address, _shutdown, _run) = listening(&Mirror::new(1)).await;
            let mut first = TcpStream::connect(address).await.unwrap();
            assert_eq!(ask(&mut first, b"ab").await, b"ba");
            let mut second = TcpStream::connect(address).await.unwrap();
            assert_eq!(ask(&mut second, b"de").await, b"ed");
            let mut third = TcpStream::connect(address).await.unwrap();
            expect_end(&mut third).await;
            assert_eq!(ask(&mut first, b"ef").await, b"fe");
            drop(second);
            // The place is free once the listener has seen the second one go.
            loop {
                let mut next = TcpStream::connect(address).await.unwrap();
                let mut got = [0; 4];
                let sent = next.write_all(b"\x00\x02gh").await;
                if sent.is_ok() && next.read_exact(&mut got).await.is_ok() {
                    assert_eq!(&got, b"\x00\x02hg");
                    break;
                }
            }
        });
    });
    assert!(
        figures.contains(r#"tollgate_connections_refused_total{dialect="edc",reason="limit"}"#),
        "{figures}"
    );
}

#[test]
fn a_listener_that_shuts_down_lets_payments_finish() {
    real(async {
        let mirror = Mirror::new(1);
        let (address, shutdown, run) = listening(&mirror).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut idle, b"ab").await, b"ba");
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"\x00\x01k").await.unwrap();
        while mirror.frames.get() < 2 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        expect_end(&mut idle).await;
        // A process that another test forks holds the socket until it is another program: what connects meanwhile is
        // reset then.
        if let Ok(mut late) = TcpStream::connect(address).await {
            assert_eq!(
                late.read(&mut [0]).await.map_err(|error| error.kind()),
                Err(io::ErrorKind::ConnectionReset)
            );
        }
        assert!(!run.is_finished());
        let kept = mirror.kept.borrow_mut().pop().unwrap();
        kept.send(b"done");
        drop(kept);
        let mut got = Vec::new();
        busy.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"\x00\x04done");
        run.await.unwrap();
    });
}

#[test]
fn workers_share_an_address_only_when_they_ask_to() {
    let first = bind(([127, 0, 0, 1], 0).into(), Sharing::AmongWorkers).unwrap();
    let address = first.local_addr().unwrap();
    assert!(bind(address, Sharing::AmongWorkers).is_ok());
    assert!(bind(address, Sharing::Sole).is_err());
}

/// In the child: the last descriptor goes to a client, so that accept fails; once there are more,
/// the client is served.
fn runs_out_of_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::fd::AsRawFd;
    real(async {
        let (address, _shutdown, run) = listening(&Mirror::new(1)).await;
        let client = tokio::net::TcpSocket::new_v4().unwrap();
        let free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        let before = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(u64::try_from(free).unwrap()), maximum: before.maximum };
        setrlimit(Resource::Nofile, few).unwrap();
        assert!(std::fs::File::open("/dev/null").is_err());
        let mut client = client.connect(address).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!run.is_finished(), "the listener never closes");
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(ask(&mut client, b"ab").await, b"ba");
        println!("served after all");
    });
}

#[test]
fn a_listener_that_runs_out_of_descriptors_goes_on() {
    const CHILD: &str = "TOLLGATE_TEST_NO_DESCRIPTORS";
    if std::env::var(CHILD).is_ok() {
        return runs_out_of_descriptors();
    }
    let name = "link::listener::serve::tests::a_listener_that_runs_out_of_descriptors_goes_on";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&run.stdout).contains("served after all"), "{run:?}");
}
