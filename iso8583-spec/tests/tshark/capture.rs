//! A capture file by hand: one side of a TCP connection over IPv4 over Ethernet, in the classic format of libpcap.

use std::iter;

const FROM: [u8; 4] = [10, 0, 0, 1];
const TO: [u8; 4] = [10, 0, 0, 2];
const FROM_PORT: u16 = 40_000;
/// The port that messages are sent to.
pub(crate) const TO_PORT: u16 = 5_000;

/// The octets of a capture in which these segments are sent one after the other.
pub(crate) fn capture(segments: &[&[u8]]) -> Vec<u8> {
    // Magic number, version 2.4, time zone, accuracy, longest packet, Ethernet.
    let mut out = 0xA1B2_C3D4_u32.to_le_bytes().to_vec();
    out.extend([2, 0, 4, 0]);
    [0, 0, 65_535, 1].iter().for_each(|word: &u32| out.extend(word.to_le_bytes()));
    let mut sequence = 1;
    for (second, segment) in (0..).zip(segments) {
        let packet = ethernet(&ipv4(&tcp(sequence, segment)));
        let length = u32::try_from(packet.len()).unwrap();
        [second, 0, length, length].iter().for_each(|word: &u32| out.extend(word.to_le_bytes()));
        out.extend(packet);
        sequence += u32::try_from(segment.len()).unwrap();
    }
    out
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    [[2, 0, 0, 0, 0, 2].as_slice(), &[2, 0, 0, 0, 0, 1], &[0x08, 0x00], packet].concat()
}

/// RFC 791: 20 octets of header, no options.
fn ipv4(segment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + segment.len()).unwrap().to_be_bytes();
    let mut header = [&[0x45, 0], length.as_slice(), &[0, 1, 0x40, 0, 64, 6, 0, 0], &FROM, &TO].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&header, segment].concat()
}

/// RFC 793: 20 octets of header, PSH and ACK.
fn tcp(sequence: u32, content: &[u8]) -> Vec<u8> {
    let mut segment = [FROM_PORT.to_be_bytes(), TO_PORT.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(1_u32.to_be_bytes());
    segment.extend([0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0]);
    segment.extend(content);
    let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
    let sum = checksum(&[FROM.as_slice(), &TO, &[0, 6], &length, &segment].concat());
    segment[16..18].copy_from_slice(&sum);
    segment
}

/// RFC 1071: the one's complement of the one's complement sum of all 16-bit words.
fn checksum(octets: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default());
    let sum: u32 = octets.chunks(2).map(word).sum();
    let folded = iter::successors(Some(sum), |sum| (sum >> 16 > 0).then_some((sum & 0xFFFF) + (sum >> 16)));
    let sum = folded.last().unwrap_or_default();
    u16::try_from(sum ^ 0xFFFF).unwrap().to_be_bytes()
}
