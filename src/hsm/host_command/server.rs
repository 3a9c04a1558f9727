//! Host commands over TCP or TLS: who may connect, and on which thread a connection is served.
//!
//! A connection belongs to nobody else: whatever comes over it, the others go on. It stays on one thread for its whole
//! life. The calling thread accepts and hands each connection to the thread that has the fewest: a switch holds few of
//! them, and the kernel, dealing them out by a hash, would leave threads without any. Limits are on how many there
//! are, on the length of a command, on how long a half one may wait for its end and a whole one for the next.

use super::HostHsm;
use super::connection::Connection;
pub use super::connection::Limits;
use crate::tls::ServerTls;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

/// What a server serves, and how.
#[derive(Clone)]
pub struct Server {
    /// What answers.
    pub hsm: Arc<HostHsm>,
    /// The limits.
    pub limits: Limits,
    /// Threads that answer, beside the one that accepts.
    pub threads: NonZeroUsize,
    /// When given, connections are under TLS, and no others are served.
    pub tls: Option<ServerTls>,
}

/// How long to wait before a connection is accepted again when none could be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Threads of a worker that wait for records to be on disk: one is written at a time.
const RECORDING: usize = 2;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// A peer that vanished without a word is noticed after some two minutes.
const KEEPALIVE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(15)];

/// Lets this process open as many files as the system's hard limit says, and returns how many.
///
/// # Errors
/// What the system says.
pub fn raise_open_files() -> io::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Opens the socket.
///
/// # Errors
/// What the system says.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until `stop`; then what has come is answered, the connections are closed and all threads end. What keeps the
/// listener from accepting (no more files may be open) is told and waited for: the connections there are go on.
///
/// # Errors
/// What the system says when threads cannot be started.
pub fn serve(server: &Server, listener: std::net::TcpListener, stop: &CancellationToken) -> io::Result<()> {
    // Whatever ends this function ends the threads too.
    let stop = stop.child_token();
    let _ends = stop.clone().drop_guard();
    let runtime = runtime()?;
    let mut workers = Vec::new();
    for number in 0..server.threads.get() {
        workers.push(Worker::start(server.clone(), number, stop.clone())?);
    }
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = accept(&listener, &workers, server.limits.connections) => {}
        }
        io::Result::Ok(())
    })?;
    workers.into_iter().try_for_each(Worker::end)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().max_blocking_threads(RECORDING).enable_all().build()
}

/// Accepts for ever.
async fn accept(listener: &TcpListener, workers: &[Worker], most: usize) {
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "accept fails, trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let open = workers.iter().map(Worker::open).sum::<usize>();
        let Some(worker) = workers.iter().min_by_key(|worker| worker.open()).filter(|_| open < most) else {
            tracing::warn!(%peer, "closed: {most} connections are open");
            continue;
        };
        if let Err(error) = worker.hand_over(socket, peer) {
            tracing::warn!(%peer, "closed: {error}");
        }
    }
}

/// A connection on its way to its thread.
struct Guest {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    /// Counts it among the connections of its thread for as long as it lives.
    place: Arc<()>,
}

/// A thread that answers.
struct Worker {
    /// Has no more in it than there may be connections.
    guests: mpsc::UnboundedSender<Guest>,
    places: Arc<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(server: Server, number: usize, stop: CancellationToken) -> io::Result<Self> {
        let (guests, arriving) = mpsc::unbounded_channel();
        let runtime = runtime()?;
        let thread = std::thread::Builder::new().name(format!("hsm-{number}"));
        let thread = thread.spawn(move || {
            let host = Rc::new(Host { server, stop });
            LocalSet::new().block_on(&runtime, host.receive(arriving));
        })?;
        Ok(Self { guests, places: Arc::new(()), thread })
    }

    /// How many connections it has.
    fn open(&self) -> usize {
        Arc::strong_count(&self.places) - 1
    }

    fn hand_over(&self, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let guest = Guest { socket: socket.into_std()?, peer, place: Arc::clone(&self.places) };
        self.guests.send(guest).map_err(|_| io::Error::other("its thread is gone"))
    }

    fn end(self) -> io::Result<()> {
        drop(self.guests);
        self.thread.join().map_err(|_| io::Error::other("a thread panicked"))
    }
}

/// What the connections of one thread share.
struct Host {
    server: Server,
    stop: CancellationToken,
}

impl Host {
    /// Serves who is handed over until nobody is any more, then lets them end in time.
    async fn receive(self: Rc<Self>, mut arriving: mpsc::UnboundedReceiver<Guest>) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = open.join_next() => {}
                guest = arriving.recv() => match guest {
                    Some(guest) => _ = open.spawn_local(Rc::clone(&self).serve(guest)),
                    None => break,
                },
            }
        }
        let all = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(self.server.limits.patience, all).await.is_err() {
            tracing::warn!("connections are closed in the middle of their answers");
        }
    }

    async fn serve(self: Rc<Self>, guest: Guest) {
        let Guest { socket, peer, place } = guest;
        match self.attend(socket).await {
            Ok(()) => tracing::debug!(%peer, "closed"),
            Err(error) => tracing::info!(%peer, "closed: {error}"),
        }
        drop(place);
    }

    async fn attend(&self, socket: std::net::TcpStream) -> io::Result<()> {
        let Server { hsm, limits, tls, .. } = &self.server;
        let socket = TcpStream::from_std(socket)?;
        socket.set_nodelay(true)?;
        let [after, every] = KEEPALIVE;
        let keepalive = TcpKeepalive::new().with_time(after).with_interval(every).with_retries(4);
        SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        let Some(tls) = tls else { return Connection::new(socket, hsm, *limits).attend(&self.stop).await };
        let stream = tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            shaken = tokio::time::timeout(limits.patience, tls.accept(socket)) => {
                let late = |_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake takes too long");
                shaken.map_err(late)?.map_err(|error| io::Error::other(format!("TLS handshake fails: {error}")))?
            }
        };
        Connection::new(stream, hsm, *limits).attend(&self.stop).await
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
