//! The last step of every message: the answer, its MAC, and the connection it leaves by.

use super::Switch;
use crate::dialect::Dialect;
use crate::hsm::{Key, MacKey, Tak};
use crate::link::Connection;
use crate::transaction::Reply;
use iso8583_spec::View;

/// A message as it came.
#[derive(Clone)]
pub struct Arrival {
    /// Where it came from.
    pub connection: Connection,
    /// Its bytes, without the length prefix.
    pub body: bytes::Bytes,
    /// What its terminal speaks.
    pub dialect: &'static Dialect,
    /// When, milliseconds since the epoch.
    pub received_ms: i64,
}

impl Switch {
    /// Writes an answer and hands it to the connection that the message came by.
    pub(crate) async fn answer(
        &self,
        arrival: &Arrival,
        view: &View<'_>,
        reply: &Reply,
        tak: Option<&Key<Tak>>,
    ) {
        self.answer_on(&arrival.connection, arrival, view, reply, tak).await;
    }

    /// As [`Switch::answer`], on a connection that carried a later copy of the message.
    pub(crate) async fn answer_on(
        &self,
        connection: &Connection,
        arrival: &Arrival,
        view: &View<'_>,
        reply: &Reply,
        tak: Option<&Key<Tak>>,
    ) {
        match self.encode(arrival, view, reply, tak).await {
            Ok(body) => {
                let took = std::time::Duration::from_millis(
                    u64::try_from(self.clock.now_ms() - arrival.received_ms).unwrap_or(0),
                );
                let code = arrival.dialect.code_of(&reply.decision);
                self.answers.answered(arrival.dialect.id.name(), code.trimmed(), took);
                connection.send(body);
            }
            Err(reason) => tracing::error!(reason, "an answer could not be written"),
        }
    }

    async fn encode(
        &self,
        arrival: &Arrival,
        view: &View<'_>,
        reply: &Reply,
        tak: Option<&Key<Tak>>,
    ) -> Result<Vec<u8>, String> {
        let text = |e: iso8583_spec::EncodeError| e.to_string();
        let mut encoder = arrival.dialect.reply(view, reply, &self.options.acquirer).map_err(text)?;
        let tak = tak.filter(|_| arrival.dialect.reply_is_maced(view, reply));
        if let Some(tak) = tak {
            let data = encoder.mac_data(64).map_err(text)?;
            let algorithm = arrival.dialect.policy.mac;
            let mac =
                self.hsm.mac(MacKey::Terminal(tak), algorithm, data).await.map_err(|e| e.to_string())?;
            encoder.mac(&mac).map_err(text)?;
        }
        encoder.finish().map_err(text)
    }
}
