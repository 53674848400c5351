//! CRC-32C, as the description of the journal's format defines it: written here once more, so that whoever checks
//! the journals does not share a mistake with whoever writes them.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

#[expect(clippy::cast_possible_truncation, reason = "an index of 256")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// Continues from an earlier result; from 0 it is the usual checksum.
pub(super) fn crc(earlier: u32, bytes: &[u8]) -> u32 {
    let step = |state: u32, byte: &u8| state >> 8 ^ TABLE[usize::from(state.to_le_bytes()[0] ^ byte)];
    !bytes.iter().fold(!earlier, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_iscsi() {
        assert_eq!(crc(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(crc(0, b"1234"), b"56789"), 0xe306_9283);
    }
}
