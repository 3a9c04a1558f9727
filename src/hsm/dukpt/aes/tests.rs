//! Vectors of the standard, a judge written from it, and what is refused.

use super::*;
use crate::hsm::cipher::xor;
use crate::hsm::judges;

/// The BDKs and the initial key id of X9.24-3's supplement; that of 192 bits is made like them.
const AES_128: &str = "FEDCBA9876543210F1F1F1F1F1F1F1F1";
const AES_192: &str = "FEDCBA9876543210F1F1F1F1F1F1F1F1FEDCBA9876543210";
const AES_256: &str = "FEDCBA9876543210F1F1F1F1F1F1F1F1FEDCBA9876543210F1F1F1F1F1F1F1F1";
const START: &str = "123456789012345600000000";
const DATA: &[u8; 17] = b"4012345678909D987";

const TYPES: [KeyType; 8] = [
    KeyType::Tdea2,
    KeyType::Tdea3,
    KeyType::Aes128,
    KeyType::Aes192,
    KeyType::Aes256,
    KeyType::Hmac128,
    KeyType::Hmac192,
    KeyType::Hmac256,
];
const USAGES: [KeyUsage; 9] = [
    KeyUsage::KeyEncryption,
    KeyUsage::PinEncryption,
    KeyUsage::MacGeneration,
    KeyUsage::MacVerification,
    KeyUsage::MacBoth,
    KeyUsage::DataEncrypt,
    KeyUsage::DataDecrypt,
    KeyUsage::DataBoth,
    KeyUsage::KeyDerivation,
];

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn ksn(text: &str) -> KeySerialNumber {
    KeySerialNumber::parse(text).unwrap()
}

fn initial(bdk: &str, ksn: KeySerialNumber) -> InitialKey {
    BaseDerivationKey::new(&octets(bdk)).unwrap().initial_key(ksn).unwrap()
}

fn transaction_key(bdk: &str, counter: u32) -> TransactionKey {
    initial(bdk, ksn(START)).transaction_key(ksn(START).with_counter(counter)).unwrap()
}

fn working_key(bdk: &str, counter: u32, usage: KeyUsage, key_type: KeyType) -> WorkingKey {
    transaction_key(bdk, counter).working_key(usage, key_type).unwrap()
}

#[test]
fn initial_and_transaction_keys_are_the_published_ones() {
    // X9.24-3:2017, supplement; those of 192 bits computed by two implementations.
    let rows = [
        (AES_128, "1273671EA26AC29AFA4D1084127652A1"),
        (AES_192, "5B6DEE2B5B7FABFFA32591F35BF8F23DD9329AE85131E584"),
        (AES_256, "CE9CE0C101D1138F97FB6CAD4DF045A7083D4EAE2D35A31789D01CCF0949550F"),
    ];
    for (bdk, expected) in rows {
        assert_eq!(hex::encode_upper(initial(bdk, ksn(START)).octets()), expected);
    }
    let rows = [
        (AES_128, 1, "4F21B565BAD9835E112B6465635EAE44"),
        (AES_128, 2, "2F34D68DE10F68D38091A73B9E7C437C"),
        (AES_128, 3, "031504E530365CF81264238540518318"),
        (AES_128, 4, "0EEFC7ADA628BA68878DA9165A8A1887"),
        (AES_128, 5, "C2A7AC328A5DA2D6002D62465BFC028B"),
        (AES_128, 6, "D30F7D9351DA58448A2F5E92B4EE3B7D"),
        (AES_128, 7, "A8253CEED9AC042C54F75D35C8352278"),
        (AES_128, 8, "718EE6CF0B27E53D5F7AF99C4D8146A2"),
        (AES_128, 0x1FFFE, "E21E8C8D347F8561A2BE752DAA85A111"),
        (AES_128, 0x20000, "F7AE9025468A25D37B7249CFFED224C8"),
        (AES_128, 0x20001, "692C8EA4013645135B36497131DF9D2C"),
        (AES_128, 0xFFFE2000, "48E585B694EB0B18D5C35443E163C0BA"),
        (AES_128, 0xFFFE4000, "396C2C7CA1EA701C03B86B7D41F0C562"),
        (AES_128, 0xFFFE8000, "0387625F189B58AE03EF0E8CCA41105E"),
        (AES_128, 0xFFFF0000, "F6BA59389BD14A9855BE9727E7C52E3C"),
        (AES_192, 1, "1387E87CF91556E340947CDBB154AF263ECFCFEA3655EBFE"),
        (AES_192, 3, "3ED3BB63EC1A12708B97F007FFB39CD9DBB9013BDCD95B68"),
        (AES_256, 1, "54AC2B32B145EA4A554CB8BC44B17467063A799856B1CCC2A138D36E8DBF78B3"),
        (AES_256, 2, "5DD5A0253842BBBE1D7C0DA27021412C6F1FAB53FB928DEAE56DA06090A9DE97"),
        (AES_256, 3, "8EEEF7C464AE415BB1D73FAED21993CD669F7999092A579EC6DD3CC680C65171"),
        (AES_256, 4, "C18CBED570B3B89ECADA7CEC9C224CD5A86ECF3DE377D3EFAB720F8C4D76B9D0"),
        (AES_256, 5, "6B3C3C93307151C25DC2309456F01C5C3108DAD571C321899A9B7E0C009FD2EB"),
        (AES_256, 6, "B8BB61AE3E2D5CD8C699E0C578FB2C7B89B0C0CF02DBAB60864D8049C986C844"),
        (AES_256, 7, "88D0ACA287B3066F5DE0C93396337D4C2DA8D92C1F720A576D62CEB4C979E01E"),
        (AES_256, 8, "20A796D5077D51B8E7613893A4F095B134E02917DC84BD391F3661D0873FF308"),
        (AES_256, 0x1FFFE, "A289508CBF1228452CD86AB77B15CB35577AC828C18BB66681E5A16D6C9CCED3"),
        (AES_256, 0x20000, "D62DDA94A47D7DA5D763443B4ECB15EA8DD62E0E4F915958BA459591F8312E37"),
        (AES_256, 0x20001, "44110A1102748D4A3AC326F53D8CAC650212590CA7126D54546DDE0F20E89CEE"),
        (AES_256, 0xFFFE2000, "4625EB06E4886D4AFCC9AE37ED4F4E4E1653C9E60E3F24742A87A26AA96AB7A6"),
        (AES_256, 0xFFFE4000, "FF20E1BB575539ACCB44E3111BE8757F83AE8549A2DD71B441A4A424F7FFD4B1"),
        (AES_256, 0xFFFE8000, "630535C9C53E1EC6524016930B56F6728909C45403536B419AEBCB25B7351C07"),
        (AES_256, 0xFFFF0000, "6D6DB7AAAE8B3EA90E57A39E4BBA71E173B21B446B30A78D64BFC6A8806C55EE"),
    ];
    for (bdk, counter, expected) in rows {
        let key = transaction_key(bdk, counter);
        assert_eq!(hex::encode_upper(key.octets()), expected, "{key:?}");
        assert_eq!(key.ksn(), ksn(START).with_counter(counter));
    }
}

#[test]
fn working_keys_are_the_published_ones() {
    // As above.
    let rows = [
        (AES_128, 1, KeyUsage::KeyEncryption, KeyType::Aes128, "36A724B7BEFA5A25F5E7B5782A4554A2"),
        (AES_128, 1, KeyUsage::PinEncryption, KeyType::Aes128, "AF8CB133A78F8DC2D1359F18527593FB"),
        (AES_128, 1, KeyUsage::MacGeneration, KeyType::Aes128, "A2DC23DE6FDE0824A2BC321E08E4B8B7"),
        (AES_128, 1, KeyUsage::MacVerification, KeyType::Aes128, "DBB463945B286C07CD3AD82EE96FD9C9"),
        (AES_128, 1, KeyUsage::MacBoth, KeyType::Aes128, "85675439D18D7F1158BD8E3EAA3D502B"),
        (AES_128, 1, KeyUsage::DataEncrypt, KeyType::Aes128, "A35C412EFD41FDB98B69797C02DCD08F"),
        (AES_128, 1, KeyUsage::DataDecrypt, KeyType::Aes128, "16292C6EA8F64C5420A0584BFBC577BE"),
        (AES_128, 1, KeyUsage::DataBoth, KeyType::Aes128, "A308E080DD15A1B741F1721BF67DE11C"),
        (AES_128, 1, KeyUsage::MacGeneration, KeyType::Hmac128, "27D99DA9C091C20DEC0D1C56244ADF8C"),
        (AES_128, 1, KeyUsage::PinEncryption, KeyType::Tdea2, "630C706D9546E47D4449313F61C4D4AB"),
        (AES_128, 1, KeyUsage::MacGeneration, KeyType::Tdea2, "5D8FD787E8A796D07035FFCA9B5800BB"),
        (AES_128, 1, KeyUsage::DataEncrypt, KeyType::Tdea2, "BD44121C223F831446A01EE3A4CB58D2"),
        (
            AES_128,
            1,
            KeyUsage::PinEncryption,
            KeyType::Tdea3,
            "EA8B3F37EB9B15831167EF2977FD8762D9B5913F35766F6A",
        ),
        (
            AES_128,
            1,
            KeyUsage::MacGeneration,
            KeyType::Tdea3,
            "2A1061A6EAC2C14FAC3758EA07B3648A624B24E942785BF1",
        ),
        (
            AES_128,
            1,
            KeyUsage::DataEncrypt,
            KeyType::Tdea3,
            "F716DFBC6B2D2D5825B694EEEE181A013F2F1C09380BBE0C",
        ),
        (AES_128, 2, KeyUsage::PinEncryption, KeyType::Aes128, "D30BDC73EC9714B000BEC66BDB7B6D09"),
        (AES_128, 3, KeyUsage::PinEncryption, KeyType::Aes128, "7D69F01F3B45449F62C7816ECE723268"),
        (AES_128, 8, KeyUsage::PinEncryption, KeyType::Aes128, "4D9DF3FBEE3448FC3E676D04320A90F5"),
        (AES_128, 8, KeyUsage::MacGeneration, KeyType::Aes128, "6FD572E5D59E618875F193484F9178FB"),
        (AES_128, 8, KeyUsage::DataEncrypt, KeyType::Aes128, "650F34204ABD4E57764D61AC3D266FB1"),
        (AES_128, 0x845FED, KeyUsage::PinEncryption, KeyType::Aes128, "D1DDA386AA4A556AF0119FDCB5D132C6"),
        (AES_128, 0x845FED, KeyUsage::MacGeneration, KeyType::Aes128, "89365C7970950CAC0A6261FFC7DB26C6"),
        (AES_128, 0x845FED, KeyUsage::DataEncrypt, KeyType::Aes128, "B1E4D9006A87DD08D87F11A124D35517"),
        (AES_128, 0xFFFE4000, KeyUsage::PinEncryption, KeyType::Aes128, "6239A27F572DEDB17BCA1AC413EF9FE9"),
        (AES_128, 0xFFFE8000, KeyUsage::PinEncryption, KeyType::Aes128, "F10C1404137A80718FCCE8BD90FF9F67"),
        (AES_128, 0xFFFF0000, KeyUsage::PinEncryption, KeyType::Aes128, "27EFAC1D158632588F4AC69E45C247C4"),
        (AES_128, 0xFFFF0000, KeyUsage::MacGeneration, KeyType::Aes128, "AE558BABC206D303FDF68B1181F228C6"),
        (AES_128, 0xFFFF0000, KeyUsage::DataEncrypt, KeyType::Aes128, "08878BFCC45CA5AEF6A1AB40BAC882B5"),
        (
            AES_192,
            1,
            KeyUsage::PinEncryption,
            KeyType::Aes192,
            "C5043EDC7F2C001097974D40FF82A050B64A1AB27879F3DB",
        ),
        (
            AES_192,
            1,
            KeyUsage::MacGeneration,
            KeyType::Aes192,
            "7FB32FB0F68F0E4A2594765F9EB1C472727EE305A5EE35E1",
        ),
        (
            AES_256,
            1,
            KeyUsage::PinEncryption,
            KeyType::Aes256,
            "8C1AB7BEE973829E30242E0BBBDD4946D540C98FC1B5BDCF94790001A23FD502",
        ),
        (
            AES_256,
            1,
            KeyUsage::MacGeneration,
            KeyType::Aes256,
            "61DABDF4B340CF461EE860B1D1AB55357142BD2D6977306859CF49AEFE8F1549",
        ),
        (
            AES_256,
            1,
            KeyUsage::DataEncrypt,
            KeyType::Aes256,
            "71EB36C9A6B7F801D1D1700C29741FC5A5C4E9B45D742DA7AF6992B8AA29AF58",
        ),
        (
            AES_256,
            2,
            KeyUsage::PinEncryption,
            KeyType::Aes256,
            "3583D6CD02FC38822CC71A8D7678E04F4A8556335E6CC66863D3DADC5AEE2C62",
        ),
        (
            AES_256,
            3,
            KeyUsage::PinEncryption,
            KeyType::Aes256,
            "96A1AB5D37CB7CF81DDE64F66C46E0389B833E7AD5F4E44C791F04FAFDA6DA0E",
        ),
        (
            AES_256,
            0xFFFE4000,
            KeyUsage::PinEncryption,
            KeyType::Aes256,
            "F388FF9FB1D66E8812BC67CA5B85CE5554063E09A2440EC1AF4EB433CCFBAF35",
        ),
        (
            AES_256,
            0xFFFE8000,
            KeyUsage::PinEncryption,
            KeyType::Aes256,
            "FAC4E05A67AB1522505CF0E94E5977B99D0E5B116D76ABB6B8A64F0D785FF6DF",
        ),
        (
            AES_256,
            0xFFFF0000,
            KeyUsage::PinEncryption,
            KeyType::Aes256,
            "88B82556AEF4A681E0687F443A4C4F305AF9203B114470DFC77C7F08BC43F9DA",
        ),
    ];
    for (bdk, counter, usage, key_type, expected) in rows {
        let key = working_key(bdk, counter, usage, key_type);
        assert_eq!(hex::encode_upper(key.octets()), expected, "{counter:X} {key:?}");
        assert_eq!((key.usage(), key.key_type()), (usage, key_type));
    }
    let rows = [
        (AES_128, KeyType::Aes128, "9A9770AEE1ACD1B13473D0463A1883B9"),
        (AES_128, KeyType::Tdea2, "4744A5ECBC62B5C4BB76FBEAE1E244A3"),
        (AES_128, KeyType::Tdea3, "AF82BE8533CFCA526DA71708667AD0BBC7A7517504C78C8A"),
        (AES_256, KeyType::Aes256, "AEFB210C136278A1279F7C8815F446DB8EBE2AA910B157AA4E6484D8DE9C4807"),
    ];
    for (bdk, key_type, expected) in rows {
        let key = initial(bdk, ksn(START)).update_key(key_type).unwrap();
        assert_eq!(hex::encode_upper(key.octets()), expected, "{key:?}");
    }
}

#[test]
fn pin_blocks_of_format_4_are_the_published_ones() {
    // As above: PIN 1234 and its fill, PAN 4111111111111111 (ISO 9564-1, 9.4.2).
    let rows = [
        (AES_128, 1, KeyType::Aes128, "A912150391AB65A67E52883D81CE2D15"),
        (AES_128, 2, KeyType::Aes128, "52A00503BD34BA1383F6A7EE9FE2547F"),
        (AES_128, 3, KeyType::Aes128, "A5A27E82B43A9A866A93D7ABE89CEF93"),
        (AES_128, 0xFFFF0000, KeyType::Aes128, "040A069A66B62309B8840A993C9EA8B3"),
        (AES_192, 1, KeyType::Aes192, "1BFAF188BCD6F74107C96EB7CCD0DDCB"),
        (AES_192, 1, KeyType::Aes128, "9B82DB2381B0EA7697E95C8816C2D28D"),
        (AES_192, 3, KeyType::Aes192, "7D28781E7C94DFA9EA6E6FE5A86D0632"),
    ];
    let pin: [u8; 16] = octets("441234AAAAAAAAAA2F69ADDE2E9E7ACE").try_into().unwrap();
    let pan: [u8; 16] = octets("44111111111111111000000000000000").try_into().unwrap();
    for (bdk, counter, key_type, expected) in rows {
        let key = working_key(bdk, counter, KeyUsage::PinEncryption, key_type).aes_key().unwrap();
        let block = key.encrypt(xor(key.encrypt(pin), pan));
        assert_eq!(hex::encode_upper(block), expected, "{counter:X} {key_type:?}");
    }
}

#[test]
fn macs_are_the_published_ones() {
    // As above.
    let rows = [
        (AES_128, 1, KeyUsage::MacGeneration, KeyType::Aes128, "A2EB5C1C35809E58404E873C3C411E31"),
        (AES_128, 1, KeyUsage::MacVerification, KeyType::Aes128, "DD4E1895FD9BF53D8DAF25568ABF551D"),
        (
            AES_128,
            1,
            KeyUsage::MacGeneration,
            KeyType::Hmac128,
            "B6F8B3159CD4E140159DA87A68C0FB7AF2F123D222662E98988C76386E8E8A02",
        ),
        (
            AES_128,
            1,
            KeyUsage::MacVerification,
            KeyType::Hmac128,
            "DDE7CB7BDE05AC9A934919B5D94C37954F2376BAF5D45031A56FE74D94C4B64D",
        ),
        (AES_128, 2, KeyUsage::MacGeneration, KeyType::Aes128, "4D104704C53491A60944193DCAF6B411"),
        (AES_128, 2, KeyUsage::MacVerification, KeyType::Aes128, "008CEAAE2B913BEEE76209EE9406DAC1"),
        (
            AES_128,
            2,
            KeyUsage::MacGeneration,
            KeyType::Hmac128,
            "A884FD458692820E8458AD9FF4FCE58D6B809AB3AE617AE1FC6B70E9E9C12B08",
        ),
        (
            AES_128,
            2,
            KeyUsage::MacVerification,
            KeyType::Hmac128,
            "32C4EEBF5FB820C4E90A580C0769E5BF8188007191AFAEF53F7C585B03285314",
        ),
        (AES_128, 3, KeyUsage::MacGeneration, KeyType::Aes128, "6A18904AA8E966A03505F5EEBDAEBD82"),
        (AES_128, 3, KeyUsage::MacVerification, KeyType::Aes128, "40CB2F0C2E043D060063FAA916A849E1"),
        (
            AES_128,
            3,
            KeyUsage::MacGeneration,
            KeyType::Hmac128,
            "5CCB50FB8001C07C51191502BFC7586E165219F59D87938C8A7A84D41AF44F18",
        ),
        (
            AES_128,
            3,
            KeyUsage::MacVerification,
            KeyType::Hmac128,
            "255E08E91BB5AFFD26C695110FAB5167AB36C9A3C61C78BD2401292A8EFE7C0A",
        ),
        (AES_128, 8, KeyUsage::MacGeneration, KeyType::Aes128, "85C7CA68F55F51E7DCAC969B8C111130"),
        (AES_128, 8, KeyUsage::MacVerification, KeyType::Aes128, "B45399DB90C0BA75DB4B86605758695A"),
        (
            AES_128,
            8,
            KeyUsage::MacGeneration,
            KeyType::Hmac128,
            "D7CAB17596E6D193B83E0E13CAB35A179B7296DC04A42D8145B9DF6E60A2A47F",
        ),
        (
            AES_128,
            8,
            KeyUsage::MacVerification,
            KeyType::Hmac128,
            "32403C170DD07A7C823247DF37649D49FDE905482D1B1C6A62E03E735FA2E384",
        ),
        (AES_128, 0xFFFF0000, KeyUsage::MacGeneration, KeyType::Aes128, "4DB1D808CD74BF3F0B53B0766123225F"),
        (AES_128, 0xFFFF0000, KeyUsage::MacVerification, KeyType::Aes128, "882730368F1837D114974EAB3C2D6340"),
        (AES_192, 1, KeyUsage::MacGeneration, KeyType::Aes192, "9797BDA625ED02A7CFAEA84964FAA7E3"),
        (AES_192, 1, KeyUsage::MacGeneration, KeyType::Aes128, "5CAA004DA00C101D17A7FA131C199611"),
    ];
    for (bdk, counter, usage, key_type, expected) in rows {
        let key = working_key(bdk, counter, usage, key_type);
        let mac = key.mac(DATA).unwrap();
        assert_eq!(hex::encode_upper(&mac), expected, "{counter:X} {key:?}");
        check_mac(&key, &mac);
    }
}

fn check_mac(key: &WorkingKey, mac: &[u8]) {
    for length in 4..=mac.len() {
        assert_eq!(key.verify_mac(DATA, &mac[..length]), Ok(()), "{length} {key:?}");
    }
    for (data, mac) in [
        (&DATA[1..], mac),
        (DATA, &mac[..3]),
        (DATA, &mac[..0]),
        (DATA, &mac[1..]),
        (DATA, &[mac, &[0]].concat()),
    ] {
        assert_eq!(key.verify_mac(data, mac), Err(HsmError::MacMismatch), "{key:?}");
    }
    for bit in 0..8 * mac.len() {
        let mut altered = mac.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.verify_mac(DATA, &altered), Err(HsmError::MacMismatch), "bit {bit} {key:?}");
    }
}

#[test]
fn hmac_fills_up_short_keys() {
    // RFC 4231, test cases 1 to 4: keys of 20, 4, 20 and 25 octets.
    let rows = [
        (
            vec![0x0B; 20],
            b"Hi There".to_vec(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (vec![0xAA; 20], vec![0xDD; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            (1..=25).collect(),
            vec![0xCD; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
    ];
    for (key, data, expected) in rows {
        let mut filled = [0; KEY];
        filled[..key.len()].copy_from_slice(&key);
        assert_eq!(hex::encode(*hmac_sha256(&filled, &data)), expected);
    }
}

#[test]
fn data_are_the_published_ones() {
    // As above: zeros behind the data, an IV of zeros.
    let rows = [
        (
            AES_128,
            1,
            KeyUsage::DataEncrypt,
            KeyType::Aes128,
            "E5AFA5B408A3310E3D779C8A9A2AE29448BD5B4232582090DB703AF647205A79",
        ),
        (
            AES_128,
            1,
            KeyUsage::DataDecrypt,
            KeyType::Aes128,
            "84904DFC6B5201A4F1FE2EAA49E70B8C01838EF53030790FF785D630AB3916B4",
        ),
        (
            AES_128,
            2,
            KeyUsage::DataEncrypt,
            KeyType::Aes128,
            "A17A9658EE0F451D6CA11B65B592EF9C5F90BB175D926F1457B63B3273042476",
        ),
        (
            AES_128,
            2,
            KeyUsage::DataDecrypt,
            KeyType::Aes128,
            "699ED7BC85994F1C11DE1C40177A629530E85262EA0B02FB80771255DC1F65B6",
        ),
        (
            AES_128,
            3,
            KeyUsage::DataEncrypt,
            KeyType::Aes128,
            "E289C32A084A39419A6C147DE40B53A67BABE2BD22DC3D5EE09B002E83B93ACE",
        ),
        (
            AES_128,
            3,
            KeyUsage::DataDecrypt,
            KeyType::Aes128,
            "0F440D9321C1ABBEF9CA7008B40CF18B3045A84D5435D6CF9A4955E3451C49E9",
        ),
        (
            AES_128,
            8,
            KeyUsage::DataEncrypt,
            KeyType::Aes128,
            "304EC254A7B528D9892E47F7C1315D498C0D88EA8CD71CA52D38F362721AEA67",
        ),
        (
            AES_128,
            8,
            KeyUsage::DataDecrypt,
            KeyType::Aes128,
            "8CD1A54538B9DC79A5DF4544ADE8D1F1A085AC1F89AA59BFF49351A68957DE1B",
        ),
    ];
    let data = [DATA.as_slice(), &[0; 15]].concat();
    for (bdk, counter, usage, key_type, expected) in rows {
        let key = working_key(bdk, counter, usage, key_type);
        assert_eq!(hex::encode_upper(key.encrypt(&[0; 16], &data).unwrap()), expected, "{counter:X} {key:?}");
        assert_eq!(*key.decrypt(&[0; 16], &octets(expected)).unwrap(), data, "{counter:X} {key:?}");
    }
}

#[test]
fn a_working_key_does_what_it_is_for_and_nothing_else() {
    let input = |error| matches!(error, Err(HsmError::Input(_)));
    for usage in USAGES {
        for key_type in TYPES {
            let key = working_key(AES_256, 1, usage, key_type);
            let name = format!("{key:?}");
            let macs =
                matches!(usage, KeyUsage::MacGeneration | KeyUsage::MacVerification | KeyUsage::MacBoth);
            let data = matches!(usage, KeyUsage::DataEncrypt | KeyUsage::DataDecrypt | KeyUsage::DataBoth);
            let (length, block) = match key_type {
                KeyType::Tdea2 | KeyType::Tdea3 => (8, 8),
                KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => (16, 16),
                KeyType::Hmac128 | KeyType::Hmac192 | KeyType::Hmac256 => (32, 0),
            };
            let mac = key.mac(DATA).map(|mac| mac.len());
            assert_eq!(mac, if macs { Ok(length) } else { Err(HsmError::KeyUsage) }, "{name}");
            assert_eq!(key.verify_mac(DATA, &[0; 4]).err(), mac.err().or(Some(HsmError::MacMismatch)));
            let iv = vec![7; block];
            let (sealed, opened) = (key.encrypt(&iv, &[1; 48]), key.decrypt(&iv, &[1; 48]));
            let refused = match (data, block) {
                (false, _) => Some(HsmError::KeyUsage),
                (true, 0) => Some(HsmError::Key(KeyDefect::Algorithm)),
                (true, _) => None,
            };
            assert_eq!((sealed.clone().err(), opened.err()), (refused, refused), "{name}");
            assert_eq!(key.aes_key().is_ok(), block == 16, "{name}");
            assert_eq!(key.des_key().is_ok(), block == 8, "{name}");
            if let Ok(sealed) = sealed {
                assert_eq!(*key.decrypt(&iv, &sealed).unwrap(), [1; 48], "{name}");
                assert!(
                    input(key.encrypt(&iv, &[1; 47])) && input(key.encrypt(&iv[1..], &[1; 48])),
                    "{name}"
                );
                assert!(key.decrypt(&iv, &[1; 47]).is_err() && key.decrypt(&[], &[1; 48]).is_err(), "{name}");
            }
        }
    }
}

#[test]
fn no_working_key_is_stronger_than_the_bdk() {
    let rows = [
        (AES_128, [true, true, true, false, false, true, false, false]),
        (AES_192, [true, true, true, true, false, true, true, false]),
        (AES_256, [true; 8]),
    ];
    for (bdk, allowed) in rows {
        for (key_type, allowed) in TYPES.into_iter().zip(allowed) {
            let key = transaction_key(bdk, 1).working_key(KeyUsage::MacBoth, key_type);
            let expected = if allowed { None } else { Some(HsmError::Key(KeyDefect::Length)) };
            assert_eq!(key.err(), expected, "{bdk} {key_type:?}");
            let update = initial(bdk, ksn(START)).update_key(key_type);
            assert_eq!(update.err(), expected, "{bdk} {key_type:?}");
        }
    }
}

#[test]
fn no_key_has_a_counter_that_no_device_uses() {
    let refused = Some(HsmError::KeySerialNumber);
    let rows = [
        ("zero", 0, refused),
        ("one", 1, None),
        ("sixteen ones", 0x0000_FFFF, None),
        ("sixteen ones, spread", 0x5555_5555, None),
        ("sixteen ones, the last of all", 0xFFFF_0000, None),
        ("seventeen ones", 0x0001_FFFF, refused),
        ("seventeen ones, spread", 0xD555_5555, refused),
        ("all ones", 0xFFFF_FFFF, refused),
    ];
    let initial = initial(AES_128, ksn(START));
    for (name, counter, expected) in rows {
        let key = initial.transaction_key(ksn(START).with_counter(counter));
        assert_eq!(key.err(), expected, "{name}");
    }
    for other in ["123456789012345700000001", "023456789012345600000001"] {
        assert_eq!(initial.transaction_key(ksn(other)).err(), refused, "{other}");
    }
}

#[test]
fn a_ksn_is_read_and_written() {
    let read = ksn("1234567890abcdef00000a01");
    assert_eq!(read.to_string(), "1234567890ABCDEF00000A01");
    assert_eq!(hex::encode_upper(read.octets()), read.to_string());
    assert_eq!(KeySerialNumber::new(read.octets()), read);
    assert_eq!(read.initial_key_id(), *octets("1234567890ABCDEF"));
    assert_eq!((read.bdk_id(), read.derivation_id()), ([0x12, 0x34, 0x56, 0x78], [0x90, 0xAB, 0xCD, 0xEF]));
    assert_eq!(read.counter(), 0xA01);
    for text in ["", "12345678901234560000000", "1234567890123456000000001", "12345678901234560000000G"] {
        assert_eq!(KeySerialNumber::parse(text), Err(HsmError::KeySerialNumber), "{text}");
    }
}

#[test]
fn keys_of_another_length_are_refused_and_nothing_is_printed() {
    for length in [0, 8, 15, 17, 33] {
        let (key, expected) = (vec![0x13; length], Some(HsmError::Key(KeyDefect::Length)));
        assert_eq!(BaseDerivationKey::new(&key).err(), expected);
        assert_eq!(InitialKey::new(&key, ksn(START)).err(), expected);
    }
    let (initial, key) = (initial(AES_128, ksn(START)), transaction_key(AES_128, 1));
    let working = key.working_key(KeyUsage::MacBoth, KeyType::Hmac128).unwrap();
    let expected = "InitialKey(123456789012345600000000) TransactionKey(123456789012345600000001) \
        WorkingKey(MacBoth, Hmac128)";
    assert_eq!(format!("{initial:?} {key:?} {working:?}"), expected);
}

/// A KSN with a counter that a device uses: with few ones as often as with many.
fn any_ksn(chance: &mut judges::Chance) -> KeySerialNumber {
    loop {
        let ksn = KeySerialNumber::new(chance.octets(12).try_into().unwrap());
        let counter = ksn.counter() >> chance.within(0, 31);
        if (1..=MOST_ONES).contains(&counter.count_ones()) {
            return ksn.with_counter(counter);
        }
    }
}

#[test]
fn the_standard_in_another_language_agrees() {
    let mut chance = judges::Chance::new(9243);
    let (mut cases, mut ours) = (Vec::new(), Vec::new());
    for round in 0..2500 {
        let (bdk, ksn) = (chance.octets([16, 24, 32][round % 3]), any_ksn(&mut chance));
        let blocks = chance.within(1, 4);
        let data = chance.octets(16 * blocks);
        cases.push(vec!["aes".into(), hex::encode(&bdk), ksn.to_string(), hex::encode(&data)]);
        let initial = initial(&hex::encode(&bdk), ksn);
        let key = initial.transaction_key(ksn).unwrap();
        let mut answer = vec![hex::encode_upper(initial.octets()), hex::encode_upper(key.octets())];
        for key_type in TYPES {
            let working = |usage| key.working_key(usage, key_type);
            let (Ok(mac), Ok(cipher)) = (working(KeyUsage::MacGeneration), working(KeyUsage::DataEncrypt))
            else {
                continue;
            };
            answer.extend(USAGES.map(|usage| hex::encode_upper(working(usage).unwrap().octets())));
            answer.push(hex::encode_upper(mac.mac(&data[..data.len() - 1]).unwrap()));
            let iv = if cipher.aes_key().is_ok() { &[0; 16][..] } else { &[0; 8] };
            answer.extend(cipher.encrypt(iv, &data).map(hex::encode_upper));
        }
        ours.push(answer.join(" "));
    }
    judges::agree(include_str!("../../judges/dukpt.py"), &cases, &ours);
}
