//! The Chinese algorithms.

use super::super::HsmError;
use super::super::cipher::BlockCipher as _;
use super::super::sm::{self, DEFAULT_ID, Sm2PrivateKey, Sm4Key};
use super::{K0, KnownAnswer, answer, fixed, octets, when};

/// GB/T 32907 and 32905, annexes A; GM/T 0003.5, annexes A and C.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer("self-test of SM4", sm4, "681EDF34D206965E86B3E94F536E4246"),
    answer(
        "self-test of SM3",
        || Ok(sm::sm3(b"abc").to_vec()),
        "66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0",
    ),
    answer("self-test of SM2 signatures", signature, PUBLIC),
    answer(
        "self-test of SM2 encryption",
        encryption,
        "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D9928\
         3AFF767E124DF059983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD876621886CA989CA9C7D58087307CA93092D651EFA",
    ),
];

const PRIVATE: &str = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8";
const PUBLIC: &str = "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020CCEA490CE26775A52DC6EA718CC1AA600A\
    ED05FBF35E084A6632F6072DA9AD13";
const ONE_TIME: &str = "59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21";
const SIGNATURE: &str = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3B1B6AA29DF212FD8763182BC0D421CA1BB\
    9038FD1F7F42D4840B69C485BBC1AA";

fn sm4() -> Result<Vec<u8>, HsmError> {
    let (key, clear) = (Sm4Key::new(&octets(K0)?)?, fixed(K0)?);
    let cipher = key.encrypt(clear);
    when(key.decrypt(cipher) == clear, cipher)
}

/// The published signature verifies and not altered; one that is made now verifies.
fn signature() -> Result<Vec<u8>, HsmError> {
    let (key, message) = (Sm2PrivateKey::new(&octets(PRIVATE)?)?, b"message digest");
    let public = key.public_key();
    let published = fixed::<64>(SIGNATURE)?;
    public.verify(DEFAULT_ID, message, &published)?;
    let refused = public.verify(DEFAULT_ID, message, &published.map(|octet| octet ^ 1)).is_err();
    public.verify(DEFAULT_ID, message, &key.sign(DEFAULT_ID, message, &fixed(ONE_TIME)?)?)?;
    when(refused, public.to_octets())
}

fn encryption() -> Result<Vec<u8>, HsmError> {
    let (key, message) = (Sm2PrivateKey::new(&octets(PRIVATE)?)?, b"encryption standard");
    let cipher = key.public_key().encrypt(message, &fixed(ONE_TIME)?)?;
    when(*key.decrypt(&cipher)? == message, cipher)
}
