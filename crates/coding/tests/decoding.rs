//! What decoders make of honest and of hostile bodies.

use headgate_coding::{decode_whole, Coding, CodingBroken, Decoder, Encoder, STEP_BYTES};
use proptest::prelude::*;

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    let (mut coded, mut used) = (Vec::new(), 0);
    loop {
        let step = encoder.encode(&plain[used..], true).unwrap();
        used += step.used;
        coded.extend_from_slice(&step.bytes);
        if step.is_flushed {
            return coded;
        }
    }
}

fn decode(coding: Coding, coded: &[u8], cut: usize) -> Result<Vec<u8>, CodingBroken> {
    let mut decoder = Decoder::new(coding);
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    for piece in coded.chunks(cut) {
        let mut used = 0;
        while used < piece.len() || decoder.has_more() {
            used += decoder.decode(&piece[used..], &mut out)?;
            assert!(out.len() <= STEP_BYTES);
            plain.extend_from_slice(&out);
        }
    }
    decoder.finish().map(|()| plain)
}

#[test]
fn a_body_cut_short_is_refused() {
    for coding in Coding::ALL {
        let coded = encode(coding, &[b'x'; 5_000]);
        let cut = &coded[..coded.len() - 3];
        assert_eq!(decode(coding, cut, 1_000), Err(CodingBroken), "{coding:?}");
        assert_eq!(decode_whole(coding, cut, 10_000), Err(CodingBroken), "{coding:?}");
    }
}

#[test]
fn what_follows_the_end_is_refused_where_nothing_may() {
    for coding in [Coding::Deflate, Coding::Brotli] {
        let coded = [encode(coding, b"one"), b"more".to_vec()].concat();
        assert_eq!(
            decode_whole(coding, &coded, 1_000),
            Err(CodingBroken),
            "{coding:?}"
        );
    }
}

#[test]
fn members_may_follow_one_another() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let coded = [encode(coding, b"one "), encode(coding, b"two")].concat();
        assert_eq!(decode(coding, &coded, 5).unwrap(), b"one two");
    }
}

#[test]
fn a_bomb_is_given_up_at_the_limit() {
    for coding in Coding::ALL {
        let coded = encode(coding, &vec![0; 8 << 20]);
        assert!(coded.len() < 100_000, "{coding:?}");
        assert_eq!(decode_whole(coding, &coded, 1 << 20), Ok(None), "{coding:?}");
    }
}

#[test]
fn a_bomb_is_never_whole_in_memory() {
    for coding in Coding::ALL {
        let coded = encode(coding, &vec![0; 8 << 20]);
        let mut decoder = Decoder::new(coding);
        let (mut used, mut made, mut out) = (0, 0, Vec::new());
        while used < coded.len() || decoder.has_more() {
            used += decoder.decode(&coded[used..], &mut out).unwrap();
            assert!(out.len() <= STEP_BYTES && out.capacity() <= 2 * STEP_BYTES);
            made += out.len();
        }
        assert_eq!(made, 8 << 20, "{coding:?}");
    }
}

#[test]
fn a_window_beyond_what_the_coding_allows_is_refused() {
    // WBITS of large window brotli (30), which would let the library hold 1 GB
    let brotli = [0x11, 30, 0xff, 0xff, 0, 0];
    // a zstd frame of one raw block, with a window of 16 MB
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x09, 0, 0, b'x'];
    assert_eq!(decode(Coding::Brotli, &brotli, 1), Err(CodingBroken));
    assert_eq!(decode(Coding::Brotli, &brotli, 100), Err(CodingBroken));
    assert_eq!(decode(Coding::Zstd, &zstd, 100), Err(CodingBroken));
    let mut allowed = zstd;
    allowed[5] = 13 << 3; // 8 MB
    assert_eq!(decode(Coding::Zstd, &allowed, 100).unwrap(), b"x");
}

#[test]
fn an_empty_body_stays_empty() {
    for coding in Coding::ALL {
        assert_eq!(decode_whole(coding, b"", 10), Ok(Some(Vec::new())), "{coding:?}");
    }
}

proptest! {
    #[test]
    fn random_bytes_get_one_verdict_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for coding in Coding::ALL {
            let whole = decode(coding, &bytes, bytes.len().max(1));
            prop_assert_eq!(decode(coding, &bytes, 1), whole, "{:?}", coding);
        }
    }

    #[test]
    fn a_byte_changed_makes_no_panic(
        plain in proptest::collection::vec(any::<u8>(), 1..600), at in any::<prop::sample::Index>(), to in any::<u8>()
    ) {
        for coding in Coding::ALL {
            let mut coded = encode(coding, &plain);
            let at = at.index(coded.len());
            coded[at] = to;
            if let Ok(Some(whole)) = decode_whole(coding, &coded, 1 << 20) {
                prop_assert!(whole.len() <= 1 << 20);
            }
        }
    }
}

#[test]
fn seeds_of_the_fuzzer_get_one_verdict() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/coding");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).expect("the seeds are in the repository") {
        let bytes = std::fs::read(seed.expect("readable").path()).expect("readable");
        count += 1;
        let coding = Coding::ALL[usize::from(bytes[0] % 4)];
        for end in 1..=bytes.len() {
            let coded = &bytes[1..end];
            let whole = decode(coding, coded, coded.len().max(1));
            assert_eq!(decode(coding, coded, 3), whole, "{coding:?}");
        }
    }
    assert!(count >= 20, "only {count} seeds");
}
