//! A terminal's end of day: totals, upload where they differ, end message, next batch.

use super::batch::{Item, Kind, Totals, read_de48_half};
use super::draft::Draft;
use super::edc::{self, Follows};
use super::fault::Fault;
use super::outcome::{Agreement, Outcome, Settlement};
use super::profile::Dialect;
use super::request::Setting;
use super::unionpay;
use super::{Terminal, TerminalError};

/// Items in one UnionPay upload packet.
const PACKET: usize = 8;

impl Terminal {
    /// Settles the open batch: what is saved is sent first, then the totals; an upload where the host wants
    /// one; the end message; UnionPay also signs off. Any answer to the end message closes a UnionPay batch.
    /// When an answer is missing the batch stays open, and the next call goes on where this one stopped.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] in ASCII.
    pub async fn settle(&mut self) -> Result<Settlement, TerminalError> {
        let off = match self.fault.take() {
            Some(Fault::WrongTotals(minor)) => minor,
            other => {
                self.fault = other;
                0
            }
        };
        self.drain().await?;
        match self.profile.dialect {
            Dialect::UnionPay => self.settle_unionpay(off).await,
            Dialect::Edc => self.settle_edc(off).await,
            Dialect::Ascii => Err(TerminalError::NotInDialect(Dialect::Ascii, Kind::Settlement)),
        }
    }

    async fn settle_unionpay(&mut self, off: i64) -> Result<Settlement, TerminalError> {
        let totals = self.totals();
        let claimed = off_by(totals, off);
        let outcome = self.say(|setting| unionpay::settlement(setting, &claimed)).await?;
        let (host, agreement) = unionpay_result(&outcome);
        let mut settlement = self.opened(outcome, agreement, totals, host);
        if agreement == Agreement::Unanswered {
            return Ok(settlement);
        }
        let sent = match agreement {
            Agreement::Balanced => self.upload_chip("203").await?,
            Agreement::Different | Agreement::Error | Agreement::Unanswered => {
                self.upload_magnetic().await?
                    && self.upload_notices().await?
                    && self.upload_chip("205").await?
            }
        };
        settlement.uploaded = u32::try_from(self.file.state.uploaded.len()).unwrap_or(u32::MAX);
        if !sent {
            return Ok(settlement);
        }
        let (count, code) =
            (settlement.uploaded, if agreement == Agreement::Balanced { "207" } else { "202" });
        let end = self.say(|setting| unionpay::upload_end(setting, count, code)).await?;
        settlement.closed = !end.is_unknown();
        settlement.end = Some(end);
        if settlement.closed {
            self.sign_off().await?;
            self.close_batch()?;
        }
        Ok(settlement)
    }

    /// Sales, voids, completions by stripe or key, and voids of anything: eight to a packet.
    async fn upload_magnetic(&mut self) -> Result<bool, TerminalError> {
        let items = self.pending_items(|item| !item.is_notice() && !item.is_chip_sale());
        for packet in items.chunks(PACKET) {
            let packet: Vec<&Item> = packet.iter().collect();
            let answer = self.say(|setting| unionpay::upload(setting, &packet)).await?;
            if !self.uploaded(&answer, &packet)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Refunds and advices, one to a message.
    async fn upload_notices(&mut self) -> Result<bool, TerminalError> {
        for item in self.pending_items(Item::is_notice) {
            let answer = self.exchange(Kind::Settlement, unionpay::upload_notice(&item), 0).await?;
            if !self.uploaded(&answer, &[&item])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sales by chip, one to a message; 60.3 = 203 after agreement, else 205.
    async fn upload_chip(&mut self, code: &str) -> Result<bool, TerminalError> {
        for item in self.pending_items(Item::is_chip_sale) {
            let answer = self.say(|setting| unionpay::upload_chip(setting, &item, code)).await?;
            if !self.uploaded(&answer, &[&item])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn settle_edc(&mut self, off: i64) -> Result<Settlement, TerminalError> {
        let totals = self.totals();
        let claimed = off_by(totals, off);
        let outcome = self.say(|setting| edc::settlement(setting, &claimed, "920000")).await?;
        let agreement = match (outcome.is_unknown(), outcome.code.as_str()) {
            (false, "00") => Agreement::Balanced,
            (false, "95" | "77") => Agreement::Different,
            _ => Agreement::Unanswered,
        };
        let upload = outcome.code == "95";
        let mut settlement = self.opened(outcome, agreement, totals, None);
        if agreement == Agreement::Unanswered {
            return Ok(settlement);
        }
        settlement.closed = if upload {
            let sent = self.upload_edc().await?;
            settlement.uploaded = u32::try_from(self.file.state.uploaded.len()).unwrap_or(u32::MAX);
            if sent {
                let end = self.say(|setting| edc::settlement(setting, &claimed, "960000")).await?;
                let closed = end.approved;
                settlement.end = Some(end);
                closed
            } else {
                false
            }
        } else {
            true
        };
        if settlement.closed {
            self.close_batch()?;
        }
        Ok(settlement)
    }

    /// Every item but the voided ones and their voids, one to a message.
    async fn upload_edc(&mut self) -> Result<bool, TerminalError> {
        let items = self.pending_items(|item| !item.voided && !item.kind.is_void());
        let last = items.len().saturating_sub(1);
        for (place, item) in items.iter().enumerate() {
            let follows = if place == last { Follows::Last } else { Follows::More };
            let answer = self.say(|setting| edc::upload(setting, item, follows)).await?;
            if !self.uploaded(&answer, &[item])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a message of the settlement under the next STAN.
    async fn say(&mut self, words: impl FnOnce(&Setting<'_>) -> Draft) -> Result<Outcome, TerminalError> {
        let draft = self.worded(words);
        self.connected().await?;
        self.exchange(Kind::Settlement, draft, 0).await
    }

    /// Items of this sort that have not gone up yet.
    fn pending_items(&self, sort: impl Fn(&Item) -> bool) -> Vec<Item> {
        let state = &self.file.state;
        state
            .items
            .iter()
            .filter(|item| sort(item) && !state.uploaded.contains(&item.stan))
            .cloned()
            .collect()
    }

    /// Notes items as gone up when there was an answer, whatever it said.
    fn uploaded(&mut self, answer: &Outcome, items: &[&Item]) -> Result<bool, TerminalError> {
        if answer.is_unknown() {
            return Ok(false);
        }
        self.file.state.uploaded.extend(items.iter().map(|item| item.stan));
        self.file.save()?;
        Ok(true)
    }

    fn opened(
        &self,
        outcome: Outcome,
        agreement: Agreement,
        totals: Totals,
        host: Option<Totals>,
    ) -> Settlement {
        let batch = self.file.state.batch;
        Settlement { outcome, agreement, totals, host, batch, uploaded: 0, closed: false, end: None }
    }

    fn close_batch(&mut self) -> Result<(), TerminalError> {
        self.file.state.close_batch();
        Ok(self.file.save()?)
    }
}

/// Totals with the debit amount off by so many minor units.
const fn off_by(mut totals: Totals, minor: i64) -> Totals {
    totals.debit.minor += minor;
    totals
}

/// DE 48 of an 0510: the host's domestic totals, and what the two result digits say together. A foreign
/// digit 0 says nothing: there were no foreign cards.
fn unionpay_result(outcome: &Outcome) -> (Option<Totals>, Agreement) {
    let halves = outcome.reply.get(48).filter(|_| !outcome.is_unknown()).map(|text| {
        (read_de48_half(text.get(..31).unwrap_or_default()), text.get(61..62).unwrap_or("0").to_owned())
    });
    let Some((Some((host, domestic)), foreign)) = halves else { return (None, Agreement::Unanswered) };
    let agreement = match (domestic, foreign.as_str()) {
        ('1', "0" | "1") => Agreement::Balanced,
        ('3', _) | (_, "3") => Agreement::Error,
        ('2', _) | ('1', "2") => Agreement::Different,
        _ => Agreement::Unanswered,
    };
    (Some(host), agreement)
}
