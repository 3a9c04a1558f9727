//! Host commands over sockets, as bytes.

use super::super::AttemptLimits;
use super::super::transcripts::{framed, written};
use super::*;
use crate::tls::test_certificates::Files;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn server(limits: Limits) -> Server {
    let hsm = Arc::new(HostHsm::with_test_keys(4).unwrap());
    Server { hsm, limits, threads: NonZeroUsize::new(2).unwrap(), tls: None }
}

/// A server on a port of its own, for as long as the test runs; then it ends.
async fn served_by(server: Server, test: impl AsyncFnOnce(SocketAddr, &CancellationToken)) {
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = std::thread::spawn({
        let stop = stop.clone();
        move || serve(&server, listener, &stop)
    });
    test(address, &stop).await;
    stop.cancel();
    serving.join().unwrap().unwrap();
}

async fn served(limits: Limits, test: impl AsyncFnOnce(SocketAddr)) {
    served_by(server(limits), async |address, _| test(address).await).await;
}

/// Commands, and what they are answered.
fn exchange() -> (Vec<u8>, Vec<u8>) {
    let rows = [
        ("CA TPK ZPK1 12 E57BC634D4717907 01 01 600000000000 %01", "CB 00 06 FC99D994F1D3D3B8 01"),
        ("B2 0003 abc", "B3 00 abc"),
        ("XX", "XY 68"),
        ("CA TPK", "CB 15"),
    ];
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for (number, (command, answer)) in rows.iter().enumerate() {
        let header = format!("{number:04}");
        sent.extend(framed(&header, &written(command)));
        expected.extend(framed(&header, &written(answer)));
    }
    (sent, expected)
}

#[tokio::test]
async fn commands_cut_anywhere_and_glued_are_answered_the_same() {
    served(Limits::default(), async |address| {
        let (sent, expected) = exchange();
        for cut in 0..=sent.len() {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let (front, rest) = sent.split_at(cut);
            socket.write_all(front).await.unwrap();
            let mut found = vec![0; expected.len()];
            tokio::task::yield_now().await;
            socket.write_all(rest).await.unwrap();
            socket.read_exact(&mut found).await.unwrap();
            assert!(found == expected, "cut at {cut}");
        }
        // An octet at a time.
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for octet in &sent {
            socket.write_all(&[*octet]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut found = vec![0; expected.len()];
        socket.read_exact(&mut found).await.unwrap();
        assert!(found == expected);
    })
    .await;
}

#[tokio::test]
async fn garbage_closes_its_own_connection_only() {
    let limits =
        Limits { message: 1000, connections: 3, patience: Duration::from_secs(1), ..Limits::default() };
    served(limits, async |address| {
        let (sent, expected) = exchange();
        let mut good = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        let too_long = [&[0xFF; 2][..], &[0x5E; 3000]].concat();
        let rows: [(&str, &[u8]); 4] = [
            ("a length of nothing", &[0, 0]),
            ("a header without a command", &[0, 5, b'0', b'0', b'0', b'0', b'C']),
            ("a length beyond the limit", &too_long),
            ("half a command", &[0, 9, b'0']),
        ];
        for (name, garbage) in rows {
            let mut bad = TcpStream::connect(address).await.unwrap();
            bad.write_all(garbage).await.unwrap();
            rest.clear();
            // Closed or reset: what was sent and not read makes it the latter.
            let _ = bad.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{name}");
            let mut found = vec![0; expected.len()];
            good.write_all(&sent).await.unwrap();
            good.read_exact(&mut found).await.unwrap();
            assert!(found == expected, "{name}");
        }
        // One more than are allowed.
        let mut others = Vec::new();
        for _ in 0..2 {
            let mut other = TcpStream::connect(address).await.unwrap();
            let mut found = vec![0; expected.len()];
            other.write_all(&sent).await.unwrap();
            other.read_exact(&mut found).await.unwrap();
            others.push(other);
        }
        let mut further = TcpStream::connect(address).await.unwrap();
        rest.clear();
        let _ = further.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    })
    .await;
}

/// Sends a connection's commands and says whether what comes back is right.
async fn is_answered(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> bool {
    let (sent, expected) = exchange();
    let mut found = vec![0; expected.len()];
    let asked = async {
        stream.write_all(&sent).await?;
        stream.read_exact(&mut found).await
    };
    asked.await.is_ok() && found == expected
}

/// Whether the peer closes it, and sends nothing before.
async fn is_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest.is_empty()
}

#[tokio::test]
async fn two_thousand_connections_are_served_at_once() {
    const MANY: usize = 2000;
    assert!(raise_open_files().unwrap() > 2 * MANY as u64 + 100, "the hard limit of open files");
    served(Limits::default(), async |address| {
        let mut open = Vec::new();
        for _ in 0..MANY {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        // All of them ask before one reads.
        let (sent, expected) = exchange();
        for socket in &mut open {
            socket.write_all(&sent).await.unwrap();
        }
        for (number, socket) in open.iter_mut().enumerate() {
            let mut found = vec![0; expected.len()];
            socket.read_exact(&mut found).await.unwrap();
            assert!(found == expected, "{number}");
        }
        for (number, socket) in open.iter_mut().enumerate().rev() {
            assert!(is_answered(socket).await, "{number}, once more");
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_commands_is_closed_in_time() {
    let idle = Duration::from_millis(300);
    served(Limits { idle: Some(idle), ..Limits::default() }, async |address| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut last = std::time::Instant::now();
        for _ in 0..3 {
            assert!(is_answered(&mut socket).await);
            last = std::time::Instant::now();
        }
        assert!(is_closed(&mut socket).await);
        assert!(last.elapsed() >= idle.mul_f32(0.9), "{:?}", last.elapsed());
    })
    .await;
}

#[tokio::test]
async fn who_ends_answers_what_has_come_first() {
    served_by(server(Limits::default()), async |address, stop| {
        let (sent, expected) = exchange();
        let mut busy = TcpStream::connect(address).await.unwrap();
        let mut quiet = TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut busy).await && is_answered(&mut quiet).await);
        // A thousand commands, of which the first is answered: so they were there before the end.
        busy.write_all(&sent.repeat(250)).await.unwrap();
        let mut found = vec![0; expected.len()];
        busy.read_exact(&mut found).await.unwrap();
        stop.cancel();
        let mut rest = Vec::new();
        busy.read_to_end(&mut rest).await.unwrap();
        assert!(found == expected && rest == expected.repeat(249), "{} octets", rest.len());
        assert!(is_closed(&mut quiet).await);
    })
    .await;
}

#[tokio::test]
async fn under_tls_only_who_shows_a_certificate_of_ours_is_served() {
    let files = Files::new();
    let name = "switch.example";
    let rows = [
        ("none asked for", None, files.client(name, None), true),
        ("known", Some(&files.ca), files.client(name, Some(&files.terminal)), true),
        ("none shown", Some(&files.ca), files.client(name, None), false),
        ("of another authority", Some(&files.ca), files.client(name, Some(&files.stranger)), false),
    ];
    for (row, client_ca, client, is_served) in rows {
        let server = Server { tls: Some(files.server(client_ca)), ..server(Limits::default()) };
        served_by(server, async |address, _| {
            let socket = TcpStream::connect(address).await.unwrap();
            // Under TLS 1.3 a client learns that it was refused only when it reads.
            let found = match client.connect(socket).await {
                Ok(mut stream) => is_answered(&mut stream).await,
                Err(_) => false,
            };
            assert_eq!(found, is_served, "{row}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_without_tls_closes_its_own_connection_only() {
    let files = Files::new();
    let server = Server { tls: Some(files.server(None)), ..server(Limits::default()) };
    served_by(server, async |address, stop| {
        let client = files.client("switch.example", None);
        let mut good = client.connect(TcpStream::connect(address).await.unwrap()).await.unwrap();
        assert!(is_answered(&mut good).await);
        let (sent, expected) = exchange();
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(&sent).await.unwrap();
        let mut rest = Vec::new();
        let _ = plain.read_to_end(&mut rest).await;
        assert!(!rest.windows(4).any(|octets| octets == &expected[2..6]), "a TLS alert at most");
        assert!(is_answered(&mut good).await);
        // One that never shakes hands holds nobody up, at the end either.
        let _mute = TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut good).await);
        stop.cancel();
        assert!(is_closed(&mut good).await);
    })
    .await;
}

#[tokio::test]
async fn a_card_that_keeps_failing_is_locked_on_every_connection() {
    let limits = AttemptLimits { in_a_row: 3, ..AttemptLimits::default() };
    let hsm = Arc::new(HostHsm::with_test_keys(4).unwrap().with_attempt_limits(limits));
    served_by(Server { hsm, ..server(Limits::default()) }, async |address, _| {
        let (bad, good) =
            ("CY CVK 182 502265400089000092 ; 2010 620", "CY CVK 181 502265400089000092 ; 2010 620");
        for (command, code) in
            [(bad, "01"), (bad, "01"), (bad, "01"), (bad, "39"), (good, "39"), ("NC", "00")]
        {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(&framed("0007", &written(command))).await.unwrap();
            let mut front = [0; 10];
            socket.read_exact(&mut front).await.unwrap();
            assert_eq!(&front[8..], code.as_bytes(), "{command}");
        }
    })
    .await;
}
