//! Media ports: pairs of UDP sockets, RTP on the even port and RTCP on the next (RFC 3550 §11).
//!
//! Handed out in turn, and not again for a while after closing, so that a late packet of one call is never heard in the
//! next. Owns no socket once it is handed out, and reads no clock: the caller says what time it is.

use crate::base::Mono;
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::mpsc;
use std::time::Duration;

/// How long a closed port rests.
pub const QUARANTINE: Duration = Duration::from_secs(2);
/// Expedited Forwarding (RFC 3246) in the upper six bits of the traffic class.
const EXPEDITED_FORWARDING: u8 = 46 << 2;
/// A pair that the system refuses, for another reason than that its ports are used, is followed by another try, so that a
/// shortage of a moment costs nobody a call.
const SYSTEM_TRIES: usize = 2;
/// Room for some seconds of one leg's packets, should a thread be late.
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;

/// Why [`Ports::new`] refused its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nothing to bind.
    #[error("no media address is given")]
    NoAddress,
    /// 0.0.0.0 or :: cannot be written into a session description.
    #[error("a media address must be one that others can send to, not {0}")]
    Unspecified(IpAddr),
    /// No even port with an odd one after it, or port 0.
    #[error("the range of media ports holds no pair")]
    NoPair,
}

/// Why no pair was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No local address of the far end's family.
    #[error("no media address can reach {0}")]
    Unreachable(IpAddr),
    /// Every pair is in use or resting.
    #[error("all media ports are in use")]
    UsedUp,
    /// The system refused, for another reason than a port in use.
    #[error("a media port cannot be opened: {0}")]
    System(#[from] io::Error),
}

/// The two sockets of a leg, non-blocking. Its ports rest once it is dropped.
#[derive(Debug)]
pub struct Pair {
    /// The even port.
    pub rtp: UdpSocket,
    /// The odd port.
    pub rtcp: UdpSocket,
    /// The address of `rtp`, for the session description.
    pub local: SocketAddr,
    /// To be kept as long as the sockets are open.
    pub lease: Lease,
}

/// Tells [`Ports`], when dropped, that a pair is free again.
#[derive(Debug)]
pub struct Lease {
    address: usize,
    port: u16,
    lessor: mpsc::SyncSender<Returned>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nobody listens any more when the process ends.
        let _ = self.lessor.send((self.address, self.port));
    }
}

/// An address by its place in [`Ports`], and the even port.
type Returned = (usize, u16);

#[derive(Debug)]
struct Local {
    address: IpAddr,
    /// Even ports in the order in which they will be handed out.
    ready: VecDeque<u16>,
    /// Closed ports and when they may be used again, oldest first.
    resting: VecDeque<(Mono, u16)>,
}

/// How the pairs stand, of all addresses together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = PortCounts)]
pub struct Counts {
    /// Handed out.
    pub lent: usize,
    /// Closed, and not to be used again yet.
    pub resting: usize,
    /// To be handed out.
    pub ready: usize,
}

/// All media ports of this node.
#[derive(Debug)]
pub struct Ports {
    locals: Vec<Local>,
    lent: usize,
    /// For leases, and what they have told.
    lessor: mpsc::SyncSender<Returned>,
    returned: mpsc::Receiver<Returned>,
}

impl Ports {
    /// The pairs of `range` on each of `addresses`.
    pub fn new(addresses: &[IpAddr], range: RangeInclusive<u16>) -> Result<Ports, SettingsError> {
        if addresses.is_empty() {
            return Err(SettingsError::NoAddress);
        }
        if let Some(&address) = addresses.iter().find(|address| address.is_unspecified()) {
            return Err(SettingsError::Unspecified(address));
        }
        let even = |port: &u16| port.is_multiple_of(2) && *port > 0 && range.contains(&(port + 1));
        let ready: VecDeque<u16> = range.clone().filter(even).collect();
        if ready.is_empty() {
            return Err(SettingsError::NoPair);
        }
        let local = |&address| Local { address, ready: ready.clone(), resting: VecDeque::new() };
        // Room for every pair there is: returning one never waits.
        let (lessor, returned) = mpsc::sync_channel(ready.len() * addresses.len());
        let locals = addresses.iter().map(local).collect();
        Ok(Ports { locals, lent: 0, lessor, returned })
    }

    /// Binds a pair on the first address that can reach `towards`, or on the first of all.
    pub fn open(&mut self, now: Mono, towards: Option<IpAddr>) -> Result<Pair, OpenError> {
        self.take_back(now);
        let index = self.choose(towards)?;
        let local = &mut self.locals[index];
        let mut refusals = 0;
        for _ in 0..local.ready.len() {
            let Some(port) = local.ready.pop_front() else { break };
            match bind_pair(local.address, port) {
                Ok((rtp, rtcp)) => {
                    self.lent += 1;
                    let lease = Lease { address: index, port, lessor: self.lessor.clone() };
                    return Ok(Pair { rtp, rtcp, local: SocketAddr::new(local.address, port), lease });
                }
                Err(error) => {
                    local.ready.push_back(port);
                    // Another program has this one: on to the next.
                    refusals += usize::from(error.kind() != io::ErrorKind::AddrInUse);
                    if refusals == SYSTEM_TRIES {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(OpenError::UsedUp)
    }

    /// Binds the very pair whose RTP port is `local`: a process that died had it open.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] when it is none of ours, [`OpenError::UsedUp`] when it is in use or resting, else what
    /// the system says.
    pub fn reopen(&mut self, now: Mono, local: SocketAddr) -> Result<Pair, OpenError> {
        self.take_back(now);
        let ours = self.locals.iter().position(|it| it.address == local.ip());
        let address = ours.ok_or(OpenError::Unreachable(local.ip()))?;
        let ready = &mut self.locals[address].ready;
        let place = ready.iter().position(|port| *port == local.port()).ok_or(OpenError::UsedUp)?;
        let (rtp, rtcp) = bind_pair(local.ip(), local.port())?;
        ready.remove(place);
        self.lent += 1;
        let lease = Lease { address, port: local.port(), lessor: self.lessor.clone() };
        Ok(Pair { rtp, rtcp, local, lease })
    }

    /// Pairs that can be opened at `now` towards `towards`.
    pub fn free(&mut self, now: Mono, towards: Option<IpAddr>) -> usize {
        self.take_back(now);
        self.choose(towards).map_or(0, |index| self.locals[index].ready.len())
    }

    /// How the pairs stand at `now`.
    pub fn counts(&mut self, now: Mono) -> Counts {
        self.take_back(now);
        let sum = |count: fn(&Local) -> usize| self.locals.iter().map(count).sum();
        Counts { lent: self.lent, resting: sum(|local| local.resting.len()), ready: sum(|local| local.ready.len()) }
    }

    fn choose(&self, towards: Option<IpAddr>) -> Result<usize, OpenError> {
        let Some(towards) = towards.map(|address| address.to_canonical()) else {
            return Ok(0);
        };
        let family = |local: &Local| local.address.is_ipv4() == towards.is_ipv4();
        // The loopback reaches only the loopback.
        let near = |local: &Local| local.address.is_loopback() == towards.is_loopback();
        let best = self.locals.iter().position(|local| family(local) && near(local));
        best.or_else(|| self.locals.iter().position(family)).ok_or(OpenError::Unreachable(towards))
    }

    fn take_back(&mut self, now: Mono) {
        for (address, port) in self.returned.try_iter() {
            self.lent -= 1;
            self.locals[address].resting.push_back((now + QUARANTINE, port));
        }
        for local in &mut self.locals {
            while let Some((_, port)) = local.resting.pop_front_if(|(rested, _)| *rested <= now) {
                local.ready.push_back(port);
            }
        }
    }
}

fn bind_pair(address: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = bind(SocketAddr::new(address, port))?;
    let rtcp = bind(SocketAddr::new(address, port + 1))?;
    Ok((rtp, rtcp))
}

fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
    match at {
        SocketAddr::V4(_) => sockopt::set_ip_tos(&socket, EXPEDITED_FORWARDING)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_tclass(&socket, u32::from(EXPEDITED_FORWARDING))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// An even port that was free a moment ago, with `pairs` pairs from it on.
    fn range(pairs: u16) -> RangeInclusive<u16> {
        let mut attempts = 0;
        loop {
            let free = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port() & !1;
            let last = free.saturating_add(2 * pairs - 1);
            if last < u16::MAX && (free..=last).all(|port| UdpSocket::bind((LOOPBACK, port)).is_ok()) {
                return free..=last;
            }
            attempts += 1;
            assert!(attempts < 100, "no free range of ports");
        }
    }

    #[test]
    fn settings_are_checked() {
        let unspecified = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        for (addresses, range, error) in [
            (&[][..], 10_000..=20_000, SettingsError::NoAddress),
            (&[LOOPBACK, unspecified][..], 10_000..=20_000, SettingsError::Unspecified(unspecified)),
            (&[LOOPBACK][..], 10_001..=10_002, SettingsError::NoPair),
            (&[LOOPBACK][..], 0..=1, SettingsError::NoPair),
            (&[LOOPBACK][..], 65_535..=65_535, SettingsError::NoPair),
        ] {
            assert_eq!(Ports::new(addresses, range).err(), Some(error));
        }
    }

    #[test]
    fn pairs_are_even_and_odd_and_marked_for_expedited_forwarding() {
        let mut ports = Ports::new(&[LOOPBACK], range(1)).unwrap();
        let pair = ports.open(Mono(0), None).unwrap();
        let port = pair.local.port();
        assert!(port.is_multiple_of(2));
        assert_eq!(pair.rtp.local_addr().unwrap(), pair.local);
        assert_eq!(pair.rtcp.local_addr().unwrap().port(), port + 1);
        for socket in [&pair.rtp, &pair.rtcp] {
            assert_eq!(sockopt::ip_tos(socket).unwrap(), 0xb8);
        }
        assert_eq!(pair.rtp.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn packets_by_ipv6_are_marked_too() {
        let mut ports = Ports::new(&[Ipv6Addr::LOCALHOST.into()], 10_000..=60_001).unwrap();
        let pair = ports.open(Mono(0), None).unwrap();
        assert!(pair.local.is_ipv6());
        for socket in [&pair.rtp, &pair.rtcp] {
            assert_eq!(sockopt::ipv6_tclass(socket).unwrap(), 0xb8);
        }
    }

    #[test]
    fn a_closed_pair_rests_and_the_last_one_is_the_last() {
        let mut ports = Ports::new(&[LOOPBACK], range(2)).unwrap();
        let first = ports.open(Mono(0), Some(LOOPBACK)).unwrap();
        let second = ports.open(Mono(0), None).unwrap();
        assert_ne!(first.local, second.local);
        assert!(matches!(ports.open(Mono(0), None), Err(OpenError::UsedUp)));
        assert_eq!(ports.counts(Mono(0)), Counts { lent: 2, resting: 0, ready: 0 });
        let freed = first.local;
        drop(first);
        let closed = Mono::from_ms(1_000);
        assert_eq!(ports.counts(closed), Counts { lent: 1, resting: 1, ready: 0 });
        assert!(matches!(ports.open(closed, None), Err(OpenError::UsedUp)));
        assert!(matches!(ports.open(closed + Duration::from_millis(1_999), None), Err(OpenError::UsedUp)));
        assert_eq!(ports.free(closed + QUARANTINE, None), 1);
        assert_eq!(ports.open(closed + QUARANTINE, None).unwrap().local, freed);
    }

    #[test]
    fn the_very_pair_of_before_is_opened_again_once() {
        let range = range(2);
        let mut ports = Ports::new(&[LOOPBACK], range.clone()).unwrap();
        let local = SocketAddr::new(LOOPBACK, range.start() + 2);
        let again = ports.reopen(Mono(0), local).unwrap();
        assert_eq!((again.local, again.rtp.local_addr().unwrap()), (local, local));
        assert!(matches!(ports.reopen(Mono(0), local), Err(OpenError::UsedUp)));
        let elsewhere = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), local.port());
        assert!(matches!(ports.reopen(Mono(0), elsewhere), Err(OpenError::Unreachable(_))));
        let other = ports.open(Mono(0), None).unwrap();
        assert_eq!(other.local.port(), *range.start());
        assert_eq!(ports.counts(Mono(0)), Counts { lent: 2, resting: 0, ready: 0 });
    }

    #[test]
    fn a_port_of_another_program_is_passed_over() {
        let range = range(2);
        let _other = UdpSocket::bind((LOOPBACK, range.start() + 1)).unwrap();
        let mut ports = Ports::new(&[LOOPBACK], range.clone()).unwrap();
        assert_eq!(ports.open(Mono(0), None).unwrap().local.port(), range.start() + 2);
    }

    #[test]
    fn the_family_of_the_far_end_is_kept() {
        let mut ports = Ports::new(&[LOOPBACK], range(1)).unwrap();
        let far = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert!(matches!(ports.open(Mono(0), Some(far)), Err(OpenError::Unreachable(address)) if address == far));
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert!(ports.open(Mono(0), Some(mapped)).is_ok());
    }
}
