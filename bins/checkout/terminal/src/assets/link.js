// The way to this checkout's server: actions that are repeated until they have an answer, and the state as it changes.

const PAUSE_MIN = 500;
const PAUSE_MAX = 5000;
// A server that is stopped, not dead, keeps its connections and says nothing. It says something at least this often.
const SILENCE_MAX = 20000;

const sleep = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

// The same id for every repetition of one action: whoever has done it already says so again.
function requestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// An answer that repeating wouldn't change.
export class Refused extends Error {
  constructor(answer) {
    super(answer.message);
    this.error = answer.error;
  }
}

// This screen's token, which comes with the address that opens it, and is kept for when the page is loaded again.
function token(lane) {
  const key = `token-${lane}`;
  const given = location.hash.slice(1);
  if (/^[0-9a-f]{32}$/.test(given)) {
    localStorage.setItem(key, given);
    history.replaceState(null, "", location.pathname);
  }
  return localStorage.getItem(key) ?? "";
}

export class Link {
  constructor(lane) {
    this.base = `/api/lanes/${lane}`;
    this.token = token(lane);
  }

  // Does something, and gives the state after it. `onWaiting(message)` is told why it isn't done yet.
  async act(action, body, { onWaiting = () => {}, signal } = {}) {
    const request = requestId();
    let pause = PAUSE_MIN;
    for (;;) {
      const message = await this.#attempt(action, { ...body, request }, signal);
      if (message.state) return message.state;
      if (signal?.aborted) return null;
      onWaiting(message.text);
      await sleep(pause * (0.75 + Math.random() / 2), signal);
      if (signal?.aborted) return null;
      pause = Math.min(pause * 2, PAUSE_MAX);
    }
  }

  async #attempt(action, body, signal) {
    let response;
    try {
      const limit = AbortSignal.timeout(20000);
      response = await fetch(`${this.base}/${action}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...this.#headers() },
        body: JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
      const answer = await response.json();
      if (response.ok) return { state: answer };
      // What only time can mend is answered with 503; the rest is final.
      if (response.status !== 503) throw new Refused(answer);
      return { text: answer.message };
    } catch (error) {
      if (error instanceof Refused) throw error;
      return { text: "No connection to this checkout." };
    }
  }

  #headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  // Why the server refuses this screen; null where it doesn't, or can't be asked.
  async #refusal() {
    try {
      const response = await fetch(this.base, { headers: this.#headers() });
      return response.status === 403 ? (await response.json()).message : null;
    } catch {
      return null;
    }
  }

  async products() {
    for (let pause = PAUSE_MIN; ; pause = Math.min(pause * 2, PAUSE_MAX)) {
      try {
        const response = await fetch("/api/products");
        if (response.ok) return await response.json();
      } catch {
        // Tried again below.
      }
      await sleep(pause);
    }
  }

  // Calls `onState` with each new state, and `onLost` when the server can't be heard, with its reason if it has one.
  watch(onState, onLost) {
    let source;
    let pause = PAUSE_MIN;
    let silence;
    const again = () => {
      clearTimeout(silence);
      source.close();
      onLost(null);
      this.#refusal().then((reason) => reason && onLost(reason));
      setTimeout(open, pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, PAUSE_MAX);
    };
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(again, SILENCE_MAX);
    };
    const open = () => {
      source = new EventSource(`${this.base}/events${this.token ? `?token=${this.token}` : ""}`);
      heard();
      source.addEventListener("alive", heard);
      source.addEventListener("state", (event) => {
        heard();
        pause = PAUSE_MIN;
        onState(JSON.parse(event.data));
      });
      source.onerror = again;
    };
    open();
  }
}
