//! What the software HSM costs a payment: MACs, a PIN translation, and the whole first verb.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use tollgate::hsm::{
    DesKey, Forward, Hsm, HsmError, KeyLength, Lmk, MacAlgorithm, MacCheck, Open, SoftHsm, TerminalKeys,
    Usage, Verb, mac, track,
};
use tollgate::transaction::{KeyForm, Pan, Track2};

/// The golden sale from MTI to DE 63, under other keys than here: its length is what counts.
const SALE: &str = "0200302004C020C0981100000000000001000000000702100012346225880012345675AA5A7881CAF9ED9A\
    003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000001422000001000500";
const TMK: [u8; 16] = *b"\x01\x23\x45\x67\x89\xAB\xCD\xEF\xFE\xDC\xBA\x98\x76\x54\x32\x10";
const TDK: [u8; 16] = *b"\x7C\x4A\x1F\x0D\x3B\x5E\x86\xA9\xD0\xE2\xF4\x75\x86\xB9\xCD\xA2";

/// The software HSM never waits.
fn now<T>(mut verb: Verb<'_, T>) -> Result<T, HsmError> {
    match verb.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(HsmError::Failure("the verb waits")),
    }
}

fn macs(criterion: &mut Criterion) -> Result<(), HsmError> {
    let sale = hex::decode(SALE).map_err(|_| HsmError::Failure("the sale is not hexadecimal"))?;
    let single = DesKey::new(b"\x13\x57\x9B\xDF\x02\x46\x8A\xCE")?;
    let expected = mac::mac(MacAlgorithm::UnionPayEcb, &single, &sale)?;
    let check = MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data: &sale, mac: &expected };
    mac::verify(&single, check)?;
    criterion.bench_function("hsm/mac_verify/unionpay_ecb_sale", |bench| {
        bench.iter(|| mac::verify(&single, black_box(check)));
    });

    let double = DesKey::new(&TMK)?;
    let data = [0x30; 200];
    criterion.bench_function("hsm/mac/x919_200_octets", |bench| {
        bench.iter(|| mac::mac(MacAlgorithm::X919, &double, black_box(&data)));
    });
    Ok(())
}

fn verbs(criterion: &mut Criterion) -> Result<(), HsmError> {
    let hsm = SoftHsm::new(&Lmk::from_bytes([0x41; 32]))?;
    let pan = Pan::parse("6225880012345675").map_err(|_| HsmError::Track)?;
    let (tmk, _) = hsm.import_clear(Usage::Tmk, &TMK)?;
    let (zpk, _) = hsm.generate(Usage::Zpk, KeyLength::Double)?;
    let (tdk, _) = hsm.import_clear(Usage::Tdk, &TDK)?;
    let issued = now(hsm.issue_keys(&tmk, KeyForm::Double))?;

    let terminal = tollgate::hsm::read_working_keys(&DesKey::new(&TMK)?, KeyForm::Double, &issued.wire)?;
    let pin = tollgate::hsm::pin_block::Pin::parse("123456")?;
    let block = terminal.tpk.encrypt(*tollgate::hsm::pin_block::encode_iso0(&pin, &pan));
    let forward = || Forward { block, with_pan: true, tpk: &issued.tpk, zpk: &zpk, pan: &pan };
    now(hsm.forward(forward()))?;
    criterion.bench_function("hsm/pin_translate/tpk_to_zpk", |bench| {
        bench.iter(|| now(hsm.forward(black_box(forward()))));
    });

    let sale = hex::decode(SALE).map_err(|_| HsmError::Failure("the sale is not hexadecimal"))?;
    let expected = mac::mac(MacAlgorithm::UnionPayEcb, &terminal.tak, &sale)?;
    let clear = Track2::parse("6225880012345675D30122010000012300").map_err(|_| HsmError::Track)?;
    let track2 = track::encrypt(&DesKey::new(&TDK)?, &clear)?;
    let keys =
        [TerminalKeys { generation: 1, tpk: Some(issued.tpk.clone()), tak: issued.tak, tdk: Some(tdk) }];
    let check = MacCheck { algorithm: MacAlgorithm::UnionPayEcb, data: &sale, mac: &expected };
    let open =
        || Open { keys: &keys, mac: Some(check), pan: None, track2: Some(&track2), track_encrypted: true };
    now(hsm.open(open()))?;
    criterion.bench_function("hsm/open/mac_track_seal", |bench| {
        bench.iter(|| now(hsm.open(black_box(open()))));
    });
    Ok(())
}

fn all(criterion: &mut Criterion) {
    let done = macs(criterion).and_then(|()| verbs(criterion));
    assert_eq!(done, Ok(()), "the benches' own data");
}

criterion_group!(benches, all);
criterion_main!(benches);
