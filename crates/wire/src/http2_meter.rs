//! Counts what a peer sends by kind, from the frames' headers alone, and says when it sends too much that does no work.
//!
//! # How it works
//! A frame begins with nine bytes: length, type, flags, stream (RFC 9113 section 4.1). [`FrameMeter::see`] walks from one to the
//! next over whatever was read. Two buckets are drawn from: one by frames that only cost their receiver (settings, pings,
//! priorities, empty data, continuations, window updates), one by resets. Work refills the first, time both. Bounding
//! them here, before the frames are acted on, holds whatever the library behind it does.
//!
//! Of two kinds, of which the library does not tell, the payload is kept: by how much the connection's window grows, and
//! which stream is how urgent (RFC 9218 section 7.1).

/// The time in which an empty bucket is full again, in milliseconds.
const REFILL_MS: u64 = 10_000;

/// What a frame that carries something earns: its receiver may reply to it with window updates and a ping.
const EARNED: u32 = 4;

const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;

/// Payloads that are kept are no longer: what says more than this of a priority says nothing.
const MAX_KEPT_BYTES: usize = 1024;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How many frames of each kind a connection may have sent before work or time earns more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameBudget {
    /// Frames that do no work.
    pub control: u32,
    /// `RST_STREAM` frames.
    pub resets: u32,
}

/// Which budget was overdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flood {
    /// Frames that do no work.
    Control,
    /// Streams opened and reset.
    Resets,
}

/// What the peer says of how urgent a response is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PriorityUpdate {
    /// The stream, and the value of the field `Priority`.
    Of(u32, Vec<u8>),
    /// It is too short to name a stream.
    Short,
    /// It came on another stream than the connection's own.
    Misplaced,
}

/// See the module.
#[derive(Debug)]
pub struct FrameMeter {
    budget: FrameBudget,
    control: u32,
    resets: u32,
    refilled_ms: u64,
    /// The header of the next frame, as far as it is here.
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Bytes of the current frame that are to come.
    payload_left: usize,
    /// The payload of the current frame is kept.
    is_kept: bool,
    kept: Vec<u8>,
    /// By how many bytes the connection's window has grown.
    widened: u64,
    priorities: Vec<PriorityUpdate>,
    in_header_block: bool,
    flood: Option<Flood>,
}

impl FrameMeter {
    /// A meter for frames behind `skipped` bytes of another kind, such as the preface.
    pub fn new(budget: FrameBudget, skipped: usize, now_ms: u64) -> Self {
        Self {
            budget,
            control: budget.control,
            resets: budget.resets,
            refilled_ms: now_ms,
            header: [0; HEADER_BYTES],
            header_len: 0,
            payload_left: skipped,
            is_kept: false,
            kept: Vec::new(),
            widened: 0,
            priorities: Vec::new(),
            in_header_block: false,
            flood: None,
        }
    }

    /// What was overdrawn first; it stays so.
    pub fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// A header block has begun and not ended.
    pub fn is_in_header_block(&self) -> bool {
        self.in_header_block
    }

    /// By how many bytes the connection's window has grown since this was last asked.
    #[inline]
    pub fn take_widened(&mut self) -> u64 {
        std::mem::take(&mut self.widened)
    }

    /// What was said of priorities since this was last asked.
    #[inline]
    pub fn take_priorities(&mut self) -> Vec<PriorityUpdate> {
        std::mem::take(&mut self.priorities)
    }

    /// Frames with payload were sent to the peer.
    pub fn earn(&mut self, frames: u32) {
        self.control = self
            .control
            .saturating_add(frames.saturating_mul(EARNED))
            .min(self.budget.control);
    }

    /// Reads on through what the peer sent.
    pub fn see(&mut self, mut bytes: &[u8], now_ms: u64) {
        self.refill(now_ms);
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let n = self.payload_left.min(bytes.len());
                self.payload_left -= n;
                if self.is_kept {
                    self.keep(&bytes[..n]);
                }
                bytes = &bytes[n..];
                continue;
            }
            let n = (HEADER_BYTES - self.header_len).min(bytes.len());
            self.header[self.header_len..self.header_len + n].copy_from_slice(&bytes[..n]);
            self.header_len += n;
            bytes = &bytes[n..];
            if self.header_len == HEADER_BYTES {
                self.header_len = 0;
                self.count();
            }
        }
    }

    fn count(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            DATA if self.payload_left > 0 => self.earn(1),
            DATA if flags & END_STREAM != 0 => {}
            HEADERS => {
                self.in_header_block = flags & END_HEADERS == 0;
                self.earn(1);
            }
            RST_STREAM => draw(&mut self.resets, &mut self.flood, Flood::Resets),
            _ => {
                match kind {
                    CONTINUATION if flags & END_HEADERS != 0 => self.in_header_block = false,
                    WINDOW_UPDATE => self.is_kept = self.is_of_connection() && self.payload_left == 4,
                    PRIORITY_UPDATE => self.begin_priority(),
                    _ => {}
                }
                draw(&mut self.control, &mut self.flood, Flood::Control);
            }
        }
    }

    /// The current frame is not of a stream.
    fn is_of_connection(&self) -> bool {
        let [.., a, b, c, d] = self.header;
        u32::from_be_bytes([a & 0x7f, b, c, d]) == 0
    }

    fn begin_priority(&mut self) {
        if !self.is_of_connection() {
            self.priorities.push(PriorityUpdate::Misplaced);
        } else if self.payload_left < 4 {
            self.priorities.push(PriorityUpdate::Short);
        } else {
            self.is_kept = self.payload_left <= MAX_KEPT_BYTES;
        }
    }

    /// Takes a part of a payload that is kept, and the whole of it once it is there.
    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.payload_left > 0 {
            return;
        }
        self.is_kept = false;
        let [.., kind, _, _, _, _, _] = self.header;
        if let Some((number, field)) = self.kept.split_first_chunk::<4>() {
            let number = u32::from_be_bytes(*number) & 0x7fff_ffff;
            if kind == WINDOW_UPDATE {
                self.widened += u64::from(number);
            } else {
                self.priorities.push(PriorityUpdate::Of(number, field.to_vec()));
            }
        }
        self.kept.clear();
    }

    fn refill(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.refilled_ms);
        let part = |whole: u32| {
            u32::try_from(u64::from(whole).saturating_mul(passed) / REFILL_MS).unwrap_or(u32::MAX)
        };
        let (control, resets) = (part(self.budget.control), part(self.budget.resets));
        // not before both gain something, so that no rounding starves one
        if control > 0 && resets > 0 {
            self.control = self.control.saturating_add(control).min(self.budget.control);
            self.resets = self.resets.saturating_add(resets).min(self.budget.resets);
            self.refilled_ms = now_ms;
        }
    }
}

fn draw(bucket: &mut u32, flood: &mut Option<Flood>, kind: Flood) {
    match bucket.checked_sub(1) {
        Some(left) => *bucket = left,
        None => {
            flood.get_or_insert(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: FrameBudget = FrameBudget {
        control: 10,
        resets: 3,
    };

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("the test's frames are short");
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn metered(bytes: &[u8]) -> FrameMeter {
        let mut meter = FrameMeter::new(BUDGET, 0, 0);
        meter.see(bytes, 0);
        meter
    }

    #[test]
    fn pings_past_the_budget_are_a_flood() {
        let ping = frame(6, 0, &[0; 8]);
        assert_eq!(metered(&ping.repeat(10)).flood(), None);
        assert_eq!(metered(&ping.repeat(11)).flood(), Some(Flood::Control));
    }

    #[test]
    fn resets_have_a_budget_of_their_own() {
        let reset = frame(RST_STREAM, 0, &[0; 4]);
        assert_eq!(metered(&reset.repeat(3)).flood(), None);
        assert_eq!(metered(&reset.repeat(4)).flood(), Some(Flood::Resets));
    }

    #[test]
    fn empty_data_counts_unless_it_ends_a_stream() {
        assert_eq!(
            metered(&frame(DATA, 0, b"").repeat(11)).flood(),
            Some(Flood::Control)
        );
        assert_eq!(metered(&frame(DATA, END_STREAM, b"").repeat(99)).flood(), None);
    }

    #[test]
    fn work_earns_control_frames() {
        let mut bytes = frame(6, 0, &[0; 8]).repeat(10);
        bytes.extend(frame(DATA, 0, b"x"));
        bytes.extend(frame(6, 0, &[0; 8]).repeat(4));
        assert_eq!(metered(&bytes).flood(), None);
        bytes.extend(frame(6, 0, &[0; 8]));
        assert_eq!(metered(&bytes).flood(), Some(Flood::Control));
    }

    #[test]
    fn time_refills_both() {
        let mut meter = FrameMeter::new(BUDGET, 0, 0);
        meter.see(&frame(RST_STREAM, 0, &[0; 4]).repeat(3), 0);
        meter.see(&frame(RST_STREAM, 0, &[0; 4]).repeat(3), REFILL_MS);
        assert_eq!(meter.flood(), None);
    }

    #[test]
    fn verdict_does_not_depend_on_how_the_bytes_were_cut() {
        let mut bytes = frame(HEADERS, 0, b"block");
        bytes.extend(frame(CONTINUATION, END_HEADERS, b"rest"));
        bytes.extend(frame(RST_STREAM, 0, &[0; 4]).repeat(4));
        let whole = metered(&bytes);
        let mut meter = FrameMeter::new(BUDGET, 0, 0);
        for byte in &bytes {
            meter.see(std::slice::from_ref(byte), 0);
        }
        assert_eq!((meter.flood(), meter.control), (whole.flood(), whole.control));
    }

    #[test]
    fn windows_and_priorities_are_kept_however_the_bytes_were_cut() {
        let mut bytes = frame(WINDOW_UPDATE, 0, &[0x80, 0, 1, 0]);
        bytes[8] = 0;
        let mut widened = bytes.clone();
        widened.extend(frame(WINDOW_UPDATE, 0, &[0, 0, 1, 0])); // a stream's
        let of_connection = |payload: &[u8]| {
            let mut bytes = frame(PRIORITY_UPDATE, 0, payload);
            bytes[8] = 0;
            bytes
        };
        widened.extend(of_connection(b"\0\0\0\x05u=1, i"));
        widened.extend(of_connection(b"\0\0"));
        widened.extend(frame(PRIORITY_UPDATE, 0, b"\0\0\0\x05u=1"));
        widened.extend(frame(DATA, 0, b"\0\0\0\x05"));
        for size in [1, 3, widened.len()] {
            let mut meter = FrameMeter::new(BUDGET, 0, 0);
            for piece in widened.chunks(size) {
                meter.see(piece, 0);
            }
            assert_eq!((meter.take_widened(), meter.take_widened()), (256, 0));
            assert_eq!(
                meter.take_priorities(),
                [
                    PriorityUpdate::Of(5, b"u=1, i".to_vec()),
                    PriorityUpdate::Short,
                    PriorityUpdate::Misplaced
                ]
            );
        }
    }

    #[test]
    fn open_header_block_is_noticed() {
        let mut bytes = frame(HEADERS, 0, b"block");
        assert!(metered(&bytes).is_in_header_block());
        bytes.extend(frame(CONTINUATION, END_HEADERS, b"rest"));
        assert!(!metered(&bytes).is_in_header_block());
    }
}
