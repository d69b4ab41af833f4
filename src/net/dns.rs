//! Where a domain's SIP server is (RFC 3263): NAPTR, SRV, then addresses, in the order of preference.
//!
//! Owns no cache beyond the resolver's own, which keeps to the records' life; whoever asks keeps what is told until then.

use crate::sip::via::Transport;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Addresses of one domain that are kept: more would never be tried within a call's patience.
const TARGETS_MAX: usize = 16;

/// Why a domain has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system names no name servers.
    #[error("no name server is configured")]
    Unconfigured,
    /// Nothing was found.
    #[error(transparent)]
    Dns(#[from] NetError),
}

/// Asks the name servers of the system.
#[derive(Clone)]
pub struct Resolver(Option<TokioResolver>);

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    priority: u16,
    weight: u16,
    port: u16,
    host: String,
}

/// NAPTR service and SRV label of a transport (RFC 3263 §4.1).
const fn service(transport: Transport) -> (&'static [u8], &'static str) {
    match transport {
        Transport::Tcp => (b"SIP+D2T", "_sip._tcp"),
        Transport::Tls => (b"SIPS+D2T", "_sips._tcp"),
        Transport::Ws => (b"SIP+D2W", "_ws._tcp"),
        Transport::Wss => (b"SIPS+D2W", "_wss._tcp"),
        Transport::Udp | Transport::Sctp | Transport::Other => (b"SIP+D2U", "_sip._udp"),
    }
}

impl Resolver {
    /// With the name servers of `/etc/resolv.conf`.
    pub fn of_system() -> Resolver {
        let built = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        if let Err(error) = &built {
            tracing::warn!(%error, "names of trunks cannot be looked up");
        }
        Resolver(built.ok())
    }

    /// The addresses of a domain for SIP over `transport`, the preferred one first, and how long they are good.
    ///
    /// # Errors
    /// [`ResolveError`] when there is none.
    pub async fn targets(
        &self,
        host: &str,
        port: Option<u16>,
        transport: Transport,
    ) -> Result<(Vec<SocketAddr>, Duration), ResolveError> {
        let resolver = self.0.as_ref().ok_or(ResolveError::Unconfigured)?;
        let mut until = None;
        let servers = match port {
            // A port that is written says: no SRV (RFC 3263 §4.2).
            Some(port) => vec![Server { priority: 0, weight: 0, port, host: host.into() }],
            None => self.servers(resolver, (host, transport), &mut until).await,
        };
        let mut targets = Vec::new();
        let mut wrong = None;
        for server in servers {
            match resolver.lookup_ip(absolute(&server.host)).await {
                Ok(found) => {
                    soonest(&mut until, found.valid_until());
                    let at = |ip: IpAddr| SocketAddr::new(ip, server.port);
                    targets.extend(found.iter().map(at));
                }
                Err(error) => wrong = Some(error),
            }
        }
        targets.truncate(TARGETS_MAX);
        match wrong {
            Some(error) if targets.is_empty() => Err(error.into()),
            Some(_) | None => {
                let life =
                    until.map_or(Duration::ZERO, |until: Instant| until.saturating_duration_since(Instant::now()));
                Ok((targets, life))
            }
        }
    }

    /// The servers of a domain: by the SRV that NAPTR names, by the usual SRV, or the domain itself.
    async fn servers(
        &self,
        resolver: &TokioResolver,
        (host, transport): (&str, Transport),
        until: &mut Option<Instant>,
    ) -> Vec<Server> {
        let (service, label) = service(transport);
        let mut names: Vec<(u16, u16, String)> = Vec::new();
        if let Ok(found) = resolver.lookup(absolute(host), RecordType::NAPTR).await {
            soonest(until, found.valid_until());
            for record in found.answers() {
                if let RData::NAPTR(naptr) = &record.data
                    && naptr.services.eq_ignore_ascii_case(service)
                    && naptr.flags.eq_ignore_ascii_case(b"s")
                {
                    names.push((naptr.order, naptr.preference, naptr.replacement.to_utf8()));
                }
            }
        }
        names.sort();
        if names.is_empty() {
            names.push((0, 0, format!("{label}.{host}")));
        }
        let mut servers = Vec::new();
        for (.., name) in names {
            if let Ok(found) = resolver.srv_lookup(absolute(&name)).await {
                soonest(until, found.valid_until());
                let records = found.answers().iter().filter_map(|record| match &record.data {
                    RData::SRV(srv) => Some(Server {
                        priority: srv.priority,
                        weight: srv.weight,
                        port: srv.port,
                        host: srv.target.to_utf8(),
                    }),
                    _ => None,
                });
                servers.extend(in_order(records.collect(), || getrandom::u32().unwrap_or_default()));
            }
        }
        if servers.is_empty() {
            servers.push(Server { priority: 0, weight: 0, port: transport.default_port(), host: host.into() });
        }
        servers
    }
}

/// No search domain is ever appended: a trunk is where its configuration says.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn soonest(until: &mut Option<Instant>, at: Instant) {
    *until = Some(until.map_or(at, |until| until.min(at)));
}

/// RFC 2782: by priority; within one by weight and chance.
fn in_order(mut servers: Vec<Server>, mut random: impl FnMut() -> u32) -> Vec<Server> {
    servers.sort_by_key(|server| (server.priority, server.weight));
    let mut ordered = Vec::new();
    while let Some(priority) = servers.first().map(|server| server.priority) {
        let level = servers.iter().take_while(|server| server.priority == priority).count();
        let total: u32 = servers[..level].iter().map(|server| u32::from(server.weight)).sum();
        let mut roll = random() % (total + 1);
        let chosen = servers[..level].iter().position(|server| {
            let weight = u32::from(server.weight);
            let hit = roll <= weight;
            roll = roll.saturating_sub(weight);
            hit
        });
        ordered.push(servers.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use std::net::UdpSocket;

    const A: u16 = 1;
    const SRV: u16 = 33;
    const NAPTR: u16 = 35;

    fn name(text: &str) -> Vec<u8> {
        let labels = text.split('.').flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat());
        labels.chain([0]).collect()
    }

    fn srv(priority: u16, port: u16, target: &str) -> Vec<u8> {
        let numbers = [priority, 1, port].map(u16::to_be_bytes).concat();
        [numbers, name(target)].concat()
    }

    fn naptr(order: u16, service: &str, replacement: &str) -> Vec<u8> {
        let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
        let numbers = [order, 10].map(u16::to_be_bytes).concat();
        [numbers, text("s"), text(service), text(""), name(replacement)].concat()
    }

    /// Records by name and type, each with its life in seconds.
    fn zone() -> Vec<(&'static str, u16, u32, Vec<u8>)> {
        vec![
            ("carrier.example", NAPTR, 300, naptr(20, "SIP+D2T", "_sip._tcp.carrier.example")),
            ("carrier.example", NAPTR, 300, naptr(30, "SIP+D2U", "_sip._udp.edge.example")),
            ("_sip._udp.edge.example", SRV, 300, srv(20, 5080, "second.example")),
            ("_sip._udp.edge.example", SRV, 300, srv(10, 5070, "first.example")),
            ("_sip._tcp.carrier.example", SRV, 300, srv(10, 5075, "second.example")),
            ("_sips._tcp.plain.example", SRV, 300, srv(10, 5091, "second.example")),
            ("_sip._udp.plain.example", SRV, 300, srv(10, 5090, "first.example")),
            ("first.example", A, 60, vec![192, 0, 2, 1]),
            ("second.example", A, 300, vec![192, 0, 2, 2]),
            ("bare.example", A, 300, vec![192, 0, 2, 3]),
        ]
    }

    /// Answers one question (RFC 1035 §4.1); NXDOMAIN for a name without records.
    fn reply(question: &[u8], zone: &[(&str, u16, u32, Vec<u8>)]) -> Vec<u8> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let kind = u16::from_be_bytes([question[end], question[end + 1]]);
        let asked = question[12..end].to_ascii_lowercase();
        let records: Vec<_> = zone.iter().filter(|(of, ..)| name(of) == asked).collect();
        let code = if records.is_empty() { 3 } else { 0 };
        let answers: Vec<_> = records.into_iter().filter(|(_, of, ..)| *of == kind).collect();
        let counts = [1, answers.len() as u16, 0, 0].map(u16::to_be_bytes).concat();
        let head = [&question[..2], &[0x85, 0x80 | code], &counts, &question[12..end + 4]].concat();
        let record = |(_, kind, life, data): &&(&str, u16, u32, Vec<u8>)| {
            let (class, length) = (1u16.to_be_bytes(), (data.len() as u16).to_be_bytes());
            [&[0xc0, 12], &kind.to_be_bytes()[..], &class, &life.to_be_bytes(), &length, data].concat()
        };
        [head, answers.iter().flat_map(record).collect()].concat()
    }

    /// Whoever resolves by a name server of the test's own.
    fn resolver() -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((size, from)) = socket.recv_from(&mut buffer) {
                let answer = reply(&buffer[..size], &zone());
                if size > 12 && socket.send_to(&answer, from).is_err() {
                    return;
                }
            }
        });
        let mut connection = ConnectionConfig::udp();
        connection.port = at.port();
        let server = NameServerConfig::new(at.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let built = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build();
        Resolver(Some(built.unwrap()))
    }

    #[tokio::test]
    async fn a_domain_is_found_by_naptr_srv_and_addresses_in_order() {
        let resolver = resolver();
        for (host, port, transport, expected, life) in [
            ("carrier.example", None, Transport::Udp, &["192.0.2.1:5070", "192.0.2.2:5080"][..], 60),
            ("carrier.example", None, Transport::Tcp, &["192.0.2.2:5075"], 300),
            ("plain.example", None, Transport::Udp, &["192.0.2.1:5090"], 60),
            ("plain.example", None, Transport::Tls, &["192.0.2.2:5091"], 300),
            ("bare.example", None, Transport::Udp, &["192.0.2.3:5060"], 300),
            ("bare.example", None, Transport::Tls, &["192.0.2.3:5061"], 300),
            // A port that is written: neither NAPTR nor SRV is asked.
            ("bare.example", Some(5099), Transport::Udp, &["192.0.2.3:5099"], 300),
        ] {
            let (targets, kept) = resolver.targets(host, port, transport).await.unwrap();
            assert_eq!(targets.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{host}");
            assert!(kept.as_secs() <= life && kept.as_secs() + 5 >= life, "{host}: {kept:?}");
        }
        assert!(resolver.targets("nowhere.example", None, Transport::Udp).await.is_err());
        assert!(Resolver(None).targets("carrier.example", None, Transport::Udp).await.is_err());
    }

    fn server(priority: u16, weight: u16) -> Server {
        Server { priority, weight, port: 5060, host: format!("{priority}-{weight}") }
    }

    #[test]
    fn priorities_stand_and_weights_share() {
        let all = vec![server(20, 0), server(10, 1), server(10, 3), server(10, 0)];
        let mut first = std::collections::BTreeMap::new();
        for roll in 0..5_000 {
            let ordered = in_order(all.clone(), || roll);
            assert_eq!(ordered.len(), 4);
            assert_eq!(ordered[3], server(20, 0), "the worse priority comes last");
            *first.entry(ordered[0].weight).or_insert(0) += 1;
        }
        // Of five equal rolls one meets weight 0, one weight 1, three weight 3.
        assert_eq!(first.into_iter().collect::<Vec<_>>(), [(0, 1_000), (1, 1_000), (3, 3_000)]);
    }
}
