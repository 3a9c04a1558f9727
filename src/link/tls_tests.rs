//! TLS on payment sockets.

use super::{ClientTls, ClientTlsFiles, ServerTls, ServerTlsFiles};
use super::{
    Connection, Handler, Key, LinkDialect, LinkOptions, LinkState, ListenerOptions, PeerRequest, Sharing,
    bind, listen, start,
};
use crate::metrics::recorded;
use crate::tls::test_certificates::Files;
use bytes::Bytes;
use iso8583_spec::Framing;
use openssl::ssl::SslVersion;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

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
            let client = files.client_of_version("switch.example", version);
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
