//! TLS 1.2 and above for both ends, from PEM files: for the sockets of payments and those of host commands. It knows
//! no sockets; OpenSSL's types stay in this room.

#[cfg(test)]
pub(crate) mod test_certificates;

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslAcceptor, SslConnector, SslFiletype, SslMethod, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

/// What was read is wiped in OpenSSL's own buffer: `SSL_OP_CLEANSE_PLAINTEXT`, which the crate has no name for.
const CLEANSE_PLAINTEXT: SslOptions = SslOptions::from_bits_retain(1 << 1);

/// Why TLS cannot be set up. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// OpenSSL does not take the file.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// OpenSSL's reason.
        reason: String,
    },
    /// The file cannot be read.
    #[error("{}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// OpenSSL fails.
    #[error("TLS: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// What a listener needs, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// When given, a client must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// What a connecting end needs, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// The authorities that may sign the server's certificate.
    pub ca: PathBuf,
    /// The name that the server's certificate must bear.
    pub server_name: String,
    /// Our certificate and its private key, when the server asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The accepting end.
#[derive(Clone)]
pub struct ServerTls(SslAcceptor);

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Loads certificate, key and client authorities.
    ///
    /// # Errors
    /// [`TlsError`] with the file it is about.
    pub fn load(files: &ServerTlsFiles) -> Result<Self, TlsError> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_options(CLEANSE_PLAINTEXT);
        builder.set_certificate_chain_file(&files.certificate).map_err(about(&files.certificate))?;
        builder.set_private_key_file(&files.key, SslFiletype::PEM).map_err(about(&files.key))?;
        if let Some(ca) = &files.client_ca {
            builder.set_ca_file(ca).map_err(about(ca))?;
            for authority in authorities(ca)? {
                builder.add_client_ca(&authority)?;
            }
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        Ok(Self(builder.build()))
    }

    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<SslStream<S>, openssl::ssl::Error> {
        let mut stream = SslStream::new(Ssl::new(self.0.context())?, stream)?;
        Pin::new(&mut stream).accept().await?;
        Ok(stream)
    }
}

/// The connecting end.
#[derive(Clone)]
pub struct ClientTls {
    connector: SslConnector,
    server_name: String,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientTls({})", self.server_name)
    }
}

impl ClientTls {
    /// Loads authorities and, when there is one, our own certificate.
    ///
    /// # Errors
    /// [`TlsError`] with the file it is about.
    pub fn load(files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_options(CLEANSE_PLAINTEXT);
        builder.set_ca_file(&files.ca).map_err(about(&files.ca))?;
        if let Some((certificate, key)) = &files.identity {
            builder.set_certificate_chain_file(certificate).map_err(about(certificate))?;
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(about(key))?;
        }
        Ok(Self { connector: builder.build(), server_name: files.server_name.clone() })
    }

    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<SslStream<S>, openssl::ssl::Error> {
        let ssl = self.connector.configure()?.into_ssl(&self.server_name)?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await?;
        Ok(stream)
    }
}

fn about(file: &Path) -> impl FnOnce(ErrorStack) -> TlsError + use<> {
    let file = file.to_owned();
    move |stack| {
        let reasons = stack.errors().iter().filter_map(openssl::error::Error::reason);
        TlsError::File { file, reason: reasons.collect::<Vec<_>>().join(", ") }
    }
}

fn authorities(file: &Path) -> Result<Vec<X509>, TlsError> {
    let pem = std::fs::read(file).map_err(|reason| TlsError::Read { file: file.to_owned(), reason })?;
    X509::stack_from_pem(&pem).map_err(about(file))
}
