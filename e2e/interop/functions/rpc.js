// Every kind of gRPC call, answered by @grpc/grpc-js. functions/rpc.py answers the same.
const grpc = require('@grpc/grpc-js');
const calls = require('../service.js');

/** What the client said, to be said back. */
function said(metadata) {
  const back = new grpc.Metadata();
  for (const key of Object.keys(metadata.getMap()).filter((key) => key.startsWith('say-'))) {
    for (const value of metadata.get(key)) back.add(key, value);
  }
  return back;
}

function trailing() {
  const metadata = new grpc.Metadata();
  metadata.set('say-end', 'the end');
  metadata.set('say-end-bin', Buffer.from([0, 255, 10, 13, 128]));
  return metadata;
}

const implementation = {
  Echo(call, answer) {
    call.sendMetadata(said(call.metadata));
    answer(null, call.request, trailing());
  },
  Who(call, answer) {
    setTimeout(() => answer(null, Buffer.from(`${process.pid}`)), 50);
  },
  Remaining(call, answer) {
    const seconds = (call.getDeadline() - Date.now()) / 1000;
    answer(null, Buffer.from(seconds > 0 && seconds <= 30 ? 'up to 30 s' : `${seconds} s`));
  },
  Slow(call, answer) {
    const end = setTimeout(() => answer(null, Buffer.from('late')), 3_000);
    call.on('cancelled', () => clearTimeout(end));
  },
  Fail(call, answer) {
    answer({ code: grpc.status.FAILED_PRECONDITION, details: 'naïve ☃, 100 % wrong', metadata: trailing() });
  },
  Count(call) {
    const end = Number(call.request);
    for (let number = 1; number <= end; number++) call.write(Buffer.from(`${number}`));
    call.end(trailing());
  },
  FailLate(call) {
    call.write(Buffer.from('one'));
    call.write(Buffer.from('two'));
    call.emit('error', { code: grpc.status.ABORTED, details: 'no third: ☃', metadata: trailing() });
  },
  /** A message every 20 ms, until the client is seen to leave or a second is over. */
  Linger(call) {
    let left = 50;
    const ticks = setInterval(() => {
      call.write(Buffer.from('still here'));
      if (--left === 0) end('finished');
    }, 20);
    const end = (how) => {
      if (!ticks.hasRef()) return;
      clearInterval(ticks.unref());
      call.end();
      console.log(`seen: linger ${how}`);
    };
    call.on('cancelled', () => end('cancelled'));
  },
  Sum(call, answer) {
    let sum = 0;
    call.on('data', (number) => (sum += Number(number)));
    call.on('end', () => answer(null, Buffer.from(`${sum}`), trailing()));
  },
  Talk(call) {
    call.sendMetadata(said(call.metadata));
    call.on('data', (words) => call.write(Buffer.from(`re: ${words}`)));
    call.on('end', () => call.end(trailing()));
  },
};

const server = new grpc.Server();
server.addService(calls, implementation);
server.bindAsync(`0.0.0.0:${process.env.PORT}`, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening on ${port}`);
});
// Calls that run are finished, and calls that were cut are seen to be.
process.on('SIGTERM', () => server.tryShutdown(() => process.exit()));
