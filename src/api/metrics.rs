//! `/metrics`: the figures of the node's inside in Prometheus' text format 0.0.4.
//!
//! Owns names, help and labels of the samples, and the writing of the format. Counts nothing.

use super::Api;
use super::auth::Caller;
use super::health::inside;
use super::may::{Action, Object};
use super::problem::{Problem, Problems};
use crate::net::connections;
use crate::node::internals::{Internals, QueueFigures, ShardFigures, TrunkFigures};
use crate::node::sound::{self, Histogram, Sound};
use crate::node::{ahead, archive, media};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use std::fmt::{Display, Write};
use std::sync::Arc;

/// The content type of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Figures of the node's inside for Prometheus: scrape with a bearer token of an administrator of all sites.
#[utoipa::path(get, path = "/metrics", tag = "health", security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "text/plain"), Problems))]
pub async fn metrics(State(api): State<Arc<Api>>, caller: Caller) -> Result<impl IntoResponse, Problem> {
    caller.may(Action::NodeRead, Object::Node, "node")?;
    Ok(([(CONTENT_TYPE, TEXT)], write(&inside(&api))))
}

#[derive(Clone, Copy)]
enum Kind {
    /// Only grows, from zero at the start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by classes, from zero at the start.
    Classes,
}

use Kind::{Counter, Gauge};

/// A family of samples: name behind `jiesu_`, kind, help, and where its value stands in `T`.
type Family<T> = (&'static str, Kind, &'static str, fn(&T) -> f64);

const QUEUES: [Family<QueueFigures>; 6] = [
    ("queue_longest_wait_seconds", Gauge, "How long who has waited longest is waiting.", |queue| {
        queue.longest_wait_ms as f64 / 1e3
    }),
    ("queue_waiting", Gauge, "Callers who wait or whose agent is being rung.", |queue| queue.waiting as f64),
    ("queue_talking", Gauge, "Callers who talk to an agent.", |queue| queue.talking as f64),
    ("queue_agents_ready", Gauge, "Ready agents with the queue's skills.", |queue| queue.ready as f64),
    ("queue_answered_total", Counter, "Callers answered.", |queue| queue.answered as f64),
    ("queue_abandoned_total", Counter, "Callers gone unanswered.", |queue| queue.abandoned as f64),
];

const TRUNKS: [Family<TrunkFigures>; 12] = [
    ("trunk_fit", Gauge, "Whether calls may go out by the trunk.", |trunk| f64::from(u8::from(trunk.fit))),
    ("trunk_up", Gauge, "Whether the trunk answers OPTIONS; 1 when it is not asked.", |trunk| {
        f64::from(u8::from(trunk.up.unwrap_or(true)))
    }),
    ("trunk_registered", Gauge, "Whether we are registered at the trunk.", |trunk| {
        f64::from(u8::from(trunk.registered_s.is_some()))
    }),
    ("trunk_channels_in", Gauge, "Channels in use by calls that came in.", |trunk| f64::from(trunk.inbound.used)),
    ("trunk_channels_out", Gauge, "Channels in use by calls that went out.", |trunk| f64::from(trunk.outbound.used)),
    ("trunk_channels_out_max", Gauge, "Channels agreed for calls that go out.", |trunk| {
        f64::from(trunk.outbound.channels)
    }),
    ("trunk_calls_in_total", Counter, "Calls that came in.", |trunk| trunk.inbound.taken as f64),
    ("trunk_calls_out_total", Counter, "Calls that went out.", |trunk| trunk.outbound.taken as f64),
    ("trunk_full_in_total", Counter, "Calls refused because all channels were in use.", |trunk| {
        trunk.inbound.full as f64
    }),
    ("trunk_full_out_total", Counter, "Calls that found all channels in use.", |trunk| trunk.outbound.full as f64),
    ("trunk_too_fast_in_total", Counter, "Calls refused for coming too fast.", |trunk| trunk.inbound.too_fast as f64),
    ("trunk_too_fast_out_total", Counter, "Calls that would have gone out too fast.", |trunk| {
        trunk.outbound.too_fast as f64
    }),
];

const SHARDS: [Family<ShardFigures>; 13] = [
    ("calls_live", Gauge, "Calls with a citizen on the line.", |shard| shard.calls.live as f64),
    ("calls_taken_total", Counter, "Calls taken.", |shard| shard.calls.taken as f64),
    ("calls_refused_total", Counter, "Calls refused for want of room or while draining.", |shard| {
        shard.calls.refused as f64
    }),
    ("calls_unknown_number_total", Counter, "Calls to numbers that are not ours.", |shard| {
        shard.calls.unknown_number as f64
    }),
    ("calls_broken_total", Counter, "Calls ended by a fault of ours in a step.", |shard| shard.calls.broken as f64),
    ("legs_silent_total", Counter, "Legs of which nothing was heard for 10 s.", |shard| shard.calls.silent as f64),
    ("legs_silent_one_way_total", Counter, "Silent legs that were there, and were kept.", |shard| {
        shard.calls.silent_one_way as f64
    }),
    ("legs_silent_given_up_total", Counter, "Silent legs that were ended.", |shard| shard.calls.silent_given_up as f64),
    ("sip_transactions", Gauge, "SIP transactions.", |shard| shard.sip.transactions as f64),
    ("sip_dialogs", Gauge, "SIP dialogs.", |shard| shard.sip.dialogs as f64),
    ("sip_bindings", Gauge, "Registered contacts, copies of other shards included.", |shard| shard.sip.bindings as f64),
    ("ports_lent", Gauge, "Media port pairs in use.", |shard| shard.ports.lent as f64),
    ("ports_ready", Gauge, "Media port pairs to be had.", |shard| shard.ports.ready as f64),
];

const MEDIA: [Family<media::Figures>; 14] = [
    ("media_legs", Gauge, "Open legs.", |thread| thread.legs as f64),
    ("media_bridges", Gauge, "Pairs of legs that hear each other.", |thread| thread.bridges as f64),
    ("media_recordings", Gauge, "Running recordings.", |thread| thread.recordings as f64),
    ("media_packets_in_total", Counter, "Packets received.", |thread| thread.packets_in as f64),
    ("media_packets_out_total", Counter, "Packets sent.", |thread| thread.packets_out as f64),
    ("media_packets_dropped_total", Counter, "Packets not believed or for no leg.", |thread| {
        thread.packets_dropped as f64
    }),
    ("media_conferences", Gauge, "Conferences of three and more.", |thread| thread.conferences as f64),
    ("media_legs_closed_total", Counter, "Legs that have closed.", |thread| thread.legs_closed as f64),
    ("media_packets_lost_total", Counter, "Packets to us that were lost, of closed legs.", |thread| {
        thread.packets_lost as f64
    }),
    ("media_packets_far_lost_total", Counter, "Packets of ours reported as lost, of closed legs.", |thread| {
        thread.packets_far_lost as f64
    }),
    ("media_legs_one_way_total", Counter, "Legs that were spoken to and never spoke.", |thread| {
        thread.legs_one_way as f64
    }),
    ("media_legs_poor_total", Counter, "Legs with a mean opinion score below 3.6 on either way.", |thread| {
        thread.legs_poor as f64
    }),
    ("media_sends_failed_total", Counter, "Packets the system did not take.", |thread| thread.sends_failed as f64),
    ("media_receives_failed_total", Counter, "Failed reads of media sockets.", |thread| thread.receives_failed as f64),
];

const NODE: [Family<Internals>; 36] = [
    ("uptime_seconds", Gauge, "Since the start.", |all| all.uptime_s as f64),
    ("facts_told_total", Counter, "Facts told to the journal.", |all| all.facts.told as f64),
    ("facts_lost_total", Counter, "Facts that found no room in the journal.", |all| all.facts.refused as f64),
    ("facts_journalled_total", Counter, "Facts durable in the journal.", |all| all.facts.journalled as f64),
    ("facts_applied_total", Counter, "Facts applied to SQL.", |all| all.facts.applied as f64),
    ("facts_set_aside_total", Counter, "Facts that SQL refuses for ever.", |all| all.facts.set_aside as f64),
    ("facts_lag_seconds", Gauge, "Age of the oldest fact SQL is being given.", |all| all.facts.lag_ms as f64 / 1000.0),
    ("journal_errors_total", Counter, "Writes of the journal that failed and were tried again.", |all| {
        all.facts.journal_errors as f64
    }),
    ("journal_damaged_total", Counter, "Damaged records stepped over.", |all| all.facts.damaged as f64),
    ("sql_errors_total", Counter, "Transactions that failed and were tried again.", |all| all.facts.sql_errors as f64),
    ("recorder_batches_lost_total", Counter, "Batches of sound lost to a full channel.", |all| {
        all.recorder.faults.batches_lost as f64
    }),
    ("recorder_refused_total", Counter, "Recordings refused.", |all| all.recorder.faults.refused as f64),
    ("recorder_disk_errors_total", Counter, "File operations of the recorder that failed.", |all| {
        all.recorder.faults.disk as f64
    }),
    ("recorder_directories_failing", Gauge, "Directories that recordings could not be written to of late.", |all| {
        all.recorder.failing as f64
    }),
    ("packets_dropped_total", Counter, "SIP datagrams dropped because their shard was behind.", |all| {
        all.faults.packets_dropped as f64
    }),
    ("messages_lost_total", Counter, "Messages between parts that found no room.", |all| {
        all.faults.messages_lost as f64
    }),
    ("sends_failed_total", Counter, "SIP datagrams the system did not take.", |all| all.faults.sends_failed as f64),
    ("receives_failed_total", Counter, "Failed reads of SIP sockets.", |all| all.faults.receives_failed as f64),
    ("ports_refused_total", Counter, "Media ports that could not be opened.", |all| all.faults.ports_refused as f64),
    ("registrations_unsaved_total", Counter, "Failed writes of the file of registrations.", |all| {
        all.faults.registrations_unsaved as f64
    }),
    ("panics_total", Counter, "Steps of machines cut short by a panic.", |all| all.faults.panics as f64),
    ("edge_strangers_total", Counter, "SIP packets of strangers that were looked at.", |all| {
        all.edge.gate.strangers_passed as f64
    }),
    ("edge_uninvited_total", Counter, "SIP packets of strangers dropped unread.", |all| all.edge.gate.uninvited as f64),
    ("edge_too_many_total", Counter, "SIP packets beyond a rate.", |all| all.edge.gate.too_many as f64),
    ("edge_banned_total", Counter, "SIP packets of banned sources.", |all| all.edge.gate.banned as f64),
    ("edge_locked_total", Counter, "Registrations from where they failed too often.", |all| {
        all.edge.gate.locked as f64
    }),
    ("edge_wrong_passwords_total", Counter, "Failed proofs.", |all| all.edge.gate.wrong_passwords as f64),
    ("edge_bans", Gauge, "Sources banned.", |all| all.edge.gate.bans_standing as f64),
    ("admission_admitted_total", Counter, "New calls that passed.", |all| all.edge.admission.admitted as f64),
    ("admission_refused_total", Counter, "New calls refused for want of room.", |all| {
        let counts = &all.edge.admission;
        (counts.refused_lag + counts.refused_memory + counts.refused_calls) as f64
    }),
    ("admission_emergencies_total", Counter, "Emergencies that passed while others were refused.", |all| {
        all.edge.admission.reserve_used as f64
    }),
    ("lag_seconds", Gauge, "How long SIP messages have to wait at least.", |all| {
        all.edge.admission.lag_us as f64 / 1e6
    }),
    ("process_cpu_seconds_total", Counter, "Processor time.", |all| all.process.cpu_s),
    ("process_resident_memory_bytes", Gauge, "Resident memory.", |all| all.process.resident_bytes as f64),
    ("process_open_fds", Gauge, "Open files and sockets.", |all| all.process.open_files as f64),
    ("process_threads", Gauge, "Threads.", |all| all.process.threads as f64),
];

/// SIP connections.
const CONNECTIONS: [Family<connections::Counts>; 14] = [
    ("sip_connections", Gauge, "SIP connections that are open.", |all| all.open as f64),
    ("sip_handshakes", Gauge, "TLS and WebSocket handshakes under way.", |all| all.handshakes as f64),
    ("sip_accepted_total", Counter, "SIP connections accepted.", |all| all.accepted as f64),
    ("sip_opened_total", Counter, "SIP connections opened by us.", |all| all.opened as f64),
    ("sip_refused_total", Counter, "SIP connections closed at once because of a limit.", |all| all.refused as f64),
    ("sip_handshakes_failed_total", Counter, "TLS and WebSocket handshakes that failed or took too long.", |all| {
        all.handshakes_failed as f64
    }),
    ("sip_connects_failed_total", Counter, "SIP connections that could not be opened.", |all| {
        all.connects_failed as f64
    }),
    ("sip_overflows_total", Counter, "SIP connections ended because the other side did not read.", |all| {
        all.overflows as f64
    }),
    ("sip_unframed_total", Counter, "SIP connections ended because what came was no SIP.", |all| all.unframed as f64),
    ("sip_expired_total", Counter, "SIP connections ended because nothing came.", |all| all.expired as f64),
    ("sip_messages_received_total", Counter, "Messages received by SIP connections.", |all| all.messages_in as f64),
    ("sip_messages_sent_total", Counter, "Messages sent by SIP connections.", |all| all.messages_out as f64),
    ("sip_received_bytes_total", Counter, "Bytes received by SIP connections.", |all| all.bytes_in as f64),
    ("sip_sent_bytes_total", Counter, "Bytes sent by SIP connections.", |all| all.bytes_out as f64),
];

/// One sample: what its labels say, and where its value is read.
type Labelled<'a, T> = (Vec<(&'static str, String)>, &'a T);

/// The archive of recordings, where there is one.
const ARCHIVE: [Family<archive::Figures>; 7] = [
    ("archive_waiting", Gauge, "Finished recordings that are not in the archive yet.", |all| all.waiting as f64),
    ("archive_oldest_seconds", Gauge, "Since the end of the recording that waits longest.", |all| all.oldest_s as f64),
    ("archive_stuck", Gauge, "Whether that is longer than configured.", |all| f64::from(u8::from(all.stuck))),
    ("archive_done_total", Counter, "Recordings archived and read back.", |all| all.done as f64),
    ("archive_failed_total", Counter, "Attempts to archive that came to nothing.", |all| all.failed as f64),
    ("archive_bytes_total", Counter, "Bytes of objects archived and read back.", |all| all.bytes as f64),
    ("archive_removed_total", Counter, "Local files removed after their time.", |all| all.removed as f64),
];

/// What targets were told ahead.
const AHEAD: [Family<ahead::Figures>; 6] = [
    ("ahead_taken_total", Counter, "Transfers of which a target's system is told.", |all| all.taken as f64),
    ("ahead_delivered_total", Counter, "Those it has acknowledged.", |all| all.delivered as f64),
    ("ahead_retried_total", Counter, "Tries beyond the first.", |all| all.retried as f64),
    ("ahead_undelivered_total", Counter, "Those given up.", |all| all.undelivered as f64),
    ("ahead_dropped_total", Counter, "Those for which the queue had no room.", |all| all.dropped as f64),
    ("ahead_waiting", Gauge, "Those neither delivered nor given up yet.", |all| all.waiting as f64),
];

fn write(all: &Internals) -> String {
    let mut text = String::new();
    let numbered = |label: &'static str, number: usize| vec![(label, number.to_string())];
    let queues: Vec<Labelled<'_, QueueFigures>> =
        all.queues.iter().map(|it| (vec![("site", it.site.clone()), ("queue", it.queue.clone())], it)).collect();
    let trunks: Vec<Labelled<'_, TrunkFigures>> =
        all.trunks.iter().map(|it| (vec![("trunk", it.name.clone())], it)).collect();
    let shards: Vec<Labelled<'_, ShardFigures>> =
        all.shards.iter().enumerate().map(|(number, it)| (numbered("shard", number), it)).collect();
    let media: Vec<Labelled<'_, media::Figures>> =
        all.media.iter().enumerate().map(|(number, it)| (numbered("thread", number), it)).collect();
    families(&mut text, &NODE, &[(Vec::new(), all)]);
    let archive: Vec<Labelled<'_, archive::Figures>> = all.archive.iter().map(|it| (Vec::new(), it)).collect();
    families(&mut text, &ARCHIVE, &archive);
    families(&mut text, &AHEAD, &[(Vec::new(), &all.ahead)]);
    families(&mut text, &CONNECTIONS, &[(Vec::new(), &all.connections)]);
    families(&mut text, &SHARDS, &shards);
    families(&mut text, &QUEUES, &queues);
    waits(&mut text, &all.queues);
    families(&mut text, &TRUNKS, &trunks);
    families(&mut text, &MEDIA, &media);
    sounds(&mut text, &all.media);
    head(&mut text, "blocked_total", Counter, "New calls refused for want of room, by trunk.");
    for (trunk, calls) in &all.edge.blocked {
        sample(&mut text, "blocked_total", &[("trunk", trunk.to_string())], calls);
    }
    head(&mut text, "standing", Gauge, "How many stand of what must go with a call, a request or a connection.");
    for (what, count) in all.standing.named() {
        sample(&mut text, "standing", &[("what", what.into())], count);
    }
    text
}

fn families<T>(text: &mut String, families: &[Family<T>], all: &[Labelled<'_, T>]) {
    for (name, kind, help, value) in families {
        head(text, name, *kind, help);
        for (labels, one) in all {
            sample(text, name, labels, value(one));
        }
    }
}

fn head(text: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Counter => "counter",
        Gauge => "gauge",
        Kind::Classes => "histogram",
    };
    put(text, format_args!("# HELP jiesu_{name} {help}\n# TYPE jiesu_{name} {kind}\n"));
}

/// How long callers waited until they were answered, or had gone: the bucket of 15 s is the answer rate that provinces ask for.
fn waits(text: &mut String, queues: &[QueueFigures]) {
    let labels = |queue: &QueueFigures| vec![("site", queue.site.clone()), ("queue", queue.queue.clone())];
    let rows = |of: fn(&QueueFigures) -> &Histogram| queues.iter().map(|it| (labels(it), of(it))).collect::<Vec<_>>();
    let answered = ("queue_answered_wait_seconds", "How long callers had waited who were answered.");
    histograms(text, answered, &sound::WAIT, &rows(|queue| &queue.answered_after));
    let abandoned = ("queue_abandoned_wait_seconds", "How long callers had waited who went unanswered.");
    histograms(text, abandoned, &sound::WAIT, &rows(|queue| &queue.abandoned_after));
}

/// How legs sounded that have closed, all threads together.
fn sounds(text: &mut String, threads: &[media::Figures]) {
    let mut sum = Sound::default();
    threads.iter().for_each(|thread| sum.add(&thread.sound));
    let way = |direction: &str, histogram| (vec![("direction", direction.to_owned())], histogram);
    let both = |of: fn(&sound::Way) -> &Histogram| vec![way("in", of(&sum.received)), way("out", of(&sum.sent))];
    let (mos, loss, jitter) = (both(|way| &way.mos), both(|way| &way.loss), both(|way| &way.jitter));
    let help = "Mean opinion score of closed legs (ITU-T G.107).";
    histograms(text, ("media_leg_mos", help), &sound::MOS, &mos);
    histograms(text, ("media_leg_loss_ratio", "Lost part of the packets of closed legs."), &sound::LOSS, &loss);
    histograms(text, ("media_leg_jitter_seconds", "Interarrival jitter of closed legs."), &sound::JITTER, &jitter);
    let trip = ("media_leg_round_trip_seconds", "There and back, of closed legs whose RTCP told it.");
    histograms(text, trip, &sound::ROUND_TRIP, &[way("both", &sum.round_trip)]);
}

/// One family of histograms, by direction.
fn histograms(
    text: &mut String,
    (name, help): (&str, &str),
    bounds: &[u64; sound::BOUNDS],
    rows: &[Labelled<'_, Histogram>],
) {
    head(text, name, Kind::Classes, help);
    let unit = |millionths: u64| millionths as f64 / 1e6;
    for (labels, histogram) in rows {
        let mut below = 0;
        let upper = bounds.iter().map(|bound| unit(*bound).to_string()).chain(["+Inf".into()]);
        for (count, bound) in histogram.classes.iter().zip(upper) {
            below += count;
            sample(text, &format!("{name}_bucket"), &[&labels[..], &[("le", bound)]].concat(), below);
        }
        sample(text, &format!("{name}_sum"), labels, unit(histogram.sum));
        sample(text, &format!("{name}_count"), labels, below);
    }
}

fn sample(text: &mut String, name: &str, labels: &[(&'static str, String)], value: impl Display) {
    put(text, format_args!("jiesu_{name}"));
    for (number, (label, value)) in labels.iter().enumerate() {
        let before = if number == 0 { '{' } else { ',' };
        put(text, format_args!("{before}{label}=\"{}\"", escaped(value)));
    }
    put(text, format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::event::Counters;

    #[test]
    fn the_text_has_the_shape_that_prometheus_reads() {
        let queue = QueueFigures {
            site: "fuzhou".into(),
            queue: "a\"b\\c\nd".into(),
            waiting: 3,
            talking: 2,
            ready: 1,
            answered: 70,
            abandoned: 7,
            answered_after: Histogram { classes: [1, 2, 0, 0, 0, 0, 3], sum: 4_000_000 },
            abandoned_after: Histogram::default(),
            longest_wait_ms: 1_500,
        };
        let (queues, shards) = (vec![queue], vec![ShardFigures::default(); 2]);
        let leg = Counters { received: 99, lost: 1, mos_received: Some(433), ..Counters::default() };
        let mut media = vec![media::Figures::default(); 2];
        media.iter_mut().for_each(|thread| thread.sound.count(&leg));
        let internals = Internals { queues, shards, media, ..Internals::default() };
        let text = write(&internals);
        let expected = "# TYPE jiesu_media_leg_loss_ratio histogram\n\
                        jiesu_media_leg_loss_ratio_bucket{direction=\"in\",le=\"0\"} 0\n\
                        jiesu_media_leg_loss_ratio_bucket{direction=\"in\",le=\"0.005\"} 0\n\
                        jiesu_media_leg_loss_ratio_bucket{direction=\"in\",le=\"0.01\"} 2\n";
        assert!(text.contains(expected), "{text}");
        for line in [
            "loss_ratio_bucket{direction=\"in\",le=\"+Inf\"} 2",
            "loss_ratio_sum{direction=\"in\"} 0.02",
            "loss_ratio_count{direction=\"in\"} 2",
            "mos_bucket{direction=\"in\",le=\"4.34\"} 2",
            "mos_count{direction=\"out\"} 0",
        ] {
            assert!(text.contains(&format!("\njiesu_media_leg_{line}\n")), "{line}");
        }
        let expected = "# HELP jiesu_queue_waiting Callers who wait or whose agent is being rung.\n\
                        # TYPE jiesu_queue_waiting gauge\n\
                        jiesu_queue_waiting{site=\"fuzhou\",queue=\"a\\\"b\\\\c\\nd\"} 3\n";
        assert!(text.contains(expected), "{text}");
        let labels = "site=\"fuzhou\",queue=\"a\\\"b\\\\c\\nd\"";
        for line in [
            format!("longest_wait_seconds{{{labels}}} 1.5"),
            format!("answered_wait_seconds_bucket{{{labels},le=\"15\"}} 3"),
            format!("answered_wait_seconds_bucket{{{labels},le=\"+Inf\"}} 6"),
            format!("answered_wait_seconds_sum{{{labels}}} 4"),
            format!("abandoned_wait_seconds_count{{{labels}}} 0"),
        ] {
            assert!(text.contains(&format!("\njiesu_queue_{line}\n")), "{line} in {text}");
        }
        assert!(text.contains("# TYPE jiesu_calls_taken_total counter\njiesu_calls_taken_total{shard=\"0\"} 0\n"));
        assert!(text.contains("\njiesu_calls_taken_total{shard=\"1\"} 0\n"));
        for (what, _) in internals.standing.named() {
            assert!(text.contains(&format!("\njiesu_standing{{what=\"{what}\"}} 0\n")), "{what}");
        }
        let mut heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), count, "each family stands once");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        for head in heads.iter().filter(|head| head.ends_with("counter")) {
            assert!(head.contains("_total "), "{head}");
        }
    }
}
