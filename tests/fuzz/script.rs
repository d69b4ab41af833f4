//! Bytes read as a script: each choice of a driver takes a few of them, and when they end so does the drive.

/// What is left of a script.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Less than `bound`, which is 1 to 65,536.
    pub fn below(&mut self, bound: usize) -> usize {
        let high = if bound > 256 { usize::from(self.byte()) << 8 } else { 0 };
        (high | usize::from(self.byte())) % bound
    }

    /// True so many times in 256.
    pub fn chance(&mut self, of_256: u8) -> bool {
        self.byte() < of_256
    }

    /// The next bytes, as many as there still are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Eight bytes as a number.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }
}

/// Scripts to begin with: `count` of them, `bytes` long, all different and always the same.
pub fn scripts(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut chance = jiesu::base::Mint::new(1, [7, 2024]);
    let mut script = || (0..bytes).map(|_| chance.random().to_le_bytes()[0]).collect();
    (0..count).map(|_| script()).collect()
}
