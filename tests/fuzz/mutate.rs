//! The one seeded mutator: it knows lines, words, numbers and quotes, so that mutants stay close to what a parser takes
//! for sound, and bytes, so that they do not stay too close.

use jiesu::base::Mint;

/// Mutants are cut to this: a little more than anything that reads datagrams takes.
const BYTES_MAX: usize = 70_000;
/// Most changes of one mutant.
const CHANGES_MAX: usize = 4;
/// Numbers at which something may wrap, be cut or run out.
const NUMBERS: [&str; 17] = [
    "0",
    "1",
    "-1",
    "00",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
];
/// Bytes that mean something in nearly every text.
const PIECES: [&[u8]; 30] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\"",
    b"\\\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"=",
    b"/",
    b"%",
    b"%00",
    b"@",
    b"?",
    b"&",
    b"*",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\0",
    b"\xff",
    b"\xe5\xb8\x82",
    b"\r\n ",
    b"\r\n\r\n",
];

/// What is mutated.
pub struct Kind {
    /// Whether it is text of lines and words.
    pub text: bool,
    /// Words of the format: grafted in as they are.
    pub words: &'static [&'static str],
    /// Puts right what would otherwise end nearly every mutant early (a length, a checksum); half of the mutants get it.
    pub repair: fn(&mut Vec<u8>),
}

/// Nothing needs to be put right.
pub fn as_it_is(_: &mut Vec<u8>) {}

/// Makes one mutant after the other, always the same ones.
pub struct Mutator<'a> {
    kind: &'a Kind,
    seeds: &'a [Vec<u8>],
    chance: Mint,
    round: usize,
}

impl<'a> Mutator<'a> {
    pub fn new(kind: &'a Kind, seeds: &'a [Vec<u8>]) -> Mutator<'a> {
        Mutator::seeded(kind, seeds, 2024)
    }

    /// As [`Mutator::new`], with other mutants for each `seed`.
    pub fn seeded(kind: &'a Kind, seeds: &'a [Vec<u8>], seed: u64) -> Mutator<'a> {
        assert!(!seeds.is_empty(), "there is something to mutate");
        Mutator { kind, seeds, chance: Mint::new(0, [seed, 12345]), round: 0 }
    }

    /// The next one; every seed has its turn.
    pub fn mutant(&mut self) -> Vec<u8> {
        let seed = self.seeds[self.round % self.seeds.len()].clone();
        self.round += 1;
        self.mutated(seed)
    }

    /// `bytes` with some changes.
    pub fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(CHANGES_MAX) {
            match self.below(10) {
                0..=2 if self.kind.text => self.change_lines(&mut bytes),
                3..=6 if self.kind.text => self.change_word(&mut bytes),
                _ => self.change_bytes(&mut bytes),
            }
        }
        bytes.truncate(BYTES_MAX);
        if self.below(2) == 0 {
            (self.kind.repair)(&mut bytes);
        }
        bytes
    }

    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("a usize is 64 bits");
        usize::try_from(self.chance.random() % bound).expect("less than a usize")
    }

    fn other_seed(&mut self) -> &'a [u8] {
        let at = self.below(self.seeds.len());
        &self.seeds[at]
    }

    /// Takes out, doubles, moves or exchanges a line.
    fn change_lines(&mut self, bytes: &mut Vec<u8>) {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let at = self.below(lines.len().max(1));
        let Some(line) = lines.get(at).copied() else { return };
        let mut changed: Vec<&[u8]> = lines.clone();
        match self.below(7) {
            0 => drop(changed.remove(at)),
            1 => changed.insert(at, line),
            2 => {
                changed.remove(at);
                changed.insert(self.below(lines.len()), line);
            }
            // Many times the same: for what is counted.
            3 => {
                let times = [3, 20, 300][self.below(3)];
                changed.splice(at..at, std::iter::repeat_n(line, times));
            }
            // The line of the same name in another seed.
            4 => changed[at] = self.line_of(self.name_of(line)).unwrap_or(line),
            _ => changed.insert(at, self.any_line()),
        }
        *bytes = changed.concat();
    }

    fn name_of<'b>(&self, line: &'b [u8]) -> &'b [u8] {
        let end = line.iter().position(|byte| matches!(byte, b':' | b'=' | b' ')).unwrap_or(line.len());
        &line[..end]
    }

    fn line_of(&mut self, name: &[u8]) -> Option<&'a [u8]> {
        let seed = self.other_seed();
        seed.split_inclusive(|byte| *byte == b'\n').find(|line| line.starts_with(name))
    }

    fn any_line(&mut self) -> &'a [u8] {
        let seed = self.other_seed();
        let lines: Vec<&[u8]> = seed.split_inclusive(|byte| *byte == b'\n').collect();
        lines.get(self.below(lines.len())).copied().unwrap_or_default()
    }

    /// A word becomes a number at a bound, a word of the format or of another seed, much longer, quoted, or nothing.
    fn change_word(&mut self, bytes: &mut Vec<u8>) {
        let (start, end) = self.word_in(bytes);
        let word = bytes[start..end].to_vec();
        let new: Vec<u8> = match self.below(8) {
            0 | 1 => NUMBERS[self.below(NUMBERS.len())].into(),
            2 if !self.kind.words.is_empty() => self.kind.words[self.below(self.kind.words.len())].into(),
            2 | 3 => {
                let other = self.other_seed();
                let (start, end) = self.word_in(other);
                other[start..end].to_vec()
            }
            4 => {
                let times = [2, 40, 1_000][self.below(3)];
                word.repeat(times)
            }
            5 => [b"\"", &word[..], b"\""].concat(),
            6 => word.iter().map(|byte| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte }).collect(),
            _ => Vec::new(),
        };
        bytes.splice(start..end, new);
    }

    /// Where a word stands, from a place left to chance.
    fn word_in(&mut self, bytes: &[u8]) -> (usize, usize) {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let from = self.below(bytes.len() + 1);
        let start = from + bytes[from..].iter().position(part).unwrap_or(bytes.len() - from);
        let end = start + bytes[start..].iter().take_while(|byte| part(byte)).count();
        (start, end)
    }

    /// Cuts, doubles, replaces or crosses a stretch of bytes.
    fn change_bytes(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(24)).min(bytes.len());
        match self.below(9) {
            0 => drop(bytes.drain(at..end)),
            1 | 2 => {
                let piece = PIECES[self.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            4 => {
                let other = self.other_seed();
                let from = self.below(other.len());
                let to = (from + self.below(60)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            5 => bytes.truncate(at),
            // Lengths and counters of binary formats.
            6 => {
                let fill = [0, 0xff, 0x7f, 0x80][self.below(4)];
                let width = [1, 2, 4][self.below(3)];
                bytes.iter_mut().skip(at).take(width).for_each(|byte| *byte = fill);
            }
            7 => {
                let bit = self.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            _ => {
                let random = self.chance.random().to_le_bytes()[0];
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random);
            }
        }
    }
}

#[test]
fn mutants_are_always_the_same_differ_and_stay_within_bounds() {
    let seeds = [b"Via: a;b=1\r\nTo: <sip:x>\r\n\r\n".to_vec(), b"c=IN IP4 1.2.3.4\r\n".to_vec()];
    let kind = Kind { text: true, words: &["branch"], repair: as_it_is };
    let (mut one, mut another) = (Mutator::new(&kind, &seeds), Mutator::new(&kind, &seeds));
    let mut changed = 0;
    for _ in 0..2_000 {
        let mutant = one.mutant();
        assert_eq!(mutant, another.mutant());
        assert!(mutant.len() <= BYTES_MAX);
        changed += usize::from(!seeds.contains(&mutant));
    }
    assert!(changed > 1_800, "{changed}");
}
