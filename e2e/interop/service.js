// The service of the gRPC programs, written down by hand: messages are bytes, so nothing is generated.
const same = (bytes) => bytes;

const call = (name, requestStream, responseStream) => ({
  path: `/interop.Calls/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

module.exports = {
  Echo: call('Echo', false, false),
  Who: call('Who', false, false),
  Remaining: call('Remaining', false, false),
  Slow: call('Slow', false, false),
  Fail: call('Fail', false, false),
  Count: call('Count', false, true),
  FailLate: call('FailLate', false, true),
  Linger: call('Linger', false, true),
  Sum: call('Sum', true, false),
  Talk: call('Talk', true, true),
};
