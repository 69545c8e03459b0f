//! HTTP/2 frames: no panic, and one verdict however the bytes are cut.
#![no_main]

use headgate_wire::{FrameBudget, FrameMeter};
use libfuzzer_sys::fuzz_target;

const BUDGET: FrameBudget = FrameBudget {
    control: 20,
    resets: 5,
};

fuzz_target!(|bytes: &[u8]| {
    let mut whole = FrameMeter::new(BUDGET, 0, 0);
    whole.see(bytes, 0);
    let mut cut = FrameMeter::new(BUDGET, 0, 0);
    for piece in bytes.chunks(3) {
        cut.see(piece, 0);
    }
    assert_eq!(whole.flood(), cut.flood());
    assert_eq!(whole.is_in_header_block(), cut.is_in_header_block());
    whole.earn(u32::MAX);
    whole.see(bytes, u64::MAX);
});
