//! The handle of one terminal connection: what is due on it, and whether it must go.

use super::super::frame::FrameCodec;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// How many octets may wait for a terminal; one that takes its answers so slowly is closed.
const OUTBOX_MAX: usize = 64 * 1024;
/// How many handles may be out (payments under way) before the connection is read no further.
pub(super) const HANDLES_MAX: usize = 128;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// Nothing more is read; it ends when what is due is written and no handle is out.
    Draining,
    /// It ends when what is due is written.
    Closing,
    /// It ends now.
    Overflow,
    /// It has ended.
    Closed,
}

struct Shared {
    id: u64,
    peer: SocketAddr,
    codec: FrameCodec,
    outbox: RefCell<Vec<u8>>,
    stage: Cell<Stage>,
    bad_frames: Cell<u32>,
    /// The connection's task, when it waits for something to do.
    waker: RefCell<Option<Waker>>,
}

/// A terminal's connection. Cheap to clone; lives on its worker's thread. A payment holds one
/// while it is under way: a listener that shuts down waits for it.
pub struct Connection(Rc<Shared>);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({}, {}, {:?})", self.0.id, self.0.peer, self.0.stage.get())
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl Drop for Connection {
    /// The task may wait for this handle to come back.
    fn drop(&mut self) {
        let waits = self.0.stage.get() != Stage::Open || Rc::strong_count(&self.0) > HANDLES_MAX;
        if waits {
            self.wake();
        }
    }
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, codec: FrameCodec) -> Self {
        Self(Rc::new(Shared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            peer,
            codec,
            outbox: RefCell::default(),
            stage: Cell::new(Stage::Open),
            bad_frames: Cell::new(0),
            waker: RefCell::new(None),
        }))
    }

    /// A number that no other connection of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The terminal's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Whether an answer can still be written.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.0.stage.get(), Stage::Open | Stage::Draining)
    }

    /// Queues an answer (a body without its length prefix). What is queued in one turn of the
    /// runtime leaves in one write. On a connection that is closed it is dropped; when more than
    /// 64 KiB wait, the connection is closed.
    pub fn send(&self, body: impl AsRef<[u8]>) {
        if !self.is_open() {
            return;
        }
        let mut outbox = self.0.outbox.borrow_mut();
        if let Err(error) = self.0.codec.append(body.as_ref(), &mut outbox) {
            tracing::error!(connection = self.0.id, %error, "an answer cannot be framed");
        }
        if outbox.len() > OUTBOX_MAX {
            self.0.stage.set(Stage::Overflow);
        }
        drop(outbox);
        self.wake();
    }

    /// Closes the connection once what is queued is written.
    pub fn close(&self) {
        if self.is_open() {
            self.0.stage.set(Stage::Closing);
            self.wake();
        }
    }

    /// Counts a message that could not be read, and says how many there were on this connection.
    pub fn count_bad_frame(&self) -> u32 {
        let bad = self.0.bad_frames.get().saturating_add(1);
        self.0.bad_frames.set(bad);
        bad
    }

    /// How many messages could not be read.
    #[must_use]
    pub fn bad_frames(&self) -> u32 {
        self.0.bad_frames.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Another handle than the task's own is out.
    pub(super) fn is_held(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    pub(super) fn stage(&self) -> Stage {
        self.0.stage.get()
    }

    /// Goes from open to draining.
    pub(super) fn drain(&self) {
        if self.0.stage.get() == Stage::Open {
            self.0.stage.set(Stage::Draining);
        }
    }

    pub(super) fn ended(&self) {
        self.0.stage.set(Stage::Closed);
        self.0.outbox.take();
    }

    /// Whether another frame may be read.
    pub(super) fn may_read(&self) -> bool {
        self.0.stage.get() == Stage::Open && Rc::strong_count(&self.0) <= HANDLES_MAX
    }

    /// Whether the connection ends, given that nothing handed to the socket is left over.
    pub(super) fn is_done(&self) -> bool {
        let flushed = self.0.outbox.borrow().is_empty();
        match self.0.stage.get() {
            Stage::Open => false,
            Stage::Draining => flushed && !self.is_held(),
            Stage::Closing => flushed,
            Stage::Overflow | Stage::Closed => true,
        }
    }

    /// Moves what is due into `out`, which is empty; true when there was anything.
    pub(super) fn take_due(&self, out: &mut Vec<u8>) -> bool {
        std::mem::swap(&mut *self.0.outbox.borrow_mut(), out);
        !out.is_empty()
    }

    /// Waits until the task has something to do: an answer to write (unless it still `writes` the
    /// last ones), an end to make, or reading to take up again (when it does not `read`).
    pub(super) fn poll_due(&self, cx: &Context<'_>, doing: Doing) -> Poll<()> {
        let due = self.0.stage.get() == Stage::Overflow
            || (!doing.writes && (!self.0.outbox.borrow().is_empty() || self.is_done()))
            || (!doing.reads && self.may_read());
        if due {
            return Poll::Ready(());
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What the task is busy with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doing {
    pub(super) reads: bool,
    pub(super) writes: bool,
}
