//! How a record lies in a segment: its length (4 bytes), the CRC-32C of length and record (4), the record. Stored form,
//! big-endian.

/// Appends a framed record to `buffer`.
pub(super) fn put(buffer: &mut Vec<u8>, record: &[u8]) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(&checksum(length, record).to_be_bytes());
    buffer.extend_from_slice(record);
}

/// What stands at the start of `bytes`.
pub(super) enum Next<'a> {
    /// A whole record, and what follows it.
    Record(&'a [u8], &'a [u8]),
    /// Nothing.
    End,
    /// Bytes that are not a whole record.
    Damaged,
}

/// Reads one frame.
pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    let Some((header, rest)) = bytes.split_first_chunk::<8>() else { return Next::Damaged };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let Some((record, after)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) else {
        return Next::Damaged;
    };
    if checksum(length, record) == u32::from_be_bytes([c0, c1, c2, c3]) {
        Next::Record(record, after)
    } else {
        Next::Damaged
    }
}

fn checksum(length: u32, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_be_bytes()), record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_or_changed_anywhere_is_noticed() {
        let mut whole = Vec::new();
        put(&mut whole, b"a record");
        assert!(matches!(next(&whole), Next::Record(b"a record", [])));
        for cut in 1..whole.len() {
            assert!(matches!(next(&whole[..cut]), Next::Damaged), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(matches!(next(&changed), Next::Damaged), "changed at {at}");
        }
    }
}
