//! The task of one terminal connection: reads frames, writes what is due, watches the time.
//!
//! Generic over the stream: TCP, TLS, or a pipe in memory under a paused clock.

use super::super::frame::{FrameCodec, reason, wipe};
use super::connection::{Connection, Doing, Stage};
use super::{Handler, ListenerOptions, tune};
use crate::metrics::{TerminalMeter, connection_refused, frame_refused};
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First size of a read buffer; it grows to the longest frame that came, never further.
const READ_BUFFER: usize = 2048;
/// A write buffer larger than this is given back once it is written.
const WRITE_BUFFER_KEPT: usize = 4096;
/// How long a goodbye (TLS close_notify, FIN) may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all connections of one listener share.
pub(super) struct Door {
    pub(super) options: Rc<ListenerOptions>,
    pub(super) handler: Rc<dyn Handler>,
    pub(super) meter: TerminalMeter,
    pub(super) shutdown: CancellationToken,
}

/// Why a connection ended; the names are labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The terminal hung up.
    Peer,
    /// The terminal hung up in the middle of a frame.
    Truncated,
    /// The stream is no longer readable as frames.
    Unreadable,
    /// A frame stayed incomplete.
    HalfFrame,
    /// Nothing came.
    Idle,
    /// The terminal does not take its answers.
    NotTaken,
    /// The handler closed it.
    Handler,
    /// The listener shuts down.
    Shutdown,
    /// The socket failed.
    Socket,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Truncated => "truncated",
            Self::Unreadable => "unreadable",
            Self::HalfFrame => "half-frame",
            Self::Idle => "idle",
            Self::NotTaken => "not-taken",
            Self::Handler => "handler",
            Self::Shutdown => "shutdown",
            Self::Socket => "socket",
        }
    }
}

impl Door {
    /// Serves one accepted socket to its end.
    pub(super) async fn receive(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = tune(&stream) {
            // The peer may be gone already; reading will tell.
            tracing::debug!(listener = self.options.name, %peer, %error, "socket options");
        }
        let Some(tls) = &self.options.tls else {
            return self.serve(stream, peer).await;
        };
        match tokio::time::timeout(self.options.half_frame, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, peer).await,
            Ok(Err(error)) => {
                tracing::warn!(listener = self.options.name, %peer, %error, "TLS handshake fails");
                connection_refused(self.options.dialect, "tls");
            }
            Err(_) => connection_refused(self.options.dialect, "tls-timeout"),
        }
    }

    /// Serves one stream to its end.
    pub(super) async fn serve<S: AsyncRead + AsyncWrite>(&self, stream: S, peer: SocketAddr) {
        let codec = FrameCodec::new(self.options.framing, self.options.max_frame);
        let connection = Connection::new(peer, codec);
        self.meter.opened();
        let open = Open { meter: &self.meter, connection: &connection, end: End::Socket };
        let mut task = Task::new(self, &connection, codec);
        let end = task.run(stream).await;
        open.ends(end);
        tracing::debug!(listener = self.options.name, connection = connection.id(), ?end, "connection ends");
    }
}

/// Counts a connection for as long as it lives, however its task ends.
struct Open<'a> {
    meter: &'a TerminalMeter,
    connection: &'a Connection,
    end: End,
}

impl Open<'_> {
    fn ends(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.connection.ended();
        self.meter.closed(self.end.name());
    }
}

struct Task<'a> {
    door: &'a Door,
    connection: &'a Connection,
    codec: FrameCodec,
    inbox: BytesMut,
    out: Cursor<Vec<u8>>,
    /// When something last came or was written.
    active: Instant,
    /// Since when a frame is incomplete.
    half_since: Option<Instant>,
    /// Since when an answer is not taken.
    out_since: Option<Instant>,
    /// Why it drains, once it does.
    why: End,
}

enum Step {
    Wrote(io::Result<usize>),
    Due,
    ShutDown,
    Read(io::Result<usize>),
    Tick,
}

impl<'a> Task<'a> {
    fn new(door: &'a Door, connection: &'a Connection, codec: FrameCodec) -> Self {
        Self {
            door,
            connection,
            codec,
            inbox: BytesMut::with_capacity(READ_BUFFER),
            out: Cursor::default(),
            active: Instant::now(),
            half_since: None,
            out_since: None,
            why: End::Handler,
        }
    }

    async fn run<S: AsyncRead + AsyncWrite>(&mut self, stream: S) -> End {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut timer = pin!(tokio::time::sleep_until(self.deadline().0));
        let mut shutdown = pin!(self.door.shutdown.cancelled());
        let end = loop {
            let writes = self.out.has_remaining();
            if self.connection.stage() == Stage::Overflow {
                break End::NotTaken;
            }
            if !writes && self.connection.is_done() {
                break self.why;
            }
            let reads = self.connection.may_read();
            let open = self.connection.stage() == Stage::Open;
            let deadline = self.deadline().0;
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            let step = tokio::select! {
                biased;
                wrote = writer.write_buf(&mut self.out), if writes => Step::Wrote(wrote),
                () = poll_fn(|cx| self.connection.poll_due(cx, Doing { reads, writes })) => Step::Due,
                () = &mut shutdown, if open => Step::ShutDown,
                read = reader.read_buf(&mut self.inbox), if reads => Step::Read(read),
                () = &mut timer => Step::Tick,
            };
            let ended = match step {
                Step::Wrote(wrote) => self.wrote(wrote),
                Step::Due => self.due(writes),
                Step::ShutDown => self.drain(End::Shutdown),
                Step::Read(read) => self.read(read),
                Step::Tick => self.tick(&mut timer),
            };
            if let Some(end) = ended {
                break end;
            }
        };
        self.connection.ended();
        // Whoever does not hear the goodbye is gone already.
        let _ = tokio::time::timeout(GOODBYE, writer.shutdown()).await;
        end
    }

    fn due(&mut self, writes: bool) -> Option<End> {
        if !writes && self.connection.take_due(self.out.get_mut()) {
            self.out.set_position(0);
            self.out_since = Some(Instant::now());
            crate::crash::point("terminal-write-before");
        }
        None
    }

    fn wrote(&mut self, wrote: io::Result<usize>) -> Option<End> {
        if !wrote.is_ok_and(|octets| octets > 0) {
            return Some(End::Socket);
        }
        self.active = Instant::now();
        if self.out.has_remaining() {
            self.out_since = Some(self.active);
            return None;
        }
        crate::crash::point("terminal-write-after");
        self.out_since = None;
        let buffer = self.out.get_mut();
        wipe(buffer);
        buffer.shrink_to(WRITE_BUFFER_KEPT);
        self.out.set_position(0);
        None
    }

    fn read(&mut self, read: io::Result<usize>) -> Option<End> {
        match read {
            Err(_) => return Some(End::Socket),
            Ok(0) if self.inbox.is_empty() => return self.drain(End::Peer),
            Ok(0) => return self.drain(End::Truncated),
            Ok(_) => {}
        }
        self.active = Instant::now();
        let mut completed = false;
        loop {
            match self.codec.next(&mut self.inbox) {
                Ok(Some(body)) => {
                    completed = true;
                    self.frame(body);
                }
                Ok(None) => break,
                Err(error) => return Some(self.unreadable(&error)),
            }
        }
        if self.inbox.is_empty() {
            self.half_since = None;
        } else if completed || self.half_since.is_none() {
            self.half_since = Some(self.active);
        }
        None
    }

    fn frame(&self, body: bytes::Bytes) {
        if body.is_empty() {
            // A keep-alive (zero length) is echoed.
            self.connection.send(body);
            return;
        }
        self.door.meter.frame();
        self.door.handler.frame(self.connection, body);
    }

    fn unreadable(&self, error: &iso8583_spec::FrameError) -> End {
        let options = &self.door.options;
        tracing::warn!(listener = options.name, connection = self.connection.id(), %error, "unreadable frame");
        frame_refused(options.dialect, reason(error));
        self.door.handler.unreadable(self.connection, error);
        End::Unreadable
    }

    /// A terminal that hangs up cancels nothing: its payments end, and their answers are tried.
    fn drain(&mut self, why: End) -> Option<End> {
        if why == End::Truncated {
            frame_refused(self.door.options.dialect, End::Truncated.name());
        }
        self.why = why;
        self.half_since = None;
        self.connection.drain();
        None
    }

    fn tick(&mut self, timer: &mut std::pin::Pin<&mut tokio::time::Sleep>) -> Option<End> {
        if self.connection.is_held() {
            // A terminal that waits for its answer is not idle.
            self.active = Instant::now();
        }
        let (deadline, end) = self.deadline();
        if deadline > Instant::now() {
            timer.as_mut().reset(deadline);
            return None;
        }
        if end == End::HalfFrame {
            frame_refused(self.door.options.dialect, end.name());
        }
        Some(end)
    }

    /// The next moment at which the connection ends if nothing happens, and why it would.
    fn deadline(&self) -> (Instant, End) {
        let options = &self.door.options;
        let limits = [
            (self.half_since, options.half_frame, End::HalfFrame),
            (self.out_since, options.half_frame, End::NotTaken),
        ];
        let idle = (self.active + options.idle, End::Idle);
        let limits = limits.into_iter().filter_map(|(since, limit, end)| Some((since? + limit, end)));
        limits.chain([idle]).min_by_key(|(at, _)| *at).unwrap_or(idle)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
