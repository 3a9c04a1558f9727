//! One request and its answer: encoded, sent, awaited, judged, with a fault when one was injected.
//!
//! Knows nothing of batches and saved reversals.

use super::batch::Kind;
use super::draft::Draft;
use super::envelope::{self, Judged, Seal};
use super::fault::Fault;
use super::outcome::{Outcome, Verdict};
use super::wire::Wire;
use super::{Terminal, TerminalError};

/// What was sent last, for [`Terminal::resend_last`].
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) kind: Kind,
    pub(super) draft: Draft,
    pub(super) minor: i64,
    pub(super) body: Vec<u8>,
}

impl Terminal {
    /// Sends the last frame again, octet for octet, and judges the answer. Changes no state.
    ///
    /// # Errors
    /// [`TerminalError::Draft`] when nothing has been sent.
    pub async fn resend_last(&mut self) -> Result<Outcome, TerminalError> {
        let sent = self.last.clone().ok_or(TerminalError::Draft("nothing has been sent"))?;
        self.connected().await?;
        let judged = self.round_trip(&sent, None).await?;
        Ok(self.outcome(&sent, judged))
    }

    /// Writes octets as they are, framed or not, and waits for a frame: its body, or `None` when the
    /// connection ends or the time runs out. The connection is then closed on this side too.
    ///
    /// # Errors
    /// [`TerminalError::Connect`].
    pub async fn send_octets(&mut self, octets: &[u8]) -> Result<Option<Vec<u8>>, TerminalError> {
        let timeout = self.profile.timeout;
        let wire = self.connected().await?;
        let reply = match wire.send_octets(octets).await {
            Ok(()) => wire.receive(timeout).await.unwrap_or_default(),
            Err(_) => None,
        };
        self.wire = None;
        Ok(reply)
    }

    /// Encodes, sends, waits, judges: with the fault, if one was injected.
    pub(super) async fn exchange(
        &mut self,
        kind: Kind,
        draft: Draft,
        minor: i64,
    ) -> Result<Outcome, TerminalError> {
        let fault = self.fault.take();
        let seal = match fault {
            Some(Fault::BadMac) => Seal::Spoiled,
            Some(Fault::NoMac) => Seal::Absent,
            Some(_) | None => Seal::Proper,
        };
        let mut body = envelope::encode(self.spec, &self.profile, &draft, self.keys.as_ref(), seal)?;
        if let Some(Fault::Truncated(octets)) = fault {
            body.truncate(body.len().saturating_sub(octets));
        }
        let sent = Sent { kind, draft, minor, body };
        self.last = Some(sent.clone());
        let mut judged = self.round_trip(&sent, fault).await?;
        if fault == Some(Fault::NotTaken) && judged.verdict == Verdict::Approved {
            judged.verdict = Verdict::NotTaken;
        }
        Ok(self.outcome(&sent, judged))
    }

    /// Sends a body and judges what comes back. A connection on which something went wrong is closed: what
    /// comes later on it belongs to nobody.
    async fn round_trip(&mut self, sent: &Sent, fault: Option<Fault>) -> Result<Judged, TerminalError> {
        let timeout = self.profile.timeout;
        let wire = self.connected().await?;
        let reply = match write(wire, &sent.body, fault).await {
            Ok(()) if fault == Some(Fault::HangUp) => None,
            Ok(()) => wire.receive(timeout).await.unwrap_or_default(),
            Err(_) => None,
        };
        let judged = match reply {
            None => envelope::no_reply(),
            Some(_) if fault == Some(Fault::DropReply) => {
                self.tape.note("answer dropped");
                envelope::no_reply()
            }
            Some(body) => envelope::judge(
                self.spec,
                self.profile.dialect,
                (sent.kind, &sent.draft),
                self.keys.as_ref(),
                &body,
            ),
        };
        let unknown = !matches!(judged.verdict, Verdict::Approved | Verdict::Declined);
        if unknown || fault == Some(Fault::Duplicate) {
            self.wire = None;
        }
        Ok(judged)
    }

    pub(super) fn outcome(&self, sent: &Sent, judged: Judged) -> Outcome {
        let Judged { verdict, code, fields } = judged;
        let now = (self.profile.clock)();
        let text = |de: u8| fields.get(de).map(str::to_owned);
        let partial = fields.get(4).filter(|_| code == "10").and_then(|text| text.parse().ok());
        Outcome {
            kind: sent.kind,
            verdict,
            approved: verdict == Verdict::Approved,
            rrn: text(37),
            auth_code: text(38).or_else(|| sent.draft.get(38).map(str::to_owned)),
            amount: partial.unwrap_or(sent.minor),
            stan: sent.draft.get(11).and_then(|text| text.parse().ok()).unwrap_or(0),
            batch: self.file.state.batch,
            mti: sent.draft.mti().to_owned(),
            processing_code: sent.draft.get(3).unwrap_or_default().to_owned(),
            date: text(13).unwrap_or_else(|| now.strftime("%m%d").to_string()),
            time: text(12).unwrap_or_else(|| now.strftime("%H%M%S").to_string()),
            transmitted: sent.draft.get(7).map(str::to_owned),
            invoice: sent.draft.get(62).map(str::to_owned),
            code,
            reply: fields,
        }
    }
}

async fn write(wire: &mut Wire, body: &[u8], fault: Option<Fault>) -> std::io::Result<()> {
    match fault {
        Some(Fault::StopMidFrame) => wire.send_part(body).await,
        Some(Fault::Duplicate) => {
            wire.send(body).await?;
            wire.send(body).await
        }
        Some(_) | None => wire.send(body).await,
    }
}
