//! Reading an input as a program. Past its end everything is zero.

/// What is left of an input.
#[derive(Debug, Clone)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes: `count`, or as many as there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// Two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number of one to eight bytes: small ones, and those at the edges, are short to write.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            tag @ 0..=199 => u64::from(tag),
            200..=209 => u64::from(self.short()),
            tag @ 210..=219 => u64::MAX - u64::from(tag - 210),
            tag @ 220..=229 => (1 << 56) - u64::from(tag - 220),
            tag @ 230..=239 => 1 << (tag - 200),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let raw = if limit <= 256 { usize::from(self.byte()) } else { usize::from(self.short()) };
        raw % limit
    }

    /// A name: mostly one of a few, sometimes anything.
    pub fn name(&mut self, known: &[&str]) -> String {
        let index = usize::from(self.byte());
        match known.get(index) {
            Some(name) => (*name).to_owned(),
            None => String::from_utf8_lossy(self.take(index % 32)).into_owned(),
        }
    }
}
