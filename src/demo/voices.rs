//! What the simulated people say: sentences of equal places, so that citizen and agent speak in turn without hearing.
//!
//! The sound is made by `make prompts` from the texts in `voices/`. Owns no phone.

use super::people::Who;
use crate::base::PromptId;
use crate::media::{Library, Prompt};
use hound::WavReader;
use std::sync::Arc;

const HELLO: &[u8] = include_bytes!("voices/agent-hello.wav");
const REPLY: &[u8] = include_bytes!("voices/agent-reply.wav");
const THANKS: &[u8] = include_bytes!("voices/citizen-thanks.wav");
const MATTERS: [&[u8]; 2] = [include_bytes!("voices/citizen-light.wav"), include_bytes!("voices/citizen-water.wav")];

/// Sentences and the pauses in which the other side speaks.
#[derive(Clone, Debug)]
pub struct Voices {
    prompts: Arc<Library>,
    agent: Vec<PromptId>,
    /// By matter.
    citizen: Vec<Vec<PromptId>>,
}

impl Voices {
    /// All of them.
    pub fn new() -> Voices {
        let mut library = Library::new();
        let matters = MATTERS.map(samples);
        let turn = matters.iter().map(Vec::len).max().unwrap_or_default();
        let (hello, reply, thanks) = (samples(HELLO), samples(REPLY), samples(THANKS));
        let mut add = |samples: &[i16]| library.add(Prompt::new(samples));
        let [pause_hello, pause_matter, pause_reply] =
            [hello.len(), turn, reply.len()].map(|length| add(&vec![0; length]));
        let agent = vec![add(&hello), pause_matter, add(&reply)];
        let thanks = add(&thanks);
        let citizen = matters
            .map(|mut matter| {
                matter.resize(turn, 0);
                vec![pause_hello, add(&matter), pause_reply, thanks]
            })
            .into();
        Voices { prompts: Arc::new(library), agent, citizen }
    }

    /// For the media threads.
    pub fn prompts(&self) -> Arc<Library> {
        Arc::clone(&self.prompts)
    }

    /// What `who` plays once both hear each other.
    pub fn lines(&self, who: Who, matter: usize) -> Vec<PromptId> {
        match who {
            Who::Agent(_) => self.agent.clone(),
            Who::Citizen(_) => self.citizen[matter % self.citizen.len()].clone(),
        }
    }

    /// How many matters there are to speak of.
    pub fn matters(&self) -> usize {
        self.citizen.len()
    }
}

impl Default for Voices {
    fn default() -> Self {
        Voices::new()
    }
}

fn samples(wav: &[u8]) -> Vec<i16> {
    let reader = WavReader::new(wav).expect("a WAV that was compiled in");
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (8_000, 1), "8 kHz, one channel");
    reader.into_samples().map(|sample| sample.expect("16 bits")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Codec;

    #[test]
    fn only_one_of_them_speaks_at_a_time() {
        let voices = Voices::new();
        let silent = |byte: u8| matches!(byte, 0xd5 | 0x55);
        for matter in 0..voices.matters() {
            let sound = |who| {
                let prompts = voices.lines(who, matter);
                let bytes = prompts.iter().flat_map(|id| voices.prompts.find(*id).unwrap().bytes(Codec::Pcma).to_vec());
                bytes.collect::<Vec<u8>>()
            };
            let (agent, citizen) = (sound(Who::Agent(0)), sound(Who::Citizen(0)));
            assert!(agent.iter().zip(&citizen).all(|(a, c)| silent(*a) || silent(*c)));
            assert!(agent.iter().filter(|byte| !silent(**byte)).count() > 8_000 * 4);
            assert!(citizen.iter().filter(|byte| !silent(**byte)).count() > 8_000 * 4);
        }
    }
}
