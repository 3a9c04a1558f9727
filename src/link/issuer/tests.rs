//! A link against an issuer that the test plays: over a pipe in memory under a paused clock, and
//! over sockets where it must connect again.
//!
//! The toy dialect: a letter, six digits of trace number, any octets. `S` `F` `E` are sign-on,
//! sign-off and echo, `Q` is a request; their answers bear the small letter. `x` is a sign-on's
//! refusal. `1`, `2`, `3` are the issuer's own sign-on, sign-off and echo, answered with `!`; `4` needs time.

use super::super::{LinkClient, LinkError, LinkOptions, PeerRequest, start};
use super::*;
use crate::metrics::recorded;
use iso8583_spec::Framing;
use std::cell::Cell;
use std::pin::Pin;
use tokio::io::{DuplexStream, ReadBuf};
use tokio::task::{JoinHandle, LocalSet};

struct Toy;

fn message(letter: char, stan: u32) -> Vec<u8> {
    format!("{letter}{stan:06}").into_bytes()
}

impl LinkDialect for Toy {
    fn sign_on(&self, stan: u32) -> Vec<u8> {
        message('S', stan)
    }
    fn sign_off(&self, stan: u32) -> Vec<u8> {
        message('F', stan)
    }
    fn echo(&self, stan: u32) -> Vec<u8> {
        message('E', stan)
    }
    fn network_key(&self, stan: u32) -> Option<Key> {
        Key::new(stan, &["network"])
    }
    fn key_of(&self, body: &[u8]) -> Option<Key> {
        let stan = std::str::from_utf8(body.get(1..7)?).ok()?.parse().ok()?;
        match body.first()? {
            b'q' => Key::new(stan, &["payment"]),
            b's' | b'f' | b'e' | b'x' => Key::new(stan, &["network"]),
            _ => None,
        }
    }
    fn is_accepted(&self, body: &[u8]) -> bool {
        body.first() == Some(&b's')
    }
    fn answer_peer(&self, body: &[u8]) -> Option<PeerRequest> {
        let verb = match body.first()? {
            b'1' => PeerVerb::SignOn,
            b'2' => PeerVerb::SignOff,
            b'3' => PeerVerb::Other,
            b'4' => PeerVerb::HandOn,
            _ => return None,
        };
        Some(PeerRequest { verb, answer: b"!".to_vec() })
    }
}

fn key(stan: u32) -> Key {
    Key::new(stan, &["payment"]).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);
const ECHO_AFTER: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(5);

fn options() -> LinkOptions {
    LinkOptions {
        name: "BANK".into(),
        address: "127.0.0.1:1".into(),
        framing: Framing::ASCII_4,
        max_frame: 8192,
        max_in_flight: 1000,
        sign_on: true,
        connect: ANSWER,
        echo_after: ECHO_AFTER,
        echo_misses: 3,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(8),
        jitter_seed: 7,
        tls: None,
    }
}

/// One connection of a link, and the issuer's end of it.
struct Line {
    client: LinkClient,
    late: mpsc::Receiver<Late>,
    issuer: DuplexStream,
    inbox: BytesMut,
    broken: JoinHandle<Broken>,
    writes: Rc<Cell<usize>>,
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

impl Line {
    /// A link that has just connected over a pipe of so many octets each way.
    fn open(options: LinkOptions, octets: usize) -> Self {
        let client = LinkClient::new(options, (1, 2000));
        let (sender, late) = mpsc::channel(super::super::LATE_MAX);
        let (ours, issuer) = tokio::io::duplex(octets);
        let writes = Rc::new(Cell::new(0));
        let stream = Counting(ours, Rc::clone(&writes));
        let shared = Rc::clone(&client.0);
        let broken = tokio::task::spawn_local(async move {
            let mut backoff = Backoff::new(&shared);
            let broken = Session::new(&shared, &Toy, &sender, &mut backoff).run(stream).await;
            goes_down(&shared);
            broken
        });
        Self { client, late, issuer, inbox: BytesMut::new(), broken, writes }
    }

    /// As [`Line::open`], signed on.
    async fn up(options: LinkOptions, octets: usize) -> Self {
        let mut line = Self::open(options, octets);
        assert_eq!(line.next().await, "S000001");
        assert_eq!(line.client.state(), LinkState::SigningOn);
        line.say("s000001").await;
        line.until(LinkState::Up).await;
        line
    }

    async fn until(&self, state: LinkState) {
        self.client.watch().wait_for(|s| *s == state).await.unwrap();
    }

    /// The next frame that the issuer gets.
    async fn next(&mut self) -> String {
        let codec = FrameCodec::new(Framing::ASCII_4, 8192);
        loop {
            if let Some(body) = codec.next(&mut self.inbox).unwrap() {
                return String::from_utf8(body.to_vec()).unwrap();
            }
            assert!(self.issuer.read_buf(&mut self.inbox).await.unwrap() > 0, "the link closed");
        }
    }

    async fn say(&mut self, body: &str) {
        let frame = format!("{:04}{body}", body.len());
        self.issuer.write_all(frame.as_bytes()).await.unwrap();
    }

    /// Puts a request on its way; it is queued at once.
    fn request(&self, stan: u32, within: Duration) -> JoinHandle<Result<Bytes, LinkError>> {
        let answer = self.client.request(key(stan), message('Q', stan), Instant::now() + within);
        tokio::task::spawn_local(answer)
    }
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

#[test]
fn a_link_is_up_only_when_its_sign_on_is_accepted() {
    paused(async {
        let mut line = Line::open(options(), 64);
        assert_eq!(line.next().await, "S000001");
        assert_eq!(line.request(9, SECOND).await.unwrap(), Err(LinkError::Down));
        line.say("x000001").await;
        assert_eq!(line.broken.await.unwrap(), Broken::Refused);

        let mut line = Line::open(options(), 64);
        assert_eq!(line.next().await, "S000001");
        let began = Instant::now();
        assert_eq!(line.broken.await.unwrap(), Broken::SignOn);
        assert!(began.elapsed() >= ANSWER);

        let line = Line::open(LinkOptions { sign_on: false, ..options() }, 64);
        line.until(LinkState::Up).await;
    });
}

#[test]
fn a_thousand_requests_answered_in_reverse_order_get_each_its_own() {
    let figures = recorded(|| {
        paused(async {
            let mut line = Line::up(options(), 1 << 20).await;
            line.writes.set(0);
            let stans: Vec<u32> = (0..1000).map(|_| line.client.next_stan().unwrap()).collect();
            let requests: Vec<_> = stans.iter().map(|stan| line.request(*stan, ANSWER)).collect();
            assert_eq!(line.client.in_flight(), 1000);
            assert_eq!(line.request(5000, ANSWER).await.unwrap(), Err(LinkError::Full));
            for stan in &stans {
                assert_eq!(line.next().await, format!("Q{stan:06}"));
            }
            assert_eq!(line.writes.get(), 1, "what is due together leaves in one write");
            for stan in stans.iter().rev() {
                line.say(&format!("q{stan:06} for {stan}")).await;
            }
            for (stan, request) in stans.iter().zip(requests) {
                let answer = request.await.unwrap().unwrap();
                assert_eq!(answer, format!("q{stan:06} for {stan}").as_bytes());
            }
            assert_eq!(line.client.in_flight(), 0);
        });
    });
    assert!(figures.contains(r#"tollgate_issuer_outcomes_total{issuer="BANK",outcome="reply"} 1000"#));
    assert!(figures.contains(r#"tollgate_issuer_outcomes_total{issuer="BANK",outcome="shed"} 1"#));
    assert!(figures.contains(r#"tollgate_issuer_in_flight{issuer="BANK"} 0"#));
}

#[test]
fn a_late_answer_is_told_once_and_given_to_nobody() {
    let figures = recorded(|| {
        paused(async {
            let mut line = Line::up(options(), 4096).await;
            let began = Instant::now();
            let request = line.request(7, 15 * SECOND);
            assert_eq!(line.next().await, "Q000007");
            assert_eq!(request.await.unwrap(), Err(LinkError::TimedOut));
            assert!(began.elapsed() >= 15 * SECOND && began.elapsed() < 16 * SECOND);
            assert_eq!(line.client.in_flight(), 0);
            line.say("q000007 late").await;
            let late = line.late.recv().await.unwrap();
            assert_eq!((late.key, &late.body[..]), (key(7), &b"q000007 late"[..]));
            // A second copy, an answer to nothing, and one that cannot be read.
            line.say("q000007 late").await;
            line.say("q000008").await;
            line.say("?").await;
            line.say("3").await;
            assert_eq!(line.next().await, "!");
            assert!(line.late.try_recv().is_err());
            assert!(line.client.is_up());
        });
    });
    for (outcome, count) in [("timeout", 1), ("late", 1), ("unmatched", 2), ("malformed", 1), ("reply", 0)] {
        let want = format!(r#"tollgate_issuer_outcomes_total{{issuer="BANK",outcome="{outcome}"}} {count}"#);
        assert!(figures.contains(&want), "{want}\n{figures}");
    }
}

#[test]
fn a_duplicate_answer_is_ignored_and_counted() {
    let figures = recorded(|| {
        paused(async {
            let mut line = Line::up(options(), 4096).await;
            let first = line.request(7, ANSWER);
            let second = line.request(8, ANSWER);
            assert_eq!((line.next().await, line.next().await), ("Q000007".into(), "Q000008".into()));
            line.say("q000007a").await;
            line.say("q000007b").await;
            line.say("q000008").await;
            assert_eq!(first.await.unwrap().unwrap(), &b"q000007a"[..]);
            assert_eq!(second.await.unwrap().unwrap(), &b"q000008"[..]);
            assert!(line.late.try_recv().is_err());
        });
    });
    assert!(figures.contains(r#"outcome="unmatched"} 1"#), "{figures}");
    assert!(figures.contains(r#"outcome="reply"} 2"#), "{figures}");
}

#[test]
fn what_was_written_is_lost_and_what_was_not_is_not_sent() {
    // A pipe of 16 octets: the first write is stuck half way, the second request still queued.
    paused(async {
        let line = Line::up(options(), 16).await;
        let written = [line.request(7, 60 * SECOND), line.request(8, 60 * SECOND)];
        tokio::time::sleep(SECOND).await;
        let queued = line.request(9, 60 * SECOND);
        let short = line.request(10, SECOND);
        assert_eq!(short.await.unwrap(), Err(LinkError::NotSent), "time ran out in the queue");
        assert_eq!(line.client.in_flight(), 3);
        drop(line.issuer);
        for request in written {
            assert_eq!(request.await.unwrap(), Err(LinkError::Lost));
        }
        assert_eq!(queued.await.unwrap(), Err(LinkError::NotSent));
        assert!(matches!(line.broken.await.unwrap(), Broken::Socket | Broken::Peer));
        assert_eq!(line.client.state(), LinkState::Down);
        assert_eq!(line.client.in_flight(), 0);
        let after = line.client.request(key(11), message('Q', 11), Instant::now() + SECOND);
        assert_eq!(after.await, Err(LinkError::Down));
    });
}

#[test]
fn a_key_that_waits_is_refused_and_one_that_expired_may_wait_again() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        let first = line.request(7, ANSWER);
        assert_eq!(line.request(7, ANSWER).await.unwrap(), Err(LinkError::KeyInUse));
        assert_eq!(line.next().await, "Q000007");
        assert_eq!(first.await.unwrap(), Err(LinkError::TimedOut));
        let repeat = line.request(7, ANSWER);
        assert_eq!(line.next().await, "Q000007");
        line.say("q000007").await;
        assert_eq!(repeat.await.unwrap().unwrap(), &b"q000007"[..]);
        assert!(line.late.try_recv().is_err());
    });
}

#[test]
fn a_request_whose_future_is_dropped_counts_as_expired() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        let unpolled = line.client.request(key(6), message('Q', 6), Instant::now() + ANSWER);
        drop(unpolled);
        assert_eq!(line.client.in_flight(), 0);
        let request = line.request(7, ANSWER);
        assert_eq!(line.next().await, "Q000007", "the one before was never handed over");
        request.abort();
        assert!(request.await.is_err());
        line.say("q000007").await;
        assert_eq!(line.late.recv().await.unwrap().key, key(7));
    });
}

#[test]
fn trace_numbers_pass_over_those_in_use() {
    paused(async {
        let mut line = Line::up(LinkOptions { max_in_flight: 3, ..options() }, 4096).await;
        assert_eq!(line.client.numbers_left(), 1999, "the sign-on took one");
        let waiting = line.request(3, 10 * ANSWER);
        let expired = line.request(5, ANSWER);
        assert_eq!((line.next().await, line.next().await), ("Q000003".into(), "Q000005".into()));
        assert_eq!(expired.await.unwrap(), Err(LinkError::TimedOut));
        let next: Vec<u32> = (0..4).map(|_| line.client.next_stan().unwrap()).collect();
        assert_eq!(next, [2, 4, 6, 7]);
        for _ in 0..line.client.numbers_left() {
            line.client.next_stan().unwrap();
        }
        assert!(line.client.next_stan().is_err());
        // A cycle later: what expired was passed over once, what waits is passed over still.
        line.client.add_numbers(999_999, 7);
        let next: Vec<u32> = std::iter::from_fn(|| line.client.next_stan().ok()).collect();
        assert_eq!(next, [999_999, 1, 2, 4, 5, 6]);
        line.say("q000003").await;
        assert!(waiting.await.unwrap().is_ok());
    });
}

#[test]
fn silence_brings_an_echo_and_three_misses_an_end() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        let began = Instant::now();
        assert_eq!(line.next().await, "E000002");
        assert!(began.elapsed() >= ECHO_AFTER && began.elapsed() < ECHO_AFTER + SECOND);
        line.say("e000002").await;
        // An answer of any kind is a sign of life: the next echo is due 30 s after it.
        tokio::time::sleep(20 * SECOND).await;
        line.say("3").await;
        assert_eq!(line.next().await, "!");
        let began = Instant::now();
        for stan in 3..6 {
            assert_eq!(line.next().await, format!("E{stan:06}"));
            assert!(line.client.is_up());
        }
        assert_eq!(line.broken.await.unwrap(), Broken::Silent);
        let elapsed = began.elapsed();
        let limit = ECHO_AFTER + 3 * ANSWER;
        assert!(elapsed >= limit && elapsed < limit + SECOND, "{elapsed:?}");
        assert_eq!(line.client.state(), LinkState::Down);
    });
}

#[test]
fn the_issuer_may_sign_off_and_on_again() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        let request = line.request(7, 60 * SECOND);
        assert_eq!(line.next().await, "Q000007");
        line.say("2").await;
        assert_eq!(line.next().await, "!");
        line.until(LinkState::SignedOff).await;
        assert_eq!(line.request(8, ANSWER).await.unwrap(), Err(LinkError::Down));
        line.say("q000007").await;
        assert!(request.await.unwrap().is_ok(), "what is in flight is still answered");
        line.say("1").await;
        assert_eq!(line.next().await, "!");
        line.until(LinkState::Up).await;
        // Without a word from the issuer we sign on again ourselves; a refusal leaves it signed off.
        line.say("2").await;
        assert_eq!(line.next().await, "!");
        assert_eq!(line.next().await, "S000002");
        line.say("x000002").await;
        assert_eq!(line.next().await, "S000003");
        assert_eq!(line.client.state(), LinkState::SignedOff);
        line.say("s000003").await;
        line.until(LinkState::Up).await;
    });
}

#[test]
fn keep_alives_are_echoed_but_not_for_ever() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        line.say("").await;
        assert_eq!(line.next().await, "");
        // As an issuer would that echoes our echo.
        line.say("").await;
        line.say("3").await;
        assert_eq!(line.next().await, "!");
        tokio::time::sleep(KEEP_ALIVE_APART).await;
        line.say("").await;
        assert_eq!(line.next().await, "");
    });
}

#[test]
fn a_stream_that_is_no_longer_frames_breaks_the_link() {
    for sent in ["9999", "12x4"] {
        paused(async {
            let mut line = Line::up(options(), 4096).await;
            let request = line.request(7, ANSWER);
            assert_eq!(line.next().await, "Q000007");
            line.issuer.write_all(sent.as_bytes()).await.unwrap();
            assert_eq!(request.await.unwrap(), Err(LinkError::Lost));
            assert_eq!(line.broken.await.unwrap(), Broken::Unreadable);
        });
    }
}

#[test]
fn a_body_too_long_to_frame_is_not_sent() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        let long = line.client.request(key(7), vec![b'Q'; 10_000], Instant::now() + ANSWER);
        let long = tokio::task::spawn_local(long);
        let request = line.request(8, ANSWER);
        assert_eq!(line.next().await, "Q000008");
        assert_eq!(long.await.unwrap(), Err(LinkError::NotSent));
        line.say("q000008").await;
        assert!(request.await.unwrap().is_ok());
    });
}

/// An issuer behind a socket.
struct Issuer {
    listener: tokio::net::TcpListener,
}

impl Issuer {
    async fn start() -> (Self, LinkOptions) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (Self { listener }, LinkOptions { address, ..options() })
    }

    /// Takes the next connection and accepts its sign-on.
    async fn signed_on(&self) -> TcpStream {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let sign_on = Self::next(&mut stream).await;
        assert_eq!(sign_on.len(), 7);
        let answer = format!("0007s{}", &sign_on[1..]);
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    }

    async fn next(stream: &mut TcpStream) -> String {
        let mut frame = [0; 11];
        stream.read_exact(&mut frame).await.unwrap();
        std::str::from_utf8(&frame[4..]).unwrap().to_owned()
    }
}

#[test]
fn a_link_connects_again_and_a_late_answer_may_come_on_the_next_connection() {
    let figures = recorded(|| {
        real(async {
            let (issuer, options) = Issuer::start().await;
            let (client, mut late) = start(options, Rc::new(Toy), (1, 100));
            let mut stream = issuer.signed_on().await;
            client.watch().wait_for(|s| *s == LinkState::Up).await.unwrap();
            let lost = client.request(key(50), message('Q', 50), Instant::now() + ANSWER);
            let lost = tokio::task::spawn_local(lost);
            assert_eq!(Issuer::next(&mut stream).await, "Q000050");
            drop(stream);
            assert_eq!(lost.await.unwrap(), Err(LinkError::Lost));
            let mut stream = issuer.signed_on().await;
            client.watch().wait_for(|s| *s == LinkState::Up).await.unwrap();
            stream.write_all(b"0007q000050").await.unwrap();
            assert_eq!(late.recv().await.unwrap().key, key(50));
        });
    });
    assert!(figures.contains(r#"tollgate_issuer_connects_total{issuer="BANK"} 2"#), "{figures}");
    assert!(figures.contains(r#"outcome="lost"} 1"#), "{figures}");
}

#[test]
fn closing_waits_for_requests_and_signs_off() {
    real(async {
        let (issuer, options) = Issuer::start().await;
        let (client, _late) = start(options, Rc::new(Toy), (1, 100));
        let mut stream = issuer.signed_on().await;
        client.watch().wait_for(|s| *s == LinkState::Up).await.unwrap();
        let request = client.request(key(50), message('Q', 50), Instant::now() + ANSWER);
        let request = tokio::task::spawn_local(request);
        let closer = client.clone();
        let close = tokio::task::spawn_local(async move { closer.close().await });
        client.watch().wait_for(|s| *s == LinkState::Closing).await.unwrap();
        assert_eq!(Issuer::next(&mut stream).await, "Q000050");
        let more = client.request(key(51), message('Q', 51), Instant::now() + ANSWER);
        assert_eq!(more.await, Err(LinkError::Down));
        stream.write_all(b"0007q000050").await.unwrap();
        assert!(request.await.unwrap().is_ok());
        let sign_off = Issuer::next(&mut stream).await;
        assert_eq!(&sign_off[..1], "F");
        stream.write_all(format!("0007f{}", &sign_off[1..]).as_bytes()).await.unwrap();
        close.await.unwrap();
        assert_eq!(client.state(), LinkState::Closed);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        client.close().await;
    });
}

#[test]
fn a_link_without_an_issuer_keeps_trying_and_can_be_closed() {
    real(async {
        let (issuer, options) = Issuer::start().await;
        let address = options.address.clone();
        drop(issuer);
        let (client, _late) = start(options.clone(), Rc::new(Toy), (1, 100));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.state(), LinkState::Down);
        let issuer = Issuer { listener: tokio::net::TcpListener::bind(address).await.unwrap() };
        let _stream = issuer.signed_on().await;
        client.watch().wait_for(|s| *s == LinkState::Up).await.unwrap();

        drop(issuer);
        let options = LinkOptions { backoff_min: 3600 * SECOND, backoff_max: 3600 * SECOND, ..options };
        let address = "127.0.0.1:1".into();
        let (client, _late) = start(LinkOptions { address, ..options }, Rc::new(Toy), (1, 100));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        client.close().await;
        assert_eq!(client.state(), LinkState::Closed);
    });
}

#[test]
fn pauses_grow_to_their_limit_and_differ() {
    let pauses = |seed| {
        let client = LinkClient::new(
            LinkOptions {
                backoff_min: Duration::from_millis(100),
                backoff_max: SECOND,
                jitter_seed: seed,
                ..options()
            },
            (1, 1),
        );
        let mut backoff = Backoff::new(&client.0);
        (0..40).map(|_| backoff.next()).collect::<Vec<_>>()
    };
    let one = pauses(1);
    for (pause, whole_ms) in one.iter().zip([100, 200, 400, 800].into_iter().chain(std::iter::repeat(1000))) {
        let whole = Duration::from_millis(whole_ms);
        assert!(*pause >= whole / 2 && *pause < whole, "{pause:?} of {whole:?}");
    }
    assert_ne!(one, pauses(2));
}

#[test]
fn what_needs_time_is_handed_on_and_answered_before_later_requests() {
    paused(async {
        let mut line = Line::up(options(), 4096).await;
        let mut asked = line.client.take_asked().unwrap();
        assert!(line.client.take_asked().is_none());
        line.say("4000001").await;
        let first = asked.recv().await.unwrap();
        assert_eq!(&first.body[..], b"4000001");
        assert!(line.client.answer_asked(&first, b"late".to_vec()));
        let request = line.client.request(key(50), message('Q', 50), Instant::now() + ANSWER);
        let request = tokio::task::spawn_local(request);
        assert_eq!((line.next().await, line.next().await), ("late".into(), "Q000050".into()));
        line.say("q000050").await;
        assert!(request.await.unwrap().is_ok());

        // So many may wait; one more is refused at once, and a place that is free is given again.
        for stan in 2..=4 {
            line.say(&format!("4{stan:06}")).await;
        }
        line.say("4000005").await;
        assert_eq!(line.next().await, "!", "the first one still waits");
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(asked.recv().await.unwrap());
        }
        drop(first);
        line.say("4000006").await;
        let last = asked.recv().await.unwrap();
        assert_eq!(&last.body[..], b"4000006");

        // An answer goes to the connection that asked or nowhere.
        drop(line.issuer);
        assert_eq!(line.broken.await.unwrap(), Broken::Peer);
        assert!(!line.client.answer_asked(&last, b"late".to_vec()));
    });
}
