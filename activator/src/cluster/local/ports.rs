//! A port for each instance.

use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    ops::Range,
    sync::{Arc, Mutex},
};

/// Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere): dialing such a port on the loopback
/// interface before anybody listens can connect a socket to itself.
const RANGE: Range<u16> = 20_000..32_000;

/// Which ports are taken. A port comes back into use as late as possible: connections of its last user may linger.
#[derive(Debug)]
pub(super) struct Ports {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u16,
    taken: HashSet<u16>,
}

/// A port, until it is dropped.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    ports: Arc<Ports>,
}

impl Ports {
    /// All free. The start differs from process to process, so that two activators rarely try the same port at once.
    pub(super) fn new(process: u32) -> Arc<Self> {
        let offset = process.wrapping_mul(97) % u32::from(RANGE.end - RANGE.start);
        let offset = u16::try_from(offset).expect("a remainder is below the range's length");
        Arc::new(Self {
            state: Mutex::new(State {
                next: RANGE.start + offset,
                taken: HashSet::new(),
            }),
        })
    }

    /// The next port that nobody listens on, if there is one.
    pub(super) fn take(self: &Arc<Self>) -> Option<Port> {
        self.take_where(is_free)
    }

    fn take_where(self: &Arc<Self>, is_free: impl Fn(u16) -> bool) -> Option<Port> {
        let mut state = self.state.lock().expect("nothing panics under this lock");
        for _ in RANGE {
            let number = state.next;
            state.next = if number + 1 == RANGE.end {
                RANGE.start
            } else {
                number + 1
            };
            if !state.taken.contains(&number) && is_free(number) {
                state.taken.insert(number);
                return Some(Port {
                    number,
                    ports: self.clone(),
                });
            }
        }
        None
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let state = self.ports.state.lock();
        state
            .expect("nothing panics under this lock")
            .taken
            .remove(&self.number);
    }
}

/// Nobody listens there, on the loopback interface or on all.
fn is_free(port: u16) -> bool {
    let addresses: [IpAddr; 3] = [
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    // A machine without IPv6 says something else than that the address is in use.
    let is_taken = |address: IpAddr| {
        TcpListener::bind((address, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    };
    !addresses.into_iter().any(is_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_each_comes_back() {
        let ports = Ports::new(0);
        let first = ports.take_where(|_| true).unwrap();
        let second = ports.take_where(|_| true).unwrap();
        assert_eq!((first.number, second.number), (20_000, 20_001));
        drop(second);
        let rest: Vec<_> = std::iter::from_fn(|| ports.take_where(|_| true)).collect();
        assert_eq!(rest.len(), RANGE.len() - 1);
        assert_eq!(rest.first().unwrap().number, 20_002);
        assert_eq!(rest.last().unwrap().number, 20_001);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_left_out() {
        let ports = Ports::new(std::process::id());
        for host in ["127.0.0.1", "0.0.0.0"] {
            let port = ports.take().unwrap().number;
            let listener = TcpListener::bind((host, port)).unwrap();
            assert!(!is_free(port), "{host}");
            drop(listener);
            assert!(is_free(port), "{host}");
        }
    }
}
