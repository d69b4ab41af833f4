// The event stream: Server-Sent Events over fetch, because EventSource sends no Authorization header. Resumes with
// Last-Event-ID; the engine begins with a snapshot when it cannot.

const SILENCE_MS_MAX = 40_000; // The engine says something every 15 s.
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000];

/** Thrown when the token is not accepted. */
export class Refused extends Error {}

/** Follows until `signal` aborts or the token is refused. `on.event(envelope)`, `on.link("linked" | "lost" | "busy")`. */
export async function follow(token, on, signal) {
  let last = null;
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      await read(token, last, signal, (envelope) => {
        last = envelope.seq;
        failures = 0;
        on.event(envelope);
      }, () => on.link("linked"));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) throw error;
    }
    if (signal.aborted) return;
    on.link("lost");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]));
  }
}

async function read(token, last, signal, take, opened) {
  const silence = new AbortController();
  let watch;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
  };
  heard();
  try {
    const headers = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
    if (last !== null) headers["Last-Event-ID"] = String(last);
    const response = await fetch("/api/v1/events", { headers, cache: "no-store", signal: AbortSignal.any([signal, silence.signal]) });
    if (response.status === 401 || response.status === 403) throw new Refused();
    if (!response.ok) throw new Error(`status ${response.status}`);
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) take(JSON.parse(line.slice(5)));
      }
    }
  } finally {
    clearTimeout(watch);
  }
}
