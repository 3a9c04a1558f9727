//! What Python makes of octets where pyiso8583 leaves reading to it: `int()` of a length, `bytes.fromhex()` of a bitmap.

/// The ASCII character of an octet, or any other that is neither digit nor blank; `None` where it cannot be decoded.
fn character(encoding: &str, octet: u8) -> Option<char> {
    const OTHER: char = '?';
    match (encoding, octet) {
        ("ascii", 0x80..) => None,
        ("ascii", _) => Some(char::from(octet)),
        // Code pages 037 and 500 agree on all that matters to a number.
        (_, 0xF0..=0xF9) => Some(char::from(octet - 0xF0 + b'0')),
        (_, 0xC1..=0xC6) => Some(char::from(octet - 0xC1 + b'A')),
        (_, 0x81..=0x86) => Some(char::from(octet - 0x81 + b'a')),
        (_, 0x05) => Some('\t'),
        (_, 0x25) => Some('\n'),
        (_, 0x0B..=0x0D | 0x1C..=0x1F) => Some(char::from(octet)),
        (_, 0x15) => Some('\u{85}'),
        (_, 0x40) => Some(' '),
        (_, 0x41) => Some('\u{A0}'),
        (_, 0x4E) => Some('+'),
        (_, 0x60) => Some('-'),
        (_, 0x6D) => Some('_'),
        (_, _) => Some(OTHER),
    }
}

/// Whether text of this encoding can be decoded.
pub(crate) fn is_text(encoding: &str, octets: &[u8]) -> bool {
    octets.iter().all(|octet| character(encoding, *octet).is_some())
}

fn text(encoding: &str, octets: &[u8]) -> Option<String> {
    octets.iter().map(|octet| character(encoding, *octet)).collect()
}

/// The number that `int()` finds: blanks around it, a sign before it and single underscores in it are allowed.
pub(crate) fn int(encoding: &str, octets: &[u8]) -> Option<i64> {
    // Rust's white space lacks the separators of ASCII.
    let is_blank = |c: char| c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c);
    let text = text(encoding, octets)?;
    let text = text.trim_matches(is_blank);
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) if text.starts_with('-') => (-1, digits),
        Some(digits) => (1, digits),
        None => (1, text),
    };
    let is_number =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()));
    if is_number { Some(sign * digits.replace('_', "").parse::<i64>().ok()?) } else { None }
}

/// Whether `bytes.fromhex()` takes it: blanks may stand between two octets.
pub(crate) fn is_hex(encoding: &str, octets: &[u8]) -> bool {
    let is_blank = |c: &char| matches!(c, ' ' | '\t' | '\n' | '\u{B}' | '\u{C}' | '\r');
    let Some(text) = text(encoding, octets) else { return false };
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(is_blank).is_some() {}
        match (rest.next(), rest.next()) {
            (None, _) => return true,
            (Some(high), Some(low)) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            (Some(_), _) => return false,
        }
    }
}

/// The number behind a hexadecimal digit.
pub(crate) fn hex_digit(encoding: &str, octet: u8) -> Option<u32> {
    character(encoding, octet)?.to_digit(16)
}

/// Whether all are hexadecimal digits, the greatest of them this at most.
pub(crate) fn are_digits(encoding: &str, octets: &[u8], most: u32) -> bool {
    match encoding {
        "b" => octets.iter().all(|octet| u32::from(octet >> 4) <= most && u32::from(octet & 15) <= most),
        _ => octets.iter().all(|octet| hex_digit(encoding, *octet).is_some_and(|digit| digit <= most)),
    }
}

/// The octet of a hexadecimal digit.
pub(crate) fn hex_octet(encoding: &str, number: u32) -> u8 {
    let is_it = |octet: &u8| {
        let upper = character(encoding, *octet).filter(|c| !c.is_ascii_lowercase());
        upper.and_then(|c| c.to_digit(16)) == Some(number)
    };
    (0..=255).find(is_it).unwrap()
}

/// Whether the first bit of a bitmap is set: another one follows. Of what is no hexadecimal nothing is said.
pub(crate) fn is_first_bit_set(encoding: &str, bitmap: &[u8]) -> bool {
    let Some(first) = bitmap.first() else { return false };
    match encoding {
        "b" => first >> 7 == 1,
        _ => hex_digit(encoding, *first).is_some_and(|digit| digit > 7),
    }
}
