//! Payment sockets: frames to and from terminals and issuers.
//!
//! This room knows frames and nothing inside them: no message, no card, no key, no store. What an
//! answer belongs to is told by a [`LinkDialect`]; what a terminal's frame means, by a [`Handler`].
//! Everything here lives on one worker's thread: futures and handles are not `Send`.

pub mod frame;
pub mod issuer;
pub mod listener;
#[cfg(test)]
mod tls_tests;

pub use crate::tls::{ClientTls, ClientTlsFiles, ServerTls, ServerTlsFiles, TlsError};
pub use frame::{CodecError, FrameCodec};
pub use issuer::{
    Key, Late, LinkClient, LinkDialect, LinkError, LinkOptions, LinkState, NeedNumbers, PeerAsked,
    PeerRequest, PeerVerb, start,
};
pub use listener::{Connection, Handler, ListenerOptions, Sharing, bind, listen};

/// Connects to a peer that is no issuer, tuned as payment sockets are: small messages leave at once, and a peer that
/// vanished is noticed.
///
/// # Errors
/// What the system says.
pub async fn connect(address: &str) -> std::io::Result<tokio::net::TcpStream> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    listener::tune(&stream)?;
    Ok(stream)
}
