//! Draws a packager file as jPOS has them: classes of every kind, fields within fields, and what does not fit.

use super::source::Source;

const CLASSES: [&str; 40] = [
    "IFA_NUMERIC",
    "IFB_NUMERIC",
    "IFB_LLNUM",
    "IFA_LLLCHAR",
    "IFE_LLCHAR",
    "IF_CHAR",
    "IFB_BINARY",
    "IFA_BITMAP",
    "IFB_BITMAP",
    "IFE_BITMAP",
    "IFA_AMOUNT",
    "IFB_AMOUNT",
    "IFEB_LLNUM",
    "IFB_FLLNUM",
    "IFB_LLHNUM",
    "IFB_LLHBINARY",
    "IFB_LLLHBINARY",
    "IFB_LLLHEX",
    "IFB_HEX",
    "IFA_LLLABINARY",
    "IFA_LLLLLLBINARY",
    "IFE_LLLBINARY",
    "IFA_TTLLCHAR",
    "IFA_TTTLLLBINARY",
    "IFTA_LLNUM",
    "IFTB_LLLBINARY",
    "IFMC_LLCHAR",
    "IFIPM_LLLCHAR",
    "IFEPE_LLLCHAR",
    "IFEP_LLCHAR",
    "IFELPE_LLLCHAR",
    "IF_NOP",
    "IF_FCHAR",
    "IFA_LLLLCHAR",
    "IFEA_LLCHAR",
    "IFA_LBNUM",
    "IFE_NUMERIC",
    "Base1_BITMAP126",
    "IFX_OTHER",
    "IFB_AMOUNT2003",
];
const PACKAGERS: [&str; 13] = [
    "GenericSubFieldPackager",
    "GenericPackager",
    "Base1SubFieldPackager",
    "EuroSubFieldPackager",
    "MasterCardEBCDICSubFieldPackager",
    "TaggedSequencePackager",
    "GenericTaggedFieldsPackager",
    "BERTLVBinaryPackager",
    "BERTLVAsciiHexPackager",
    "BERTLVEbcdicHexPackager",
    "ICCDataPackager",
    "DatasetPackager",
    "OtherPackager",
];

pub(crate) fn file(source: &mut Source<'_>) -> String {
    let mut root = String::new();
    for (attribute, values) in [
        ("maxValidField", ["128", "64", "x"]),
        ("bitmapField", ["1", "0", "2"]),
        ("thirdBitmapField", ["65", "-1", "0"]),
        ("firstField", ["2", "1", "0"]),
        ("headerLength", ["0", "5", "300"]),
        ("emitBitmap", ["true", "false", ""]),
    ] {
        if source.one_in(6) {
            root += &format!(" {attribute}={:?}", source.one(&values));
        }
    }
    let mut text = format!("<isopackager{root}>\n");
    if !source.one_in(6) {
        let class = source.one(&["IFA_NUMERIC", "IFB_NUMERIC", "IFE_NUMERIC", "IF_CHAR"]);
        text += &format!("<isofield id=\"0\" length=\"4\" name=\"MTI\" class=\"org.jpos.iso.{class}\"/>\n");
        let (class, length) =
            (source.one(&["IFB_BITMAP", "IFA_BITMAP", "IFE_BITMAP"]), source.one(&["16", "8", "24", "7"]));
        text += &format!(
            "<isofield id=\"1\" length={length:?} name=\"bitmap\" class=\"org.jpos.iso.{class}\"/>\n"
        );
    }
    for _ in 0..source.below(8) {
        text += &field(source, 2);
    }
    text + "</isopackager>\n"
}

fn field(source: &mut Source<'_>, depth: usize) -> String {
    let id = source.below(if depth == 2 { 200 } else { 12 });
    let length = source.one(&["6", "1", "0", "3", "19", "99", "255", "999", "9999", "65535", "70000", "-1"]);
    let mut attributes =
        format!("id=\"{id}\" length={length:?} class=\"org.jpos.iso.{}\"", source.one(&CLASSES));
    if source.one_in(3) {
        attributes +=
            &format!(" name={:?}", source.one(&["a name", "", "q'uoted", "[x] = {}", "ünder", "#"]));
    }
    for attribute in ["pad", "trim", "inclusive", "emitBitmap"] {
        if source.one_in(4) {
            attributes += &format!(" {attribute}={:?}", source.one(&["true", "false"]));
        }
    }
    if source.one_in(3) {
        attributes += &format!(" token={:?}", source.one(&["9F26", "01", "#", "A", "9f1", "é", "LONGTOKEN"]));
    }
    if depth == 0 || !source.one_in(4) {
        return format!("<isofield {attributes}/>\n");
    }
    attributes += &format!(" packager=\"org.jpos.iso.packager.{}\"", source.one(&PACKAGERS));
    for (attribute, values) in [
        ("tagSize", ["2", "4", "0", "9"]),
        ("lenSize", ["2", "3", "0", "7"]),
        ("swapTagAndLen", ["true", "false", "x", ""]),
        ("firstField", ["1", "0", "2", "x"]),
        ("bitmapField", ["0", "1", "-1", "5"]),
    ] {
        if source.one_in(3) {
            attributes += &format!(" {attribute}={:?}", source.one(&values));
        }
    }
    let inner: String = (0..source.below(5)).map(|_| field(source, depth - 1)).collect();
    format!("<isofieldpackager {attributes}>\n{inner}</isofieldpackager>\n")
}
