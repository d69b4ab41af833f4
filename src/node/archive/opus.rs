//! Recordings as Ogg Opus, stereo (RFC 7845): half an hour in ten megabytes.
//!
//! Takes the sound of a file in pieces of any size and gives pages as they fill, so that a day's recording takes no more
//! memory than a short one. The length is the recording's, to the sample.

use crate::recording::{SAMPLE_HZ, SILENCE, format};
use audio_codec::pcma::{PcmaDecoder, PcmaEncoder};
use audio_codec::{Decoder as _, Encoder as _};
use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};
use opus::{Application, Bitrate, Channels, Decoder, Encoder};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};

/// Samples of each channel in a packet: 20 ms.
const FRAME: usize = SAMPLE_HZ as usize / 50;
/// Positions count at 48 kHz, whatever was encoded (RFC 7845 section 4).
const POSITIONS: u64 = 48_000 / SAMPLE_HZ as u64;
/// A page holds so many packets: a second, as section 6 advises.
const PACKETS_PER_PAGE: u64 = 50;
/// Largest packet (RFC 6716 section 3.4, code 0 to 2: two frames of 1275 bytes).
const PACKET_BYTES_MAX: usize = 2 * 1_275 + 7;
/// Of libopus's 0 to 10: a third of the processor time of the usual 9, and nobody hears it on a telephone's sound.
const COMPLEXITY: i32 = 5;

/// A recording on its way into Ogg Opus.
pub(super) struct OggOpus {
    encoder: Encoder,
    pages: PacketWriter<'static, Vec<u8>>,
    serial: u32,
    /// The decoder's first samples that are no sound, of each channel.
    lookahead: u64,
    /// Bytes of both channels taken.
    taken: u64,
    /// Packets written.
    packets: u64,
    /// A-law of both channels that fills no packet yet.
    rest: Vec<u8>,
}

impl OggOpus {
    /// Begins with both head pages. `bits_per_s` is of both channels together.
    pub(super) fn new(bits_per_s: u32, serial: u32) -> io::Result<OggOpus> {
        let mut encoder = Encoder::new(SAMPLE_HZ, Channels::Stereo, Application::Audio).map_err(io::Error::other)?;
        let bits = i32::try_from(bits_per_s).map_err(io::Error::other)?;
        encoder.set_bitrate(Bitrate::Bits(bits)).map_err(io::Error::other)?;
        encoder.set_complexity(COMPLEXITY).map_err(io::Error::other)?;
        let lookahead = u64::from(encoder.get_lookahead().map_err(io::Error::other)?.unsigned_abs());
        let mut pages = PacketWriter::new(Vec::new());
        for packet in [head((lookahead * POSITIONS) as u16), tags()] {
            pages.write_packet(packet, serial, PacketWriteEndInfo::EndPage, 0)?;
        }
        Ok(OggOpus { encoder, pages, serial, lookahead, taken: 0, packets: 0, rest: Vec::new() })
    }

    /// Takes A-law of both channels, sample by sample; gives the pages that are full.
    pub(super) fn take(&mut self, sound: &[u8]) -> io::Result<Vec<u8>> {
        self.taken += sound.len() as u64;
        self.rest.extend_from_slice(sound);
        let rest = std::mem::take(&mut self.rest);
        let packets = rest.chunks_exact(2 * FRAME);
        self.rest = packets.remainder().to_vec();
        for packet in packets {
            self.write(packet, false)?;
        }
        Ok(std::mem::take(self.pages.inner_mut()))
    }

    /// Gives the last pages.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        // What the decoder is behind by is asked of it with silence; there is always a packet left to write.
        let total = self.end().div_ceil(FRAME as u64);
        while self.packets < total {
            let mut packet = std::mem::take(&mut self.rest);
            packet.resize(2 * FRAME, SILENCE);
            self.write(&packet, self.packets + 1 == total)?;
        }
        Ok(std::mem::take(self.pages.inner_mut()))
    }

    fn write(&mut self, sound: &[u8], last: bool) -> io::Result<()> {
        let linear = PcmaDecoder::new().decode(sound);
        let packet = self.encoder.encode_vec(&linear, PACKET_BYTES_MAX).map_err(io::Error::other)?;
        self.packets += 1;
        // Section 4.4: a last position before the packet's end cuts the sound there.
        let info = match last {
            true => PacketWriteEndInfo::EndStream,
            false if self.packets.is_multiple_of(PACKETS_PER_PAGE) => PacketWriteEndInfo::EndPage,
            false => PacketWriteEndInfo::NormalPacket,
        };
        let end = if last { self.end() } else { self.packets * FRAME as u64 };
        self.pages.write_packet(packet, self.serial, info, end * POSITIONS)
    }

    /// Where the sound ends for a decoder, so far.
    fn end(&self) -> u64 {
        self.taken / 2 + self.lookahead
    }
}

/// RFC 7845 section 5.1; mapping family 0 is stereo.
fn head(pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend(pre_skip.to_le_bytes());
    head.extend(SAMPLE_HZ.to_le_bytes());
    // No gain, family 0.
    head.extend([0, 0, 0]);
    head
}

/// Section 5.2.
fn tags() -> Vec<u8> {
    let vendor = concat!("jiesu ", env!("CARGO_PKG_VERSION"));
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor.as_bytes());
    tags.extend(0u32.to_le_bytes());
    tags
}

/// An Ogg Opus object of ours as a recording again: A-law with a header, in a file without a name, at its beginning.
pub(super) fn as_recording(object: impl Read + Seek) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&format::header(0))?;
    let mut frames = 0;
    decode(object, |sound| {
        frames += sound.len() as u64 / 2;
        file.write_all(sound)
    })?;
    file.rewind()?;
    file.write_all(&format::header(frames))?;
    file.rewind()?;
    Ok(file)
}

/// The sound of a whole object as A-law of both channels, packet by packet.
fn decode(object: impl Read + Seek, mut piece: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut packets = PacketReader::new(BufReader::new(object));
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "no Ogg Opus of ours");
    let mut next = || packets.read_packet().map_err(|_| foreign());
    let head = next()?.ok_or_else(foreign)?;
    let pre_skip = head.data.get(10..12).filter(|_| head.data.starts_with(b"OpusHead")).ok_or_else(foreign)?;
    let mut skip = u64::from(u16::from_le_bytes([pre_skip[0], pre_skip[1]])) / POSITIONS;
    next()?.ok_or_else(foreign)?;
    let mut decoder = Decoder::new(SAMPLE_HZ, Channels::Stereo).map_err(io::Error::other)?;
    // A packet may be of 120 ms at most.
    let mut linear = vec![0; 2 * 6 * FRAME];
    let mut decoded = 0;
    while let Some(packet) = next()? {
        let count = decoder.decode(&packet.data, &mut linear, false).map_err(io::Error::other)? as u64;
        let end = match packet.last_in_stream() {
            true => (packet.absgp_page() / POSITIONS).saturating_sub(decoded).min(count),
            false => count,
        };
        decoded += count;
        let from = skip.min(end);
        skip -= from;
        piece(&PcmaEncoder::new().encode(&linear[2 * from as usize..2 * end as usize]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn decoded(object: &[u8]) -> io::Result<Vec<u8>> {
        let mut sound = Vec::new();
        as_recording(Cursor::new(object))?.read_to_end(&mut sound)?;
        assert_eq!(format::parse(&sound), Ok(format::frames_in(sound.len() as u64)));
        Ok(sound.split_off(format::HEADER_BYTES as usize))
    }

    /// A tone of its own on each side, A-law.
    fn tones(frames: usize) -> Vec<u8> {
        let tone = |frame: usize, hz: f64| {
            ((frame as f64 * hz * std::f64::consts::TAU / f64::from(SAMPLE_HZ)).sin() * 8_000.0) as i16
        };
        let linear: Vec<i16> = (0..frames).flat_map(|frame| [tone(frame, 440.0), tone(frame, 1_250.0)]).collect();
        PcmaEncoder::new().encode(&linear)
    }

    fn encoded(sound: &[u8], piece: usize) -> Vec<u8> {
        let mut opus = OggOpus::new(48_000, 7).unwrap();
        let mut object: Vec<u8> = sound.chunks(piece).flat_map(|piece| opus.take(piece).unwrap()).collect();
        object.extend(opus.finish().unwrap());
        object
    }

    /// Power of one tone in one channel of interleaved samples, by Goertzel.
    fn power(linear: &[i16], side: usize, hz: f64) -> f64 {
        let step = 2.0 * (hz * std::f64::consts::TAU / f64::from(SAMPLE_HZ)).cos();
        let (mut last, mut before) = (0.0, 0.0);
        for sample in linear.iter().skip(side).step_by(2) {
            (last, before) = (f64::from(*sample) + step * last - before, last);
        }
        last * last + before * before - step * last * before
    }

    #[test]
    fn what_is_encoded_comes_back_as_long_and_on_its_own_side() {
        for frames in [0, 1, 159, 160, 161, 8_000, 40_013] {
            let object = encoded(&tones(frames), 2 * 997);
            assert_eq!(decoded(&object).unwrap().len(), 2 * frames, "{frames} samples");
        }
        let sound = tones(40_000);
        let object = encoded(&sound, sound.len());
        assert_eq!(object, encoded(&sound, 2 * 13), "pieces of any size");
        let kbit_s = object.len() * 8 / 5 / 1_000;
        assert!((30..60).contains(&kbit_s), "{kbit_s} kbit/s");
        let linear = PcmaDecoder::new().decode(&decoded(&object).unwrap());
        for (side, own, other) in [(0, 440.0, 1_250.0), (1, 1_250.0, 440.0)] {
            let apart = 10.0 * (power(&linear, side, own) / power(&linear, side, other)).log10();
            assert!(apart > 25.0, "side {side}: {apart:.1} dB");
        }
    }

    #[test]
    fn rubbish_is_refused() {
        for rubbish in [&b""[..], b"OggS", &[7; 500], &encoded(&tones(100), 200)[..60]] {
            assert!(decoded(rubbish).is_err());
        }
    }
}
