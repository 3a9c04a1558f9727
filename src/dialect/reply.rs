//! Writes the fields of an answer: what is echoed from the request, and what the reply brings.

use super::Dialect;
use crate::transaction::{ProcessingRequest, Reply};
use iso8583_spec::{EncodeError, Encoder, View};

/// An answer being written.
pub(crate) struct ReplyWriter<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) request: &'a View<'a>,
    pub(crate) reply: &'a Reply,
    /// Our institution code (DE 32).
    pub(crate) acquirer: &'a str,
}

/// Where a field of an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the request, when it is there.
    Echo,
    /// DE 2: from the request, else the PAN read from the track.
    Card,
    /// DE 4: the approved part, else from the request.
    Amount,
    /// DE 12: `hhmmss` of the reply.
    Time,
    /// DE 13: `MMDD` of the reply.
    Date,
    /// DE 15: business day, `MMDD`.
    Day,
    /// DE 32: our institution code.
    Acquirer,
    /// DE 37.
    Rrn,
    /// DE 38.
    AuthCode,
    /// DE 39.
    Code,
    /// DE 54 of the issuer.
    AdditionalAmounts,
    /// DE 55 of the issuer.
    Icc,
}

impl ReplyWriter<'_> {
    /// TPDU swapped, header echoed.
    pub(crate) fn head(&self, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if let Some(swapped) = self.request.tpdu().and_then(iso8583_spec::swap_tpdu) {
            encoder.tpdu(&swapped)?;
        }
        if let Some(header) = self.request.header() {
            encoder.header(&self.answered_header(header))?;
        }
        Ok(())
    }

    /// UnionPay: the host echoes the header except the processing request, the low nibble of the
    /// third octet: 3 asks the terminal to sign on again.
    fn answered_header(&self, header: &[u8]) -> Vec<u8> {
        let request = match self.reply.request {
            ProcessingRequest::None => 0,
            ProcessingRequest::SignOn => 3,
        };
        header.iter().enumerate().map(|(i, b)| if i == 2 { (b & 0xF0) | request } else { *b }).collect()
    }

    /// Writes the fields of a table whose field numbers ascend.
    pub(crate) fn fields(
        &self,
        encoder: &mut Encoder<'_>,
        table: &[(u8, Source)],
    ) -> Result<(), EncodeError> {
        table.iter().try_for_each(|(de, source)| self.field(encoder, *de, *source))
    }

    fn field(&self, encoder: &mut Encoder<'_>, de: u8, source: Source) -> Result<(), EncodeError> {
        let reply = self.reply;
        match source {
            Source::Echo => self.echo(encoder, de),
            Source::Card => match (self.request.has(2), &reply.pan) {
                (false, Some(pan)) => encoder.text(de, pan.digits()),
                (true, _) | (false, None) => self.echo(encoder, de),
            },
            Source::Amount => match reply.approved_amount {
                Some(amount) => encoder.text(de, &amount.digits()),
                None => self.echo(encoder, de),
            },
            Source::Time => text(encoder, de, reply.local_time.get(4..10)),
            Source::Date => text(encoder, de, reply.local_time.get(..4)),
            Source::Day => text(encoder, de, reply.day.map(|d| d.mmdd()).as_deref()),
            Source::Acquirer => encoder.text(de, self.acquirer),
            Source::Rrn => text(encoder, de, reply.rrn.as_ref().map(|r| r.as_str())),
            Source::AuthCode => text(encoder, de, reply.auth_code.as_ref().map(|a| a.as_str())),
            Source::Code => encoder.text(de, self.dialect.code_of(&reply.decision).as_str()),
            Source::AdditionalAmounts => text(encoder, de, reply.additional_amounts.as_deref()),
            Source::Icc => match &reply.icc {
                Some(icc) => encoder.bytes(de, icc),
                None => Ok(()),
            },
        }
    }

    /// Copies a field of the request.
    pub(crate) fn echo(&self, encoder: &mut Encoder<'_>, de: u8) -> Result<(), EncodeError> {
        if let Some(value) = self.request.text(de) {
            return encoder.text(de, &value);
        }
        match self.request.bytes(de) {
            Some(value) => encoder.bytes(de, &value),
            None => Ok(()),
        }
    }
}

fn text(encoder: &mut Encoder<'_>, de: u8, value: Option<&str>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |v| encoder.text(de, v))
}
