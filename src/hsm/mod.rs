//! Keys, PINs and MACs: the verbs of one payment, behind a seam where a real HSM fits.
//!
//! Clear keys and clear PINs live in this room only. Callers hold keys as [`KeyBlock`]s,
//! authenticated under the local master key (LMK), and pass them back in.

pub mod aes;
pub mod audit;
mod buffer;
mod cache;
pub mod card_verification;
pub mod cipher;
pub mod des;
pub mod dukpt;
pub mod emv;
pub mod host_client;
pub mod host_command;
mod issue;
#[cfg(test)]
mod judges;
mod key;
pub mod key_block;
mod key_exchange;
pub mod key_usage;
mod keys;
pub mod lmk;
pub mod mac;
pub mod pin;
pub mod policy;
pub mod random;
mod seal;
mod self_test;
pub mod sm;
mod soft;
pub mod token;
pub mod track;
pub mod variant_lmk;
mod working_key;
mod zone_key;

pub use aes::AesLength;
pub use audit::Audit;
pub use des::{DesKey, KeyLength};
pub use issue::{WorkingKeys, read_working_keys};
pub use key::{Bdk, Key, KeyBlock, KeyUse, MacKey, Tak, Tdk, Tmk, Tpk, Zak, Zmk, Zpk};
pub use key_exchange::ExportedKey;
pub use lmk::{Lmk, LmkError, LmkFile, LmkKeys, LmkRing, LmkSettings};
pub use policy::{Algorithm, KeyKind};
pub use random::{OpenSslRandom, Random};
pub use soft::SoftHsm;
pub use zone_key::ZoneKey;

pub use crate::transaction::MacAlgorithm;
use crate::transaction::{Pan, SealedPan, ZoneUse};
use std::future::Future;
use std::pin::Pin;
use zeroize::Zeroizing;

/// What a key may be used for. A key block carries it, and every verb checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// Terminal master key: wraps a terminal's working keys (TR-31 `K0`).
    Tmk,
    /// Zone master key, shared with an issuer: protects key blocks on their way (TR-31 `K1`).
    Zmk,
    /// Base derivation key: of DUKPT terminals (TR-31 `B0`).
    Bdk,
    /// Terminal PIN key (`71`: see [`policy`] for this and the other codes).
    Tpk,
    /// Terminal MAC key.
    Tak,
    /// Terminal track-data key (TR-31 `D0`).
    Tdk,
    /// Zone PIN key, shared with an issuer.
    Zpk,
    /// Zone MAC key, shared with an issuer.
    Zak,
    /// The HSM's own key for PANs at rest.
    Data,
}

/// Why a verb failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// The MAC does not match under any of the keys offered.
    #[error("message authentication code does not match")]
    MacMismatch,
    /// The PIN block does not hold a PIN of this card. One error for every defect.
    #[error("PIN block is not valid")]
    PinBlock,
    /// The track does not decrypt to a track, or the PAN is malformed.
    #[error("track data is not valid")]
    Track,
    /// The key block is altered, or of another LMK.
    #[error("key block is not authentic")]
    KeyBlock,
    /// The key block is not written as its scheme says.
    #[error("key block is malformed")]
    KeyBlockForm,
    /// The key may not be used for this.
    #[error("key is not of the usage this needs")]
    KeyUsage,
    /// The key may not be used in this direction.
    #[error("key is not of the mode of use this needs")]
    KeyMode,
    /// The key may not leave, or not under this one.
    #[error("key may not leave, or not under this key")]
    Export,
    /// The key itself is not acceptable.
    #[error("key is not acceptable: {0}")]
    Key(KeyDefect),
    /// A PIN, a card value or a cryptogram is another than the one computed.
    #[error("does not verify")]
    Mismatch,
    /// A PIN is shorter than 4 or longer than 12 digits.
    #[error("PIN is not of 4 to 12 digits")]
    PinLength,
    /// PCI PIN 3-3 forbids to translate between these formats, or to change the PAN.
    #[error("translation between these PIN block formats is forbidden")]
    PinTranslation,
    /// An account number is not of the digits that the algorithm needs.
    #[error("account number is not valid")]
    Account,
    /// A decimalization table has too few different digits, or one of them too often.
    #[error("decimalization table is not valid")]
    DecimalizationTable,
    /// A key serial number with a counter that no device uses: zero or with too many ones (X9.24).
    #[error("key serial number is not valid")]
    KeySerialNumber,
    /// What is to be worked on is not of the length or form that the algorithm takes.
    #[error("input is not acceptable: {0}")]
    Input(&'static str),
    /// The sealed PAN is altered, or of another data key.
    #[error("sealed card number is not authentic")]
    Sealed,
    /// The HSM itself failed.
    #[error("HSM failure: {0}")]
    Failure(&'static str),
}

/// What makes a key unacceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyDefect {
    /// Not as long as its algorithm, its usage or its form says.
    #[error("length")]
    Length,
    /// An octet of a DES key with an even count of ones.
    #[error("parity is not odd")]
    Parity,
    /// A weak, semi-weak or possibly weak DES key (NIST SP 800-67, 3.3.2).
    #[error("weak")]
    Weak,
    /// Two parts of a triple DES key are equal: single DES dressed as triple (PCI PIN 2-3).
    #[error("two of its parts are equal")]
    Repeats,
    /// Fewer than two components (PCI PIN 6-1).
    #[error("at least two components form a key")]
    TooFewComponents,
    /// Components of several lengths.
    #[error("components differ in length")]
    ComponentLengths,
    /// A component that is no component, is zero or there twice.
    #[error("components do not form a key")]
    Components,
    /// The check value is another key's.
    #[error("check value does not match")]
    CheckValue,
    /// The algorithm does not take such a key.
    #[error("algorithm")]
    Algorithm,
}

/// A terminal's keys of one generation.
#[derive(Debug, Clone)]
pub struct TerminalKeys {
    /// Which generation.
    pub generation: i64,
    /// PIN key.
    pub tpk: Option<Key<Tpk>>,
    /// MAC key.
    pub tak: Key<Tak>,
    /// Track key.
    pub tdk: Option<Key<Tdk>>,
}

/// First verb of a payment: check the MAC, decrypt the track, seal the PAN. Prints nothing of the card.
pub struct Open<'a> {
    /// Generations to try, newest first.
    pub keys: &'a [TerminalKeys],
    /// MAC to check, when the message must carry one.
    pub mac: Option<MacCheck<'a>>,
    /// DE 2, when the message has it.
    pub pan: Option<&'a Pan>,
    /// DE 35 as digits and `D`.
    pub track2: Option<&'a str>,
    /// The track is under the TDK.
    pub track_encrypted: bool,
}

/// A MAC to check. Prints the algorithm only.
#[derive(Clone, Copy)]
pub struct MacCheck<'a> {
    /// The dialect's algorithm.
    pub algorithm: MacAlgorithm,
    /// What it covers.
    pub data: &'a [u8],
    /// What came, as the wire has it: 8 octets.
    pub mac: &'a [u8],
}

/// What [`Hsm::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// Index into [`Open::keys`] of the generation that matched: it serves PIN, track and reply.
    pub matched: usize,
    /// The card number, from DE 2 or the track.
    pub pan: Option<Pan>,
    /// The clear track.
    pub track2: Option<crate::transaction::Track2>,
    /// The card number as it may be stored.
    pub sealed: Option<SealedPan>,
}

/// Second verb: PIN block to the issuer's ZPK. Prints nothing of the block.
pub struct Forward<'a> {
    /// DE 52 under the terminal's TPK.
    pub block: [u8; 8],
    /// The block is bound to the PAN (format 0).
    pub with_pan: bool,
    /// The terminal's TPK.
    pub tpk: &'a Key<Tpk>,
    /// The route's ZPK.
    pub zpk: &'a Key<Zpk>,
    /// The card.
    pub pan: &'a Pan,
}

/// New working keys for a terminal. Prints the headers of their blocks only.
pub struct IssuedKeys {
    /// PIN key.
    pub tpk: Key<Tpk>,
    /// MAC key.
    pub tak: Key<Tak>,
    /// Track key.
    pub tdk: Option<Key<Tdk>>,
    /// The keys under the TMK with their check values, as the terminal gets them (UnionPay DE 62).
    pub wire: Vec<u8>,
}

impl std::fmt::Debug for Open<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (generations, mac) = (self.keys.len(), self.mac);
        write!(f, "Open {{ generations: {generations}, mac: {mac:?}, pan: {:?}, … }}", self.pan)
    }
}

impl std::fmt::Debug for MacCheck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MacCheck({:?}, {} octets)", self.algorithm, self.data.len())
    }
}

impl std::fmt::Debug for Forward<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Forward {{ tpk: {:?}, zpk: {:?}, pan: {:?}, … }}", self.tpk, self.zpk, self.pan)
    }
}

impl std::fmt::Debug for IssuedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IssuedKeys {{ tpk: {:?}, tak: {:?}, tdk: {:?}, … }}", self.tpk, self.tak, self.tdk)
    }
}

/// A future of a verb. Not `Send`: a payment stays on its worker's thread.
pub type Verb<'a, T> = Pin<Box<dyn Future<Output = Result<T, HsmError>> + 'a>>;

/// The verbs that a switch needs in the course of a payment.
pub trait Hsm: Send + Sync {
    /// Checks the MAC under each generation of keys, decrypts the track, seals the PAN.
    ///
    /// # Errors (of the future)
    /// [`HsmError::MacMismatch`], [`HsmError::Track`], or a key's defect.
    fn open<'a>(&'a self, open: Open<'a>) -> Verb<'a, Opened>;
    /// Translates a PIN block from TPK to ZPK; the PAN stays the same (PCI PIN 3-3).
    ///
    /// # Errors (of the future)
    /// [`HsmError::PinBlock`] for every defect of the block.
    fn forward<'a>(&'a self, forward: Forward<'a>) -> Verb<'a, [u8; 8]>;
    /// MACs a message.
    ///
    /// # Errors (of the future)
    /// A key's defect.
    fn mac<'a>(&'a self, key: MacKey<'a>, algorithm: MacAlgorithm, data: &'a [u8]) -> Verb<'a, [u8; 8]>;
    /// Checks one MAC under one key, in constant time.
    ///
    /// # Errors (of the future)
    /// [`HsmError::MacMismatch`], or a key's defect.
    fn verify_mac<'a>(&'a self, key: MacKey<'a>, check: MacCheck<'a>) -> Verb<'a, ()>;
    /// Opens a sealed PAN, for a message to the issuer or a clearing file.
    ///
    /// # Errors (of the future)
    /// [`HsmError::Sealed`].
    fn unseal<'a>(&'a self, pan: &'a SealedPan) -> Verb<'a, Pan>;
    /// Makes working keys for a terminal and wraps them under its TMK.
    ///
    /// # Errors (of the future)
    /// A key's defect.
    fn issue_keys<'a>(&'a self, tmk: &'a Key<Tmk>, form: crate::transaction::KeyForm)
    -> Verb<'a, IssuedKeys>;
    /// Makes a double-length zone key and wraps it under the ZMK, for the issuer to take.
    ///
    /// # Errors (of the future)
    /// A key's defect.
    fn make_zone_key<'a>(&'a self, zmk: &'a Key<Zmk>, of: ZoneUse) -> Verb<'a, ZoneKey>;
    /// Takes a zone key that the issuer sent: its key block under the LMK, and its check value.
    ///
    /// # Errors (of the future)
    /// [`HsmError::KeyBlockForm`] and [`HsmError::KeyBlock`] when it is no block, or altered or under another ZMK;
    /// [`HsmError::KeyUsage`] and [`HsmError::KeyMode`] when its header says that it is for something else;
    /// [`HsmError::Key`] for a key that is not acceptable.
    fn take_zone_key<'a>(
        &'a self,
        zmk: &'a Key<Zmk>,
        of: ZoneUse,
        sent: &'a str,
    ) -> Verb<'a, (KeyBlock, String)>;
    /// Verifies a PIN block under a ZPK against a reference PIN: for an issuer.
    ///
    /// # Errors (of the future)
    /// [`HsmError::PinBlock`] when the block is malformed; `Ok(false)` when the PIN is another.
    fn verify_pin<'a>(
        &'a self,
        zpk: &'a Key<Zpk>,
        block: [u8; 8],
        pan: &'a Pan,
        reference: &'a Zeroizing<String>,
    ) -> Verb<'a, bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let pan = Pan::parse("6225880012345675").unwrap();
        let text = format!("D011271TB00N0000{}", "5E".repeat(48));
        let (tpk, zpk, tak) = (Key::new(&*text), Key::new(&*text), Key::new(&*text));
        let keys = [TerminalKeys { generation: 1, tpk: None, tak: tak.clone(), tdk: Some(Key::new(&*text)) }];
        let mac = MacCheck { algorithm: MacAlgorithm::X99, data: &[0x5E; 20], mac: &[0x5E; 8] };
        let open = Open {
            keys: &keys,
            mac: Some(mac),
            pan: Some(&pan),
            track2: Some("6225880012345675D3012"),
            track_encrypted: false,
        };
        let forward = Forward { block: [0x5E; 8], with_pan: true, tpk: &tpk, zpk: &zpk, pan: &pan };
        let issued = IssuedKeys { tpk: tpk.clone(), tak, tdk: None, wire: vec![0x5E; 40] };
        let printed = format!("{open:?} {mac:?} {forward:?} {issued:?} {keys:?}");
        for secret in ["6225880012345675", "D3012", "94", "5E", "5e"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
        assert!(printed.contains("622588******5675") && printed.contains("D011271TB00N0000…"));
    }
}
