//! Commands written as one reads them, and played through a socket.

use super::server::{Limits, Server, bind, serve};
use super::{AttemptLimits, HostHsm, Permit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};
use tokio_util::sync::CancellationToken;

/// Keys under the public test LMK for version 0, made by a device.
pub(super) const KEYS: [(&str, &str); 23] = [
    ("ZPK1", "S00072P0TB00E0001EA421618B34F5FA1A77F7CF6480111B97CF0FAE7BD77D589EC921EF9"),
    ("ZPK2", "S00072P0TB00E00010D869FE84C1F77AE64E0019151533363D4CCE7E1C3F89F3D86115EE8"),
    ("TPK2", "S00072P0TB00E0001286A5156C05A48688C0820BE76872301EBC40F6F0452B2611331D8F7"),
    ("TPK", "S0007271TN00E00019BAD23B0CEF79E33328CA0568A0E186FC17E8DE738AAF9FB67C6E1FF"),
    ("PVKV2", "S00072V2TN00E00014C0328F82856C4E6D7CCF7A9A1597CB0662C35A18CC72EB9CF97917C"),
    ("PVKV", "S00072V2TN00E0001E80A2926443C3AF11BF0317C669FA0EA0E100ABDF92BF7A3AF232D4C"),
    ("PVKI2", "S00072V1TN00E00019412BA0AB9D9377261D2CDDB1C4A063ABF35B4CB9E98F7948A501DA2"),
    ("PVKI", "S00072V1TN00E00010AE0AD2B1990AB407FAD15059E287760A05DF4DA2391EAB138877E22"),
    ("CVK", "S00072C0TN00E0001A417975993E2331918759DD1656AC94306BE01C19FDE29E83A93AB42"),
    ("TAK", "S00072M1TN00E0001FFE01E95CF21BDD0D74B6BEB70E3D90842C137DCA39C1B162C6238D5"),
    ("BDK1", "S00072B0TN00E0001566678078B5337915F4860C92F3FF2D6A6B11E8786F22DC8032EB758"),
    ("BDK2", "S00072B0TN00E0001134E8D68D46BC8356F84F598155A1B5C44199D9847A2A58B64BE091F"),
    ("DEK2", "S00072D0TN00E00010EA718005998326E187E742CF400E5698F5E55E2A0A25A5FD9C5EDDE"),
    ("DEK", "S00072D0TN00E0001BD79343066F46B9C1279E2DE4382E56E6DD5BDCE0F850C7E444799D9"),
    ("ZPK3", "S0007272TN00E0001DE16F028F38CC385436D8E5B3DD4341F3E55379FBCB39710FE2BB6B4"),
    ("MKAC3", "S00072E0TN00S00012574E37226ADAA76E5B8F2C4F14AD34F1F054EF52CB56BE2F4D03BEA"),
    ("MKAC2", "S00072E0TN00E00017772090F5BDE6568F9B0EFDADD1D160CDB1655DE1984F00973EC3596"),
    ("TMK", "S00072K0TB00E00019A75CB10B9C1359CFA732D39217C3667207E279FC9E845F64FEEE9F0"),
    ("ZMK1", "S00072K0TB00E0001DB045F29C053EEFF7B9425B3A88C7258EB7EA7E40E2C47878647072A"),
    ("ZMK2", "S00072K0TB00E00017CECF0FB9210B3CC93B9FFB304963C39CFFF94B837D318E1A6F1F058"),
    ("PVK0", "S00072V0TN00E000123721C789734ADC94BBA5A97A7926D5BAFA19AFC35D1D3126BD38F85"),
    ("COMP1", "S0007252TBc1E0001C9ED3207A1A79BCA1CAB8C05FEC9429E2232067D1F9E908F15E9DCA7"),
    ("COMP2", "S0007252TBc2E000125276E9C8BC0FA0F70109274FAB9647EF89A189C019465182A345009"),
];

/// The octets of a command, or of an answer, that is written with spaces for reading, with names for keys, and with `=`
/// before hexadecimal digits that stand for octets.
pub(super) fn written(text: &str) -> Vec<u8> {
    let word = |word: &str| match word.strip_prefix('=') {
        Some(digits) => hex::decode(digits).unwrap(),
        None => KEYS.iter().find(|(name, _)| *name == word).map_or(word, |(_, key)| key).into(),
    };
    text.split_whitespace().flat_map(word).collect()
}

/// A message with its length and a header in front.
pub(super) fn framed(header: &str, message: &[u8]) -> Vec<u8> {
    let message = [header.as_bytes(), message].concat();
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message.as_slice()].concat()
}

/// An HSM under the public test LMKs that permits all.
pub(super) fn permissive(header: usize) -> HostHsm {
    HostHsm::with_test_keys(header).unwrap().with_permits(&Permit::ALL)
}

/// A server under the public test LMKs that permits all and counts no failures, for as long as the tests run.
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let limits = AttemptLimits { in_a_row: 0, per_minute: 0, ..AttemptLimits::default() };
    let hsm = Arc::new(permissive(4).with_attempt_limits(limits));
    let server = Server { hsm, limits: Limits::default(), threads: NonZeroUsize::MIN, tls: None };
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || serve(&server, listener, &CancellationToken::new()));
    address
});

/// A connection to it.
pub(super) struct Host(TcpStream);

impl Host {
    pub(super) fn connect() -> Self {
        let socket = TcpStream::connect(*SERVER).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(socket)
    }

    /// The next answer without its length, as it comes.
    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        self.0.read_exact(&mut message).unwrap();
        message
    }

    /// What a command is answered, without its header.
    pub(super) fn ask(&mut self, command: &[u8]) -> Vec<u8> {
        self.0.write_all(&framed("0042", command)).unwrap();
        let answer = self.receive();
        answer.strip_prefix(b"0042").unwrap().to_vec()
    }

    /// The same, when the server has the command's first octets before the others are sent: they come with an echo,
    /// which is awaited.
    fn ask_cut(&mut self, command: &[u8], at: usize) -> Vec<u8> {
        let command = framed("0042", command);
        let (front, rest) = command.split_at(at);
        self.0.write_all(&[&framed("0041", b"B20000"), front].concat()).unwrap();
        assert_eq!(self.receive(), b"0041B300");
        self.0.write_all(rest).unwrap();
        let answer = self.receive();
        answer.strip_prefix(b"0042").unwrap().to_vec()
    }
}

/// What a command is answered through a socket, without its header; a character for an octet.
pub(super) fn ask(command: &[u8]) -> String {
    Host::connect().ask(command).into_iter().map(char::from).collect()
}

/// Commands and their answers, byte for byte: one after the other, cut at every octet, and all of them at once.
pub(super) fn transcript(rows: &[(&str, &str)]) {
    let mut host = Host::connect();
    let (mut all, mut answers) = (Vec::new(), Vec::new());
    for (command, answer) in rows {
        let (octets, expected) = (written(command), written(answer));
        let found = host.ask(&octets);
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{command}");
        for at in 0..octets.len() + 6 {
            assert!(host.ask_cut(&octets, at) == expected, "{command}, cut at {at}");
        }
        all.extend(framed("0042", &octets));
        answers.push((command, [b"0042", expected.as_slice()].concat()));
    }
    host.0.write_all(&all).unwrap();
    for (command, answer) in answers {
        assert!(host.receive() == answer, "{command}, among others");
    }
}

/// The same of commands that are made.
pub(super) fn exchanges(rows: &[(String, &str)]) {
    transcript(&rows.iter().map(|(command, answer)| (command.as_str(), *answer)).collect::<Vec<_>>());
}

/// Commands that are not done unless all of them is there, but for an LMK's number at the end.
pub(super) fn refused_when_cut(commands: &[String]) {
    let mut host = Host::connect();
    for command in commands {
        let octets = written(command);
        let end = octets.iter().position(|octet| *octet == b'%').unwrap_or(octets.len());
        assert!(matches!(host.ask(&octets).get(2..4), Some(b"00" | b"02")), "{command}");
        for end in 2..end {
            let answer = host.ask(&octets[..end]);
            assert!(!matches!(answer.get(2..4), Some(b"00" | b"02")), "{command}, {end} octets of it");
        }
    }
}

/// Commands and the codes of their answers.
pub(super) fn codes(rows: &[(&str, &str)]) {
    for (command, code) in rows {
        assert_eq!(&ask(&written(command))[2..4], *code, "{command}");
    }
}
