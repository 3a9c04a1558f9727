//! TLS 1.2 and above for both ends, from PEM files. It knows no sockets; OpenSSL's types stay in
//! this room.

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslAcceptor, SslConnector, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

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

/// What a terminal listener needs, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// When given, a terminal must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// What an issuer link needs, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// The authorities that may sign the issuer's certificate.
    pub ca: PathBuf,
    /// The name that the issuer's certificate must bear.
    pub server_name: String,
    /// Our certificate and its private key, when the issuer asks for one.
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

    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
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
        builder.set_ca_file(&files.ca).map_err(about(&files.ca))?;
        if let Some((certificate, key)) = &files.identity {
            builder.set_certificate_chain_file(certificate).map_err(about(certificate))?;
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(about(key))?;
        }
        Ok(Self { connector: builder.build(), server_name: files.server_name.clone() })
    }

    /// Secures a connection, for a room that takes it as it comes.
    ///
    /// # Errors
    /// OpenSSL's, as an error of a stream.
    pub async fn secure<S: AsyncRead + AsyncWrite + Send + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>> {
        self.connect(stream).await.map_err(std::io::Error::other)
    }

    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
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

#[cfg(test)]
mod tests {
    use super::super::{
        Connection, Handler, Key, LinkDialect, LinkOptions, LinkState, ListenerOptions, PeerRequest, Sharing,
        bind, listen, start,
    };
    use super::*;
    use crate::metrics::recorded;
    use bytes::Bytes;
    use iso8583_spec::Framing;
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::hash::MessageDigest;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509Builder, X509NameBuilder};
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;
    use tokio_util::sync::CancellationToken;

    /// A certificate and its key.
    struct Identity {
        certificate: X509,
        key: PKey<Private>,
    }

    impl Identity {
        /// Signed by `authority`, or an authority itself.
        fn new(name: &str, authority: Option<&Self>) -> Self {
            let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
            let mut subject = X509NameBuilder::new().unwrap();
            subject.append_entry_by_text("CN", name).unwrap();
            let subject = subject.build();
            let mut builder = X509Builder::new().unwrap();
            builder.set_version(2).unwrap();
            let serial =
                BigNum::from_u32(u32::from(authority.is_some()) + 1).unwrap().to_asn1_integer().unwrap();
            builder.set_serial_number(&serial).unwrap();
            builder.set_subject_name(&subject).unwrap();
            builder.set_pubkey(&key).unwrap();
            builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
            builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
            if let Some(authority) = authority {
                let names = SubjectAlternativeName::new()
                    .dns(name)
                    .build(&builder.x509v3_context(Some(&authority.certificate), None))
                    .unwrap();
                builder.append_extension(names).unwrap();
            } else {
                builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
            }
            builder.set_issuer_name(authority.map_or(&subject, |a| a.certificate.subject_name())).unwrap();
            builder.sign(authority.map_or(&key, |a| &a.key), MessageDigest::sha256()).unwrap();
            Self { certificate: builder.build(), key }
        }

        fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
            let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
            std::fs::write(&certificate, self.certificate.to_pem().unwrap()).unwrap();
            std::fs::write(&key, self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
            (certificate, key)
        }
    }

    /// Files of one authority with a server and a terminal, and of another with a stranger.
    struct Files {
        folder: tempfile::TempDir,
        ca: PathBuf,
        server: (PathBuf, PathBuf),
        terminal: (PathBuf, PathBuf),
        stranger: (PathBuf, PathBuf),
    }

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (ours, other) = (Identity::new("ours", None), Identity::new("other", None));
            let at = folder.path();
            Self {
                ca: ours.write(at, "ca").0,
                server: Identity::new("switch.example", Some(&ours)).write(at, "server"),
                terminal: Identity::new("terminal.example", Some(&ours)).write(at, "terminal"),
                stranger: Identity::new("stranger.example", Some(&other)).write(at, "stranger"),
                folder,
            }
        }

        fn server(&self, client_ca: Option<&PathBuf>) -> ServerTls {
            let (certificate, key) = self.server.clone();
            ServerTls::load(&ServerTlsFiles { certificate, key, client_ca: client_ca.cloned() }).unwrap()
        }

        fn client(&self, server_name: &str, identity: Option<&(PathBuf, PathBuf)>) -> ClientTls {
            let (ca, server_name) = (self.ca.clone(), server_name.to_owned());
            ClientTls::load(&ClientTlsFiles { ca, server_name, identity: identity.cloned() }).unwrap()
        }
    }

    struct Echo;

    impl Handler for Echo {
        fn frame(&self, connection: &Connection, body: Bytes) {
            connection.send(body);
        }
    }

    fn real(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    fn listening(tls: ServerTls) -> SocketAddr {
        let socket = bind(([127, 0, 0, 1], 0).into(), Sharing::Sole).unwrap();
        let listener = TcpListener::from_std(socket).unwrap();
        let address = listener.local_addr().unwrap();
        let options = ListenerOptions {
            name: "tls".into(),
            dialect: "edc",
            framing: Framing::LENGTH_2,
            max_frame: 4096,
            half_frame: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            max_connections: 10,
            tls: Some(tls),
        };
        tokio::task::spawn_local(listen(listener, Rc::new(options), Rc::new(Echo), CancellationToken::new()));
        address
    }

    /// Whether a frame comes back. Under TLS 1.3 a client learns that it was refused only when it reads.
    async fn is_served(client: &ClientTls, address: SocketAddr) -> bool {
        let stream = TcpStream::connect(address).await.unwrap();
        let Ok(mut stream) = client.connect(stream).await else { return false };
        let mut got = [0; 4];
        stream.write_all(b"\x00\x02ab").await.is_ok()
            && stream.read_exact(&mut got).await.is_ok()
            && got == *b"\x00\x02ab"
    }

    #[test]
    fn only_a_terminal_with_a_certificate_of_ours_is_served() {
        let files = Files::new();
        let name = "switch.example";
        let rows = [
            ("none asked for", None, files.client(name, None), true),
            ("known", Some(&files.ca), files.client(name, Some(&files.terminal)), true),
            ("none shown", Some(&files.ca), files.client(name, None), false),
            ("unknown", Some(&files.ca), files.client(name, Some(&files.stranger)), false),
        ];
        for (name, client_ca, client, served) in rows {
            let figures = recorded(|| {
                real(async {
                    let address = listening(files.server(client_ca));
                    assert_eq!(is_served(&client, address).await, served, "{name}");
                });
            });
            let refused = r#"tollgate_connections_refused_total{dialect="edc",reason="tls"} 1"#;
            assert_eq!(figures.contains(refused), !served, "{name}: {figures}");
        }
    }

    #[test]
    fn a_server_of_another_authority_or_name_is_not_trusted() {
        let files = Files::new();
        let (certificate, key) = files.stranger.clone();
        let stranger = ServerTls::load(&ServerTlsFiles { certificate, key, client_ca: None }).unwrap();
        real(async {
            let address = listening(stranger);
            assert!(!is_served(&files.client("stranger.example", None), address).await);
            let address = listening(files.server(None));
            assert!(!is_served(&files.client("bank.example", None), address).await);
            assert!(is_served(&files.client("switch.example", None), address).await);
        });
    }

    #[test]
    fn versions_below_1_2_are_refused() {
        let files = Files::new();
        real(async {
            let address = listening(files.server(None));
            for (version, served) in [(SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true)] {
                let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
                builder.set_ca_file(&files.ca).unwrap();
                // Level 0 lets this client offer the old version at all.
                builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
                builder.set_min_proto_version(Some(version)).unwrap();
                builder.set_max_proto_version(Some(version)).unwrap();
                let client = ClientTls { connector: builder.build(), server_name: "switch.example".into() };
                assert_eq!(is_served(&client, address).await, served, "{version:?}");
            }
        });
    }

    /// Says nothing and answers nothing: the link is up once it is connected.
    struct Mute;

    impl LinkDialect for Mute {
        fn sign_on(&self, _: u32) -> Vec<u8> {
            Vec::new()
        }
        fn sign_off(&self, _: u32) -> Vec<u8> {
            Vec::new()
        }
        fn echo(&self, _: u32) -> Vec<u8> {
            Vec::new()
        }
        fn network_key(&self, _: u32) -> Option<Key> {
            None
        }
        fn key_of(&self, body: &[u8]) -> Option<Key> {
            Key::new(1, &[std::str::from_utf8(body).ok()?])
        }
        fn is_accepted(&self, _: &[u8]) -> bool {
            false
        }
        fn answer_peer(&self, _: &[u8]) -> Option<PeerRequest> {
            None
        }
    }

    #[test]
    fn an_issuer_link_shows_its_certificate() {
        let files = Files::new();
        real(async {
            let address = listening(files.server(Some(&files.ca))).to_string();
            let options = LinkOptions {
                name: "BANK".into(),
                address,
                framing: Framing::LENGTH_2,
                max_frame: 4096,
                max_in_flight: 10,
                sign_on: false,
                connect: Duration::from_secs(10),
                echo_after: Duration::ZERO,
                echo_misses: 3,
                backoff_min: Duration::from_secs(1),
                backoff_max: Duration::from_secs(1),
                jitter_seed: 1,
                tls: Some(files.client("switch.example", Some(&files.terminal))),
            };
            let (client, _late) = start(options, Rc::new(Mute), (1, 10));
            client.watch().wait_for(|state| *state == LinkState::Up).await.unwrap();
            let key = Key::new(1, &["hello"]).unwrap();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
            assert_eq!(client.request(key, b"hello".to_vec(), deadline).await.unwrap(), &b"hello"[..]);
        });
    }

    #[test]
    fn a_bad_file_is_named() {
        let files = Files::new();
        let nonsense = files.folder.path().join("nonsense.pem");
        std::fs::write(&nonsense, "nonsense").unwrap();
        let nowhere = files.folder.path().join("nowhere.pem");
        let ((certificate, key), (_, other_key)) = (files.server.clone(), files.terminal.clone());
        let rows = [
            (nowhere.clone(), key.clone(), None, "nowhere.pem: "),
            (nonsense.clone(), key.clone(), None, "nonsense.pem: "),
            (certificate.clone(), nonsense.clone(), None, "nonsense.pem: "),
            (certificate.clone(), other_key, None, "terminal.key: key values mismatch"),
            (certificate, key, Some(nowhere), "nowhere.pem: "),
        ];
        for (certificate, key, client_ca, want) in rows {
            let error = ServerTls::load(&ServerTlsFiles { certificate, key, client_ca }).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
        let (ca, server_name) = (nonsense, "switch.example".to_owned());
        let error = ClientTls::load(&ClientTlsFiles { ca, server_name, identity: None }).unwrap_err();
        assert!(error.to_string().contains("nonsense.pem: "), "{error}");
    }
}
