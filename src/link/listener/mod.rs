//! Terminals: a listener, its limits, and the handle of one connection.
//!
//! What a frame means is the [`Handler`]'s; this knows how long a terminal may be silent, how much
//! may wait for it and when it must go.

mod connection;
mod serve;

use super::ServerTls;
use crate::metrics::{TerminalMeter, connection_refused};
use bytes::Bytes;
use iso8583_spec::{FrameError, Framing};
use serve::Door;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use connection::Connection;

/// Pause after an accept that failed for want of resources (EMFILE, ENFILE, ENOMEM), doubled
/// up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A peer that vanished without a FIN is noticed after this much silence and four probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// Connections the kernel may hold ready for us.
const BACKLOG: i32 = 1024;

/// How one listener is run.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// Its name, for logs.
    pub name: String,
    /// The dialect spoken on it, for metrics.
    pub dialect: &'static str,
    /// How messages are framed.
    pub framing: Framing,
    /// Longest body that is accepted, octets.
    pub max_frame: usize,
    /// How old an incomplete frame, an unfinished handshake or an answer not taken may grow.
    pub half_frame: Duration,
    /// How long a terminal may be silent.
    pub idle: Duration,
    /// How many connections may be open; the next is accepted and closed at once.
    pub max_connections: usize,
    /// TLS, with client certificates where it asks for them.
    pub tls: Option<ServerTls>,
}

/// What is done with frames. Called on the connection's own task, one frame after the other: it
/// must not block, and spawns what takes time.
pub trait Handler {
    /// A frame came; `body` is without its length prefix and not empty.
    fn frame(&self, connection: &Connection, body: Bytes);

    /// What came is no frame. It is counted already, and the connection closes.
    fn unreadable(&self, connection: &Connection, error: &FrameError) {
        let _ = (connection, error);
    }
}

/// Whether other sockets may listen on the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// This socket alone.
    Sole,
    /// Each worker has a socket of its own, and the kernel deals connections out (SO_REUSEPORT).
    AmongWorkers,
}

/// Opens a listening socket, ready for [`TcpListener::from_std`].
///
/// # Errors
/// The system's, of socket, bind or listen.
pub fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::AmongWorkers {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts terminals until `shutdown`, then lets their payments finish: a connection closes as
/// soon as nobody but itself holds its handle. Returns when the last one has closed; dropped
/// before, it closes them all.
pub async fn listen(
    listener: TcpListener,
    options: Rc<ListenerOptions>,
    handler: Rc<dyn Handler>,
    shutdown: CancellationToken,
) {
    let door = Rc::new(Door { meter: TerminalMeter::new(options.dialect), options, handler, shutdown });
    let mut open = JoinSet::new();
    let mut pause = ACCEPT_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.shutdown.cancelled() => break,
            Some(ended) = open.join_next() => {
                report(&door, ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = ACCEPT_PAUSE;
                admit(&door, &mut open, stream, peer);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!(listener = door.options.name, %error, "accept fails, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
    drop(listener);
    while let Some(ended) = open.join_next().await {
        report(&door, ended);
    }
}

fn admit(door: &Rc<Door>, open: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
    if open.len() >= door.options.max_connections {
        connection_refused(door.options.dialect, "limit");
        return;
    }
    open.spawn_local(Rc::clone(door).receive(stream, peer));
}

/// Small frames leave at once, and a peer that vanished is noticed.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(4);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn report(door: &Door, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(listener = door.options.name, %error, "a connection's task failed");
    }
}
