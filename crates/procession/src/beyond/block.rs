//! What is finished of a block of offsets, as the process's own journal has it.

use journal::{Bits, Epoch, Finished, Offset};

/// What is finished of 512 offsets, by the epoch of the records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Block(pub(super) Vec<(Epoch, Bits)>);

impl Block {
    pub(super) fn add(&mut self, other: &Self) {
        for (epoch, bits) in &other.0 {
            match self.0.iter_mut().find(|(known, _)| known == epoch) {
                Some((_, known)) => known.iter_mut().zip(bits).for_each(|(known, bits)| *known |= bits),
                None => self.0.push((*epoch, *bits)),
            }
        }
    }

    /// Of an offset of the block, and those after it, nothing is finished.
    pub(super) fn forget_from(&mut self, offset: Offset) {
        let (first, bit) = place(offset);
        for (_, bits) in &mut self.0 {
            bits[first] &= bit - 1;
            bits[first + 1..].fill(0);
        }
    }

    /// Whether the record of this epoch is finished; of others at its offset nothing is known any more.
    pub(super) fn keep_only(&mut self, offset: Offset, epoch: Epoch) -> bool {
        let mut found = false;
        for (of, bits) in &mut self.0 {
            if *of == epoch {
                found = get(bits, offset);
            } else {
                clear(bits, offset);
            }
        }
        found
    }

    /// The block's number, the journal's identity, then epoch and bits of each epoch.
    pub(super) fn encode(&self, number: u64, identity: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.0.len() * 68);
        bytes.extend(number.to_le_bytes());
        bytes.extend(identity.to_le_bytes());
        for (epoch, bits) in self.0.iter().filter(|(_, bits)| *bits != Bits::default()) {
            bytes.extend(epoch.0.to_le_bytes());
            bits.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        bytes
    }

    /// `None` for what is of another journal, or makes no sense.
    pub(super) fn decode(bytes: &[u8], identity: u64) -> Option<(u64, Self)> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (of, rest) = rest.split_first_chunk::<8>()?;
        let number = u64::from_le_bytes(*number);
        let (epochs, over) = rest.as_chunks::<68>();
        if u64::from_le_bytes(*of) != identity || !over.is_empty() || number >= u64::MAX / 1024 {
            return None;
        }
        let epoch = |bytes: &[u8; 68]| {
            let (epoch, words) = bytes.split_first_chunk::<4>()?;
            let words = words.as_chunks::<8>().0;
            let bits =
                std::array::from_fn(|index| words.get(index).map_or(0, |word| u64::from_le_bytes(*word)));
            Some((Epoch(u32::from_le_bytes(*epoch)), bits))
        };
        Some((number, Self(epochs.iter().filter_map(epoch).collect())))
    }
}

const fn place(offset: Offset) -> (usize, u64) {
    let bit = offset.0 % Finished::BLOCK_OFFSETS;
    let word = (bit / 64) as usize;
    (word, 1 << (bit % 64))
}

pub(super) const fn set(bits: &mut Bits, offset: Offset) {
    let (word, bit) = place(offset);
    bits[word] |= bit;
}

const fn clear(bits: &mut Bits, offset: Offset) {
    let (word, bit) = place(offset);
    bits[word] &= !bit;
}

pub(super) const fn get(bits: &Bits, offset: Offset) -> bool {
    let (word, bit) = place(offset);
    bits[word] & bit != 0
}
