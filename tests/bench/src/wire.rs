//! Frames of a client, as a server reads them, and frames of a server: no more than a benchmark needs.

/// One masked client frame.
pub fn client_frame(text: bool, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(if text { 0x81 } else { 0x82 });
    push_len(&mut frame, payload.len(), 0x80);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// One text frame of a server.
pub fn server_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    push_len(&mut frame, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn push_len(frame: &mut Vec<u8>, len: usize, mask_bit: u8) {
    match len {
        0..126 => frame.push(mask_bit | len as u8),
        126..0x1_0000 => {
            frame.push(mask_bit | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
}

/// Length of the header and of the payload of the frame at the front; `None` while the header is incomplete. Masked
/// frames have their key at the end of the header.
pub fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let [_, second, rest @ ..] = bytes else { return None };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    let (header, payload) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= header + mask).then_some((header + mask, payload))
}

/// Removes the mask that the last four bytes of `header` hold.
pub fn unmask(header: &[u8], payload: &mut [u8]) {
    let Some(&[a, b, c, d]) = header.last_chunk::<4>() else { return };
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d].iter().cycle()) {
        *byte ^= key;
    }
}
