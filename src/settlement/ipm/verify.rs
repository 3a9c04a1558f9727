//! Verifies a clearing file: container, records, header, trailer, control totals. What it finds first
//! is named by record and offset. Trusts nothing of the writer's.

use super::record::Record;
use super::stream::{self, Framed};
use super::{Blocking, Encoding, Reason, Violation};

/// A file that breaks no rule.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The container it was found in.
    pub blocking: Blocking,
    /// The encoding it was found in.
    pub encoding: Encoding,
    /// PDS 0105.
    pub file_id: String,
    /// Sum of every DE 4.
    pub sum_minor: u64,
    /// All records, header and trailer included.
    pub records: Vec<Record>,
}

/// Detects blocking and encoding and checks every rule.
///
/// # Errors
/// The first [`Violation`].
pub fn verify(file: &[u8]) -> Result<Verified, Violation> {
    let blocking = Blocking::detect(file);
    let stream = blocking.unblock(file);
    let framed = stream::records(&stream, blocking)?;
    let encoding = detect(&framed);
    let mut records = Vec::with_capacity(framed.len());
    for (index, frame) in framed.iter().enumerate() {
        let record = Record::decode(frame.record, encoding).map_err(|(offset, reason)| Violation {
            record: Some(index + 1),
            offset: blocking.file_offset(frame.offset + offset),
            reason,
        })?;
        records.push(record);
    }
    let offsets: Vec<usize> = framed.iter().map(|f| blocking.file_offset(f.offset)).collect();
    let (file_id, sum_minor) = totals(&records, &offsets)?;
    Ok(Verified { blocking, encoding, file_id, sum_minor, records })
}

/// EBCDIC digits are F0 to F9, ASCII digits 30 to 39: the first octet of the first MTI tells.
fn detect(framed: &[Framed<'_>]) -> Encoding {
    match framed.first().and_then(|frame| frame.record.first()) {
        Some(octet) if *octet >= 0x80 => Encoding::Cp500,
        Some(_) | None => Encoding::Latin1,
    }
}

fn totals(records: &[Record], offsets: &[usize]) -> Result<(String, u64), Violation> {
    let at = |index: usize, reason| Violation {
        record: Some(index + 1),
        offset: offsets.get(index).copied().unwrap_or(0),
        reason,
    };
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err(Violation { record: None, offset: 0, reason: Reason::Empty });
    };
    let end = records.len() - 1;
    let mut sum = 0_u64;
    for (index, record) in records.iter().enumerate() {
        place(record, index, end).map_err(|reason| at(index, reason))?;
        let amount = record.number(4).unwrap_or(0);
        sum = sum.checked_add(amount).ok_or_else(|| at(index, Reason::Range))?;
    }
    let head = first.private().map_err(|reason| at(0, reason))?;
    let tail = last.private().map_err(|reason| at(end, reason))?;
    let file_id = head.get(&105).ok_or_else(|| at(0, Reason::FileId))?;
    if tail.get(&105) != Some(file_id) {
        return Err(at(end, Reason::FileId));
    }
    let stated = |tag: u16| tail.get(&tag).and_then(|text| text.parse::<u64>().ok());
    if stated(301) != Some(sum) {
        return Err(at(end, Reason::Sum(sum)));
    }
    if stated(306) != u64::try_from(records.len()).ok() {
        return Err(at(end, Reason::Count(records.len())));
    }
    Ok((file_id.clone(), sum))
}

/// Whether a record is what its place demands.
fn place(record: &Record, index: usize, end: usize) -> Result<(), Reason> {
    let function = record.text(24);
    let is = |code: &str| record.mti() == "1644" && function.as_deref() == Some(code);
    if index == 0 && !is("697") {
        return Err(Reason::Header);
    }
    if index == end && !is("695") {
        return Err(Reason::Trailer);
    }
    if index != 0 && index != end && (is("697") || is("695")) {
        return Err(Reason::Misplaced);
    }
    if record.number(71) != u64::try_from(index + 1).ok() {
        return Err(Reason::MessageNumber);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{FileId, Format, Presentment, TestMark, acquirer_reference, write};
    use super::*;
    use crate::transaction::{Amount, AuthCode, Currency, Day, Mid, Pan, Rrn, Side, Tid};

    fn presentment(sequence: u64, minor: i64, side: Side) -> Presentment {
        Presentment {
            pan: Pan::parse("6225880012345675").unwrap(),
            side,
            account_types: "0000".into(),
            amount: Amount::new(minor, Currency::CNY).unwrap(),
            local_time: "261123120000".into(),
            expiry: Some("3012".into()),
            entry_mode: "021".into(),
            mcc: "5411".into(),
            reference: acquirer_reference(305_600, Day(20_261_123), sequence),
            institution: "3056000".into(),
            rrn: Rrn::from_number(sequence),
            auth_code: Some(AuthCode::from_number(sequence)),
            tid: Tid::new("T0000001").unwrap(),
            mid: Mid::new("M00000000000001").unwrap(),
            name: "TEA HOUSE".into(),
            city: "SHANGHAI".into(),
            country: "CHN",
            takes_back: (side == Side::Credit).then_some(Day(20_261_122)),
        }
    }

    fn file(format: Format) -> Vec<u8> {
        let id = FileId { day: Day(20_261_123), processor: 3_056_000, sequence: 1 };
        let items: Vec<_> = (1..=9_u64)
            .map(|n| presentment(n, 1_000, if n % 3 == 0 { Side::Credit } else { Side::Debit }))
            .collect();
        write(id, TestMark::Test, &items, format).unwrap().bytes
    }

    fn formats() -> impl Iterator<Item = Format> {
        Encoding::ALL
            .into_iter()
            .flat_map(|encoding| Blocking::ALL.map(|blocking| Format { encoding, blocking }))
    }

    #[test]
    fn what_is_written_is_verified_and_writes_back_to_the_same_bytes() {
        for format in formats() {
            let bytes = file(format);
            let verified = verify(&bytes).unwrap();
            assert_eq!((verified.blocking, verified.encoding), (format.blocking, format.encoding));
            assert_eq!((verified.sum_minor, verified.records.len()), (9_000, 11));
            assert_eq!(verified.file_id, "0022611230000305600000001");
            assert_eq!(verified.records[3].private().unwrap()[&25], "R261122");
            let mut stream = Vec::new();
            for record in &verified.records {
                stream::push(&mut stream, &record.encode(format.encoding).unwrap()).unwrap();
            }
            stream::end(&mut stream);
            assert_eq!(format.blocking.block(stream), bytes, "{format:?}");
        }
    }

    #[test]
    fn an_altered_file_is_refused_and_the_place_named() {
        let ascii = Format { encoding: Encoding::Latin1, blocking: Blocking::Vbs };
        let whole = file(ascii);
        let find = |needle: &[u8], nth: usize| {
            whole.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).nth(nth).unwrap().0
        };
        let amount = find(b"000000001000", 0);
        let record_2 = find(b"1240", 0);
        let trailer = find(b"1644", 1);
        let rows = [
            ("a digit of DE 4", amount, b'1', Some(11), trailer, Reason::Sum(100_000_009_000)),
            ("a letter in DE 4", amount, b'x', Some(2), amount, Reason::Content(4)),
            ("an MTI", record_2, b'x', Some(2), record_2, Reason::Mti),
            ("a header's function", find(b"697", 0), b'5', Some(1), 4, Reason::Header),
            ("a trailer's function", find(b"695", 0) + 2, b'6', Some(11), trailer, Reason::Trailer),
            ("DE 71", find(b"00000002", 0), b'1', Some(2), record_2, Reason::MessageNumber),
            ("the trailer's file id", find(b"0105025", 1) + 7, b'1', Some(11), trailer, Reason::FileId),
            ("the trailer's sum", find(b"0301016", 0) + 7, b'1', Some(11), trailer, Reason::Sum(9_000)),
            ("the trailer's count", find(b"0306008", 0) + 7, b'1', Some(11), trailer, Reason::Count(11)),
        ];
        for (name, place, octet, record, offset, reason) in rows {
            let mut bytes = whole.clone();
            bytes[place] = octet;
            let got = verify(&bytes).err();
            assert_eq!(got, Some(Violation { record, offset, reason }), "{name}");
        }
        let violation = Violation { record: Some(2), offset: 7, reason: Reason::Content(4) };
        assert_eq!(violation.to_string(), "record 2, offset 7: the content of DE 4 is not of its form");
    }

    #[test]
    fn a_record_lost_or_doubled_is_found() {
        let ascii = Format { encoding: Encoding::Latin1, blocking: Blocking::Vbs };
        let whole = file(ascii);
        let stream = stream::records(&whole, Blocking::Vbs).unwrap();
        let rebuilt = |order: &[usize]| {
            let mut bytes = Vec::new();
            for index in order {
                stream::push(&mut bytes, stream[*index].record).unwrap();
            }
            stream::end(&mut bytes);
            verify(&bytes).err().map(|v| v.reason)
        };
        let rows: [(&str, &[usize], Option<Reason>); 5] = [
            ("all", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None),
            ("one lost", &[0, 1, 3, 4, 5, 6, 7, 8, 9, 10], Some(Reason::MessageNumber)),
            ("one doubled", &[0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], Some(Reason::MessageNumber)),
            ("a header twice", &[0, 0, 1, 10], Some(Reason::Misplaced)),
            ("nothing", &[], Some(Reason::Empty)),
        ];
        for (name, order, want) in rows {
            assert_eq!(rebuilt(order), want, "{name}");
        }
    }

    #[test]
    fn no_truncated_file_passes_and_none_panics() {
        for format in formats() {
            let bytes = file(format);
            for length in 0..bytes.len() {
                let cut = bytes.get(..length).unwrap();
                assert!(verify(cut).is_err(), "{format:?} {length}");
            }
        }
    }
}
