//! The software HSM: the verbs of [`Hsm`], in process, on clear keys that never leave this room.
//!
//! Clear PINs in a general-purpose computer are against PCI PIN requirement 1: this HSM is for tests,
//! development and routes without PIN. Key management is in [`super::keys`], what is read of
//! the LMK's file in [`super::lmk`].

use super::aes::{AesKey, KEY};
use super::audit::{self, Audit, KeyName, Operation};
use super::cache::Cache;
use super::des::{DesKey, KeyLength};
use super::issue::Layout;
use super::key_block::{Header, PAD};
use super::lmk::{DataKey, Lmk, LmkError, LmkFile, LmkRing};
use super::pin::block::PinFormat;
use super::pin::policy::{Account, PinKey, Recipient, Side};
use super::policy::KeyKind;
use super::random::{OpenSslRandom, Random};
use super::seal::DataKeys;
use super::working_key::{Schedule, WorkingKey};
use super::{
    Forward, Hsm, HsmError, IssuedKeys, Key, KeyBlock, KeyDefect, KeyUse, MacAlgorithm, MacCheck, MacKey,
    Open, Opened, TerminalKeys, Tmk, Usage, Verb, Zmk, ZoneKey, Zpk, mac, pin, policy, self_test, track,
};
use crate::clock::Clock;
use crate::transaction::{KeyForm, Pan, SealedPan, Track2, ZoneUse};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Format 0 takes no fill.
const NO_FILL: [u8; 8] = [0; 8];

/// The software HSM under one LMK.
pub struct SoftHsm {
    lmks: Arc<LmkRing>,
    data_keys: DataKeys,
    cache: Cache<KeyBlock, Arc<WorkingKey>>,
    pub(super) random: Box<dyn Random>,
    audit: Option<Arc<Audit>>,
}

impl SoftHsm {
    /// Starts the HSM with OpenSSL's random source, once its self-test has passed.
    ///
    /// # Errors
    /// [`HsmError::Failure`] when a known answer does not come out.
    pub fn new(lmk: &Lmk) -> Result<Self, HsmError> {
        Self::with_random(lmk, Box::new(OpenSslRandom))
    }

    /// Starts the HSM with another random source: what is drawn decides which keys are made.
    ///
    /// # Errors
    /// [`HsmError::Failure`] when a known answer does not come out.
    pub fn with_random(lmk: &Lmk, random: Box<dyn Random>) -> Result<Self, HsmError> {
        Self::with_ring(LmkRing::fixed(lmk)?, &DataKey::derived(lmk), random)
    }

    /// Starts the HSM under the LMKs of a file, which is made when it is not there and reread when it may have
    /// changed.
    ///
    /// # Errors
    /// [`LmkError`]: what keeps the file from being opened, or a known answer that does not come out.
    pub fn of_file(file: LmkFile) -> Result<Self, LmkError> {
        let keys = file.load_or_create()?;
        let clock = Clock::system(0).ok_or(HsmError::Failure("clock"))?;
        let ring = LmkRing::of_file(file, &keys, clock)?;
        Ok(Self::with_ring(ring, &keys.data, Box::new(OpenSslRandom))?)
    }

    fn with_ring(lmks: LmkRing, data: &DataKey, random: Box<dyn Random>) -> Result<Self, HsmError> {
        self_test::passed()?;
        Ok(Self {
            lmks: Arc::new(lmks),
            data_keys: DataKeys::new(data),
            cache: Cache::new(),
            random,
            audit: None,
        })
    }

    /// The LMKs it knows.
    #[must_use]
    pub fn lmks(&self) -> Arc<LmkRing> {
        Arc::clone(&self.lmks)
    }

    /// The same HSM, which records operations on keys, and refusals for a key's sake, from now on.
    #[must_use]
    pub fn with_audit(self, audit: Arc<Audit>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Where it records.
    #[must_use]
    pub fn audit(&self) -> Option<Arc<Audit>> {
        self.audit.clone()
    }

    /// Records that a key is not taken because its check value, or a component's, is not the one that is said.
    pub fn refuse_check_value(&self, operation: Operation, usage: Usage, found: &str) {
        let error = HsmError::Key(KeyDefect::CheckValue);
        self.refused(operation, &KeyName::checked(usage, found), error);
    }

    /// Records what was done with a key, durably.
    pub(super) fn record(&self, operation: Operation, key: &KeyName) -> Result<(), HsmError> {
        self.audit.as_ref().map_or(Ok(()), |audit| audit.done(operation, key))
    }

    /// The same for who is in a hurry: the disk is waited for on a thread for that, where the runtime has one.
    async fn record_aside(&self, operation: Operation, key: KeyName) -> Result<(), HsmError> {
        let Some(audit) = self.audit.clone() else { return Ok(()) };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return audit.done(operation, &key) };
        let written = runtime.spawn_blocking(move || audit.done(operation, &key)).await;
        written.unwrap_or(Err(HsmError::Failure("audit record")))
    }

    /// Records an error that is a refusal for a key's sake, and hands it on.
    pub(super) fn refused(&self, operation: Operation, key: &KeyName, error: HsmError) -> HsmError {
        if let (Some(audit), Some(word)) = (&self.audit, audit::refusal(error)) {
            audit.refused(operation, key, word);
        }
        error
    }

    /// A key block's key, when it may be used as one of `usages`.
    pub(super) fn key(&self, block: &KeyBlock, usages: &[Usage]) -> Result<Arc<WorkingKey>, HsmError> {
        self.find(block, usages).map_err(|error| self.refused(Operation::Use, &KeyName::header(block), error))
    }

    fn find(&self, block: &KeyBlock, usages: &[Usage]) -> Result<Arc<WorkingKey>, HsmError> {
        let key = match self.cache.find(block) {
            Some(key) => key,
            None => self.unwrap(block)?,
        };
        if usages.contains(&key.usage) { Ok(key) } else { Err(HsmError::KeyUsage) }
    }

    /// A key that is held to be of a usage, when it is.
    fn held<U: KeyUse>(&self, key: &Key<U>) -> Result<Arc<WorkingKey>, HsmError> {
        self.key(key.block(), &[U::USAGE])
    }

    fn mac_key(&self, key: MacKey<'_>) -> Result<Arc<WorkingKey>, HsmError> {
        self.key(key.block(), &[key.usage()])
    }

    fn unwrap(&self, block: &KeyBlock) -> Result<Arc<WorkingKey>, HsmError> {
        let (header, clear) = self.clear(block)?;
        let kind = KeyKind::of(policy::algorithm(header)?, clear.len())?;
        let usage = policy::usage(header, kind)?;
        let schedule = match kind {
            KeyKind::Des(_) => Schedule::Des(DesKey::new(&clear)?),
            KeyKind::Aes(_) => Schedule::Aes(AesKey::new(&clear)?),
        };
        let key = Arc::new(WorkingKey { usage, schedule });
        self.cache.keep(block.clone(), Arc::clone(&key));
        Ok(key)
    }

    /// What stands in a block of ours.
    pub(super) fn clear(&self, block: &KeyBlock) -> Result<(Header, Zeroizing<Vec<u8>>), HsmError> {
        let (header, clear) = self.lmks.unwrap(block.as_str())?;
        if header.optional.is_empty() { Ok((header.fixed, clear)) } else { Err(HsmError::KeyUsage) }
    }

    /// Wraps a clear key under the LMK.
    pub(super) fn wrap(&self, usage: Usage, kind: KeyKind, clear: &[u8]) -> Result<KeyBlock, HsmError> {
        self.wrap_under_lmk(policy::header(usage, kind), kind, clear)
    }

    /// As [`SoftHsm::wrap`], with a header that the policy knows.
    pub(super) fn wrap_under_lmk(
        &self,
        header: Header,
        kind: KeyKind,
        clear: &[u8],
    ) -> Result<KeyBlock, HsmError> {
        let mut pad = Zeroizing::new([0; PAD]);
        self.random.fill(pad.as_mut_slice())?;
        let masked = match kind {
            KeyKind::Des(_) => KeyLength::Triple.octets(),
            KeyKind::Aes(_) => KEY,
        };
        Ok(KeyBlock::new(self.lmks.wrap(&header.into(), clear, masked, pad.as_slice())?))
    }

    fn wrap_for<U: KeyUse>(&self, clear: &[u8]) -> Result<Key<U>, HsmError> {
        self.wrap(U::USAGE, KeyLength::of(clear.len())?.into(), clear).map(Key::of)
    }

    fn open_message(&self, open: &Open<'_>) -> Result<Opened, HsmError> {
        let matched = match open.mac {
            Some(check) => self.matching_generation(open.keys, check)?,
            None => 0,
        };
        let track2 = open.track2.map(|sent| self.read_track(open, matched, sent)).transpose()?;
        self.data_keys.opened(open.pan, matched, track2, &*self.random)
    }

    fn matching_generation(&self, keys: &[TerminalKeys], check: MacCheck<'_>) -> Result<usize, HsmError> {
        for (index, generation) in keys.iter().enumerate() {
            let tak = self.held(&generation.tak)?;
            match mac::verify(tak.des()?, check) {
                Ok(()) => return Ok(index),
                Err(HsmError::MacMismatch) => {}
                Err(error) => return Err(error),
            }
        }
        Err(HsmError::MacMismatch)
    }

    fn read_track(&self, open: &Open<'_>, matched: usize, sent: &str) -> Result<Track2, HsmError> {
        if !open.track_encrypted {
            return Track2::parse(sent).map_err(|_| HsmError::Track);
        }
        let tdk = open.keys.get(matched).and_then(|keys| keys.tdk.as_ref()).ok_or(HsmError::Track)?;
        track::decrypt(self.held(tdk)?.des()?, sent)
    }

    /// Format 0 to format 0 of the same PAN. A block without PAN is bound to no account, as one of format 1 is not,
    /// and goes to format 0 as that may.
    fn translate(&self, forward: &Forward<'_>) -> Result<[u8; 8], HsmError> {
        let (tpk, zpk) = (self.held(forward.tpk)?, self.held(forward.zpk)?);
        let account = Account::Pan(forward.pan);
        let side = |key| Side { key: PinKey::Tdea(key), format: PinFormat::Iso0, account };
        let (from, to) = (side(tpk.des()?), side(zpk.des()?));
        let block = if forward.with_pan {
            pin::policy::translate(&forward.block, &from, &to, Recipient::Host, NO_FILL)?.block
        } else {
            to.seal(&from.open_without_pan(&forward.block)?, NO_FILL)?
        };
        block.as_slice().try_into().map_err(|_| HsmError::PinBlock)
    }

    fn check_pin(
        &self,
        zpk: &Key<Zpk>,
        block: [u8; 8],
        pan: &Pan,
        reference: &str,
    ) -> Result<bool, HsmError> {
        let zpk = self.held(zpk)?;
        let clear = Zeroizing::new(zpk.des()?.decrypt(block));
        Ok(pin::block::decode_iso0(&clear, pan)?.is(reference))
    }

    /// New working keys, and what a record says of them.
    fn make_keys(&self, tmk: &Key<Tmk>, form: KeyForm) -> Result<(IssuedKeys, KeyName), HsmError> {
        let tmk = self.held(tmk)?;
        let layout = Layout::of(form).ok_or(HsmError::Input("this form holds no keys"))?;
        let tpk = self.draw(layout.tpk)?;
        let tak = self.draw(KeyLength::Single)?;
        let tdk = layout.tdk.map(|length| self.draw(length)).transpose()?;
        let issued = IssuedKeys {
            wire: layout.write(tmk.des()?, &tpk, &tak, tdk.as_ref().map(|key| key.as_slice()))?,
            tpk: self.wrap_for(&tpk)?,
            tak: self.wrap_for(&tak)?,
            tdk: tdk.map(|key| self.wrap_for(&key)).transpose()?,
        };
        let name = KeyName::checked(Usage::Tak, &DesKey::new(&tak)?.kcv());
        Ok((issued, name))
    }

    /// Draws a new DES key.
    pub(super) fn draw(&self, length: KeyLength) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let mut key = Zeroizing::new(vec![0; length.octets()]);
        self.random.des_key(&mut key)?;
        Ok(key)
    }
}

impl Hsm for SoftHsm {
    fn open<'a>(&'a self, open: Open<'a>) -> Verb<'a, Opened> {
        Box::pin(async move { self.open_message(&open) })
    }

    fn forward<'a>(&'a self, forward: Forward<'a>) -> Verb<'a, [u8; 8]> {
        Box::pin(async move {
            self.translate(&forward).inspect_err(|error| {
                // Other defects of a key were refused, and recorded, where it was looked up.
                if *error == HsmError::Key(KeyDefect::Length) {
                    self.refused(Operation::Use, &KeyName::header(forward.tpk.block()), *error);
                }
            })
        })
    }

    fn mac<'a>(&'a self, key: MacKey<'a>, algorithm: MacAlgorithm, data: &'a [u8]) -> Verb<'a, [u8; 8]> {
        Box::pin(async move { mac::mac(algorithm, self.mac_key(key)?.des()?, data) })
    }

    fn verify_mac<'a>(&'a self, key: MacKey<'a>, check: MacCheck<'a>) -> Verb<'a, ()> {
        Box::pin(async move { mac::verify(self.mac_key(key)?.des()?, check) })
    }

    fn unseal<'a>(&'a self, pan: &'a SealedPan) -> Verb<'a, Pan> {
        Box::pin(async move { self.data_keys.unseal(pan) })
    }

    fn issue_keys<'a>(&'a self, tmk: &'a Key<Tmk>, form: KeyForm) -> Verb<'a, IssuedKeys> {
        Box::pin(async move {
            let (issued, name) = self.make_keys(tmk, form)?;
            self.record_aside(Operation::Issue, name).await?;
            Ok(issued)
        })
    }

    fn make_zone_key<'a>(&'a self, zmk: &'a Key<Zmk>, of: ZoneUse) -> Verb<'a, ZoneKey> {
        Box::pin(async move { self.zone_key(zmk, of) })
    }

    fn take_zone_key<'a>(
        &'a self,
        zmk: &'a Key<Zmk>,
        of: ZoneUse,
        sent: &'a str,
    ) -> Verb<'a, (KeyBlock, String)> {
        Box::pin(async move { self.open_zone_key(zmk, of, sent) })
    }

    fn verify_pin<'a>(
        &'a self,
        zpk: &'a Key<Zpk>,
        block: [u8; 8],
        pan: &'a Pan,
        reference: &'a Zeroizing<String>,
    ) -> Verb<'a, bool> {
        Box::pin(async move { self.check_pin(zpk, block, pan, reference) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tpk;
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    const TMK: &str = "0123456789ABCDEFFEDCBA9876543210";
    const PIK: &str = "2A1F4C7691B3D5E084628CA1C2E5F708";
    const MAK: &str = "13579BDF02468ACE";
    const TDK: &str = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2";
    const ZPK: &str = "98519E45CBB9291F49EFAD4AFEFDDC79";
    const PAN: &str = "6225880012345675";
    const TRACK: &str = "6225880012345675D30122010000012300";
    const TRACK_SENT: &str = "6225880012345675AA5A7881CAF9ED9A00";
    /// The golden sale from MTI to DE 63, and its DE 64.
    const SALE: &str = "0200302004C020C0981100000000000001000000000702100012346225880012345675AA5A\
        7881CAF9ED9A003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B9261000000000\
        00000014220000010005004441443644393837";

    /// Draws the keys it was given, then OpenSSL's.
    struct Scripted(Mutex<VecDeque<Vec<u8>>>);

    impl Scripted {
        fn keys(keys: &[&str]) -> Box<dyn Random> {
            Box::new(Self(Mutex::new(keys.iter().map(|key| octets(key)).collect())))
        }
    }

    impl Random for Scripted {
        fn fill(&self, octets: &mut [u8]) -> Result<(), HsmError> {
            OpenSslRandom.fill(octets)
        }

        fn des_key(&self, key: &mut [u8]) -> Result<(), HsmError> {
            match self.0.lock().unwrap().pop_front() {
                Some(given) => key.copy_from_slice(&given),
                None => OpenSslRandom.des_key(key)?,
            }
            Ok(())
        }
    }

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn block(text: &str) -> [u8; 8] {
        octets(text).try_into().unwrap()
    }

    fn pan(text: &str) -> Pan {
        Pan::parse(text).unwrap()
    }

    /// The software HSM never waits: its verbs are done at the first poll.
    fn now<T>(mut verb: Verb<'_, T>) -> Result<T, HsmError> {
        match verb.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("the verb waits"),
        }
    }

    fn given<U: KeyUse>(hsm: &SoftHsm, clear: &str) -> Key<U> {
        Key::of(hsm.import_clear(U::USAGE, &octets(clear)).unwrap().0)
    }

    fn lmk() -> Lmk {
        Lmk::from_bytes([0x41; 32])
    }

    /// An HSM, and the golden terminal's keys as it issued them.
    fn signed_on(form: KeyForm) -> (SoftHsm, IssuedKeys) {
        let tpk = if form == KeyForm::Single { "2A1F4C7691B3D5E0" } else { PIK };
        let hsm = SoftHsm::with_random(&lmk(), Scripted::keys(&[tpk, MAK, TDK])).unwrap();
        let tmk = given(&hsm, TMK);
        let issued = now(hsm.issue_keys(&tmk, form)).unwrap();
        (hsm, issued)
    }

    fn generation(number: i64, keys: &IssuedKeys) -> TerminalKeys {
        let (tpk, tak, tdk) = (keys.tpk.clone(), keys.tak.clone(), keys.tdk.clone());
        TerminalKeys { generation: number, tpk: Some(tpk), tak, tdk }
    }

    fn sale() -> (Vec<u8>, Vec<u8>) {
        let octets = octets(SALE);
        let (covered, mac) = octets.split_at(octets.len() - 8);
        (covered.to_vec(), mac.to_vec())
    }

    fn union_pay<'a>(data: &'a [u8], mac: &'a [u8]) -> MacCheck<'a> {
        MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data, mac }
    }

    #[test]
    fn issued_keys_are_the_golden_de_62() {
        let double = "521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA";
        let with_track = format!("{double}7646340617CE6363F940A00AEF3A405163435184");
        for (form, wire) in [(KeyForm::Double, double), (KeyForm::DoubleWithTrack, &with_track)] {
            let (hsm, issued) = signed_on(form);
            assert_eq!(hex::encode_upper(&issued.wire), wire, "{form:?}");
            let terminal =
                super::super::read_working_keys(&DesKey::new(&octets(TMK)).unwrap(), form, &issued.wire)
                    .unwrap();
            assert_eq!(hsm.kcv(issued.tpk.block()).unwrap(), terminal.tpk.kcv());
            assert_eq!(hsm.kcv(issued.tak.block()).unwrap(), terminal.tak.kcv());
            assert_eq!(
                issued.tdk.map(|tdk| hsm.kcv(tdk.block()).unwrap()),
                terminal.tdk.map(|tdk| tdk.kcv())
            );
        }
        let (hsm, issued) = signed_on(KeyForm::Single);
        assert_eq!(issued.wire.len(), 24);
        let tmk = given(&hsm, TMK);
        assert_eq!(
            now(hsm.issue_keys(&tmk, KeyForm::None)).err(),
            Some(HsmError::Input("this form holds no keys"))
        );
        let (one, two) =
            (now(hsm.issue_keys(&tmk, KeyForm::Double)), now(hsm.issue_keys(&tmk, KeyForm::Double)));
        assert_ne!(one.unwrap().wire, two.unwrap().wire);
    }

    #[test]
    fn the_golden_sale_walks_through() {
        let (hsm, issued) = signed_on(KeyForm::DoubleWithTrack);
        let keys = [generation(1, &issued)];
        let (data, mac) = sale();
        let opened = now(hsm.open(Open {
            keys: &keys,
            mac: Some(union_pay(&data, &mac)),
            pan: None,
            track2: Some(TRACK_SENT),
            track_encrypted: true,
        }))
        .unwrap();
        assert_eq!((opened.matched, opened.track2.unwrap().text()), (0, TRACK));
        let card = opened.pan.unwrap();
        assert_eq!(card.digits(), PAN);
        assert_eq!(now(hsm.unseal(&opened.sealed.unwrap())).unwrap(), card);

        let zpk = given(&hsm, ZPK);
        let sent = block("605CAB8CE0D1A2B9");
        let forward = Forward { block: sent, with_pan: true, tpk: &issued.tpk, zpk: &zpk, pan: &card };
        let translated = now(hsm.forward(forward)).unwrap();
        let zone = DesKey::new(&octets(ZPK)).unwrap();
        assert_eq!(zone.decrypt(translated), block("06126CD6FEDCBA98"));
        for (reference, same) in [("123456", true), ("123457", false), ("1234", false), ("", false)] {
            let reference = Zeroizing::new(reference.to_owned());
            assert_eq!(now(hsm.verify_pin(&zpk, translated, &card, &reference)), Ok(same));
        }
        let reference = Zeroizing::new("123456".to_owned());
        let malformed = now(hsm.verify_pin(&zpk, sent, &card, &reference));
        assert_eq!(malformed, Err(HsmError::PinBlock));

        assert_eq!(
            now(hsm.mac(MacKey::Terminal(&issued.tak), MacAlgorithm::UnionPayEcb, &data)).unwrap().to_vec(),
            mac
        );
        assert_eq!(now(hsm.verify_mac(MacKey::Terminal(&issued.tak), union_pay(&data, &mac))), Ok(()));
        let altered = union_pay(&data[1..], &mac);
        assert_eq!(now(hsm.verify_mac(MacKey::Terminal(&issued.tak), altered)), Err(HsmError::MacMismatch));
    }

    #[test]
    fn open_finds_the_generation_whose_key_made_the_mac() {
        let (hsm, old) = signed_on(KeyForm::DoubleWithTrack);
        let tmk = given(&hsm, TMK);
        let new = now(hsm.issue_keys(&tmk, KeyForm::DoubleWithTrack)).unwrap();
        let both = [generation(2, &new), generation(1, &old)];
        let (data, old_mac) = sale();
        let new_mac = now(hsm.mac(MacKey::Terminal(&new.tak), MacAlgorithm::UnionPayEcb, &data)).unwrap();
        let mut altered = old_mac.clone();
        altered[0] ^= 1;
        let rows = [
            ("new", &both[..], new_mac.as_slice(), Ok(0)),
            ("old", &both, &old_mac, Ok(1)),
            ("altered", &both, &altered, Err(HsmError::MacMismatch)),
            ("short", &both, &old_mac[..4], Err(HsmError::MacMismatch)),
            ("only the new", &both[..1], &old_mac, Err(HsmError::MacMismatch)),
            ("no keys", &[], &old_mac, Err(HsmError::MacMismatch)),
        ];
        for (name, keys, mac, expected) in rows {
            let mac = Some(union_pay(&data, mac));
            let open = Open { keys, mac, pan: None, track2: None, track_encrypted: false };
            assert_eq!(now(hsm.open(open)).map(|opened| opened.matched), expected, "{name}");
        }
        // The track is read with the keys of the generation that matched, and of no other.
        for (mac, expected) in [(old_mac.as_slice(), true), (&new_mac, false)] {
            let mac = Some(union_pay(&data, mac));
            let open = Open { keys: &both, mac, pan: None, track2: Some(TRACK_SENT), track_encrypted: true };
            assert_eq!(now(hsm.open(open)).is_ok(), expected);
        }
    }

    #[test]
    fn the_card_number_comes_from_de_2_or_the_track_and_both_must_agree() {
        let (hsm, issued) = signed_on(KeyForm::Double);
        let keys = [generation(1, &issued)];
        let (same, other) = (pan(PAN), pan("4000000000000002"));
        let rows = [
            ("neither", None, None, false, Ok(None)),
            ("DE 2", Some(&same), None, false, Ok(Some(PAN))),
            ("track", None, Some(TRACK), false, Ok(Some(PAN))),
            ("both", Some(&same), Some(TRACK), false, Ok(Some(PAN))),
            ("two cards", Some(&other), Some(TRACK), false, Err(HsmError::Track)),
            ("no track", Some(&same), Some("6225880012345675"), false, Err(HsmError::Track)),
            ("empty track", Some(&same), Some(""), false, Err(HsmError::Track)),
            ("encrypted, no TDK", None, Some(TRACK_SENT), true, Err(HsmError::Track)),
        ];
        for (name, de2, track2, track_encrypted, expected) in rows {
            let open = Open { keys: &keys, mac: None, pan: de2, track2, track_encrypted };
            let found = now(hsm.open(open));
            if let Ok(opened) = &found {
                assert_eq!(opened.sealed.is_some(), opened.pan.is_some(), "{name}");
                assert_eq!(opened.matched, 0, "{name}");
            }
            let found = found.map(|opened| opened.pan.map(|pan| pan.digits().to_owned()));
            assert_eq!(found, expected.map(|digits| digits.map(str::to_owned)), "{name}");
        }
    }

    #[test]
    fn pin_blocks_are_translated_by_the_rules() {
        let (hsm, issued) = signed_on(KeyForm::Double);
        let zpk = given(&hsm, ZPK);
        let (terminal, zone) = (DesKey::new(&octets(PIK)).unwrap(), DesKey::new(&octets(ZPK)).unwrap());
        let (card, other) = (pan(PAN), pan("4000000000000002"));
        let (with_pan, without) = (true, false);
        let rows = [
            ("format 0", with_pan, "06126CD6FEDCBA98", &card, Ok("06126CD6FEDCBA98")),
            ("without PAN", without, "06123456FFFFFFFF", &card, Ok("06126CD6FEDCBA98")),
            ("another card", with_pan, "06126CD6FEDCBA98", &other, Err(())),
            ("format 1 is not format 0", without, "16123456FFFFFFFF", &card, Err(())),
            ("without PAN said to have one", with_pan, "06123456FFFFFFFF", &card, Err(())),
            ("format 0 said to have no PAN", without, "06126CD6FEDCBA98", &card, Err(())),
            ("3 digits", without, "03123FFFFFFFFFFF", &card, Err(())),
            ("13 digits", without, "0D1234567890123F", &card, Err(())),
            ("a letter", without, "061234A6FFFFFFFF", &card, Err(())),
            ("fill", without, "06123456FFFFFFF0", &card, Err(())),
        ];
        for (name, with_pan, clear, pan, expected) in rows {
            let block = terminal.encrypt(self::block(clear));
            let found = now(hsm.forward(Forward { block, with_pan, tpk: &issued.tpk, zpk: &zpk, pan }));
            let expected =
                expected.map(|clear| zone.encrypt(self::block(clear))).map_err(|()| HsmError::PinBlock);
            assert_eq!(found, expected, "{name}");
        }
        // Form 001's PIN key is single-length: it is issued, as its terminals ask for it, and serves no PIN.
        let (hsm, issued) = signed_on(KeyForm::Single);
        let block =
            DesKey::new(&octets("2A1F4C7691B3D5E0")).unwrap().encrypt(self::block("06126CD6FEDCBA98"));
        for (with_pan, block) in [(true, block), (false, [0; 8])] {
            let forward = Forward { block, with_pan, tpk: &issued.tpk, zpk: &zpk, pan: &card };
            assert_eq!(now(hsm.forward(forward)), Err(HsmError::Key(KeyDefect::Length)));
        }
    }

    /// What each verb says when it is given `key` in the place of each of its keys in turn.
    fn verbs_with(
        hsm: &SoftHsm,
        own: &dyn Fn(Usage) -> KeyBlock,
        key: &KeyBlock,
    ) -> Vec<(Usage, Option<HsmError>)> {
        let card = pan(PAN);
        let reference = Zeroizing::new("123456".to_owned());
        let (tpk, zpk) = (Key::of(own(Usage::Tpk)), Key::of(own(Usage::Zpk)));
        let block = [0; 8];
        let open = |tak: KeyBlock, tdk: KeyBlock, mac: bool| {
            let keys =
                [TerminalKeys { generation: 1, tpk: None, tak: Key::of(tak), tdk: Some(Key::of(tdk)) }];
            let mac = mac.then(|| union_pay(b"0200", b"00000000"));
            now(hsm.open(Open {
                keys: &keys,
                mac,
                pan: None,
                track2: Some(TRACK_SENT),
                track_encrypted: true,
            }))
            .err()
        };
        let forward = |tpk: &Key<Tpk>, zpk: &Key<Zpk>| {
            now(hsm.forward(Forward { block, with_pan: true, tpk, zpk, pan: &card })).err()
        };
        let (tak, zak) = (Key::new(key.as_str()), Key::new(key.as_str()));
        let mac = |key| now(hsm.mac(key, MacAlgorithm::UnionPayEcb, b"0200")).err();
        let verify = |key| now(hsm.verify_mac(key, union_pay(b"0200", b"00000000"))).err();
        vec![
            (Usage::Tak, open(key.clone(), own(Usage::Tdk), true)),
            (Usage::Tdk, open(own(Usage::Tak), key.clone(), false)),
            (Usage::Tpk, forward(&Key::of(key.clone()), &zpk)),
            (Usage::Zpk, forward(&tpk, &Key::of(key.clone()))),
            (Usage::Tak, mac(MacKey::Terminal(&tak))),
            (Usage::Zak, mac(MacKey::Zone(&zak))),
            (Usage::Tak, verify(MacKey::Terminal(&tak))),
            (Usage::Zak, verify(MacKey::Zone(&zak))),
            (Usage::Zpk, now(hsm.verify_pin(&Key::of(key.clone()), block, &card, &reference)).err()),
            (Usage::Tmk, now(hsm.issue_keys(&Key::of(key.clone()), KeyForm::Double)).err()),
            (Usage::Zmk, now(hsm.make_zone_key(&Key::of(key.clone()), ZoneUse::Zpk)).err()),
            (Usage::Zmk, now(hsm.take_zone_key(&Key::of(key.clone()), ZoneUse::Zak, "B0096")).err()),
        ]
    }

    #[test]
    fn every_verb_refuses_every_other_usage_and_every_altered_block() {
        let hsm = SoftHsm::new(&lmk()).unwrap();
        let usages = [Usage::Tmk, Usage::Tpk, Usage::Tak, Usage::Tdk, Usage::Zpk, Usage::Zak, Usage::Zmk];
        let keys: Vec<KeyBlock> =
            usages.iter().map(|usage| hsm.generate(*usage, KeyLength::Double).unwrap().0).collect();
        let own = |usage: Usage| keys[usages.iter().position(|u| *u == usage).unwrap()].clone();
        for (usage, key) in usages.iter().zip(&keys) {
            for (verb, (wanted, found)) in verbs_with(&hsm, &own, key).into_iter().enumerate() {
                let fits = wanted == *usage;
                assert_eq!(found == Some(HsmError::KeyUsage), !fits, "verb {verb}, {usage:?}: {found:?}");
            }
            let mut text = key.as_str().to_owned();
            let last = if text.ends_with('0') { "1" } else { "0" };
            text.replace_range(text.len() - 1.., last);
            let other = SoftHsm::new(&Lmk::from_bytes([0x42; 32])).unwrap();
            let foreign = other.generate(*usage, KeyLength::Double).unwrap().0;
            for bad in [KeyBlock::new(text), foreign, KeyBlock::new(""), KeyBlock::new("D0112")] {
                for (verb, (_, found)) in verbs_with(&hsm, &own, &bad).into_iter().enumerate() {
                    let refused = matches!(found, Some(HsmError::KeyBlock | HsmError::KeyBlockForm));
                    assert!(refused, "verb {verb}, {usage:?}, {bad:?}: {found:?}");
                }
            }
        }
    }
}
