//! A relay: frames of many terminals over one issuer connection and back, and nothing else. It is the ceiling
//! that the switch is measured against: no message is read, no MAC checked, nothing stored.
//!
//! ```text
//! terminal ⇄ relay   length 2 | frame
//! relay ⇄ issuer     length 2 | slot 4 | frame      the length counts slot and frame
//! ```
//!
//! The slot is the terminal connection's number. Everything runs on one thread; what has come in together goes
//! out in one write. A terminal's answer is written by the task that read it from the issuer, so that no task
//! but the reader of the next request has to wake for it.

use bytes::{Buf, BytesMut};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

/// Octets of the length before a frame.
const LENGTH: usize = 2;
/// Octets of the slot on the issuer's side.
const SLOT: usize = 4;
/// A terminal's read buffer, and how much of its answers may wait before no more is read from it.
const TERMINAL_BUFFER: usize = 4 * 1024;
const TERMINAL_BACKLOG: usize = 256 * 1024;
/// What is read from or waits for the issuer at once.
const ISSUER_BUFFER: usize = 256 * 1024;
/// Where the MTI's third digit is in a `unionpay-pos` frame: TPDU 5, header 6, then the second octet's high half.
const FUNCTION_OCTET: usize = 5 + 6 + 1;

/// Relays between `listener`'s terminals and the issuer at `issuer` until the issuer closes. Blocks its thread.
///
/// # Errors
/// The issuer cannot be reached, or the listener failed.
pub fn run(listener: std::net::TcpListener, issuer: SocketAddr) -> io::Result<()> {
    on_this_thread(async move {
        listener.set_nonblocking(true)?;
        serve(TcpListener::from_std(listener)?, TcpStream::connect(issuer).await?).await
    })
}

/// Answers relays: each frame comes back at once, as a response (MTI function digit + 1). Blocks its thread until
/// the listener fails.
///
/// # Errors
/// The listener failed.
pub fn echo_issuer(listener: std::net::TcpListener) -> io::Result<()> {
    on_this_thread(async move {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            spawn_local(async move {
                // A relay that goes away ends its own connection only.
                let _ = echo(stream).await;
            });
        }
    })
}

fn on_this_thread(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().event_interval(256).build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Relays between `listener`'s terminals and one issuer connection until that closes. Needs a [`LocalSet`].
///
/// # Errors
/// The listener or the issuer connection failed.
pub async fn serve(listener: TcpListener, issuer: TcpStream) -> io::Result<()> {
    issuer.set_nodelay(true)?;
    let (from_issuer, to_issuer) = issuer.into_split();
    let relay = Rc::new(Relay::default());
    tokio::select! {
        done = accept(&relay, listener) => done,
        done = send_to_issuer(&relay, to_issuer) => done,
        done = answer_terminals(&relay, from_issuer) => done,
    }
}

#[derive(Default)]
struct Relay {
    /// By slot. A slot is given once, so that a late answer cannot reach another terminal.
    terminals: RefCell<Vec<Option<Rc<Terminal>>>>,
    outgoing: RefCell<Vec<u8>>,
    filled: Notify,
    drained: Notify,
}

struct Terminal {
    writer: OwnedWriteHalf,
    answers: RefCell<Vec<u8>>,
    /// It is in the list of those to write to, or a task of its own writes to it.
    listed: Cell<bool>,
    drained: Notify,
}

async fn accept(relay: &Rc<Relay>, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (answers, listed) = (RefCell::default(), Cell::new(false));
        let terminal = Rc::new(Terminal { writer, answers, listed, drained: Notify::new() });
        let slot = {
            let mut terminals = relay.terminals.borrow_mut();
            terminals.push(Some(Rc::clone(&terminal)));
            terminals.len() - 1
        };
        let relay = Rc::clone(relay);
        spawn_local(async move {
            if let Ok(number) = u32::try_from(slot) {
                // A terminal that breaks off, or off the rules, ends its own connection only.
                let _ = read_terminal(&relay, &terminal, number, reader).await;
            }
            if let Some(terminal) = relay.terminals.borrow_mut().get_mut(slot) {
                *terminal = None;
            }
        });
    }
}

async fn read_terminal(
    relay: &Relay,
    terminal: &Terminal,
    slot: u32,
    mut reader: OwnedReadHalf,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(TERMINAL_BUFFER);
    while reader.read_buf(&mut buffer).await? != 0 {
        let mut start = 0;
        while let Some(body) = frame(&buffer, start) {
            let length = u16::try_from(body.len() + SLOT).map_err(|_| io::ErrorKind::InvalidData)?;
            let mut outgoing = relay.outgoing.borrow_mut();
            outgoing.extend_from_slice(&length.to_be_bytes());
            outgoing.extend_from_slice(&slot.to_be_bytes());
            outgoing.extend_from_slice(body);
            start += LENGTH + body.len();
        }
        if start > 0 {
            relay.filled.notify_one();
        }
        buffer.advance(start);
        buffer.reserve(TERMINAL_BUFFER / 2);
        while relay.outgoing.borrow().len() > ISSUER_BUFFER {
            relay.drained.notified().await;
        }
        while terminal.answers.borrow().len() > TERMINAL_BACKLOG {
            terminal.drained.notified().await;
        }
    }
    Ok(())
}

async fn send_to_issuer(relay: &Relay, mut writer: OwnedWriteHalf) -> io::Result<()> {
    let mut batch = Vec::with_capacity(ISSUER_BUFFER);
    loop {
        relay.filled.notified().await;
        std::mem::swap(&mut batch, &mut *relay.outgoing.borrow_mut());
        writer.write_all(&batch).await?;
        batch.clear();
        relay.drained.notify_waiters();
    }
}

async fn answer_terminals(relay: &Relay, mut reader: OwnedReadHalf) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(ISSUER_BUFFER);
    let mut listed: Vec<Rc<Terminal>> = Vec::new();
    while reader.read_buf(&mut buffer).await? != 0 {
        let mut start = 0;
        while let Some(body) = frame(&buffer, start) {
            start += LENGTH + body.len();
            let (slot, answer) = body.split_first_chunk::<SLOT>().ok_or(io::ErrorKind::InvalidData)?;
            relay.queue(u32::from_be_bytes(*slot), answer, &mut listed);
        }
        for terminal in listed.drain(..) {
            terminal.flush();
        }
        buffer.advance(start);
        buffer.reserve(ISSUER_BUFFER / 4);
    }
    Ok(())
}

impl Relay {
    fn queue(&self, slot: u32, answer: &[u8], listed: &mut Vec<Rc<Terminal>>) {
        let terminals = self.terminals.borrow();
        let Some(Some(terminal)) = usize::try_from(slot).ok().and_then(|slot| terminals.get(slot)) else {
            return;
        };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let mut answers = terminal.answers.borrow_mut();
        answers.extend_from_slice(&length.to_be_bytes());
        answers.extend_from_slice(answer);
        if !terminal.listed.replace(true) {
            listed.push(Rc::clone(terminal));
        }
    }
}

impl Terminal {
    /// Writes what it can at once; a task of its own takes over what a full socket leaves.
    fn flush(self: Rc<Self>) {
        if self.write_some() {
            self.listed.set(false);
            return;
        }
        spawn_local(async move {
            while self.writer.writable().await.is_ok() {
                let done = self.write_some();
                self.drained.notify_one();
                if done {
                    self.listed.set(false);
                    return;
                }
            }
        });
    }

    /// Whether nothing is left to write; so it is too when the connection has failed.
    fn write_some(&self) -> bool {
        let mut answers = self.answers.borrow_mut();
        match self.writer.try_write(&answers) {
            Ok(written) => {
                answers.drain(..written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => answers.clear(),
        }
        answers.is_empty()
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(ISSUER_BUFFER);
    while stream.read_buf(&mut buffer).await? != 0 {
        let mut start = 0;
        while let Some(length) = frame(&buffer, start).map(<[u8]>::len) {
            if let Some(octet) = buffer.get_mut(start + LENGTH + SLOT + FUNCTION_OCTET) {
                *octet = octet.wrapping_add(0x10);
            }
            start += LENGTH + length;
        }
        if let Some(burst) = buffer.get(..start) {
            stream.write_all(burst).await?;
        }
        buffer.advance(start);
        buffer.reserve(ISSUER_BUFFER / 4);
    }
    Ok(())
}

/// The body of the frame at `start`, when it is all there.
fn frame(buffer: &[u8], start: usize) -> Option<&[u8]> {
    let (length, rest) = buffer.get(start..)?.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener as StdListener, TcpStream as StdStream};

    fn relay() -> SocketAddr {
        let issuer = StdListener::bind("127.0.0.1:0").unwrap();
        let terminals = StdListener::bind("127.0.0.1:0").unwrap();
        let (issuer_at, at) = (issuer.local_addr().unwrap(), terminals.local_addr().unwrap());
        std::thread::spawn(move || echo_issuer(issuer));
        std::thread::spawn(move || run(terminals, issuer_at));
        at
    }

    fn framed(marks: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for mark in marks {
            bytes.extend_from_slice(&[0, 15, 0x60, 0, 3, 0, 0, 0x60, 0x31, 0, 0x31, 0x10, 0, 2, 0, *mark, 7]);
        }
        bytes
    }

    fn answered(marks: &[u8]) -> Vec<u8> {
        let mut bytes = framed(marks);
        for answer in bytes.chunks_exact_mut(17) {
            answer[LENGTH + FUNCTION_OCTET] = 0x10;
        }
        bytes
    }

    #[test]
    fn each_terminal_gets_its_own_answers_in_order() {
        let at = relay();
        let mut terminals: Vec<StdStream> = (0..20).map(|_| StdStream::connect(at).unwrap()).collect();
        for round in 0..3u8 {
            for (n, terminal) in terminals.iter_mut().enumerate() {
                let n = u8::try_from(n).unwrap();
                terminal.write_all(&framed(&[n, n + 100 + round, n])).unwrap();
            }
            for (n, terminal) in terminals.iter_mut().enumerate() {
                let n = u8::try_from(n).unwrap();
                let expected = answered(&[n, n + 100 + round, n]);
                let mut got = vec![0; expected.len()];
                terminal.read_exact(&mut got).unwrap();
                assert_eq!(got, expected, "terminal {n}, round {round}");
            }
        }
    }

    #[test]
    fn a_frame_in_pieces_and_one_broken_off_harm_nobody() {
        let at = relay();
        let mut broken = StdStream::connect(at).unwrap();
        broken.write_all(&framed(&[9])[..10]).unwrap();
        drop(broken);
        let mut terminal = StdStream::connect(at).unwrap();
        terminal.set_nodelay(true).unwrap();
        for byte in framed(&[1, 2]) {
            terminal.write_all(&[byte]).unwrap();
        }
        let mut got = vec![0; 34];
        terminal.read_exact(&mut got).unwrap();
        assert_eq!(got, answered(&[1, 2]));
    }

    /// Writes until nothing is taken for a while, says so, and goes on.
    fn write_until_full(writer: &mut StdStream, mut bytes: &[u8], full: &std::sync::mpsc::Sender<()>) {
        while !bytes.is_empty() {
            match writer.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let _ = full.send(());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// It reads when every socket and the relay are full: more than all of them hold, so that the answers wait in
    /// the relay.
    #[test]
    fn a_terminal_that_reads_late_loses_nothing() {
        const FRAMES: u32 = 600;
        let at = relay();
        let mut terminal = StdStream::connect(at).unwrap();
        let mut writer = terminal.try_clone().unwrap();
        writer.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let big = |mark: u32| {
            let mut bytes = vec![0xEA, 0x60];
            bytes.resize(LENGTH + 60_000, 1);
            bytes[LENGTH..LENGTH + 4].copy_from_slice(&mark.to_be_bytes());
            bytes
        };
        let (full, is_full) = std::sync::mpsc::channel();
        let sender = std::thread::spawn(move || {
            for mark in 0..FRAMES {
                write_until_full(&mut writer, &big(mark), &full);
            }
            let _ = full.send(());
        });
        is_full.recv().unwrap();
        for mark in 0..FRAMES {
            let mut got = vec![0; LENGTH + 60_000];
            terminal.read_exact(&mut got).unwrap();
            let mut expected = big(mark);
            expected[LENGTH + FUNCTION_OCTET] += 0x10;
            assert!(got == expected, "frame {mark}");
        }
        sender.join().unwrap();
    }
}
