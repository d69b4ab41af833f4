// JsSIP as a softphone over a WebSocket, without a browser: signalling is JsSIP's own, the peer connection is a stand-in
// that describes plain RTP. Answers what comes. Prints one line for each thing that happens. Lines on standard input:
// "drop" breaks the connection without a word, "call NUMBER" calls, "hangup" ends the call.
//
// node agent.mjs URL CERTIFICATE ORIGIN USER DOMAIN PASSWORD RTP_PORT
import fs from 'node:fs';
import readline from 'node:readline';
import JsSIP from 'jssip';
import WebSocket from 'ws';

const [url, certificate, origin, user, domain, password, port] = process.argv.slice(2);
const say = (...words) => console.log(words.join(' '));

const SDP = [
  'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
  `m=audio ${port} RTP/AVP 8`, 'a=rtpmap:8 PCMA/8000', 'a=sendrecv', '',
].join('\r\n');

class PeerConnection extends EventTarget {
  iceGatheringState = 'complete';
  iceConnectionState = 'connected';
  signalingState = 'stable';
  localDescription = null;
  async setRemoteDescription({ type, sdp }) {
    this.signalingState = type === 'offer' ? 'have-remote-offer' : 'stable';
    say(type, /m=audio \d+ (.*)/.exec(sdp)[1].trim());
  }
  async setLocalDescription(description) {
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
    this.localDescription = description;
  }
  async createOffer() { return { type: 'offer', sdp: SDP }; }
  async createAnswer() { return { type: 'answer', sdp: SDP }; }
  getSenders() { return []; }
  getReceivers() { return []; }
  close() { this.signalingState = 'closed'; }
}
globalThis.window = globalThis;
globalThis.RTCPeerConnection = PeerConnection;
globalThis.RTCSessionDescription = class { constructor(it) { Object.assign(this, it); } };

// JsSIP's own socket wants the browser's class; this one is the same over the package `ws`.
class Socket {
  url = url;
  sip_uri = `sip:${new URL(url).host};transport=ws`;
  via_transport = new URL(url).protocol === 'wss:' ? 'WSS' : 'WS';
  weight = 0;
  connect() {
    const options = { origin, ca: fs.existsSync(certificate) ? fs.readFileSync(certificate) : undefined };
    const ws = new WebSocket(url, 'sip', options);
    this.ws = ws;
    ws.on('open', () => this.onconnect());
    ws.on('message', (data) => this.ondata(data.toString()));
    ws.on('error', (error) => say('error', error.message));
    ws.on('close', (code) => this.ondisconnect({ socket: this, error: code !== 1000, code, reason: '' }));
  }
  disconnect() { this.ws?.close(1000); }
  isConnected() { return this.ws?.readyState === WebSocket.OPEN; }
  isConnecting() { return this.ws?.readyState === WebSocket.CONNECTING; }
  send(message) {
    if (!this.isConnected()) return false;
    this.ws.send(message);
    return true;
  }
}

const socket = new Socket();
const ua = new JsSIP.UA({
  sockets: [socket],
  uri: `sip:${user}@${domain}`,
  authorization_user: user,
  password,
  register_expires: 600,
  connection_recovery_min_interval: 1,
  connection_recovery_max_interval: 5,
});
ua.on('connected', () => say('connected'));
ua.on('disconnected', () => say('disconnected'));
ua.on('registered', () => say('registered'));
ua.on('registrationFailed', (event) => say('registrationFailed', event.cause));
let current;
ua.on('newRTCSession', ({ originator, session }) => {
  current = session;
  say('session', originator);
  session.on('confirmed', () => say('confirmed'));
  session.on('ended', ({ originator: by, cause }) => say('ended', by, cause));
  session.on('failed', ({ originator: by, cause }) => say('failed', by, cause));
  if (originator === 'remote') session.answer({ mediaConstraints: { audio: false, video: false } });
});
ua.start();

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [word, number] = line.split(' ');
    if (word === 'drop') socket.ws.terminate();
    if (word === 'call') ua.call(`sip:${number}@${domain}`, { mediaConstraints: { audio: false, video: false } });
    if (word === 'hangup') current.terminate();
  })
  .on('close', () => process.exit(0));
