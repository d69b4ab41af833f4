#!/bin/sh
# Makes ivr-flows/prompts/*.wav (8 kHz, mono, 16 bit) from the texts beside them, and the music on hold (等待音乐); then
# what the people of the demo say, src/demo/voices/*.wav.
#
# NAME.txt holds two lines: the Chinese text for people, and its pinyin with tone digits for the voice (a voice that
# reads characters picks wrong readings: 便民 becomes "pianmin"). The files are good enough for a demo and for tests; a
# hotline replaces them with its own recordings: any 8 kHz mono 16-bit WAV of the same name.
#
# Needs espeak-ng and sox. Run it as `make prompts`, or `ivr-flows/make-prompts.sh`.
set -eu
cd "$(dirname "$0")/prompts"

voice=cmn-latn-pinyin
speed_wpm=200
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for tool in espeak-ng sox; do
    command -v "$tool" >/dev/null || { echo "make-prompts: $tool is missing; apt-get install espeak-ng sox" >&2; exit 1; }
done

# speak TEXT VARIANT PEAK_DB: makes the WAV beside TEXT with a variant of the voice.
speak() {
    text=$1
    pinyin=$(sed -n 2p "$text")
    [ -n "$pinyin" ] || { echo "make-prompts: $text: the second line must hold the pinyin" >&2; exit 1; }
    # "(en)" in the phonemes means that a word was no pinyin and is read as English.
    case $(espeak-ng -q -x -v "$voice" "$pinyin") in
        *"(en)"*) echo "make-prompts: $text: a word is no pinyin with a tone digit" >&2; exit 1 ;;
    esac
    espeak-ng -v "$voice$2" -s "$speed_wpm" -w "$scratch/voice.wav" "$pinyin"
    sox -D "$scratch/voice.wav" -r 8000 -c 1 -b 16 "$scratch/out.wav" norm "$3" pad 0.1 0.2
    mv "$scratch/out.wav" "${text%.txt}.wav"
}

for prompt in *.txt; do speak "$prompt" "" -3; done
for line in ../../src/demo/voices/agent-*.txt; do speak "$line" +f3 -6; done
for line in ../../src/demo/voices/citizen-*.txt; do speak "$line" +m3 -6; done

# A slow tune on five notes (宫 C, 商 D, 角 E, 徵 G, 羽 A), each fading to silence, so that the end joins the beginning:
# 32 notes of 0.75 s are 24 s. A low C hums along. Peak at -20 dB: it must not tire, nor trip detectors.
number=10
for note in G4 A4 C5 A4 G4 E4 D4 E4  G4 E4 D4 C4 D4 E4 G4 G4  A4 C5 D5 C5 A4 G4 E4 G4  E4 D4 C4 D4 E4 D4 C4 C4; do
    sox -D -n -r 8000 -c 1 -b 16 "$scratch/note-$number.wav" \
        synth 0.75 sine "$note" synth 0.75 sine mix C3 fade q 0.06 0.75 0.6 gain -6
    number=$((number + 1))
done
sox -D "$scratch"/note-*.wav "$scratch/music.wav" norm -20
mv "$scratch/music.wav" music-on-hold.wav
