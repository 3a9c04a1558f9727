//! A clearing file from its presentments: header, one record each, trailer with control totals.
//! Reads no clock: the same presentments give the same bytes.

use super::{Blocking, Encoding, Reason, Record, Violation, plain, stream};
use crate::transaction::{Amount, AuthCode, Day, Mid, Pan, Rrn, Side, Tid};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    /// The characters.
    pub encoding: Encoding,
    /// The container.
    pub blocking: Blocking,
}

/// PDS 0122: what a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TestMark {
    /// `T`.
    #[default]
    Test,
    /// `P`.
    Production,
}

impl TestMark {
    /// Its name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Production => "production",
        }
    }

    /// The mark of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Test, Self::Production].into_iter().find(|m| m.name() == name)
    }
}

/// PDS 0105, 25 characters: file type 3 · date `YYMMDD` · processor id 11 · sequence 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// Business day.
    pub day: Day,
    /// Processor id, at most eleven digits.
    pub processor: u64,
    /// Number of the file on its day, from 1.
    pub sequence: u32,
}

impl FileId {
    /// The file type of clearing from an acquirer.
    const TYPE: &str = "002";
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{:011}{:05}", Self::TYPE, self.day.yymmdd(), self.processor, self.sequence)
    }
}

/// A first presentment, or the record that takes one back.
#[derive(Debug, Clone)]
pub struct Presentment {
    /// DE 2.
    pub pan: Pan,
    /// Debit: the cardholder pays. A refund has a DE 3 of `20xxxx`.
    pub side: Side,
    /// The account types of DE 3, its last four digits.
    pub account_types: String,
    /// DE 4 and DE 49, always positive.
    pub amount: Amount,
    /// DE 12, `YYMMDDhhmmss`, local.
    pub local_time: String,
    /// DE 14, `YYMM`.
    pub expiry: Option<String>,
    /// DE 22 of the terminal, n3; see [`data_code`].
    pub entry_mode: String,
    /// DE 26, merchant category code, n4.
    pub mcc: String,
    /// DE 31, 23 digits; see [`acquirer_reference`].
    pub reference: String,
    /// DE 33 and DE 94: who forwards the file.
    pub institution: String,
    /// DE 37.
    pub rrn: Rrn,
    /// DE 38.
    pub auth_code: Option<AuthCode>,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// Name of the merchant for DE 43.
    pub name: String,
    /// City of the merchant for DE 43.
    pub city: String,
    /// ISO 3166-1 alpha-3 country of the merchant for DE 43.
    pub country: &'static str,
    /// The day whose file presented it, when this record takes that back: PDS 0025 `R` + `YYMMDD`.
    ///
    /// The original record is repeated and marked. That a take-back has this form is not verified
    /// against a standard.
    pub takes_back: Option<Day>,
}

/// A written file.
#[derive(Clone)]
pub struct Clearing {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Messages, header and trailer included.
    pub messages: usize,
    /// Sum of every DE 4; refunds and take-backs add to it.
    pub sum_minor: u64,
}

/// Writes a file.
///
/// # Errors
/// [`Violation`] names the record (its offset is that of the record in the stream) that the format
/// cannot hold.
pub fn write(
    id: FileId,
    mark: TestMark,
    presentments: &[Presentment],
    format: Format,
) -> Result<Clearing, Violation> {
    let mut writer = Writer { stream: Vec::new(), messages: 0, sum_minor: 0, format };
    writer.push(header(id, mark))?;
    for presentment in presentments {
        writer.push(first_presentment(presentment))?;
    }
    let trailer = trailer(id, writer.sum_minor, writer.messages + 1);
    writer.push(trailer)?;
    stream::end(&mut writer.stream);
    Ok(Clearing {
        bytes: format.blocking.block(writer.stream),
        messages: writer.messages,
        sum_minor: writer.sum_minor,
    })
}

/// Numbers records and adds them up.
struct Writer {
    stream: Vec<u8>,
    messages: usize,
    sum_minor: u64,
    format: Format,
}

impl Writer {
    fn push(&mut self, record: Result<Record, Reason>) -> Result<(), Violation> {
        let offset = self.format.blocking.file_offset(self.stream.len());
        let number = self.messages + 1;
        self.add(record, number).map_err(|reason| Violation { record: Some(number), offset, reason })
    }

    fn add(&mut self, record: Result<Record, Reason>, number: usize) -> Result<(), Reason> {
        let mut record = record?;
        if number > 99_999_999 {
            return Err(Reason::Range);
        }
        record.set(71, &format!("{number:08}"))?;
        let amount = record.number(4).unwrap_or(0);
        stream::push(&mut self.stream, &record.encode(self.format.encoding)?)?;
        self.sum_minor = self.sum_minor.checked_add(amount).ok_or(Reason::Range)?;
        self.messages = number;
        Ok(())
    }
}

fn header(id: FileId, mark: TestMark) -> Result<Record, Reason> {
    let mark = match mark {
        TestMark::Test => "T",
        TestMark::Production => "P",
    };
    let mut record = Record::new("1644")?;
    record.set(24, "697")?;
    record.set_private(&[(105, id.to_string()), (122, mark.to_owned())])?;
    Ok(record)
}

fn trailer(id: FileId, sum_minor: u64, messages: usize) -> Result<Record, Reason> {
    let (sum, count) = (format!("{sum_minor:016}"), format!("{messages:08}"));
    if sum.len() > 16 || count.len() > 8 {
        return Err(Reason::Range);
    }
    let mut record = Record::new("1644")?;
    record.set(24, "695")?;
    record.set_private(&[(105, id.to_string()), (301, sum), (306, count)])?;
    Ok(record)
}

fn first_presentment(p: &Presentment) -> Result<Record, Reason> {
    let class = match p.side {
        Side::Debit => "00",
        Side::Credit => "20",
        Side::None => return Err(Reason::Content(3)),
    };
    let mut record = Record::new("1240")?;
    record.set(2, p.pan.digits())?;
    record.set(3, &format!("{class}{}", p.account_types))?;
    record.set(4, &p.amount.digits())?;
    record.set(12, &p.local_time)?;
    if let Some(expiry) = &p.expiry {
        record.set(14, expiry)?;
    }
    record.set(22, &data_code(&p.entry_mode))?;
    record.set(24, "200")?;
    record.set(26, &p.mcc)?;
    record.set(31, &p.reference)?;
    record.set(33, &p.institution)?;
    record.set(37, p.rrn.as_str())?;
    if let Some(code) = p.auth_code {
        record.set(38, code.as_str())?;
    }
    record.set(41, p.tid.as_str())?;
    record.set(42, p.mid.as_str())?;
    record.set(43, &acceptor(p))?;
    record.set_private(&private(p))?;
    record.set(49, &p.amount.currency().to_string())?;
    record.set(94, &p.institution)?;
    Ok(record)
}

/// PDS 0023 terminal type, 0025 take-back, 0148 currency and its exponent, 0158 business activity
/// (none agreed: zeros), 0165 settlement indicator.
fn private(p: &Presentment) -> Vec<(u16, String)> {
    let currency = p.amount.currency();
    let mut elements = vec![
        (23, "POI".to_owned()),
        (148, format!("{currency}{}", currency.exponent())),
        (158, "000000000000".to_owned()),
        (165, "M".to_owned()),
    ];
    if let Some(day) = p.takes_back {
        elements.push((25, format!("R{}", day.yymmdd())));
    }
    elements
}

/// DE 43: `NAME\ADDRESS\SUBURB\` · postcode 10 · state 3 · country 3. Address, postcode and state are
/// not kept, so they are blank.
fn acceptor(p: &Presentment) -> String {
    let part = |text: &str, max| {
        let plain = plain(text, max);
        if plain.is_empty() { "-".to_owned() } else { plain }
    };
    format!("{}\\-\\{}\\{:10}{:3}{:3}", part(&p.name, 25), part(&p.city, 13), "", "", p.country)
}

/// The twelve positions of DE 22 (ISO 8583:1993 annex A.8) from the three digits of DE 22 of 1987:
/// what the reader and the PIN pad could do is told as far as the three digits tell it.
#[must_use]
pub fn data_code(entry_mode: &str) -> String {
    let (reader, pin) = entry_mode.split_at_checked(2).unwrap_or(("00", "0"));
    // Capability 1, card present 6, input mode 7.
    let (capability, present, input) = match reader {
        "01" => ('6', '0', '6'),
        "02" | "80" | "90" => ('2', '1', '2'),
        "03" | "04" => ('3', '0', '3'),
        "05" | "95" => ('5', '1', '5'),
        "07" | "91" | "96" | "98" => ('M', '1', 'M'),
        _ => ('0', '9', '0'),
    };
    // Authentication capability 2, authentication method 8, entity 9, PIN length 12.
    let (able, method, entity, length) = match pin {
        "1" => ('1', '1', '3', 'C'),
        "2" => ('0', '0', '0', '0'),
        _ => ('9', '9', '9', '1'),
    };
    // Card capture 3 none, environment 4 attended on premises, cardholder 5 present, outputs 10 and 11 both.
    format!("{capability}{able}010{present}{input}{method}{entity}04{length}")
}

/// DE 31, the acquirer reference number, 23 digits: indicator 1 · acquirer BIN 6 · day `YDDD` 4 ·
/// sequence 11 · check digit 1 (Luhn over the 22 before it). The widths and the check digit's rule are
/// not verified against a standard.
#[must_use]
pub fn acquirer_reference(institution: u64, day: Day, sequence: u64) -> String {
    let of_year = day.date().map_or(0, jiff::civil::Date::day_of_year);
    let year = day.0 / 10_000 % 10;
    let head = format!("2{:06}{year}{of_year:03}{:011}", institution % 1_000_000, sequence % 100_000_000_000);
    format!("{head}{}", luhn_digit(&head))
}

fn luhn_digit(digits: &str) -> u32 {
    let sum: u32 = digits
        .chars()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = digit.to_digit(10).unwrap_or(0);
            let doubled = if place % 2 == 0 { digit * 2 } else { digit };
            doubled / 10 + doubled % 10
        })
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_ids_are_25_characters() {
        let id = FileId { day: Day(20_261_123), processor: 3_056_000, sequence: 1 };
        assert_eq!(id.to_string(), "0022611230000305600000001");
        assert_eq!(id.to_string().len(), 25);
    }

    #[test]
    fn entry_modes_become_twelve_positions() {
        let rows = [
            ("012", "600100600040"),
            ("021", "21010121304C"),
            ("022", "200101200040"),
            ("051", "51010151304C"),
            ("072", "M00101M00040"),
            ("", "090109099041"),
        ];
        for (mode, want) in rows {
            assert_eq!(data_code(mode), want, "{mode}");
        }
    }

    #[test]
    fn acquirer_references_are_23_digits_with_a_check_digit() {
        let rows = [
            (3_056_000, Day(20_261_123), 1, "2056000632700000000001"),
            (1, Day(20_240_229), 100_000_000_001, "2000001406000000000001"),
        ];
        for (institution, day, sequence, want) in rows {
            let got = acquirer_reference(institution, day, sequence);
            assert_eq!(got, format!("{want}{}", luhn_digit(want)));
        }
        // The Luhn example of ISO/IEC 7812-1 annex B.
        assert_eq!(luhn_digit("7992739871"), 3);
    }
}
