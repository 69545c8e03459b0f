//! The SETTINGS frame (RFC 9114 section 7.2.4).

use super::frame::{read_varint, write_frame_header, write_varint, FrameHead};

const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
/// One that means nothing, so that clients keep passing over what they do not know (RFC 9114 section 7.2.4.1).
const RESERVED: u64 = 0x1f * 0x1_a2b3 + 0x21;

/// Settings that one frame may have: each is remembered while it is read.
const MOST: usize = 64;

/// Why settings are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsError {
    /// It does not end where it should: `H3_FRAME_ERROR`.
    #[error("the frame ends within a setting")]
    Cut,
    /// `H3_SETTINGS_ERROR`.
    #[error("a setting is repeated, forbidden, or has an invalid value")]
    Invalid,
    /// `H3_EXCESSIVE_LOAD`.
    #[error("too many settings")]
    TooMany,
}

/// Appends the frame with this gateway's settings. `section_bytes`: what a field section may come to once decoded.
pub fn write_settings(section_bytes: u64, extended_connect: bool, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(24);
    write_varint(MAX_FIELD_SECTION_SIZE, &mut payload);
    write_varint(section_bytes, &mut payload);
    if extended_connect {
        write_varint(ENABLE_CONNECT_PROTOCOL, &mut payload);
        write_varint(1, &mut payload);
    }
    write_varint(RESERVED, &mut payload);
    write_varint(0, &mut payload);
    write_frame_header(FrameHead::SETTINGS, payload.len() as u64, out);
    out.extend_from_slice(&payload);
}

/// Checks what a client has set. Nothing of it changes what it is sent: no table is used, and no field section is so large.
///
/// # Errors
/// The connection has to end.
pub fn check_settings(mut payload: &[u8]) -> Result<(), SettingsError> {
    let mut seen = Vec::new();
    while !payload.is_empty() {
        let (name, of_name) = read_varint(payload).ok_or(SettingsError::Cut)?;
        let (value, of_value) = read_varint(&payload[of_name..]).ok_or(SettingsError::Cut)?;
        payload = &payload[of_name + of_value..];
        let is_forbidden = matches!(name, 0x2..=0x5);
        let is_flag = matches!(name, ENABLE_CONNECT_PROTOCOL | 0x33);
        if is_forbidden || (is_flag && value > 1) || seen.contains(&name) {
            return Err(SettingsError::Invalid);
        }
        if seen.len() == MOST {
            return Err(SettingsError::TooMany);
        }
        seen.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_settings_are_fine_by_the_same_rules() {
        let mut frame = Vec::new();
        write_settings(65_536, true, &mut frame);
        let (head, used) = FrameHead::read(&frame).expect("it is whole");
        assert_eq!(usize::try_from(head.length), Ok(frame.len() - used));
        assert_eq!(check_settings(&frame[used..]), Ok(()));
    }

    #[test]
    fn what_must_not_be_is_refused() {
        assert_eq!(check_settings(&[1, 0, 7, 0]), Ok(()));
        assert_eq!(check_settings(&[1, 0, 1, 0]), Err(SettingsError::Invalid));
        assert_eq!(check_settings(&[2, 0]), Err(SettingsError::Invalid));
        assert_eq!(check_settings(&[8, 2]), Err(SettingsError::Invalid));
        assert_eq!(check_settings(&[1]), Err(SettingsError::Cut));
        let many: Vec<u8> = (0..65).flat_map(|n| [0x50, n, 0]).collect();
        assert_eq!(check_settings(&many), Err(SettingsError::TooMany));
    }
}
