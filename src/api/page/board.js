// What is known now: agents, queues and live calls, as the event stream tells them. No element of the page.

export class Board {
  agents = new Map();
  queues = new Map();
  calls = new Map();
  /** The engine's clock less ours, in milliseconds. */
  ahead = 0;
  /** A call ended: records and recordings have changed. */
  onEnded = () => {};
  /** A call reached another stage. */
  onStage = () => {};

  now() {
    return Date.now() + this.ahead;
  }

  take({ type, at, data }) {
    switch (type) {
      case "snapshot":
        this.ahead = at - Date.now();
        this.agents = new Map(data.agents.map((agent) => [key(agent), agent]));
        this.queues = new Map(data.queues.map((queue) => [key(queue), queue]));
        this.calls = new Map(data.calls.map((call) => [call.contact, call]));
        this.onEnded();
        break;
      case "agent.changed":
        this.agents.set(key(data), data);
        break;
      case "agent.removed":
        this.agents.delete(key(data));
        break;
      case "queue.changed":
        this.queues.set(key(data), data);
        break;
      case "queue.removed":
        this.queues.delete(key(data));
        break;
      case "call.changed":
        if (this.calls.get(data.contact)?.stage !== data.stage) this.onStage(data);
        this.calls.set(data.contact, data);
        break;
      case "call.ended":
        this.calls.delete(data.contact);
        this.onEnded();
        break;
      case "call.left":
        this.calls.delete(data.contact);
        break;
    }
  }

  sites() {
    return [...new Set([...this.agents.values(), ...this.queues.values()].map((one) => one.site))].sort();
  }

  /** Figures of a site, or of all. A role that sees no calls still sees its queues. */
  figures(site = null) {
    const ours = (one) => site === null || one.site === site;
    const queues = [...this.queues.values()].filter(ours);
    const calls = [...this.calls.values()].filter(ours);
    const ringing = calls.filter((call) => call.stage === "ringing").length;
    const sum = (what) => queues.reduce((total, queue) => total + queue[what], 0);
    const longest = queues.map((queue) => queue.longest_since).filter((since) => since !== null);
    return {
      waiting: Math.max(0, sum("waiting") - ringing),
      ringing,
      talking: sum("talking"),
      ready: [...this.agents.values()].filter((agent) => ours(agent) && agent.state === "ready").length,
      longestSince: longest.length ? Math.min(...longest) : null,
    };
  }
}

const key = (one) => `${one.site}/${one.name}`;
