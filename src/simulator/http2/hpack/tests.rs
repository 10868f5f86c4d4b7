//! HPACK against the examples of RFC 7541 appendix C.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::simulator::http2::frame::tests::hex;

const LIST_MAX: u32 = 8000;

fn decoded(decoder: &mut Decoder, digits: &str) -> Result<String, BlockError> {
    let fields = decoder.decode(&hex(digits), LIST_MAX)?.expect("the list is small");
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    Ok(fields.iter().map(|(name, value)| format!("{}: {}\n", text(name), text(value))).collect())
}

/// Decodes blocks in turn, and compares the lists and the size of the table after each.
fn expect(blocks: &[(&str, &str, usize)]) {
    let mut decoder = Decoder::new();
    for (digits, list, table_size) in blocks {
        assert_eq!(decoded(&mut decoder, digits).as_deref(), Ok(*list));
        assert_eq!(decoder.table_size, *table_size);
    }
}

#[test]
fn integers_of_appendix_c_1() {
    let number = |digits, prefix| Input(&hex(digits)).number(prefix);
    assert_eq!(number("0a", 5), Ok(10));
    assert_eq!(number("1f 9a0a", 5), Ok(1337));
    assert_eq!(number("2a", 8), Ok(42));
    assert_eq!(number("ff 80808001", 7), Ok(127 + (1 << 21)));
    assert_eq!(number("ff 8080808000", 7), Err(BlockError::Number));
    assert_eq!(number("ff 80", 7), Err(BlockError::Cut));
}

#[test]
fn literals_and_indices_of_appendix_c_2() {
    expect(&[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header\n", 55)]);
    expect(&[("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n", 0)]);
    expect(&[("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n", 0)]);
    expect(&[("82", ":method: GET\n", 0)]);
}

const REQUESTS: [&str; 3] = [
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n",
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache\n",
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n",
];

#[test]
fn requests_of_appendix_c_3() {
    expect(&[
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0], 57),
        ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1], 110),
        ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", REQUESTS[2], 164),
    ]);
}

#[test]
fn requests_in_the_huffman_code_of_appendix_c_4() {
    expect(&[
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0], 57),
        ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1], 110),
        ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2], 164),
    ]);
}

const RESPONSES: [&str; 3] = [
    ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n",
    ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n",
    ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n\
     content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n",
];

/// The examples have a table of 256 bytes, which is what the first three bytes say here.
#[test]
fn responses_of_appendix_c_5_with_a_small_table() {
    expect(&[
        (
            "3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
             3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            RESPONSES[0],
            222,
        ),
        ("4803 3330 37c1 c0bf", RESPONSES[1], 222),
        (
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
             666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
             3630 303b 2076 6572 7369 6f6e 3d31",
            RESPONSES[2],
            215,
        ),
    ]);
}

#[test]
fn responses_in_the_huffman_code_of_appendix_c_6() {
    expect(&[
        (
            "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
             1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            RESPONSES[0],
            222,
        ),
        ("4883 640e ffc1 c0bf", RESPONSES[1], 222),
        (
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
             b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
            RESPONSES[2],
            215,
        ),
    ]);
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let cases = [
        ("80", BlockError::Index),
        ("be", BlockError::Index),
        ("7f", BlockError::Cut),
        ("0005 6162", BlockError::Cut),
        ("00ff 8080 8080 80", BlockError::Number),
        ("8220", BlockError::SizeUpdate),
        ("3fe2 1f", BlockError::SizeUpdate),
        // Eight bits of padding; padding that is not all ones; the end-of-string symbol.
        ("0482 1fff", BlockError::Huffman),
        ("0481 18", BlockError::Huffman),
        ("0484 ffff ffff", BlockError::Huffman),
    ];
    for (digits, error) in cases {
        assert_eq!(decoded(&mut Decoder::new(), digits), Err(error), "{digits}");
    }
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    assert_eq!(decoded(&mut decoder, "3f0b 4001 6101 62 be").as_deref(), Ok("a: b\na: b\n"));
    assert_eq!(decoder.table_size, 34);
    let long = format!("4001 6109 {}", "62".repeat(9));
    assert_eq!(decoded(&mut decoder, &long).as_deref(), Ok("a: bbbbbbbbb\n"));
    assert_eq!((decoder.table_size, decoder.table.len()), (42, 1));
    let longer = format!("4001 610b {}", "62".repeat(11));
    assert_eq!(decoded(&mut decoder, &longer).as_deref(), Ok("a: bbbbbbbbbbb\n"));
    assert_eq!((decoder.table_size, decoder.table.len()), (0, 0));
}

#[test]
fn a_smaller_limit_demands_a_size_update_before_the_next_field() {
    let smaller = || {
        let mut decoder = Decoder::new();
        decoder.limit(0);
        decoder.limit(100);
        decoder
    };
    assert_eq!(decoded(&mut smaller(), "82"), Err(BlockError::SizeUpdateMissing));
    assert_eq!(decoded(&mut smaller(), "3f45 82"), Err(BlockError::SizeUpdate));
    let mut decoder = smaller();
    assert_eq!(decoded(&mut decoder, "20 3f45 82").as_deref(), Ok(":method: GET\n"));
    assert_eq!(decoder.table_max, 100);
    assert_eq!(decoded(&mut decoder, "82").as_deref(), Ok(":method: GET\n"));
}

#[test]
fn a_list_beyond_its_limit_still_changes_the_table() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(&hex("4001 6101 62"), 33), Ok(None));
    assert_eq!(decoder.decode(&hex("be"), 34), Ok(Some(vec![(b"a".to_vec(), b"b".to_vec())])));
    assert_eq!(decoder.decode(&hex("be 20 be"), 34), Err(BlockError::SizeUpdate));
}

#[test]
fn fields_are_written_as_literals() {
    let mut out = BytesMut::new();
    put_empty_table(&mut out);
    put_status(410, &mut out);
    put_field("apns-id", "a", &mut out);
    assert_eq!(&out[..], hex("20 0803 343130 0007 61706e732d6964 01 61"));
    for (length, digits) in [(126, "7e"), (127, "7f00"), (254, "7f7f"), (255, "7f8001"), (1337, "7fba09")] {
        let mut out = BytesMut::new();
        put_string(&vec![b'x'; length], &mut out);
        assert_eq!(out[..out.len() - length], hex(digits), "{length}");
    }
}

proptest! {
    #[test]
    fn arbitrary_blocks_are_read_without_panic(blocks in vec(vec(any::<u8>(), 0..60), 1..8), limit in 0..8000_u32) {
        let mut decoder = Decoder::new();
        decoder.limit(limit);
        for block in blocks {
            let list = decoder.decode(&block, LIST_MAX);
            prop_assert!(decoder.table_size <= decoder.table_max && decoder.table_max <= limit.max(4096) as usize);
            if let Ok(Some(fields)) = list {
                let size: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
                prop_assert!(size <= LIST_MAX as usize);
            }
        }
    }
}
