//! The LMK's file, its components, its passphrase and its rotation.

use super::*;
use crate::clock::Clock;
use crate::hsm::{KeyBlock, KeyLength, SoftHsm, Usage};
use crate::transaction::{Pan, SealedPan};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";
/// The public AES test LMK of Thales key blocks.
const THALES: &str = "9B71333A13F9FAE72F9D0E2DAB4AD6784718012F9244033F3F26A2DE0C8AA11A";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, octets: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, octets).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn file(&self) -> LmkFile {
        self.file_with(Some(self.path("passphrase")), None)
    }

    fn file_with(&self, passphrase_file: Option<PathBuf>, token: Option<TokenSettings>) -> LmkFile {
        let settings = LmkSettings { file: self.path("lmk"), passphrase_file, token };
        LmkFile::new(settings, || Err(std::io::Error::other("nobody to ask")))
    }

    /// A file sealed at the least cost.
    fn sealed(&self, keys: &LmkKeys) -> LmkFile {
        self.put("passphrase", PASSPHRASE);
        let file = self.file();
        let seal = file.take_passphrase(PASSPHRASE, Cost::of(19_456, 1, 1).unwrap()).unwrap();
        file.create(keys, &seal).unwrap();
        file
    }
}

fn thales() -> Lmk {
    Lmk::of(&hex::decode(THALES).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn same(one: &LmkKeys, two: &LmkKeys) -> bool {
    let former = |keys: &LmkKeys| keys.former.as_ref().map(|f| (*f.lmk.octets(), f.replaced_ms));
    one.current.is(&two.current) && former(one) == former(two) && one.data.0 == two.data.0
}

fn rotating() -> LmkKeys {
    LmkKeys::new(thales()).unwrap().rotated(Lmk::random().unwrap(), 1_700_000_000_000).unwrap()
}

#[test]
fn the_check_value_is_the_published_one() {
    assert_eq!(thales().check_value().unwrap(), "DB3FB6");
    assert_eq!(format!("{:?}", thales()), "Lmk(DB3FB6)");
}

#[test]
fn the_first_start_makes_it_and_later_starts_load_it() {
    let place = Place::new();
    let first = place.file().load_or_create().unwrap();
    assert_eq!(mode(&place.path("lmk")), 0o600);
    assert!(same(&place.file().load_or_create().unwrap(), &first));
    assert_eq!(place.file().seal().unwrap(), Seal::Plain);
    let other = Place::new().file().load_or_create().unwrap();
    assert!(!other.current.is(&first.current) && other.data.0 != first.data.0);
    let missing = Place::new().file().load().unwrap_err();
    assert!(matches!(&missing, LmkError::Io { error, .. } if error.kind() == ErrorKind::NotFound));
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_others_may_touch_is_refused() {
    let place = Place::new();
    place.file().load_or_create().unwrap();
    for (bits, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
        fs::set_permissions(place.path("lmk"), fs::Permissions::from_mode(bits)).unwrap();
        let found = place.file().load_or_create();
        assert_eq!(found.is_ok(), accepted, "{bits:o}");
        assert!(accepted || matches!(found, Err(LmkError::Shared(_))), "{bits:o}");
    }
}

#[test]
fn every_generation_comes_back_under_every_seal() {
    for keys in [LmkKeys::new(thales()).unwrap(), rotating()] {
        let place = Place::new();
        place.file().create(&keys, &Seal::Plain).unwrap();
        assert!(same(&place.file().load().unwrap(), &keys));
        let again = place.file().create(&keys, &Seal::Plain).unwrap_err();
        assert!(matches!(&again, LmkError::Io { error, .. } if error.kind() == ErrorKind::AlreadyExists));
        let place = Place::new();
        place.sealed(&keys);
        assert!(same(&place.file().load().unwrap(), &keys));
        let told = place.file().told().unwrap();
        assert_eq!(told.current, keys.current.check_value().ok());
        assert_eq!(told.former, keys.former.as_ref().map(|f| (f.lmk.check_value().unwrap(), f.replaced_ms)));
        let text = fs::read_to_string(place.path("lmk")).unwrap().to_uppercase();
        for secret in [keys.current.octets().as_slice(), thales().octets(), &keys.data.0[..32]] {
            assert!(!text.contains(&hex::encode_upper(secret)), "a sealed file holds a key");
        }
    }
}

#[test]
fn a_file_that_holds_no_lmk_is_refused_and_kept() {
    let good = "41".repeat(32);
    let mut rows: Vec<(String, &str)> = vec![
        (String::new(), "does not hold an LMK"),
        ("41".into(), "does not hold an LMK"),
        ("4".repeat(63), "does not hold an LMK"),
        (format!("{good}41"), "does not hold an LMK"),
        (format!("{good}\n\n\n4"), "does not hold an LMK"),
        ("G".repeat(64), "does not hold an LMK"),
        ("A".repeat(5000), "longer than 4096 octets"),
    ];
    let place = Place::new();
    place.file().create(&rotating(), &Seal::Plain).unwrap();
    let text = fs::read_to_string(place.path("lmk")).unwrap();
    let line = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    let mut edit = |from: &str, to: &str, why| {
        assert!(text.contains(from));
        rows.push((text.replace(from, to), why));
    };
    edit("version = 1", "version = 2", "version 2 is not known");
    edit("\"plain\"", "\"none\"", "protection is none of");
    edit("\"plain\"", "\"passphrase\"", "argon2id is missing");
    edit("version = 1", "version = 1\nextra = 1", "unknown field `extra`");
    edit("version = 1", "version 1", ":3: ");
    edit("\nreplaced_ms = 1700000000000", "", "go together");
    edit("\"DB3FB6\"", "\"DB3FB7\"", "not the former LMK's");
    edit(&line("former"), "", "go together");
    edit(&line("current"), "current = \"000000\"", "not the current LMK's");
    edit(&line("data_key"), "data_key = \"00\"", "data_key is not 144");
    edit(&line("data_key"), &format!("data_key = \"{}\"", "00".repeat(72)), "data_key is altered");
    edit(&line("keys"), "keys = \"\"", "too short");
    edit(&line("keys"), &line("keys")[..72], "last line");
    edit(&line("keys"), &line("keys").to_lowercase(), "last line");
    edit(&line("keys"), &format!("{}\"", &line("keys")[..72]), "the LMKs that the head names");
    for (text, why) in rows {
        let place = Place::new();
        let path = place.put("lmk", &text);
        let found = place.file().load_or_create().unwrap_err().to_string();
        assert!(found.contains(why) && found.contains("lmk"), "{why}: {found}");
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
    let place = Place::new();
    fs::create_dir(place.path("lmk")).unwrap();
    assert!(place.file().load_or_create().unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn every_altered_octet_of_a_sealed_file_is_refused() {
    let (place, keys) = (Place::new(), rotating());
    place.sealed(&keys);
    let good = fs::read(place.path("lmk")).unwrap();
    let file = place.file();
    // From here on it holds the key that opens, and computes another for another salt or cost only.
    assert!(same(&file.load().unwrap(), &keys));
    for at in 0..good.len() {
        for flip in [0x01, 0x20] {
            let mut altered = good.clone();
            altered[at] ^= flip;
            place.put("lmk", &altered);
            assert!(file.load().is_err(), "octet {at}: {:?}", String::from_utf8_lossy(&altered));
        }
        place.put("lmk", &good[..at]);
        assert!(file.load().is_err(), "cut at {at}");
    }
    place.put("lmk", [good.as_slice(), b"\n"].concat());
    assert!(file.load().is_err(), "longer");
    place.put("lmk", &good);
    assert!(same(&file.load().unwrap(), &keys));
}

#[test]
fn a_passphrase_is_right_or_wrong() {
    let (place, keys) = (Place::new(), rotating());
    place.sealed(&keys);
    let long = "x".repeat(2000);
    let rows: [(&str, &str); 8] = [
        (PASSPHRASE, ""),
        ("correct horse battery staple\n", ""),
        ("correct horse battery staple\r\n", ""),
        ("correct horse battery stapl", "wrong passphrase, or the file is altered"),
        (" correct horse battery staple", "wrong passphrase, or the file is altered"),
        ("", "a passphrase is one line"),
        ("correct horse battery staple\n\n", "a passphrase is one line"),
        (&long, "longer than 1024"),
    ];
    for (passphrase, why) in rows {
        place.put("passphrase", passphrase);
        match place.file().load() {
            Ok(found) => assert!(why.is_empty() && same(&found, &keys), "{passphrase:?}"),
            Err(error) => assert!(!why.is_empty() && error.to_string().contains(why), "{error}"),
        }
    }
    fs::set_permissions(place.path("passphrase"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(place.file().load(), Err(LmkError::Shared(_))));
    let nobody = place.file_with(None, None).load().unwrap_err();
    assert!(nobody.to_string().contains("passphrase_file"), "{nobody}");
}

#[test]
fn absurd_costs_are_refused_before_memory_is_taken() {
    let place = Place::new();
    place.sealed(&LmkKeys::new(thales()).unwrap());
    let text = fs::read_to_string(place.path("lmk")).unwrap();
    let rows = [
        ("memory_kib = 19456", "memory_kib = 4294967295", "memory_kib is 4294967295"),
        ("memory_kib = 19456", "memory_kib = 1048577", "memory_kib is 1048577"),
        ("memory_kib = 19456", "memory_kib = 8", "memory_kib is 8"),
        ("memory_kib = 19456", "memory_kib = -1", ":7: "),
        ("passes = 1,", "passes = 4294967295,", "passes is 4294967295"),
        ("passes = 1,", "passes = 0,", "passes is 0"),
        ("lanes = 1,", "lanes = 17,", "lanes is 17"),
        ("memory_kib = 19456, passes = 1", "memory_kib = 1048576, passes = 5", "memory_kib times passes"),
        ("salt = \"", "salt = \"00", "salt is not 32"),
    ];
    for (from, to, why) in rows {
        assert!(text.contains(from), "{text}");
        place.put("lmk", text.replace(from, to));
        let began = std::time::Instant::now();
        let found = place.file().load().unwrap_err().to_string();
        assert!(found.contains(why), "{to}: {found}");
        assert!(began.elapsed().as_millis() < 100, "{to}: it was computed");
    }
}

#[test]
fn sealing_takes_the_clear_file_away_and_a_failed_change_keeps_the_old_one() {
    let place = Place::new();
    let keys = place.file().load_or_create().unwrap();
    // What the disk held before: another name of the same file.
    fs::hard_link(place.path("lmk"), place.path("old")).unwrap();
    place.put("passphrase", PASSPHRASE);
    let file = place.file();
    let seal = file.take_passphrase(PASSPHRASE, Cost::of(19_456, 1, 1).unwrap()).unwrap();
    file.replace(&keys, &seal).unwrap();
    assert!(fs::read(place.path("old")).unwrap().iter().all(|octet| *octet == 0));
    assert_eq!((mode(&place.path("lmk")), file.seal().unwrap().name()), (0o600, "passphrase"));
    assert!(same(&place.file().load().unwrap(), &keys));

    let before = fs::read(place.path("lmk")).unwrap();
    let failed = file.replace(&rotating(), &Seal::Token).unwrap_err();
    assert!(failed.to_string().contains("hsm.token is not set"), "{failed}");
    assert_eq!(fs::read(place.path("lmk")).unwrap(), before);

    // The other passphrase opens it from then on, and only that.
    let seal = file.take_passphrase("another passphrase", Cost::of(19_456, 1, 1).unwrap()).unwrap();
    file.replace(&keys, &seal).unwrap();
    assert!(matches!(place.file().load(), Err(LmkError::Passphrase(_))));
    place.put("passphrase", "another passphrase");
    assert!(same(&place.file().load().unwrap(), &keys));
}

#[test]
fn one_command_at_a_time_changes_the_file() {
    let place = Place::new();
    let held = place.file().lock().unwrap();
    assert!(matches!(place.file().lock(), Err(LmkError::Busy(_))));
    drop(held);
    place.file().lock().unwrap();
}

#[test]
fn components_form_the_lmk_and_every_defect_is_named() {
    let place = Place::new();
    let component = |name: &str, octets: [u8; 32]| {
        let lmk = Lmk::from_bytes(octets);
        let text = format!("{}\n{}\n", hex::encode_upper(octets), lmk.check_value().unwrap());
        place.put(name, text)
    };
    let wanted: [u8; 32] = *thales().octets();
    let (one, two): ([u8; 32], [u8; 32]) = ([0x5A; 32], std::array::from_fn(|i| i as u8));
    let last: [u8; 32] = std::array::from_fn(|i| wanted[i] ^ one[i] ^ two[i]);
    let (a, b, c) = (component("a", one), component("b", two), component("c", last));
    assert_eq!(form(&[&a, &b, &c]).unwrap().check_value().unwrap(), "DB3FB6");
    assert_eq!(form(&[&c, &a, &b]).unwrap().check_value().unwrap(), "DB3FB6", "in any order");

    let digits = hex::encode_upper(one);
    let zero = component("zero", [0; 32]);
    let replayed = component("replayed", one);
    let sum = component("sum", std::array::from_fn(|i| one[i] ^ two[i]));
    let short = place.put("short", format!("{}\n000000\n", &digits[..62]));
    let long = place.put("long", format!("{digits}00\n000000\n"));
    let text = place.put("text", format!("{}\n000000\n", "G".repeat(64)));
    let wrong = place.put("wrong", format!("{digits}\n000000\n"));
    let bare = place.put("bare", &digits);
    let trailing = place.put("trailing", fs::read_to_string(&a).unwrap() + "\nmore\n");
    let open = component("open", two);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o640)).unwrap();
    let missing = place.path("missing");
    let rows: Vec<(Vec<&PathBuf>, &str)> = vec![
        (vec![], "at least two components"),
        (vec![&a], "at least two components"),
        (vec![&a, &zero], "zero:1: the component is zero"),
        (vec![&a, &b, &replayed], "replayed:1: the same component as"),
        (vec![&a, &a], "a:1: the same component as"),
        (vec![&a, &b, &sum], "the components sum up to zero"),
        (vec![&a, &short], "short:1: a component is of 64 hexadecimal digits, not of 62"),
        (vec![&a, &long], "long:1: a component is of 64 hexadecimal digits, not of 66"),
        (vec![&a, &text], "text:1: not hexadecimal"),
        (vec![&b, &wrong], "wrong:2: the check value is not this component's"),
        (vec![&b, &bare], "bare:2: the component's check value is missing"),
        (vec![&b, &trailing], "trailing:4: nothing may follow"),
        (vec![&a, &open], "open: open to group or others"),
        (vec![&a, &missing], "missing: "),
    ];
    for (paths, why) in rows {
        let found = form(&paths).unwrap_err().to_string();
        assert!(found.contains(why), "{why}: {found}");
        assert!(!found.contains(&digits) && !found.to_uppercase().contains(&hex::encode_upper(two)));
    }
}

#[test]
fn a_new_component_is_random_and_never_overwritten() {
    let place = Place::new();
    let (one, two) = (place.path("1"), place.path("2"));
    let told = [new_component(&one).unwrap(), new_component(&two).unwrap()];
    assert_ne!(told[0], told[1]);
    assert_eq!((mode(&one), mode(&two)), (0o600, 0o600));
    assert_eq!(read_component(&one).unwrap().check_value().unwrap(), told[0]);
    let before = fs::read(&one).unwrap();
    assert!(new_component(&one).is_err());
    assert_eq!(fs::read(&one).unwrap(), before);
    form(&[one, two]).unwrap();
}

/// A running HSM over the place's file, and its clock.
fn ring(place: &Place) -> (LmkRing, Clock) {
    let (file, clock) = (place.file(), Clock::manual(1_000_000));
    let keys = file.load().unwrap();
    (LmkRing::of_file(file, &keys, clock.clone()).unwrap(), clock)
}

fn block_under(lmk: &Lmk) -> String {
    let hsm = SoftHsm::new(lmk).unwrap();
    hsm.generate(Usage::Tak, KeyLength::Double).unwrap().0.as_str().to_owned()
}

#[test]
fn a_running_hsm_follows_its_file_through_rotations() {
    let place = Place::new();
    let first = place.file().load_or_create().unwrap();
    let (ring, clock) = ring(&place);
    let old = block_under(&first.current);
    assert_eq!(ring.standing(&old), Ok(Standing::Current));

    let second = first.rotated(Lmk::random().unwrap(), 1).unwrap();
    place.file().replace(&second, &Seal::Plain).unwrap();
    // Unasked, it goes on under the LMK it knows; a block under the new one makes it look.
    let new = block_under(&second.current);
    assert_eq!(ring.standing(&old), Ok(Standing::Current));
    assert_eq!(ring.standing(&new), Ok(Standing::Current));
    assert_eq!(ring.standing(&old), Ok(Standing::Former));
    assert_eq!(ring.check_values().len(), 2);

    // A foreign block makes it look once a second at most.
    let foreign = block_under(&Lmk::random().unwrap());
    assert_eq!(ring.standing(&foreign), Err(HsmError::KeyBlock));
    let kept = LmkKeys { former: None, ..second.clone() };
    place.file().replace(&kept, &Seal::Plain).unwrap();
    let third = kept.rotated(Lmk::random().unwrap(), 2).unwrap();
    place.file().replace(&third, &Seal::Plain).unwrap();
    let newest = block_under(&third.current);
    assert_eq!(ring.standing(&newest), Err(HsmError::KeyBlock), "it has just looked");
    clock.set_ms(1_000_999);
    assert_eq!(ring.standing(&newest), Err(HsmError::KeyBlock));
    clock.set_ms(1_001_000);
    assert_eq!(ring.standing(&newest), Ok(Standing::Current));
    // What it knew before stays until two sweeps have not found it.
    assert_eq!(ring.standing(&old), Ok(Standing::Former));
    ring.sweep().unwrap();
    assert_eq!(ring.standing(&old), Ok(Standing::Former));
    ring.sweep().unwrap();
    assert_eq!(ring.standing(&old), Err(HsmError::KeyBlock));
    assert_eq!((ring.standing(&new), ring.standing(&newest)), (Ok(Standing::Former), Ok(Standing::Current)));

    // A file that is damaged changes nothing of what is known.
    place.put("lmk", "nothing");
    clock.set_ms(2_000_000);
    assert_eq!(ring.standing(&foreign), Err(HsmError::KeyBlock));
    assert!(ring.learn().is_err() && ring.sweep().is_err());
    assert_eq!(ring.standing(&newest), Ok(Standing::Current));
}

#[test]
fn a_sealed_file_is_followed_without_its_passphrase() {
    let (place, first) = (Place::new(), LmkKeys::new(thales()).unwrap());
    let writer = place.sealed(&first);
    let (ring, _) = ring(&place);
    fs::remove_file(place.path("passphrase")).unwrap();
    let second = first.rotated(Lmk::random().unwrap(), 1).unwrap();
    writer.replace(&second, &writer.seal().unwrap()).unwrap();
    assert!(ring.learn().unwrap() && !ring.learn().unwrap());
    assert_eq!(ring.standing(&block_under(&second.current)), Ok(Standing::Current));
    assert_eq!(ring.standing(&block_under(&first.current)), Ok(Standing::Former));
}

#[test]
fn a_block_moves_with_its_header_its_length_and_its_key() {
    let first = LmkKeys::new(thales()).unwrap();
    let second = first.rotated(Lmk::random().unwrap(), 1).unwrap();
    let ring = LmkRing::of_keys(&second).unwrap();
    let old = SoftHsm::new(&first.current).unwrap();
    let new = SoftHsm::new(&second.current).unwrap();
    for usage in [Usage::Tmk, Usage::Tpk, Usage::Tak, Usage::Tdk, Usage::Zpk, Usage::Zak] {
        for length in [KeyLength::Single, KeyLength::Double, KeyLength::Triple] {
            let Ok((block, kcv)) = old.generate(usage, length) else { continue };
            let moved = ring.rewrap(block.as_str(), &OpenSslRandom).unwrap().unwrap();
            assert_eq!((&moved[..16], moved.len()), (&block.as_str()[..16], block.as_str().len()));
            let moved = KeyBlock::new(moved);
            assert_eq!(new.kcv(&moved), Ok(kcv));
            assert_eq!(new.usage(&moved), Ok(usage));
            assert_eq!(new.kcv(&block), Err(HsmError::KeyBlock));
            assert_eq!(ring.rewrap(moved.as_str(), &OpenSslRandom), Ok(None), "it is there already");
        }
    }
    for bad in [block_under(&Lmk::random().unwrap()), String::new(), "D0112".into()] {
        let refused = ring.rewrap(&bad, &OpenSslRandom).unwrap_err();
        assert!(matches!(refused, HsmError::KeyBlock | HsmError::KeyBlockForm), "{bad}");
    }
}

/// Seals and opens with the keys of a file; `None` when it does not open.
fn unsealed(place: &Place, sealed: &SealedPan) -> Option<Pan> {
    let keys = crate::hsm::seal::DataKeys::new(&place.file().load().unwrap().data);
    keys.unseal(sealed).ok()
}

#[test]
fn card_numbers_outlive_the_lmk() {
    let pan = Pan::parse("6225880012345675").unwrap();
    // A file of 64 digits alone, whose data keys come of the LMK; and one with data keys of its own.
    let own = Place::new();
    own.file().load_or_create().unwrap();
    let old = Place::new();
    old.put("lmk", format!("{THALES}\n"));
    let derived = DataKey::derived(&thales());
    assert_eq!(old.file().load().unwrap().data.0, derived.0);
    for place in [own, old] {
        let data = place.file().load().unwrap().data;
        let sealed = crate::hsm::seal::DataKeys::new(&data).seal(&pan, &OpenSslRandom).unwrap();
        for round in 0..2 {
            let keys = place.file().load().unwrap();
            let next = keys.rotated(Lmk::random().unwrap(), round).unwrap();
            assert!(next.rotated(Lmk::random().unwrap(), round).is_err(), "one rotation at a time");
            place.file().replace(&next, &Seal::Plain).unwrap();
            assert_eq!(unsealed(&place, &sealed), Some(pan.clone()));
            place.file().replace(&LmkKeys { former: None, ..next }, &Seal::Plain).unwrap();
            assert_eq!(unsealed(&place, &sealed), Some(pan.clone()));
            let text = fs::read_to_string(place.path("lmk")).unwrap();
            assert!(!text.contains(THALES), "the former LMK is gone");
        }
        let again = crate::hsm::seal::DataKeys::new(&place.file().load().unwrap().data);
        assert_eq!(again.seal(&pan, &OpenSslRandom).unwrap().lookup, sealed.lookup);
    }
}

#[test]
fn nothing_secret_is_printed() {
    let place = Place::new();
    let keys = rotating();
    let file = place.sealed(&keys);
    let (ring, _) = ring(&place);
    let printed = format!("{keys:?} {file:?} {ring:?} {:?}", keys.data).to_uppercase();
    for secret in [keys.current.octets(), thales().octets()] {
        assert!(!printed.contains(&hex::encode_upper(secret)) && !printed.contains(&format!("{secret:?}")));
    }
    assert!(!printed.contains(&PASSPHRASE.to_uppercase()));
}

#[test]
fn a_sealed_file_opens_with_another_implementation() {
    let (mut cases, mut ours) = (Vec::new(), Vec::new());
    let mut ask = |octets: &[u8], passphrase: &str, answer: String| {
        cases.push(vec![hex::encode(octets), passphrase.to_owned()]);
        ours.push(answer);
    };
    let alone = LmkKeys::new(thales()).unwrap();
    for (keys, cost) in
        [(&alone, (65_536, 3, 1)), (&rotating(), (19_456, 1, 1)), (&rotating(), (32_768, 2, 4))]
    {
        let place = Place::new();
        place.put("passphrase", PASSPHRASE);
        let file = place.file();
        let seal = file.take_passphrase(PASSPHRASE, Cost::of(cost.0, cost.1, cost.2).unwrap()).unwrap();
        file.create(keys, &seal).unwrap();
        let octets = fs::read(place.path("lmk")).unwrap();
        let former = keys.former.iter().map(|former| former.lmk.check_value().unwrap());
        let values: Vec<String> = [keys.current.check_value().unwrap()].into_iter().chain(former).collect();
        let hash = hex::encode(openssl::sha::sha256(keys.data.0.as_slice()));
        ask(&octets, PASSPHRASE, format!("{} {}", values.join(" "), &hash[..16]));
        ask(&octets, "another passphrase", "refused".into());
        // The comment, a check value and the keys: each octet counts.
        for at in [2, 250, octets.len() - 10] {
            let mut altered = octets.clone();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            ask(&altered, PASSPHRASE, "refused".into());
        }
    }
    crate::hsm::judges::agree(include_str!("../judges/lmk_file.py"), &cases, &ours);
}
