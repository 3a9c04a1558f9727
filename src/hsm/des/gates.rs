//! The eight substitutions of DES as gates on words: bit `n` of every word belongs to block `n`.
//!
//! Made from the standard's tables: each of the four bits that a substitution gives is split by one of the six that it
//! takes into a part without it and a part that it switches (Davio's expansion), and so on until the parts are known
//! from before. Orders of the six were tried until few gates were left: 51 to 85 each. That they are the tables is
//! tested for all sixty-four inputs.

/// S1.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s1([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = !f; let x1 = c ^ x0; let x2 = f & c; let x3 = x2 & d; let x4 = x1 ^ x3; let x5 = x0 & !c;
    let x6 = !x5; let x7 = x6 & !d; let x8 = f ^ x5; let x9 = x8 & d; let x10 = x7 ^ x9; let x11 = x10 & e;
    let x12 = x4 ^ x11; let x13 = !c; let x14 = x5 ^ x9; let x15 = x14 ^ x3; let x16 = x15 & e;
    let x17 = x13 ^ x16; let x18 = x17 & !a; let x19 = x12 ^ x18; let x20 = c & !d; let x21 = !x20;
    let x22 = !x2; let x23 = d ^ x22; let x24 = f ^ x23; let x25 = !x24; let x26 = x25 & !e;
    let x27 = x7 ^ x26; let x28 = x27 & a; let x29 = x21 ^ x28; let x30 = x29 & !b; let x31 = x19 ^ x30;
    let x32 = x2 ^ x7; let x33 = x1 & !e; let x34 = x32 ^ x33; let x35 = x22 & d; let x36 = x22 ^ x35;
    let x37 = x36 & !e; let x38 = x14 ^ x37; let x39 = x38 & !a; let x40 = x34 ^ x39; let x41 = f & !d;
    let x42 = x22 ^ x41; let x43 = d & !e; let x44 = x42 ^ x43; let x45 = c ^ x32; let x46 = x5 ^ x41;
    let x47 = x46 & !e; let x48 = x45 ^ x47; let x49 = x48 & a; let x50 = x44 ^ x49; let x51 = x50 & b;
    let x52 = x40 ^ x51; let x53 = x2 ^ x14; let x54 = x45 ^ x53; let x55 = x54 ^ x43; let x56 = x35 ^ x46;
    let x57 = x56 & !e; let x58 = x0 ^ x57; let x59 = x58 & a; let x60 = x55 ^ x59; let x61 = x24 & !e;
    let x62 = x61 ^ x25; let x63 = !x9; let x64 = d ^ x63; let x65 = x10 & !e; let x66 = x64 ^ x65;
    let x67 = x66 & !a; let x68 = x62 ^ x67; let x69 = x68 & !b; let x70 = x60 ^ x69; let x71 = x63 & e;
    let x72 = x32 ^ x71; let x73 = d ^ x32; let x74 = x53 & e; let x75 = x73 ^ x74; let x76 = x75 & !a;
    let x77 = x72 ^ x76; let x78 = x23 & e; let x79 = x42 ^ x78; let x80 = x14 ^ x61; let x81 = x80 & a;
    let x82 = x79 ^ x81; let x83 = x82 & b; let x84 = x77 ^ x83;
    [x31, x52, x70, x84]
}

/// S2.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s2([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = !e; let x1 = b ^ x0; let x2 = x1 & f; let x3 = x0 ^ x2; let x4 = e & f; let x5 = x3 ^ x4;
    let x6 = x0 & !b; let x7 = !x6; let x8 = x7 & f; let x9 = !x8; let x10 = x9 & a; let x11 = x5 ^ x10;
    let x12 = !x4; let x13 = f ^ x2; let x14 = b ^ x13; let x15 = x14 & !a; let x16 = x12 ^ x15;
    let x17 = x16 & c; let x18 = x11 ^ x17; let x19 = b ^ x7; let x20 = x19 & !f; let x21 = x20 & a;
    let x22 = x7 ^ x21; let x23 = x22 & d; let x24 = x18 ^ x23; let x25 = !x1; let x26 = x25 & !f;
    let x27 = x4 ^ x26; let x28 = x27 ^ a; let x29 = x13 ^ x5; let x30 = x1 ^ x29; let x31 = x7 ^ x26;
    let x32 = x6 & f; let x33 = x31 ^ x32; let x34 = f ^ x33; let x35 = x34 & a; let x36 = x30 ^ x35;
    let x37 = x36 & !c; let x38 = x28 ^ x37; let x39 = e ^ x5; let x40 = x39 ^ x36; let x41 = x4 & c;
    let x42 = x40 ^ x41; let x43 = x42 & !d; let x44 = x38 ^ x43; let x45 = f ^ x1; let x46 = x29 & a;
    let x47 = x45 ^ x46; let x48 = x33 & a; let x49 = x39 ^ x48; let x50 = x49 & !c; let x51 = x47 ^ x50;
    let x52 = x32 ^ x12; let x53 = x52 & !a; let x54 = x0 ^ x53; let x55 = x45 & !a; let x56 = b ^ x55;
    let x57 = x56 & !c; let x58 = x54 ^ x57; let x59 = x58 & !d; let x60 = x51 ^ x59; let x61 = x7 ^ x4;
    let x62 = x61 & a; let x63 = x3 ^ x62; let x64 = x0 ^ x32; let x65 = x64 & !a; let x66 = x31 ^ x65;
    let x67 = x66 & !c; let x68 = x63 ^ x67; let x69 = x0 ^ x20; let x70 = x13 & a; let x71 = x69 ^ x70;
    let x72 = x71 & !d; let x73 = x68 ^ x72;
    [x24, x44, x60, x73]
}

/// S3.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s3([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = !b; let x1 = !f; let x2 = x1 & b; let x3 = x2 & !e; let x4 = x0 ^ x3; let x5 = f & !e;
    let x6 = x2 ^ x5; let x7 = x4 ^ x6; let x8 = x7 ^ d; let x9 = f ^ x2; let x10 = !x9; let x11 = x10 & !e;
    let x12 = b ^ x11; let x13 = x10 ^ x12; let x14 = x13 & !c; let x15 = x8 ^ x14; let x16 = b ^ f;
    let x17 = e ^ x7; let x18 = x17 & d; let x19 = x16 ^ x18; let x20 = f ^ x5; let x21 = b ^ x20;
    let x22 = !x21; let x23 = x22 & !d; let x24 = x23 & c; let x25 = x19 ^ x24; let x26 = x25 & !a;
    let x27 = x15 ^ x26; let x28 = x9 ^ e; let x29 = !x28; let x30 = f ^ x29; let x31 = b ^ x28;
    let x32 = x31 & !d; let x33 = x30 ^ x32; let x34 = !e; let x35 = x20 & d; let x36 = x34 ^ x35;
    let x37 = x36 & c; let x38 = x33 ^ x37; let x39 = x21 & d; let x40 = x3 ^ x39; let x41 = x40 & !c;
    let x42 = !x41; let x43 = x42 & !a; let x44 = x38 ^ x43; let x45 = e ^ f; let x46 = x4 & d;
    let x47 = x45 ^ x46; let x48 = x34 & !d; let x49 = x29 ^ x48; let x50 = x49 & !c; let x51 = x47 ^ x50;
    let x52 = x0 ^ x2; let x53 = x52 & e; let x54 = !x53; let x55 = x54 & d; let x56 = x12 ^ x55;
    let x57 = x6 & !d; let x58 = x28 ^ x57; let x59 = x58 & !c; let x60 = x56 ^ x59; let x61 = x60 & !a;
    let x62 = x51 ^ x61; let x63 = !x16; let x64 = x63 ^ x48; let x65 = e & !c; let x66 = x64 ^ x65;
    let x67 = x52 ^ x54; let x68 = x67 ^ x32; let x69 = x0 & e; let x70 = x0 ^ x69; let x71 = !x52;
    let x72 = x71 & !d; let x73 = x70 ^ x72; let x74 = x73 & !c; let x75 = x68 ^ x74; let x76 = x75 & a;
    let x77 = x66 ^ x76;
    [x27, x44, x62, x77]
}

/// S4.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s4([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = !e; let x1 = e & !c; let x2 = !x1; let x3 = x2 & !a; let x4 = x0 ^ x3; let x5 = !c;
    let x6 = x5 & !b; let x7 = x4 ^ x6; let x8 = c ^ x0; let x9 = x8 & !a; let x10 = x0 ^ x9;
    let x11 = x10 & b; let x12 = e ^ x11; let x13 = x12 & d; let x14 = x7 ^ x13; let x15 = x1 ^ x8;
    let x16 = a ^ x3; let x17 = x16 & !b; let x18 = x15 ^ x17; let x19 = x15 & a; let x20 = x5 ^ x19;
    let x21 = !x8; let x22 = x21 & !b; let x23 = x20 ^ x22; let x24 = x23 & d; let x25 = x18 ^ x24;
    let x26 = !x25; let x27 = x26 & !f; let x28 = x14 ^ x27; let x29 = x25 & f; let x30 = x14 ^ x29;
    let x31 = a ^ x15; let x32 = a ^ x20; let x33 = x32 & b; let x34 = x31 ^ x33; let x35 = x4 ^ x12;
    let x36 = x35 & !d; let x37 = x34 ^ x36; let x38 = c ^ x32; let x39 = x38 & !b; let x40 = x1 ^ x39;
    let x41 = !x4; let x42 = x21 & b; let x43 = x41 ^ x42; let x44 = x43 & !d; let x45 = x40 ^ x44;
    let x46 = !x45; let x47 = x46 & f; let x48 = x37 ^ x47; let x49 = x45 & !f; let x50 = x37 ^ x49;
    [x28, x30, x48, x50]
}

/// S5.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s5([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = !c; let x1 = x0 & !a; let x2 = c ^ x1; let x3 = x2 ^ d; let x4 = !x3; let x5 = a & !d;
    let x6 = x1 ^ x5; let x7 = !x6; let x8 = x7 & f; let x9 = x4 ^ x8; let x10 = !x1; let x11 = x10 & d;
    let x12 = a ^ x11; let x13 = !x12; let x14 = a ^ c; let x15 = x14 & !d; let x16 = x2 ^ x15;
    let x17 = x16 & f; let x18 = x13 ^ x17; let x19 = x18 & !e; let x20 = x9 ^ x19; let x21 = a ^ x2;
    let x22 = x21 & !d; let x23 = a ^ x22; let x24 = x4 & !f; let x25 = x23 ^ x24; let x26 = !a;
    let x27 = x26 & d; let x28 = c ^ x5; let x29 = x28 & f; let x30 = x27 ^ x29; let x31 = x30 & !e;
    let x32 = x25 ^ x31; let x33 = x32 & !b; let x34 = x20 ^ x33; let x35 = x11 ^ x6; let x36 = x35 & !f;
    let x37 = x12 ^ x36; let x38 = !x2; let x39 = x38 ^ x35; let x40 = x15 & !f; let x41 = x39 ^ x40;
    let x42 = x41 & !e; let x43 = x37 ^ x42; let x44 = d ^ x15; let x45 = x10 ^ x11; let x46 = x45 & !f;
    let x47 = x44 ^ x46; let x48 = x47 & !b; let x49 = x43 ^ x48; let x50 = x12 & !f; let x51 = x4 ^ x50;
    let x52 = c ^ x46; let x53 = x52 & !e; let x54 = x51 ^ x53; let x55 = x1 & !d; let x56 = x55 & !f;
    let x57 = !x56; let x58 = x38 ^ x27; let x59 = x6 & !f; let x60 = x58 ^ x59; let x61 = x60 & !e;
    let x62 = x57 ^ x61; let x63 = x62 & !b; let x64 = x54 ^ x63; let x65 = x27 ^ x44; let x66 = x2 & !f;
    let x67 = x65 ^ x66; let x68 = x45 ^ x27; let x69 = x68 & !f; let x70 = x0 ^ x69; let x71 = x70 & !e;
    let x72 = x67 ^ x71; let x73 = x10 ^ x23; let x74 = c ^ x27; let x75 = x3 & !f; let x76 = x74 ^ x75;
    let x77 = x76 & !e; let x78 = x73 ^ x77; let x79 = x78 & !b; let x80 = x72 ^ x79;
    [x34, x49, x64, x80]
}

/// S6.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s6([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = !a; let x1 = e ^ x0; let x2 = x0 & b; let x3 = b ^ x2; let x4 = !x3; let x5 = x3 & e;
    let x6 = x4 ^ x5; let x7 = x6 & f; let x8 = x1 ^ x7; let x9 = a ^ x3; let x10 = x9 & !e;
    let x11 = x2 ^ x10; let x12 = x11 & f; let x13 = !x12; let x14 = x13 & d; let x15 = x8 ^ x14;
    let x16 = a & e; let x17 = b ^ x16; let x18 = x17 ^ x1; let x19 = x18 ^ x12; let x20 = !x2;
    let x21 = x20 ^ e; let x22 = x21 & !f; let x23 = x2 ^ x22; let x24 = x23 & !d; let x25 = x19 ^ x24;
    let x26 = x25 & !c; let x27 = x15 ^ x26; let x28 = b ^ x1; let x29 = x28 ^ f; let x30 = x2 & !e;
    let x31 = x30 ^ x4; let x32 = a ^ b; let x33 = x32 & e; let x34 = x33 & !f; let x35 = x31 ^ x34;
    let x36 = x35 & d; let x37 = x29 ^ x36; let x38 = b ^ x11; let x39 = x38 & !f; let x40 = x4 ^ x39;
    let x41 = e ^ x16; let x42 = x3 & f; let x43 = x41 ^ x42; let x44 = x43 & !d; let x45 = x40 ^ x44;
    let x46 = x45 & c; let x47 = x37 ^ x46; let x48 = x0 ^ x31; let x49 = !b; let x50 = x49 & e;
    let x51 = !x50; let x52 = x51 & !f; let x53 = x48 ^ x52; let x54 = b ^ x31; let x55 = x5 ^ x41;
    let x56 = x55 & f; let x57 = x54 ^ x56; let x58 = x57 & !d; let x59 = x53 ^ x58; let x60 = e ^ x30;
    let x61 = x60 ^ x39; let x62 = x61 & !c; let x63 = x59 ^ x62; let x64 = !x30; let x65 = x64 & f;
    let x66 = x17 ^ x65; let x67 = a ^ x64; let x68 = x67 & f; let x69 = x1 ^ x68; let x70 = x69 & !d;
    let x71 = x66 ^ x70; let x72 = !x17; let x73 = x72 ^ x42; let x74 = x18 & !f; let x75 = x74 & d;
    let x76 = x73 ^ x75; let x77 = x76 & !c; let x78 = x71 ^ x77;
    [x27, x47, x63, x78]
}

/// S7.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s7([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = b ^ d; let x1 = !b; let x2 = x1 & d; let x3 = x1 ^ x2; let x4 = x0 ^ x3; let x5 = c ^ x4;
    let x6 = x5 ^ e; let x7 = b & c; let x8 = x1 ^ x7; let x9 = x1 & c; let x10 = x2 ^ x9;
    let x11 = x10 & !e; let x12 = x8 ^ x11; let x13 = x12 & a; let x14 = x6 ^ x13; let x15 = x3 & !c;
    let x16 = x0 ^ x15; let x17 = d & c; let x18 = !x17; let x19 = x18 & !e; let x20 = x16 ^ x19;
    let x21 = x20 ^ x6; let x22 = x18 ^ x4; let x23 = x16 ^ x22; let x24 = d ^ x18; let x25 = x24 & e;
    let x26 = x23 ^ x25; let x27 = x26 & a; let x28 = x21 ^ x27; let x29 = x28 & !f; let x30 = x14 ^ x29;
    let x31 = !x0; let x32 = x4 & c; let x33 = x31 ^ x32; let x34 = x17 & e; let x35 = x33 ^ x34;
    let x36 = x35 & !a; let x37 = x20 ^ x36; let x38 = x22 & e; let x39 = b ^ x38; let x40 = x4 ^ x7;
    let x41 = !x4; let x42 = x41 & e; let x43 = x40 ^ x42; let x44 = x43 & a; let x45 = x39 ^ x44;
    let x46 = x45 & f; let x47 = x37 ^ x46; let x48 = x0 ^ x9; let x49 = x43 ^ x48; let x50 = !x32;
    let x51 = x22 & !e; let x52 = x50 ^ x51; let x53 = x52 & !a; let x54 = x49 ^ x53; let x55 = !x2;
    let x56 = x55 ^ x11; let x57 = x18 ^ x9; let x58 = x57 & !e; let x59 = x32 ^ x58; let x60 = x59 & !a;
    let x61 = x56 ^ x60; let x62 = x61 & !f; let x63 = x54 ^ x62; let x64 = x24 & !e; let x65 = x48 ^ x64;
    let x66 = x65 ^ a; let x67 = !x66; let x68 = x4 ^ x42; let x69 = x40 ^ x24; let x70 = x0 ^ x17;
    let x71 = x70 & e; let x72 = x69 ^ x71; let x73 = x72 & a; let x74 = x68 ^ x73; let x75 = x74 & f;
    let x76 = x67 ^ x75;
    [x30, x47, x63, x76]
}

/// S8.
#[inline(always)]
#[rustfmt::skip]
pub(super) fn s8([a, b, c, d, e, f]: [u64; 6]) -> [u64; 4] {
    let x0 = b & !d; let x1 = a ^ x0; let x2 = b & !a; let x3 = !x2; let x4 = x3 & !d; let x5 = b ^ x4;
    let x6 = x5 & !e; let x7 = x1 ^ x6; let x8 = b ^ x2; let x9 = a ^ x8; let x10 = x9 & !e; let x11 = !x10;
    let x12 = x11 & !c; let x13 = x7 ^ x12; let x14 = !x8; let x15 = x14 & !d; let x16 = x9 ^ x15;
    let x17 = b ^ d; let x18 = x9 & !d; let x19 = x17 ^ x18; let x20 = x19 & !e; let x21 = x16 ^ x20;
    let x22 = x8 & e; let x23 = x0 ^ x22; let x24 = x23 ^ x19; let x25 = x24 & !c; let x26 = x21 ^ x25;
    let x27 = x26 & !f; let x28 = x13 ^ x27; let x29 = !a; let x30 = x29 ^ x4; let x31 = d ^ x30;
    let x32 = x31 & !e; let x33 = x17 ^ x32; let x34 = a ^ x2; let x35 = e ^ x34; let x36 = x35 & !c;
    let x37 = x33 ^ x36; let x38 = x8 & !d; let x39 = x14 ^ x38; let x40 = x8 ^ x18; let x41 = a & !e;
    let x42 = x40 ^ x41; let x43 = x42 & !c; let x44 = x39 ^ x43; let x45 = x44 & !f; let x46 = x37 ^ x45;
    let x47 = x30 & !e; let x48 = x5 ^ x47; let x49 = x29 & !e; let x50 = x1 ^ x49; let x51 = x50 & !c;
    let x52 = x48 ^ x51; let x53 = x34 & !d; let x54 = x53 & !e; let x55 = x31 ^ x54; let x56 = x23 & !c;
    let x57 = x55 ^ x56; let x58 = x57 & !f; let x59 = x52 ^ x58; let x60 = !x13; let x61 = x38 ^ x19;
    let x62 = x61 & !e; let x63 = d ^ x62; let x64 = x3 ^ x40; let x65 = x38 ^ x16; let x66 = x65 & !e;
    let x67 = x64 ^ x66; let x68 = x67 & !c; let x69 = x63 ^ x68; let x70 = x69 & f; let x71 = x60 ^ x70;
    [x28, x46, x59, x71]
}
