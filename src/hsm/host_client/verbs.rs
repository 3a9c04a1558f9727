//! The verbs of a payment in commands of a device: `M8`, `M6`, `M2`, `CA`, `A0`, `A6`, `BU`.

use super::HostClient;
use super::message::Command;
use crate::hsm::cipher::{Padding, blocks, xor};
use crate::hsm::pin::block::AccountField;
use crate::hsm::{
    Forward, Hsm, HsmError, IssuedKeys, Key, KeyBlock, MacAlgorithm, MacCheck, MacKey, Open, Opened, Tdk,
    TerminalKeys, Tmk, Verb, Zmk, ZoneKey, Zpk, track,
};
use crate::transaction::{KeyForm, Pan, SealedPan, Track2, ZoneUse};
use zeroize::Zeroizing;

/// Octets of a MAC on the wire, and of a cipher block.
const BLOCK: usize = 8;

/// What a device is told to MAC, and how.
struct Covered<'a> {
    /// Size, algorithm and padding, each by its digit: 4 or 8 octets, ISO 9797-1 algorithm 1 or 3, method 1 or none.
    how: &'static str,
    data: std::borrow::Cow<'a, [u8]>,
}

impl<'a> Covered<'a> {
    /// UnionPay's MAC folds the message first, which takes no key: algorithm 1 over the sixteen characters that are left.
    fn of(algorithm: MacAlgorithm, data: &'a [u8]) -> Self {
        let folded = |data| {
            let block = blocks(data, Padding::Method1).fold([0; BLOCK], xor);
            hex::encode_upper(block).into_bytes()
        };
        // No data are one block of zeros; a device takes none for an error.
        let some = if data.is_empty() { &[0; BLOCK] } else { data };
        match algorithm {
            MacAlgorithm::UnionPayEcb => Self { how: "010", data: folded(data).into() },
            MacAlgorithm::X99 => Self { how: "111", data: some.into() },
            MacAlgorithm::X919 => Self { how: "131", data: some.into() },
        }
    }

    /// The fields that `M6` and `M8` have alike: the whole message, as octets.
    fn write(&self, command: Command, key: &KeyBlock) -> Result<Command, HsmError> {
        command.text("00").text(self.how).text("FFF").key(key)?.counted(&self.data)
    }
}

/// The digits by which a device is told the MAC that came; none when no device makes such a one.
fn found_digits(check: &MacCheck<'_>) -> Option<String> {
    let mac: [u8; BLOCK] = check.mac.try_into().ok()?;
    match check.algorithm {
        MacAlgorithm::UnionPayEcb => {
            let is_upper_hex = mac.iter().all(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'));
            String::from_utf8(mac.to_vec()).ok().filter(|_| is_upper_hex)
        }
        MacAlgorithm::X99 | MacAlgorithm::X919 => Some(hex::encode_upper(mac)),
    }
}

impl HostClient {
    async fn check_mac(&self, key: &KeyBlock, check: &MacCheck<'_>) -> Result<(), HsmError> {
        let digits = found_digits(check).ok_or(HsmError::MacMismatch)?;
        let covered = Covered::of(check.algorithm, check.data);
        let command = covered.write(self.command(*b"M8"), key)?.text(&digits).lmk();
        match self.pool.ask(command).await {
            Ok(answer) => answer.end(),
            Err(HsmError::Mismatch) => Err(HsmError::MacMismatch),
            Err(error) => Err(error),
        }
    }

    async fn make_mac(
        &self,
        key: &KeyBlock,
        algorithm: MacAlgorithm,
        data: &[u8],
    ) -> Result<[u8; BLOCK], HsmError> {
        let covered = Covered::of(algorithm, data);
        let mut answer = self.pool.ask(covered.write(self.command(*b"M6"), key)?.lmk()).await?;
        let mac = match algorithm {
            // Eight characters, as the wire has them.
            MacAlgorithm::UnionPayEcb => answer.text(BLOCK)?.as_bytes().try_into().unwrap_or_default(),
            MacAlgorithm::X99 | MacAlgorithm::X919 => *answer.hex()?,
        };
        answer.end()?;
        Ok(mac)
    }

    async fn open_message(&self, open: &Open<'_>) -> Result<Opened, HsmError> {
        let matched = match &open.mac {
            Some(check) => self.matching_generation(open.keys, check).await?,
            None => 0,
        };
        let track2 = match open.track2 {
            Some(sent) => Some(self.read_track(open, matched, sent).await?),
            None => None,
        };
        self.data_keys.opened(open.pan, matched, track2, &self.random)
    }

    async fn matching_generation(
        &self,
        keys: &[TerminalKeys],
        check: &MacCheck<'_>,
    ) -> Result<usize, HsmError> {
        for (index, generation) in keys.iter().enumerate() {
            match self.check_mac(generation.tak.block(), check).await {
                Ok(()) => return Ok(index),
                Err(HsmError::MacMismatch) => {}
                Err(error) => return Err(error),
            }
        }
        Err(HsmError::MacMismatch)
    }

    async fn read_track(&self, open: &Open<'_>, matched: usize, sent: &str) -> Result<Track2, HsmError> {
        if !open.track_encrypted {
            return Track2::parse(sent).map_err(|_| HsmError::Track);
        }
        let tdk = open.keys.get(matched).and_then(|keys| keys.tdk.as_ref()).ok_or(HsmError::Track)?;
        let clear = track::put(sent, &*self.decrypt(tdk, &*track::part(sent)?).await?)?;
        Track2::parse(&clear).map_err(|_| HsmError::Track)
    }

    /// One block, ECB, hexadecimal digits both ways.
    async fn decrypt(&self, tdk: &Key<Tdk>, block: &[u8; BLOCK]) -> Result<Zeroizing<[u8; BLOCK]>, HsmError> {
        let command = self.command(*b"M2").text("0011FFF").key(tdk.block())?.text("0010").hex(block).lmk();
        let mut answer = self.pool.ask(command).await?;
        answer.text(4)?;
        let clear = answer.hex()?;
        answer.end()?;
        Ok(clear)
    }

    /// Format 0 to format 0 of the same PAN. A block without PAN no device binds to one (PCI PIN 3-3).
    async fn translate(&self, forward: &Forward<'_>) -> Result<[u8; BLOCK], HsmError> {
        if !forward.with_pan {
            return Err(HsmError::PinTranslation);
        }
        let account = AccountField::from(forward.pan).digits().map(|digit| char::from(b'0' + digit));
        let account: String = account.into_iter().collect();
        let command = self.command(*b"CA").key(forward.tpk.block())?.key(forward.zpk.block())?;
        let command = command.text("12").hex(&forward.block).text("0101").text(&account).lmk();
        let mut answer = self.pool.ask(command).await?;
        answer.text(2)?;
        let block = answer.hex()?;
        answer.text(2)?;
        answer.end()?;
        Ok(*block)
    }
}

impl Hsm for HostClient {
    fn open<'a>(&'a self, open: Open<'a>) -> Verb<'a, Opened> {
        Box::pin(async move { self.open_message(&open).await })
    }

    fn forward<'a>(&'a self, forward: Forward<'a>) -> Verb<'a, [u8; 8]> {
        Box::pin(async move { self.translate(&forward).await })
    }

    fn mac<'a>(&'a self, key: MacKey<'a>, algorithm: MacAlgorithm, data: &'a [u8]) -> Verb<'a, [u8; 8]> {
        Box::pin(async move { self.make_mac(key.block(), algorithm, data).await })
    }

    fn verify_mac<'a>(&'a self, key: MacKey<'a>, check: MacCheck<'a>) -> Verb<'a, ()> {
        Box::pin(async move { self.check_mac(key.block(), &check).await })
    }

    fn unseal<'a>(&'a self, pan: &'a SealedPan) -> Verb<'a, Pan> {
        Box::pin(async move { self.data_keys.unseal(pan) })
    }

    fn issue_keys<'a>(&'a self, tmk: &'a Key<Tmk>, form: KeyForm) -> Verb<'a, IssuedKeys> {
        Box::pin(async move { self.make_keys(tmk, form).await })
    }

    fn make_zone_key<'a>(&'a self, zmk: &'a Key<Zmk>, of: ZoneUse) -> Verb<'a, ZoneKey> {
        Box::pin(async move { self.zone_key(zmk, of).await })
    }

    fn take_zone_key<'a>(
        &'a self,
        zmk: &'a Key<Zmk>,
        of: ZoneUse,
        sent: &'a str,
    ) -> Verb<'a, (KeyBlock, String)> {
        Box::pin(async move { self.open_zone_key(zmk, of, sent).await })
    }

    /// A device compares no PIN with one in clear: its commands take an offset or a PVV.
    fn verify_pin<'a>(
        &'a self,
        _zpk: &'a Key<Zpk>,
        _block: [u8; 8],
        _pan: &'a Pan,
        _reference: &'a Zeroizing<String>,
    ) -> Verb<'a, bool> {
        Box::pin(async { Err(HsmError::Input("a device compares no PIN with one in clear")) })
    }
}
