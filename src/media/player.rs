//! One play: prompts one after another without a gap, once or again and again.
//!
//! Holds the sound itself, so that a new library does not disturb what is being heard. Knows no clock: it is asked for the
//! next samples.

use super::g711;
use super::prompt::{Library, Prompt};
use super::tone::Tone;
use crate::base::PromptId;
use crate::sdp::Codec;

/// A chain of prompts and the place in it.
#[derive(Clone, Debug)]
pub struct Player {
    play: u32,
    ids: Vec<PromptId>,
    /// The sound of `ids`; unknown and empty ones are left out.
    prompts: Vec<Prompt>,
    repeat: bool,
    index: usize,
    offset: usize,
}

impl Player {
    /// At the start of the first prompt.
    pub fn new(library: &Library, play: u32, ids: Vec<PromptId>, repeat: bool) -> Player {
        let known = ids.iter().filter_map(|&id| library.find(id));
        let prompts = known.filter(|prompt| prompt.samples() > 0).cloned().collect();
        Player { play, ids, prompts, repeat, index: 0, offset: 0 }
    }

    /// At the start of a tone.
    pub fn tone(play: u32, tone: Tone, repeat: bool) -> Player {
        let (ids, prompts) = (Vec::new(), vec![Prompt::tone(tone)]);
        Player { play, ids, prompts, repeat, index: 0, offset: 0 }
    }

    /// The name of this play.
    pub fn play(&self) -> u32 {
        self.play
    }

    /// Whether it never ends by itself.
    pub fn repeats(&self) -> bool {
        self.repeat
    }

    /// The same music once more, from where it stopped, under another name.
    pub fn again(self, play: u32) -> Player {
        Player { play, ..self }
    }

    /// Whether this is music made of just these prompts.
    pub fn is_music_of(&self, ids: &[PromptId]) -> bool {
        self.repeat && !ids.is_empty() && self.ids == ids
    }

    /// Appends the next `samples` bytes, silence after the end. True once the last sample has been given.
    pub fn fill(&mut self, codec: Codec, samples: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len() + samples;
        while out.len() < end && !self.finished() {
            let rest = &self.prompts[self.index].bytes(codec)[self.offset..];
            let taken = rest.len().min(end - out.len());
            out.extend_from_slice(&rest[..taken]);
            self.offset += taken;
            if taken == rest.len() {
                self.offset = 0;
                self.index += 1;
                if self.repeat {
                    self.index %= self.prompts.len();
                }
            }
        }
        out.resize(end, g711::silence(codec));
        self.finished() && !self.repeat
    }

    fn finished(&self) -> bool {
        self.index >= self.prompts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(lengths: &[usize]) -> Library {
        let mut library = Library::new();
        for (index, &length) in lengths.iter().enumerate() {
            library.add(Prompt::new(&vec![1_000 * (index as i16 + 1); length]));
        }
        library
    }

    fn ids(numbers: &[u32]) -> Vec<PromptId> {
        numbers.iter().map(|&number| PromptId(number)).collect()
    }

    fn all(player: &mut Player, codec: Codec, packets: usize) -> (Vec<u8>, Option<usize>) {
        let (mut out, mut finished) = (Vec::new(), None);
        for packet in 0..packets {
            if player.fill(codec, 160, &mut out) && finished.is_none() {
                finished = Some(packet);
            }
        }
        (out, finished)
    }

    #[test]
    fn a_chain_is_exact_to_the_sample_in_both_laws() {
        let library = library(&[250, 70, 1_000]);
        for codec in [Codec::Pcma, Codec::Pcmu] {
            let mut player = Player::new(&library, 1, ids(&[2, 0, 99, 1]), false);
            let (out, finished) = all(&mut player, codec, 10);
            let mut expected: Vec<u8> =
                [2, 0, 1].iter().flat_map(|&id| library.find(PromptId(id)).unwrap().bytes(codec).to_vec()).collect();
            assert_eq!((expected.len(), finished), (1_320, Some(8)));
            expected.resize(1_600, g711::silence(codec));
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn music_has_no_seam_and_no_end() {
        let library = library(&[250]);
        let mut player = Player::new(&library, 1, ids(&[0]), true);
        let (out, finished) = all(&mut player, Codec::Pcma, 20);
        assert_eq!(finished, None);
        assert!(out.iter().all(|&byte| byte == out[0]) && out.len() == 3_200);
        assert!(player.is_music_of(&ids(&[0])) && !player.is_music_of(&ids(&[0, 0])));
    }

    #[test]
    fn an_end_on_the_packet_is_the_end_and_nothing_ends_at_once() {
        let library = library(&[320, 0]);
        assert_eq!(all(&mut Player::new(&library, 1, ids(&[0]), false), Codec::Pcma, 4).1, Some(1));
        assert_eq!(all(&mut Player::new(&library, 1, ids(&[1, 77]), false), Codec::Pcma, 4).1, Some(0));
        assert_eq!(all(&mut Player::new(&library, 1, Vec::new(), true), Codec::Pcma, 4).1, None);
    }
}
