//! Digits: as telephone-events (RFC 4733) and as tones in the sound (ITU-T Q.23, Q.24), in and out.
//!
//! [`listen`] tells of each press what becomes known of it, by [`events`] or [`detect`]; [`keys`] sends presses either way. A press
//! goes from the one way to the other as [`Key`]s. Never decides what a digit means.

pub mod detect;
pub mod events;
pub mod keys;
pub mod listen;

/// The symbols of RFC 4733 §3.2 in the order of their codes.
const SYMBOLS: &[u8; 16] = b"0123456789*#ABCD";
/// Rows and columns of Q.23.
const PLACES: [&[u8; 4]; 4] = [b"123A", b"456B", b"789C", b"*0#D"];

/// How a leg sends and takes digits, as negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As telephone-events of this payload type.
    Events(u8),
    /// As tones in the sound.
    Tones,
}

/// What becomes known of a press of a key. Lengths are in samples since its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It began; with its code, 0–15.
    Down {
        /// See [`symbol`].
        code: u8,
    },
    /// It goes on and is at least so long.
    Held {
        /// Samples.
        length: u32,
    },
    /// It is over and was so long.
    Up {
        /// Samples.
        length: u32,
    },
}

/// The symbol of a code below 16.
pub fn symbol(code: u8) -> Option<u8> {
    SYMBOLS.get(usize::from(code)).copied()
}

/// The code of a symbol: `0`–`9`, `*`, `#`, `A`–`D`, also in lower case.
pub fn code(symbol: u8) -> Option<u8> {
    let symbol = symbol.to_ascii_uppercase();
    SYMBOLS.iter().position(|&known| known == symbol).map(|code| code as u8)
}

/// The code in a row and column of Q.23.
fn code_at(row: usize, column: usize) -> u8 {
    code(PLACES[row][column]).expect("all symbols have codes")
}

/// Row and column of a code below 16.
fn place(code: u8) -> (usize, usize) {
    let symbol = SYMBOLS[usize::from(code)];
    let row = PLACES.iter().position(|row| row.contains(&symbol)).expect("all symbols have places");
    let column = PLACES[row].iter().position(|&at| at == symbol).expect("the row holds it");
    (row, column)
}
