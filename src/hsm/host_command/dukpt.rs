//! The keys of a terminal's transactions, for the commands that name a base derivation key and a key serial number.

use super::HostHsm;
use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use crate::hsm::dukpt::tdes::{KeySerialNumber, KsnDescriptor, TransactionKey, ZeroCounter};

impl Fields<'_> {
    /// Descriptor (3), and a KSN of as many characters as it says.
    pub(super) fn key_serial_number(&mut self) -> Result<KeySerialNumber, Code> {
        let descriptor = KsnDescriptor::parse(self.text(3)?)?;
        Ok(descriptor.read(self.hex_digits(descriptor.characters())?)?.0)
    }
}

impl HostHsm {
    /// The key of a transaction. That of the counter zero is the initial key, as on a device.
    pub(super) fn transaction_key(
        &self,
        bdk: KeyField<'_>,
        ksn: KeySerialNumber,
    ) -> Result<TransactionKey, Code> {
        let bdk = self.lmks.open(bdk, &Role::BDK)?;
        let initial = bdk.base()?.initial_key(ksn)?;
        Ok(initial.transaction_key(ksn, ZeroCounter::InitialKey)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::wrapped;
    use super::super::transcripts::codes;

    #[test]
    fn an_aes_key_is_no_base_key_of_triple_des() {
        let bdk = wrapped(b"B0", b'A', "FEDCBA9876543210F1F1F1F1F1F1F1F1");
        let ksn = "A05 FFFF000001315240003A";
        let rows = [
            format!("GW 4 1 {bdk} {ksn} 0008 abcdefgh"),
            format!("M0 00 1 1 FFF {bdk} {ksn} 0010 ABCDEF1234567890"),
            format!("G0 {bdk} ZPK1 {ksn} 741311DA9D5D6C32 01 01 600000000000"),
            format!("CA TPK *{bdk} {ksn} 12 E57BC634D4717907 01 01 600000000000"),
        ];
        for row in rows {
            codes(&[(row.as_str(), "A7")]);
        }
    }
}
