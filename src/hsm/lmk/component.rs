//! Components of an LMK: each in a file of its custodian, never on a command line or in the environment
//! (PCI PIN 6-1, 12).
//!
//! ```text
//! 64 hexadecimal digits
//! check value, 6 hexadecimal digits (CMAC of zeros: X9.143, annex A)
//! ```

use super::secret_file::{read_secret, write_new};
use super::{Lmk, LmkError};
use crate::hsm::HsmError;
use std::path::Path;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Characters of a component file at most.
const LONGEST: usize = 256;

/// Draws a component and writes it to a new file of mode 0600. Its check value.
///
/// # Errors
/// [`LmkError::Io`], [`std::io::ErrorKind::AlreadyExists`] among them, or [`LmkError::Hsm`].
pub fn new_component(path: &Path) -> Result<String, LmkError> {
    let component = Lmk::random()?;
    let check_value = component.check_value()?;
    let digits = Zeroizing::new(hex::encode_upper(component.octets()));
    write_new(path, Zeroizing::new(format!("{}\n{check_value}\n", *digits)).as_bytes())?;
    Ok(check_value)
}

/// Reads a component's file.
///
/// # Errors
/// [`LmkError::Form`] with the line at fault, [`LmkError::Shared`], [`LmkError::Io`].
pub fn read_component(path: &Path) -> Result<Lmk, LmkError> {
    let text = read_secret(path, LONGEST)?;
    let fault = |line, what: String| Err(LmkError::form(path, Some(line), what));
    let mut lines = text.lines().map(str::trim_ascii);
    let digits = lines.next().unwrap_or_default();
    if digits.len() != 64 {
        return fault(1, format!("a component is of 64 hexadecimal digits, not of {}", digits.len()));
    }
    let mut octets = Zeroizing::new([0; 32]);
    if hex::decode_to_slice(digits, octets.as_mut_slice()).is_err() {
        return fault(1, "not hexadecimal".into());
    }
    let component = Lmk::of(octets.as_slice())?;
    let check_value = component.check_value()?;
    match lines.next() {
        None | Some("") => return fault(2, "the component's check value is missing".into()),
        Some(want) if !want.eq_ignore_ascii_case(&check_value) => {
            return fault(2, "the check value is not this component's".into());
        }
        Some(_) => {}
    }
    match lines.position(|line| !line.is_empty()) {
        Some(place) => fault(place + 3, "nothing may follow the check value".into()),
        None => Ok(component),
    }
}

/// Forms an LMK as the XOR of components, each in a file of its own: at least two, none of them zero, none
/// twice, and their sum not zero (PCI PIN 6-1).
///
/// # Errors
/// As [`read_component`], and [`LmkError::Components`] naming the file at fault.
pub fn form<P: AsRef<Path>>(paths: &[P]) -> Result<Lmk, LmkError> {
    if paths.len() < 2 {
        return Err(LmkError::Components("at least two components form an LMK".into()));
    }
    let mut sum = Zeroizing::new([0; 32]);
    let mut read: Vec<(&Path, Lmk)> = Vec::with_capacity(paths.len());
    for path in paths.iter().map(AsRef::as_ref) {
        let component = read_component(path)?;
        if is_zero(component.octets()) {
            return Err(LmkError::Components(format!("{}:1: the component is zero", path.display())));
        }
        if let Some((earlier, _)) = read.iter().find(|(_, known)| known.is(&component)) {
            let what = format!("{}:1: the same component as {}", path.display(), earlier.display());
            return Err(LmkError::Components(what));
        }
        sum.iter_mut().zip(component.octets()).for_each(|(octet, part)| *octet ^= part);
        read.push((path, component));
    }
    if is_zero(&sum) {
        return Err(LmkError::Components("the components sum up to zero".into()));
    }
    Ok(Lmk::of(sum.as_slice()).map_err(|_| HsmError::Failure("components"))?)
}

fn is_zero(octets: &[u8; 32]) -> bool {
    octets.ct_eq(&[0; 32]).into()
}
