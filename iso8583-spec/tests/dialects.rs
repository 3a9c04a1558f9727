//! Dialect files: what a faulty one is told, line by line, and that the messages of the wire vectors keep the rules
//! of the dialects that come with the crate.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod vectors;

use iso8583_spec::{Message, Mti, Spec, SpecError};
use vectors::GOOD;

const HEAD: &str = r#"name = "t"
framing = "length-2"
mti = "bcd"
bitmap = { encoding = "binary", fields = 64 }
[defaults]
numeric = "bcd"
track = "bcd"
text = "ascii"
binary = "binary"
align_fixed = "right"
align_variable = "left"
pad = "0"
prefix = "bcd"
prefix_unit = "content"
separator = "D"
[fields]
"#;

fn faults(source: &str) -> Vec<SpecError> {
    Spec::parse(source).unwrap_err()
}

#[test]
fn a_faulty_field_is_told_with_line_column_and_path() {
    // (the field's line, which is line 17 of the file, column, path, part of the reason)
    let rows: [(&str, usize, &str, &str); 36] = [
        (
            r#"3 = { name = "x", content = "n", length = 6, lenght = 6 }"#,
            46,
            "3",
            "`lenght` is none of the keys",
        ),
        (r#"3 = { name = "x", content = "q", length = 6 }"#, 29, "3", "\"q\" is none of n, a, an"),
        (r#"3 = { name = 3, content = "n", length = 6 }"#, 14, "3", "`name` needs text"),
        (r#"3 = { content = "n", length = 6 }"#, 1, "3", "needs `name`"),
        (r#"3 = { name = "x", length = 6 }"#, 1, "3", "needs `content`"),
        (r#"3 = { name = "x", content = "n", length = -6 }"#, 43, "3", "a number from 0 to 65535"),
        (r#"3 = { name = "x", content = "n" }"#, 1, "3", "needs `length`"),
        (r#"3 = { name = "x", content = "n", length = 6, max = 7 }"#, 1, "3", "needs `length`"),
        (r#"3 = { name = "x", content = "n", max = 7 }"#, 1, "3", "needs `length`"),
        (r#"3 = { name = "x", content = "n", max = 100, prefix = "LL" }"#, 40, "3", "cannot say 100"),
        (r#"3 = { name = "x", content = "n", min = 9, max = 8, prefix = "LL" }"#, 49, "3", "more than"),
        (r#"3 = { name = "x", content = "n", max = 8, prefix = "LLLLLLL" }"#, 52, "3", "is none of L, LL"),
        (r#"3 = { name = "x", content = "n", length = 0 }"#, 43, "3", "cannot be empty"),
        (r#"3 = { name = "x", content = "ans", length = 6, encoding = "bcd" }"#, 59, "3", "written as bcd"),
        (r#"3 = { name = "x", content = "b", length = 6, encoding = "ascii" }"#, 57, "3", "written as ascii"),
        (
            r#"3 = { name = "x", content = "n", length = 6, inclusive = true }"#,
            58,
            "3",
            "of a field with a prefix",
        ),
        (
            r#"3 = { name = "x", content = "n", max = 6, prefix = "LL", prefix_unit = "octets" }"#,
            72,
            "3",
            "need pad F",
        ),
        (
            r#"3 = { name = "x", content = "b", max = 6, prefix = "LL", inclusive = true }"#,
            70,
            "3",
            "in octets or nibbles",
        ),
        (
            r#"3 = { name = "x", content = "n", max = 6, prefix = "LL", fill = { side = "left", with = "0" } }"#,
            65,
            "3",
            "only a fixed field",
        ),
        (
            r#"3 = { name = "x", content = "n", length = 6, fill = { side = "left", with = "x" } }"#,
            53,
            "3",
            "does not allow",
        ),
        (
            r#"3 = { name = "x", content = "n", length = 6, fill = { side = "left" } }"#,
            53,
            "3",
            "needs `side` and",
        ),
        (r#"3 = { name = "x", content = "n", length = 6, pattern = "(" }"#, 56, "3", "cannot be read"),
        (
            r#"3 = { name = "x", content = "n", length = 6, pattern = "date Q" }"#,
            56,
            "3",
            "a date is made of",
        ),
        (
            r#"3 = { name = "x", content = "n", length = 6, meaning = "x" }"#,
            56,
            "3",
            "none of processing code",
        ),
        (r#"3 = { name = "x", content = "n", length = 6, tlv = "ber" }"#, 1, "3", "lies inside content b"),
        (r#"3 = { name = "x", content = "b", length = 6, tlv = "bear" }"#, 52, "3", "is none of ber, pds"),
        (
            r#"3 = { name = "x", content = "b", length = 6, tlv = { tag = 1, length = 1 } }"#,
            60,
            "3",
            "needs `tag_encoding`",
        ),
        (
            r#"3 = { name = "x", content = "b", length = 9, tlv = "ber", tags = { "9F" = { content = "b" } } }"#,
            68,
            "3",
            "\"9F\" is no tag",
        ),
        (
            r#"3 = { name = "x", content = "n", length = 6, layouts = [{ parts = [{ name = "1", length = 7 }] }] }"#,
            57,
            "3",
            "its parts take 7",
        ),
        (
            r#"3 = { name = "x", content = "n", length = 6, parts = [{ name = "1", length = 6, encoding = "bcd" }] }"#,
            92,
            "3.1",
            "no encoding of its own",
        ),
        (
            r#"3 = { name = "x", content = "n", length = 6, parts = [{ length = 6 }] }"#,
            55,
            "3",
            "has a `name`",
        ),
        (
            r#"3 = { name = "x", content = "b", length = 9, bitmap = { encoding = "binary", bits = 12, fields = {} } }"#,
            85,
            "3",
            "8, 16",
        ),
        (
            r#"3 = { name = "x", content = "b", length = 9, bitmap = { encoding = "binary", bits = 8, fields = { 9 = { content = "b", length = 1 } } } }"#,
            99,
            "3",
            "is not a bit from 1 to 8",
        ),
        (r#"1 = { name = "x", content = "n", length = 6 }"#, 1, "", "not a field from 2 to 64"),
        (r#"65 = { name = "x", content = "n", length = 6 }"#, 1, "", "not a field from 2 to 64"),
        (r#"03 = { name = "x", content = "n", length = 6 }"#, 1, "", "not the number of a field"),
    ];
    for (row, column, field, reason) in rows {
        let found = faults(&format!("{HEAD}{row}\n"));
        let error = &found[0];
        assert_eq!((error.line, error.column, error.field.as_str()), (17, column, field), "{row}: {error}");
        assert!(error.reason.contains(reason), "{row}: {error}");
        assert_eq!(found.len(), 1, "{row}: {found:?}");
    }
}

#[test]
fn a_faulty_head_is_told_with_line_and_column() {
    // (what to change, into what, line, column, part of the reason)
    let rows = [
        ("length-2", "length-3", 2, 11, "is none of length-2"),
        ("\"length-2\"", "{ length = \"ascii\", octets = 9 }", 2, 11, "1 to 8"),
        ("\"length-2\"", "{ octets = 2 }", 2, 11, "needs `length` and `octets`"),
        ("fields = 64", "fields = 65", 4, 42, "64, 128 or 192"),
        ("[defaults]", "tpdu = 5\n[defaults]", 5, 8, "true or false"),
        ("[defaults]", "header = { length = 0 }\n[defaults]", 5, 21, "1 to 255"),
        ("[defaults]", "header = { length = \"one\", min = 1, max = 2 }\n[defaults]", 5, 21, "first octet"),
        ("[defaults]", "extends = \"nobody\"\n[defaults]", 5, 11, "no dialect \"nobody\""),
        ("pad = \"0\"\n", "", 5, 1, "`defaults` needs `pad`"),
        ("pad = \"0\"", "pad = \"1\"", 12, 7, "is none of 0, F"),
        ("[fields]", "[[messages]]\nmti = [\"02x\"]\n[fields]", 17, 8, "up to four digits"),
        ("[fields]", "[[messages]]\nmandatory = [3]\n[fields]", 17, 14, "\"3\" is not a field"),
        (
            "[fields]",
            "[[messages]]\npatterns = { 3 = \"(\" }\n[fields]\n3 = { name = \"x\", content = \"n\", length = 6 }",
            17,
            18,
            "cannot be read",
        ),
        ("name = \"t\"", "name = \"t", 1, 10, ""),
        ("name = \"t\"\n", "", 1, 1, "`name` is missing"),
    ];
    for (from, to, line, column, reason) in rows {
        let found = faults(&HEAD.replace(from, to));
        let error = &found[0];
        assert_eq!((error.line, error.column), (line, column), "{to}: {error}");
        assert!(error.reason.contains(reason), "{to}: {error}");
    }
    assert!(Spec::parse(HEAD).is_ok());
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let source = HEAD.replace("pad = \"0\"", "pad = \"1\"")
        + "3 = { name = \"x\", content = \"q\", length = 6 }\n\
           4 = { name = \"x\", content = \"n\", max = 1000, prefix = \"LL\" }\n\
           5 = { content = \"n\", length = 6, colour = 1 }\n";
    let lines: Vec<usize> = faults(&source).iter().map(|error| error.line).collect();
    // The pad is wrong, so that nothing that leans on it is judged.
    assert_eq!(lines, [12, 17, 19]);
    let source = source.replace("pad = \"1\"", "pad = \"0\"");
    let found: Vec<(usize, String)> =
        faults(&source).iter().map(|error| (error.line, error.field.clone())).collect();
    let expected = [(17, "3"), (18, "4"), (19, "5")];
    assert_eq!(found, expected.map(|(line, field)| (line, field.to_owned())));
}

#[test]
fn a_fault_of_a_parent_is_blamed_on_the_line_that_names_it() {
    let parent = |name: &str| (name == "parent.toml").then(|| HEAD.replace("fields = 64", "fields = 63"));
    let found = Spec::parse_with("name = \"child\"\nextends = \"parent.toml\"\n", &parent).unwrap_err();
    assert_eq!(found[0].to_string(), "line 2, column 11: in parent.toml: a bitmap has 64, 128 or 192 fields");
    let endless = |_: &str| Some("name = \"a\"\nextends = \"a\"\n".to_owned());
    let found = Spec::parse_with("name = \"b\"\nextends = \"a\"\n", &endless).unwrap_err();
    assert!(found.iter().any(|error| error.reason.contains("too many dialects")), "{found:?}");
}

#[test]
fn good_messages_keep_the_rules_of_their_dialects() {
    for vector in GOOD {
        let spec = Spec::builtin(vector.spec).unwrap();
        let message = Message::decode(spec, &vector.body()).unwrap();
        assert_eq!(message.mti.as_str(), vector.mti);
        assert_eq!(message.fields().count(), vector.fields.len());
        assert_eq!(spec.check(&message), [], "{}", vector.name);
        assert!(spec.rule_of(&message).is_some(), "{}", vector.name);
    }
}

#[test]
fn broken_rules_are_told_all_at_once() {
    let spec = Spec::parse(
        r#"
        name = "strict"
        extends = "iso87-ascii"
        [fields]
        14 = { pattern = "date YYMM" }
        [[messages]]
        name = "sale"
        mti = ["0200"]
        processing = ["00"]
        when = { absent = [90] }
        mandatory = [3, 4, 11, "22.1"]
        conditional = [
          { fields = [52], when = { matches = { "22.2" = "1" } } },
          { fields = [14], when = { present = [2], absent = [35] } },
          { fields = [60] },
        ]
        optional = [22, 49]
        forbidden = [38]
        closed = true
        patterns = { 2 = "luhn", 49 = "156|978" }
        "#,
    )
    .unwrap();
    // (fields, what is broken)
    type Row = (&'static [(u8, &'static str)], &'static [&'static str]);
    let rows: [Row; 5] = [
        (&[(3, "000000"), (4, "000000000001"), (11, "000001"), (22, "022"), (49, "978"), (60, "x")], &[]),
        (
            &[(3, "000000"), (22, "021")],
            &[
                "field 4: is missing",
                "field 11: is missing",
                "field 52: is missing, and the other fields ask for it",
            ],
        ),
        (
            &[(2, "4000000000000003"), (3, "000000"), (4, "000000000001"), (11, "000001"), (22, "012")],
            &["field 2: is not of the pattern luhn", "field 14: is missing, and the other fields ask for it"],
        ),
        (
            &[
                (3, "000000"),
                (4, "000000000001"),
                (11, "000001"),
                (14, "2613"),
                (22, "012"),
                (38, "123456"),
                (49, "840"),
            ],
            &[
                "field 14: is not of the pattern date YYMM",
                "field 38: must not be there",
                "field 49: is not of the pattern 156|978",
            ],
        ),
        (
            &[(3, "000000"), (4, "000000000001"), (11, "000001"), (22, "012"), (41, "TERM0001")],
            &["field 41: is not one of this message"],
        ),
    ];
    for (fields, expected) in rows {
        let mut message = Message::new(Mti::FINANCIAL);
        for (de, text) in fields {
            message.set(*de, *text);
        }
        // Parts are there once the message has been read.
        let message = Message::decode(&spec, &message.encode(&spec).unwrap()).unwrap();
        let found: Vec<String> = spec.check(&message).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
        assert_eq!(spec.rule_of(&message), Some("sale"));
    }
}
