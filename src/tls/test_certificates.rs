//! Certificates for tests: made anew each time, in a folder of their own.

use super::{ClientTls, ClientTlsFiles, ServerTls, ServerTlsFiles};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use std::path::{Path, PathBuf};

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    /// Signed by `authority`, or an authority itself.
    pub(crate) fn new(name: &str, authority: Option<&Self>) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(u32::from(authority.is_some()) + 1).unwrap().to_asn1_integer().unwrap();
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

    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, self.certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&key, self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        (certificate, key)
    }
}

/// Files of one authority with a server and a terminal, and of another with a stranger.
pub(crate) struct Files {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) ca: PathBuf,
    pub(crate) server: (PathBuf, PathBuf),
    pub(crate) terminal: (PathBuf, PathBuf),
    pub(crate) stranger: (PathBuf, PathBuf),
}

impl Files {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn server(&self, client_ca: Option<&PathBuf>) -> ServerTls {
        let (certificate, key) = self.server.clone();
        ServerTls::load(&ServerTlsFiles { certificate, key, client_ca: client_ca.cloned() }).unwrap()
    }

    pub(crate) fn client(&self, server_name: &str, identity: Option<&(PathBuf, PathBuf)>) -> ClientTls {
        let (ca, server_name) = (self.ca.clone(), server_name.to_owned());
        ClientTls::load(&ClientTlsFiles { ca, server_name, identity: identity.cloned() }).unwrap()
    }

    /// A client that offers one version only.
    pub(crate) fn client_of_version(&self, server_name: &str, version: SslVersion) -> ClientTls {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        builder.set_ca_file(&self.ca).unwrap();
        // Level 0 lets this client offer an old version at all.
        builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        builder.set_min_proto_version(Some(version)).unwrap();
        builder.set_max_proto_version(Some(version)).unwrap();
        ClientTls { connector: builder.build(), server_name: server_name.to_owned() }
    }
}
