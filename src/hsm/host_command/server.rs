//! Host commands over TCP: a length in two octets, high one first, then the command; answers in the order of their
//! commands, as many to a write as are ready.
//!
//! A connection belongs to nobody else: whatever comes over it, the others go on. Limits are on how many there are, on
//! the length of a command and on how long a half one may wait for its end.

use super::HostHsm;
use bytes::{Buf, BytesMut};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// The limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; a further one is closed.
    pub connections: usize,
    /// Octets of a command without its length, at most 65,535; a longer one closes its connection.
    pub message: usize,
    /// How long the rest of a command may take once its first octet is there, and answers to be taken.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, message: 32_768, patience: Duration::from_secs(30) }
    }
}

/// How long to wait before a connection is accepted again when none could be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Octets that are asked of a socket at a time.
const CHUNK: usize = 64 * 1024;

/// Opens the socket.
///
/// # Errors
/// What the system says.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until it is dropped; connections that are open then are closed. What keeps the listener from accepting
/// (no more files may be open) is told and waited for: the connections there are go on.
pub async fn serve(hsm: Arc<HostHsm>, listener: TcpListener, limits: Limits) -> Infallible {
    let places = Arc::new(Semaphore::new(limits.connections));
    let accept = async {
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::error!(%error, "accept fails, trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%peer, "closed: {} connections are open", limits.connections);
                continue;
            };
            let hsm = Arc::clone(&hsm);
            tokio::task::spawn_local(async move {
                if let Err(error) = attend(&hsm, socket, limits).await {
                    tracing::info!(%peer, "closed: {error}");
                }
                drop(place);
            });
        }
    };
    LocalSet::new().run_until(accept).await
}

/// Answers the commands of one connection until it ends.
async fn attend(hsm: &HostHsm, mut socket: TcpStream, limits: Limits) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut deadline = Instant::now() + limits.patience;
    loop {
        let held = input.len();
        while let Some(command) = next_command(&mut input, limits.message)? {
            let answer = hsm.answer(&command).ok_or_else(|| refused("a message too short for a command"))?;
            let length =
                u16::try_from(answer.len()).map_err(|_| refused("an answer too long for its length"))?;
            output.extend_from_slice(&length.to_be_bytes());
            output.extend_from_slice(&answer);
            if output.len() >= CHUNK {
                send(&mut socket, &mut output, limits).await?;
            }
        }
        send(&mut socket, &mut output, limits).await?;
        input.reserve(CHUNK);
        // The rest of a command may come in many pieces, all of them in time from its first octet on.
        let (is_half, is_new) = (!input.is_empty(), input.len() < held);
        if is_new {
            deadline = Instant::now() + limits.patience;
        }
        let read = socket.read_buf(&mut input);
        let count = if is_half { in_time(deadline, read).await? } else { read.await? };
        if !is_half {
            deadline = Instant::now() + limits.patience;
        }
        if count == 0 {
            return if input.is_empty() { Ok(()) } else { Err(refused("the stream ends inside a command")) };
        }
    }
}

/// The next command, without its length, once all of it is there.
fn next_command(input: &mut BytesMut, most: usize) -> io::Result<Option<BytesMut>> {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > most {
        return Err(refused("a command longer than the limit"));
    }
    if rest.len() < length {
        return Ok(None);
    }
    input.advance(2);
    Ok(Some(input.split_to(length)))
}

/// Sends what is ready, and empties it.
async fn send(socket: &mut TcpStream, output: &mut Vec<u8>, limits: Limits) -> io::Result<()> {
    if !output.is_empty() {
        in_time(Instant::now() + limits.patience, socket.write_all(output)).await?;
        output.clear();
    }
    Ok(())
}

/// A peer that neither sends the rest nor takes its answers is given up.
async fn in_time<T>(deadline: Instant, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout_at(deadline, step).await.map_err(|_| refused("the peer took too long"))?
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    /// A server on a port of its own, for as long as the test runs.
    async fn served(limits: Limits, test: impl AsyncFnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hsm = Arc::new(HostHsm::with_test_keys(4).unwrap());
        tokio::select! {
            never = serve(hsm, listener, limits) => match never {},
            () = test(address) => {}
        }
    }

    fn framed(header: &str, command: &[u8]) -> Vec<u8> {
        let message = [header.as_bytes(), command].concat();
        [&u16::try_from(message.len()).unwrap().to_be_bytes(), message.as_slice()].concat()
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
        let limits = Limits { message: 1000, connections: 3, patience: Duration::from_millis(200) };
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
}
