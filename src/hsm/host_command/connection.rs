//! One connection of host commands: a length in two octets, high one first, then the command; answers in the order of
//! their commands, as many to a write as are ready.
//!
//! Knows no socket and no other connection: any stream of octets will do.

use super::HostHsm;
use crate::hsm::buffer::take_front;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// The limits of a server and of its connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; a further one is closed.
    pub connections: usize,
    /// Octets of a command without its length, at most 65,535; a longer one closes its connection.
    pub message: usize,
    /// How long the rest of a command may take once its first octet is there, answers to be taken, a TLS handshake,
    /// and when it ends all that is under way.
    pub patience: Duration,
    /// How long a connection may be open without a command; none: for ever.
    pub idle: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        let (patience, idle) = (Duration::from_secs(30), Some(Duration::from_hours(1)));
        Self { connections: 4096, message: 32_768, patience, idle }
    }
}

/// Octets that are asked of a stream at a time: of one that is often idle, and of one that had as many ready.
const CHUNKS: [usize; 2] = [4 * 1024, 64 * 1024];
/// Octets of answers after which they are sent, though commands are left.
const OUTPUT: usize = 64 * 1024;
/// How long a peer may take to notice that it is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection and what it has read and not yet sent.
pub(super) struct Connection<'a, S> {
    stream: S,
    hsm: &'a Arc<HostHsm>,
    limits: Limits,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    pub(super) fn new(stream: S, hsm: &'a Arc<HostHsm>, limits: Limits) -> Self {
        Self { stream, hsm, limits, input: Vec::new(), output: Vec::new() }
    }

    /// Answers commands until the peer ends, does something that it may not, or `stop`: then what is there is still
    /// answered, and what is half is not.
    pub(super) async fn attend(&mut self, stop: &CancellationToken) -> io::Result<()> {
        let ended = self.answer_all(stop).await;
        let _ = tokio::time::timeout(FAREWELL, self.stream.shutdown()).await;
        ended
    }

    async fn answer_all(&mut self, stop: &CancellationToken) -> io::Result<()> {
        let [mut room, most] = CHUNKS;
        // The rest of a command may come in many pieces, all of them in time from its first octet on.
        let mut half_until = None;
        loop {
            if self.answer_ready().await? || self.input.is_empty() {
                half_until = None;
            }
            let deadline = if self.input.is_empty() {
                self.limits.idle.map(|idle| Instant::now() + idle)
            } else {
                Some(*half_until.get_or_insert_with(|| Instant::now() + self.limits.patience))
            };
            self.input.reserve(room);
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => read?,
                () = stop.cancelled() => return Ok(()),
                () = until(deadline) => {
                    let half = || refused("the peer took too long for the rest of a command");
                    return if self.input.is_empty() { Ok(()) } else { Err(half()) };
                }
            };
            if read == 0 {
                let half = || refused("the stream ends inside a command");
                return if self.input.is_empty() { Ok(()) } else { Err(half()) };
            }
            if read >= room {
                room = most;
            }
        }
    }

    /// Answers the commands that are whole. Whether there was any.
    async fn answer_ready(&mut self) -> io::Result<bool> {
        let mut taken = 0;
        while let Some(command) = next_command(self.input.get(taken..).unwrap_or_default(), self.limits)? {
            taken += 2 + command.len();
            if self.hsm.is_slow(command) {
                let (hsm, command) = (Arc::clone(self.hsm), Zeroizing::new(command.to_vec()));
                let answer = move || {
                    let mut answer = Zeroizing::new(Vec::new());
                    answer_to(&hsm, &command, &mut answer).map(|()| answer)
                };
                let answer = tokio::task::spawn_blocking(answer).await.map_err(io::Error::other)??;
                self.output.extend_from_slice(&answer);
            } else {
                answer_to(self.hsm, command, &mut self.output)?;
            }
            if self.output.len() >= OUTPUT {
                self.send().await?;
            }
        }
        take_front(&mut self.input, taken);
        self.send().await?;
        Ok(taken > 0)
    }

    /// Sends what is ready, and empties it.
    async fn send(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let stream = &mut self.stream;
        let sent = async {
            stream.write_all(&self.output).await?;
            stream.flush().await
        };
        let in_time = tokio::time::timeout(self.limits.patience, sent).await;
        in_time.map_err(|_| refused("the peer took too long to take its answers"))??;
        let written = self.output.len();
        take_front(&mut self.output, written);
        Ok(())
    }
}

/// The next command, without its length, once all of it is there.
fn next_command(input: &[u8], limits: Limits) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > limits.message {
        return Err(refused("a command longer than the limit"));
    }
    Ok(rest.get(..length))
}

/// An answer behind its length.
fn answer_to(hsm: &HostHsm, command: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let at = output.len();
    output.extend_from_slice(&[0; 2]);
    if !hsm.answer_to(command, output) {
        return Err(refused("a message too short for a command"));
    }
    let length = u16::try_from(output.len() - at - 2);
    let length = length.map_err(|_| refused("an answer too long for its length"))?;
    if let Some(place) = output.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Without a deadline, never.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
