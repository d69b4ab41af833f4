//! Prompts and music as they are sent: G.711 at 8 kHz, in both laws, shared by all legs.
//!
//! Reading files is the shell's; here sound is already in memory and never copied but into packets.

use super::g711;
use super::tone::Tone;
use crate::base::PromptId;
use crate::sdp::Codec;
use std::sync::{Arc, LazyLock};

/// One recording to play.
#[derive(Clone, Debug)]
pub struct Prompt {
    alaw: Arc<[u8]>,
    mulaw: Arc<[u8]>,
}

impl Prompt {
    /// From linear sound at 8 kHz.
    pub fn new(samples: &[i16]) -> Prompt {
        Prompt { alaw: g711::encode(Codec::Pcma, samples).into(), mulaw: g711::encode(Codec::Pcmu, samples).into() }
    }

    /// One period of a tone.
    pub fn tone(tone: Tone) -> Prompt {
        static TONES: LazyLock<[Prompt; Tone::ALL.len()]> =
            LazyLock::new(|| Tone::ALL.map(|tone| Prompt::new(&tone.samples())));
        TONES[tone as usize].clone()
    }

    /// The whole of it, a byte a sample.
    pub fn bytes(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcma => &self.alaw,
            Codec::Pcmu => &self.mulaw,
        }
    }

    /// Length in samples.
    pub fn samples(&self) -> usize {
        self.alaw.len()
    }
}

/// All prompts, in load order.
#[derive(Clone, Debug, Default)]
pub struct Library(Vec<Prompt>);

impl Library {
    /// An empty one.
    pub fn new() -> Library {
        Library::default()
    }

    /// Adds a prompt; returns its id.
    pub fn add(&mut self, prompt: Prompt) -> PromptId {
        let id = PromptId(u32::try_from(self.0.len()).expect("fewer than 2^32 prompts"));
        self.0.push(prompt);
        id
    }

    /// The prompt of this id.
    pub fn find(&self, id: PromptId) -> Option<&Prompt> {
        self.0.get(id.index())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
