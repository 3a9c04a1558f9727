//! Requests made ahead of time, for load: whole frames with PIN block and MAC, and nothing saved.

use super::batch::Kind;
use super::envelope::{Seal, encode};
use super::profile::Card;
use super::request::{Ask, payment};
use super::{Terminal, TerminalError};

impl Terminal {
    /// The frame of a sale, length prefix included, under the next STAN. No reversal is saved and the sale
    /// enters no batch: whoever sends it looks after it.
    ///
    /// # Errors
    /// No working keys, or malformed card data.
    pub fn prepare_sale(&mut self, card: &Card, minor: i64, seal: Seal) -> Result<Vec<u8>, TerminalError> {
        let (stan, invoice) = (self.file.state.next_stan(), self.file.state.next_invoice());
        let ask = Ask { kind: Kind::Sale, card, minor, original: None, voice: None };
        let draft = payment(&self.setting(stan, invoice)?, &ask)?;
        let draft = draft.ok_or(TerminalError::NotInDialect(self.profile.dialect, Kind::Sale))?;
        let body = encode(self.spec, &self.profile, &draft, self.keys.as_ref(), seal)?;
        let mut frame = Vec::with_capacity(body.len() + 4);
        self.spec.framing().encode(&body, &mut frame).map_err(|_| TerminalError::Draft("frame too long"))?;
        Ok(frame)
    }
}
