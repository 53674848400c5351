// One process of node-ipc's runs: publisher or subscriber, by the same protocol as the members in Rust. It says
// `ready`, is told `go`, reports in one JSON object a line, and ends at `end` or when its parent is gone.
'use strict';

const ipc = require('node-ipc');
const readline = require('readline');

const part = JSON.parse(process.argv[2]);
const { work, messages } = part.task;
const isLatency = work.kind === 'latency';

// Published in one go, before sockets are looked at again. Its reader collects text until a chunk happens to end
// where a message does, so a stream that never rests costs it the square of what comes: each batch is sent whole
// before the next, which it does best with.
const BATCH = Math.max(1, Math.min(1024, Math.floor((64 << 10) / work.payload)));
const PAUSE_US = 500;
const STALLED_AFTER_MS = 3000;

ipc.config.id = `bench-${part.role}-${part.number}`;
ipc.config.silent = true;
ipc.config.maxConnections = 100;

const nowNs = () => Number(process.hrtime.bigint());
const cpuNs = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) * 1000;
};
const say = (line) => process.stdout.write(`${line}\n`);
const turn = () => new Promise((done) => setImmediate(done));

// The text that belongs to a number: the letters, beginning with another one each time.
const letters = 'abcdefghijklmnopqrstuvwxyz';
const textBytes = Math.max(work.payload - 16, 0);
const texts = Array.from(letters, (_, first) =>
    letters.repeat(Math.ceil((textBytes + 26) / 26)).slice(first, first + textBytes));
const textOf = (number) => texts[number % 26];

// What the parent says; the promise of a word resolves when it comes.
const told = new Map();
const heard = (word) => {
    if (!told.has(word)) {
        let done;
        const promise = new Promise((resolve) => { done = resolve; });
        told.set(word, { promise, done });
    }
    return told.get(word);
};
const input = readline.createInterface({ input: process.stdin });
input.on('line', (line) => heard(line).done());
input.on('close', () => process.exit(0));

function publish() {
    const sockets = [];
    ipc.serve(part.address);
    ipc.server.on('connect', (socket) => sockets.push(socket));
    ipc.server.on('start', async () => {
        say('ready');
        await heard('go').promise;
        while (sockets.length < (isLatency ? 1 : work.subscribers)) {
            await turn();
        }
        const [firstNs, cpuBefore] = [nowNs(), cpuNs()];
        if (isLatency) {
            await publishPaced();
        } else {
            await publishAll(sockets);
        }
        say(JSON.stringify({ first_ns: firstNs, took_ns: nowNs() - firstNs }));
        await heard('end').promise;
        process.stdout.write(`${JSON.stringify({ cpu_ns: cpuNs() - cpuBefore })}\n`, () => process.exit(0));
    });
    ipc.server.start();
}

async function publishAll(sockets) {
    for (let number = 0; number < messages;) {
        for (const end = Math.min(number + BATCH, messages); number < end; number++) {
            ipc.server.broadcast('probe', { number, said_ns: 0, text: textOf(number) });
        }
        do {
            await turn();
        } while (sockets.some((socket) => socket.writableLength > 0));
    }
}

async function publishPaced() {
    for (let number = 0; number < messages; number++) {
        // Its own timers are no finer than a millisecond.
        for (const until = nowNs() + PAUSE_US * 1000; nowNs() < until;) {
            await turn();
        }
        ipc.server.broadcast('probe', { number, said_ns: nowNs(), text: textOf(number) });
    }
}

function subscribe() {
    const report = { received: 0, lost: 0, duplicated: 0, wrong: 0, first_ns: 0, last_ns: 0, cpu_ns: 0 };
    const times = [];
    let next = 0;
    let cpuBefore = 0;
    const finish = () => {
        const distinct = report.received - report.duplicated;
        report.lost = Math.max(report.lost, messages - distinct);
        report.cpu_ns = cpuNs() - cpuBefore;
        report.latency_us = percentiles(times);
        process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
    };
    ipc.connectTo('bench', part.address, () => {
        const server = ipc.of.bench;
        server.on('connect', () => {
            [report.first_ns, cpuBefore] = [nowNs(), cpuNs()];
            say('ready');
        });
        server.on('probe', ({ number, said_ns: saidNs, text }) => {
            if (text !== textOf(number)) {
                report.wrong++;
                return;
            }
            report.received++;
            if (saidNs > 0) {
                times.push(nowNs() - saidNs);
            }
            if (number < next) {
                report.duplicated++;
                return;
            }
            report.lost += number - next;
            next = number + 1;
            if (next % 1024 === 0 || next >= messages) {
                report.last_ns = nowNs();
            }
            if (next >= messages) {
                finish();
            }
        });
    });
    heard('said').promise.then(() => finishWhenSilent(report, finish));
}

// What has not come for so long, after all was published, does not come any more.
function finishWhenSilent(report, finish) {
    let before = report.received;
    setInterval(() => {
        if (report.received === before) {
            finish();
        }
        before = report.received;
    }, STALLED_AFTER_MS);
}

function percentiles(times) {
    if (times.length === 0) {
        return null;
    }
    times.sort((a, b) => a - b);
    const at = (quantile) => times[Math.min(Math.floor(times.length * quantile), times.length - 1)] / 1000;
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

if (part.role === 'Publisher') {
    publish();
} else {
    subscribe();
}
