//! A tap on the wire between one terminal and the switch: it hears every frame, and loses or spoils one when told.
//!
//! It knows frames and message types, and shares no state with the terminal, so that it can tell what the switch
//! wrote even when the terminal did not look.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use iso8583_spec::{Spec, View};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const MAX_BODY: usize = 8192;

/// What the tap does, once, to the next frame of a message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meddle {
    /// The terminal's frame never arrives, and the connection breaks.
    LoseRequest(&'static str),
    /// The switch's frame never arrives, and the connection breaks.
    LoseAnswer(&'static str),
    /// One bit of the MAC is turned: of the next frame of this type that has one.
    SpoilMac(&'static str),
}

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Terminal,
    Switch,
}

struct Heard {
    spec: &'static Spec,
    frames: RefCell<Vec<(From, Vec<u8>)>>,
    plan: RefCell<Vec<Meddle>>,
}

/// A tap; it ends when it is dropped.
pub(crate) struct Tap {
    /// Where the terminal connects.
    pub(crate) address: SocketAddr,
    heard: Rc<Heard>,
    task: JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    /// Stands before the switch at `switch`. Needs a `LocalSet`.
    pub(crate) async fn before(switch: SocketAddr, spec: &'static Spec) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let heard = Rc::new(Heard { spec, frames: RefCell::default(), plan: RefCell::default() });
        let shared = Rc::clone(&heard);
        let task = tokio::task::spawn_local(async move {
            // A terminal has one connection at a time; the next begins when the last has ended.
            while let Ok((terminal, _)) = listener.accept().await {
                let Ok(upstream) = TcpStream::connect(switch).await else { return };
                // Either side may hang up at any time: that is what is watched.
                let _ = shared.carry(terminal, upstream).await;
            }
        });
        Ok(Self { address, heard, task })
    }

    pub(crate) fn meddle(&self, meddle: Meddle) {
        self.heard.plan.borrow_mut().push(meddle);
    }

    /// Bodies that the terminal sent, lost ones too.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        self.of(From::Terminal)
    }

    /// Bodies that the switch sent, lost ones too.
    pub(crate) fn answers(&self) -> Vec<Vec<u8>> {
        self.of(From::Switch)
    }

    fn of(&self, who: From) -> Vec<Vec<u8>> {
        let frames = self.heard.frames.borrow();
        frames.iter().filter(|(from, _)| *from == who).map(|(_, body)| body.clone()).collect()
    }
}

impl Heard {
    async fn carry(&self, mut terminal: TcpStream, mut switch: TcpStream) -> std::io::Result<()> {
        terminal.set_nodelay(true)?;
        switch.set_nodelay(true)?;
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        loop {
            let read = tokio::select! {
                read = terminal.read_buf(&mut asked) => read?,
                read = switch.read_buf(&mut answered) => read?,
            };
            let Some(out) = self.take(From::Terminal, &mut asked) else { return Ok(()) };
            switch.write_all(&out).await?;
            let Some(out) = self.take(From::Switch, &mut answered) else { return Ok(()) };
            terminal.write_all(&out).await?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// The whole frames of a buffer as they go on; `None` when the connection breaks.
    fn take(&self, from: From, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
        let framing = self.spec.framing();
        let mut out = Vec::new();
        while let Some(frame) = framing.decode(buffer, MAX_BODY).ok()? {
            let mut body = buffer.get(frame.body)?.to_vec();
            buffer.drain(..frame.consumed);
            let meddle = self.planned(from, &body);
            if meddle == Some(Meddle::SpoilMac(mti(self.spec, &body)))
                && let Some(last) = body.last_mut()
            {
                *last ^= 1;
            }
            self.frames.borrow_mut().push((from, body.clone()));
            match meddle {
                Some(Meddle::LoseRequest(_) | Meddle::LoseAnswer(_)) => return None,
                Some(Meddle::SpoilMac(_)) | None => framing.encode(&body, &mut out).ok()?,
            }
        }
        Some(out)
    }

    fn planned(&self, from: From, body: &[u8]) -> Option<Meddle> {
        let maced = View::decode(self.spec, body).is_ok_and(|view| view.mac_data().is_some());
        let mti = mti(self.spec, body);
        let meant = |meddle: &Meddle| match (meddle, from) {
            (Meddle::LoseRequest(of), From::Terminal) | (Meddle::LoseAnswer(of), From::Switch) => *of == mti,
            (Meddle::SpoilMac(of), From::Terminal) => *of == mti && maced,
            _ => false,
        };
        let mut plan = self.plan.borrow_mut();
        let index = plan.iter().position(meant)?;
        Some(plan.remove(index))
    }
}

/// The message types that a plan may name.
fn mti(spec: &Spec, body: &[u8]) -> &'static str {
    let Ok(view) = View::decode(spec, body) else { return "" };
    ["0200", "0320", "0330"].into_iter().find(|mti| view.mti().as_str() == *mti).unwrap_or_default()
}
