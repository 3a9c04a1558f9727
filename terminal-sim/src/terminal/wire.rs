//! One TCP connection of a terminal: frames out, frames in, each recorded.
//!
//! Knows framing and time limits, not messages.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use iso8583_spec::Framing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::record::{Recorder, Sender};

/// Largest frame body that a terminal takes, octets.
const MAX_BODY: usize = 4096;

/// Where frames are recorded.
#[derive(Debug, Clone)]
pub(super) struct Tape {
    pub(super) recorder: Option<Recorder>,
    pub(super) link: String,
    pub(super) dialect: &'static str,
}

impl Tape {
    fn frame(&self, from: Sender, body: &[u8]) {
        if let Some(recorder) = &self.recorder {
            recorder.frame(&self.link, from, self.dialect, body);
        }
    }

    pub(super) fn note(&self, text: &str) {
        if let Some(recorder) = &self.recorder {
            recorder.note(&self.link, text);
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    framing: Framing,
    tape: Tape,
    input: Vec<u8>,
}

impl Wire {
    pub(super) async fn connect(
        address: SocketAddr,
        framing: Framing,
        tape: Tape,
        within: Duration,
    ) -> io::Result<Self> {
        let stream = timeout_at(Instant::now() + within, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, framing, tape, input: Vec::with_capacity(MAX_BODY) })
    }

    /// Whether the connection is open and nothing has come that nobody asked for.
    pub(super) fn is_fresh(&self) -> bool {
        let probed = self.stream.try_read(&mut [0]);
        self.input.is_empty() && probed.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a body in its frame.
    pub(super) async fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let frame = self.framed(body)?;
        self.tape.frame(Sender::Terminal, body);
        self.stream.write_all(&frame).await
    }

    /// Sends the first octets of a body's frame and stops there.
    pub(super) async fn send_part(&mut self, body: &[u8]) -> io::Result<()> {
        let frame = self.framed(body)?;
        let (part, _) = frame.split_at(frame.len() / 2);
        self.tape.note("stopped mid-frame");
        self.stream.write_all(part).await
    }

    /// Sends octets that need not be a frame.
    pub(super) async fn send_octets(&mut self, octets: &[u8]) -> io::Result<()> {
        self.tape.note("raw octets");
        self.stream.write_all(octets).await
    }

    fn framed(&self, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut frame = Vec::with_capacity(body.len() + 4);
        self.framing.encode(body, &mut frame).map_err(io::Error::other)?;
        Ok(frame)
    }

    /// The next frame's body, keep-alives skipped; `None` when none comes within the time or the
    /// connection ends.
    pub(super) async fn receive(&mut self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(body) = self.taken()? {
                self.tape.frame(Sender::Switch, &body);
                return Ok(Some(body));
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.input)).await {
                Err(_) | Ok(Ok(0)) => return Ok(None),
                Ok(Err(e)) => return Err(e),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// A whole frame out of the input, if there is one with a body.
    fn taken(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(frame) = self.framing.decode(&self.input, MAX_BODY).map_err(io::Error::other)? {
            let body = self.input.get(frame.body.clone()).unwrap_or_default().to_vec();
            self.input.drain(..frame.consumed.min(self.input.len()));
            if !body.is_empty() {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }
}
