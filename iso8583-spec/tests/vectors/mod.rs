//! Wire vectors: what the tests of the codec are measured against.
//!
//! The UnionPay frames and their keys are test values; the ASCII messages were written by PyPI pyiso8583.

/// Octets, as people can read them.
pub(crate) enum Wire {
    /// Hexadecimal, blanks allowed.
    Hex(&'static str),
    /// Characters.
    Ascii(&'static str),
}

/// One message: its octets, and every field as text or, for binary fields, as hexadecimal.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) spec: &'static str,
    /// The frame, length prefix included.
    pub(crate) frame: Wire,
    pub(crate) mti: &'static str,
    pub(crate) fields: &'static [(u8, &'static str)],
}

impl Vector {
    pub(crate) fn frame(&self) -> Vec<u8> {
        match self.frame {
            Wire::Hex(digits) => hex::decode(digits.replace(char::is_whitespace, "")).unwrap(),
            Wire::Ascii(text) => text.as_bytes().to_vec(),
        }
    }

    /// The frame without its length prefix.
    pub(crate) fn body(&self) -> Vec<u8> {
        let spec = iso8583_spec::Spec::builtin(self.spec).unwrap();
        let frame = self.frame();
        let found = spec.framing().decode(&frame, 9999).unwrap().unwrap();
        assert_eq!(found.consumed, frame.len(), "{}", self.name);
        frame[found.body].to_vec()
    }
}

pub(crate) const GOOD: &[Vector] = &[
    Vector {
        name: "UnionPay sign-on",
        spec: "unionpay-pos",
        frame: Wire::Hex(
            "003C600003000060310031100008000020000000C0001200000130303030303130
                3138393833313030353831323030303100110000000100300003303120",
        ),
        mti: "0800",
        fields: &[
            (11, "000001"),
            (41, "00000101"),
            (42, "898310058120001"),
            (60, "00000001003"),
            (63, "01 "),
        ],
    },
    Vector {
        name: "UnionPay sign-on reply",
        spec: "unionpay-pos",
        frame: Wire::Hex(
            "007960000000036031003110000810003800010AC0001400000109301511210800
                0123453039333031353030303039353030303030303031303138393833313030
                353831323030303100110000000100300040
                521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA",
        ),
        mti: "0810",
        fields: &[
            (11, "000001"),
            (12, "093015"),
            (13, "1121"),
            (32, "00012345"),
            (37, "093015000095"),
            (39, "00"),
            (41, "00000101"),
            (42, "898310058120001"),
            (60, "00000001003"),
            (62, "521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA"),
        ],
    },
    Vector {
        name: "UnionPay swiped sale with PIN",
        spec: "unionpay-pos",
        frame: Wire::Hex(
            "007260000300006031003110000200302004C020C0981100000000000001000000
                000702100012346225880012345675AA5A7881CAF9ED9A00303030303031303138
                3938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000
                0014220000010005004441443644393837",
        ),
        mti: "0200",
        fields: &[
            (3, "000000"),
            (4, "000000010000"),
            (11, "000007"),
            (22, "021"),
            (25, "00"),
            (26, "12"),
            (35, "6225880012345675AA5A7881CAF9ED9A00"),
            (41, "00000101"),
            (42, "898310058120001"),
            (49, "156"),
            (52, "605CAB8CE0D1A2B9"),
            (53, "2610000000000000"),
            (60, "22000001000500"),
            (64, "4441443644393837"),
        ],
    },
    Vector {
        name: "EDC sale, track of 37",
        spec: "edc",
        frame: Wire::Hex(
            "0053 6000120000 0200 3020058020C00004 000000 000000012345 000042 0021 0012 00
                37 4000000000000002D30122010000012345678F 3030303030313032
                383938333130303538313230303032 0006 303030303432",
        ),
        mti: "0200",
        fields: &[
            (3, "000000"),
            (4, "000000012345"),
            (11, "000042"),
            (22, "021"),
            (24, "012"),
            (25, "00"),
            (35, "4000000000000002D30122010000012345678"),
            (41, "00000102"),
            (42, "898310058120002"),
            (62, "000042"),
        ],
    },
    Vector {
        name: "ASCII sale",
        spec: "iso87-ascii",
        frame: Wire::Ascii(
            "020102007238048128C09001164000000000000002000000000000012345112212345600004212345611220210\
                006123456344000000000000002=30122010000012345532600000042000001028983100581200021560A1B2C3\
                D4E5F60710123456789ABCDEF",
        ),
        mti: "0200",
        fields: &[
            (2, "4000000000000002"),
            (3, "000000"),
            (4, "000000012345"),
            (7, "1122123456"),
            (11, "000042"),
            (12, "123456"),
            (13, "1122"),
            (22, "021"),
            (25, "00"),
            (32, "123456"),
            (35, "4000000000000002D30122010000012345"),
            (37, "532600000042"),
            (41, "00000102"),
            (42, "898310058120002"),
            (49, "156"),
            (52, "0A1B2C3D4E5F6071"),
            (64, "0123456789ABCDEF"),
        ],
    },
    Vector {
        name: "ASCII sale reply with a fee",
        spec: "iso87-ascii",
        frame: Wire::Ascii(
            "01170210322000110EC080000000000000000123451122123456000042D0000010006123456532600000042A1B\
                2C30000000102898310058120002156",
        ),
        mti: "0210",
        fields: &[
            (3, "000000"),
            (4, "000000012345"),
            (7, "1122123456"),
            (11, "000042"),
            (28, "D00000100"),
            (32, "123456"),
            (37, "532600000042"),
            (38, "A1B2C3"),
            (39, "00"),
            (41, "00000102"),
            (42, "898310058120002"),
            (49, "156"),
        ],
    },
    Vector {
        name: "ASCII reversal with both bitmaps",
        spec: "iso87-ascii",
        frame: Wire::Ascii(
            "02000420F22000010EC08000000000400000000116400000000000000200000000000001234511221235210000\
                4306123456532600000042A1B2C368000001028983100581200021560200000042112212345600000123456000\
                000000000123456789ABCDEF",
        ),
        mti: "0420",
        fields: &[
            (2, "4000000000000002"),
            (3, "000000"),
            (4, "000000012345"),
            (7, "1122123521"),
            (11, "000043"),
            (32, "123456"),
            (37, "532600000042"),
            (38, "A1B2C3"),
            (39, "68"),
            (41, "00000102"),
            (42, "898310058120002"),
            (49, "156"),
            (90, "020000004211221234560000012345600000000000"),
            (128, "0123456789ABCDEF"),
        ],
    },
    Vector {
        name: "ASCII sign-on",
        spec: "iso87-ascii",
        frame: Wire::Ascii("00550800822000000000000004000000000000001122123456000001001"),
        mti: "0800",
        fields: &[(7, "1122123456"), (11, "000001"), (70, "001")],
    },
];
