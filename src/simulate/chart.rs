//! A day as CSV and as a page with charts that needs nothing beside itself.

use super::day::Day;
use super::scenario::SLOTS;
use super::staffing::Needed;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 48.0;

/// `09:30` for a half hour of the day.
pub fn clock(slot: usize) -> String {
    format!("{:02}:{:02}", slot / 2, slot % 2 * 30)
}

/// One row for each half hour and queue, times in seconds; agents are those of all groups together.
pub fn csv(day: &Day, queues: &[&str], needed: Option<&[Needed]>) -> String {
    let mut text = String::from(
        "half_hour,queue,calls,redials,answered,in_time,gave_up,refused,service_level,mean_wait_s,longest_wait_s,\
         agents,occupancy,agents_needed\n",
    );
    for slot in 0..SLOTS {
        let staff = day.all_staff(slot);
        let needed = needed.map_or(String::new(), |needed| needed[slot].agents.to_string());
        for (queue, calls) in queues.iter().zip(&day.calls) {
            let calls = calls[slot];
            let counts = [calls.calls, calls.redials, calls.answered, calls.in_time, calls.gave_up, calls.refused];
            let counts = counts.map(|count| count.to_string()).join(",");
            let _ = writeln!(
                text,
                "{},\"{}\",{counts},{:.4},{:.2},{:.2},{:.1},{:.4},{needed}",
                clock(slot),
                queue.replace('"', "\"\""),
                calls.service_level(),
                calls.mean_wait_s(),
                calls.longest.as_secs_f64(),
                staff.agents(),
                staff.occupancy(),
            );
        }
    }
    text
}

/// The page: calls and what became of them, the service level against its target, agents there, busy and needed.
pub fn page(title: &str, day: &Day, target: f64, needed: Option<&[Needed]>) -> String {
    let calls: Vec<_> = (0..SLOTS).map(|slot| day.all_calls(slot)).collect();
    let staff: Vec<_> = (0..SLOTS).map(|slot| day.all_staff(slot)).collect();
    let series = |of: &dyn Fn(usize) -> f64| (0..SLOTS).map(of).collect::<Vec<f64>>();
    let (offered, unanswered) = (
        series(&|slot| f64::from(calls[slot].calls)),
        series(&|slot| f64::from(calls[slot].calls - calls[slot].answered)),
    );
    let level = series(&|slot| 100.0 * calls[slot].service_level());
    let goal = series(&|_| 100.0 * target);
    let there = series(&|slot| staff[slot].agents());
    let busy = series(&|slot| staff[slot].agents() * staff[slot].occupancy());
    let mut people = vec![("there", "#4878a8", there), ("busy", "#c05a2e", busy)];
    if let Some(needed) = needed {
        people.push(("needed", "#2e8b57", series(&|slot| needed[slot].agents as f64)));
    }
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>\
         body{{font:14px sans-serif;margin:2em;max-width:{WIDTH}px}}svg{{width:100%}}text{{font-size:11px}}</style>\
         </head><body>\n<h1>{0}</h1>\n",
        escaped(title)
    );
    text += &figure("Calls in each half hour", &[("all", "#4878a8", offered), ("not answered", "#c05a2e", unanswered)]);
    text += &figure("Answered in time, %", &[("reached", "#4878a8", level), ("target", "#2e8b57", goal)]);
    text += &figure("Agents", &people);
    text += "</body></html>\n";
    text
}

/// Steps over the day, one line for each series.
fn figure(title: &str, series: &[(&str, &str, Vec<f64>)]) -> String {
    let top = series.iter().flat_map(|(_, _, values)| values).fold(1.0f64, |top, &value| top.max(value));
    let x = |slot: usize| MARGIN + (WIDTH - 2.0 * MARGIN) * slot as f64 / SLOTS as f64;
    let y = |value: f64| HEIGHT - MARGIN / 2.0 - (HEIGHT - MARGIN) * value / top;
    let mut text = format!("<h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    for part in 0..=4 {
        let value = top * f64::from(part) / 4.0;
        let _ = writeln!(
            text,
            "<path d=\"M{:.1} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"4\" y=\"{at:.1}\">{value:.0}</text>",
            MARGIN,
            WIDTH - MARGIN,
            at = y(value),
        );
    }
    for slot in (0..=SLOTS).step_by(4) {
        let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\">{:02}</text>", x(slot), HEIGHT - 6.0, slot / 2);
    }
    for (nth, (name, colour, values)) in series.iter().enumerate() {
        let mut path = String::new();
        for (slot, &value) in values.iter().enumerate() {
            let start = if slot == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{start}{:.1} {:.1}H{:.1}", x(slot), y(value), x(slot + 1));
        }
        let _ = writeln!(
            text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"14\" fill=\"{colour}\">{name}</text>",
            MARGIN + 120.0 * nth as f64,
        );
    }
    text += "</svg>\n";
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
