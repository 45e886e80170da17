// Worker threads, child processes, timers, the thread pool and files of Node.
const { execSync, spawn } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { Worker, isMainThread, parentPort } = require('worker_threads');

async function main() {
    console.log(execSync('echo child').toString().trim());
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'osv-node'));
    fs.writeFileSync(path.join(directory, 'file'), 'written');
    console.log(fs.readFileSync(path.join(directory, 'file'), 'utf8'), fs.readdirSync(directory));

    const worker = new Worker(__filename);
    console.log(await new Promise((done) => worker.on('message', done)));
    await new Promise((done) => setTimeout(done, 20));
    const key = await new Promise((done) => crypto.pbkdf2('a', 'b', 1000, 16, 'sha256', (_, key) => done(key)));
    console.log(key.toString('hex'));

    const child = spawn('sh', ['-c', 'cat; exit 3']);
    child.stdout.on('data', (data) => console.log(data.toString()));
    child.stdin.end('through a child');
    console.log(await new Promise((done) => child.on('close', done)));

    const server = net.createServer((socket) => socket.pipe(socket)).listen(path.join(directory, 'socket'));
    const client = net.connect(path.join(directory, 'socket'), () => client.end('echoed'));
    console.log(await new Promise((done) => client.on('data', (data) => done(data.toString()))));
    server.close();
    fs.rmSync(directory, { recursive: true });
}

if (isMainThread) {
    main();
} else {
    let sum = 0;
    for (let i = 0; i < 1e6; i++) sum += i;
    parentPort.postMessage(sum);
}
