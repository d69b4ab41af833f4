//! The engine's HTTP API as a client sees it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an event may take.
pub const EVENT_MAX: Duration = Duration::from_secs(30);

pub struct Api {
    base: String,
    token: String,
    agent: ureq::Agent,
}

/// A status and the body, `Null` when it is not JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Api {
    pub fn new(address: SocketAddr, token: &str) -> Api {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Api { base: format!("http://{address}/api/v1"), token: token.into(), agent }
    }

    fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
        let mut response = response.expect("the API answers");
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().unwrap_or_default();
        Answer { status, body: serde_json::from_str(&body).unwrap_or(Value::Null) }
    }

    pub fn read(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.base);
        Self::answer(self.agent.get(url).header("Authorization", format!("Bearer {}", self.token)).call())
    }

    /// The status of a route that does not stand below `/api/v1`.
    pub fn beside(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.base.trim_end_matches("/api/v1"));
        Self::answer(self.agent.get(url).header("Authorization", format!("Bearer {}", self.token)).call()).status
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.base);
        Self::answer(self.agent.put(url).header("Authorization", format!("Bearer {}", self.token)).send_json(body))
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.base);
        Self::answer(self.agent.post(url).header("Authorization", format!("Bearer {}", self.token)).send_json(body))
    }

    pub fn post(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.base);
        Self::answer(self.agent.post(url).header("Authorization", format!("Bearer {}", self.token)).send_empty())
    }

    pub fn delete(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.base);
        Self::answer(self.agent.delete(url).header("Authorization", format!("Bearer {}", self.token)).call()).status
    }

    /// A file, or the part of it named by `range`.
    pub fn bytes(&self, path: &str, range: Option<&str>) -> (u16, Vec<u8>) {
        let mut request =
            self.agent.get(format!("{}{path}", self.base)).header("Authorization", format!("Bearer {}", self.token));
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let mut response = request.call().expect("the API answers");
        let mut body = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut body).unwrap();
        (response.status().as_u16(), body)
    }

    /// The event stream from here on, its first snapshot included.
    pub fn events(&self) -> Events {
        self.follow(None)
    }

    /// The event stream of one who has heard everything up to `seq`, as a browser resumes it.
    pub fn events_after(&self, seq: u64) -> Events {
        self.follow(Some(seq))
    }

    fn follow(&self, last: Option<u64>) -> Events {
        let url = format!("{}/events", self.base);
        let mut request = self.agent.get(url).header("Authorization", format!("Bearer {}", self.token));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        let response = request.call().expect("the event stream opens");
        assert_eq!(response.status(), 200);
        let (told, events) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(response.into_body().into_reader()).lines();
            for line in lines.map_while(Result::ok) {
                if let Some(data) = line.strip_prefix("data:")
                    && let Ok(event) = serde_json::from_str::<Value>(data)
                    && told.send(event).is_err()
                {
                    return;
                }
            }
        });
        Events { events, seen: Vec::new() }
    }

    /// Asks again until the answer satisfies; for records, which follow their call by some milliseconds.
    pub fn until(&self, path: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let start = Instant::now();
        while start.elapsed() < EVENT_MAX {
            last = self.read(path).body;
            if satisfies(&last) {
                return last;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("{path} never satisfied; at last it was {last:#}");
    }
}

/// The event stream.
pub struct Events {
    events: std::sync::mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

impl Events {
    /// Everything waited through so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Waits for the next event that `satisfies`.
    pub fn until(&mut self, what: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Ok(event) = self.events.recv_timeout(EVENT_MAX) else {
                let seen: Vec<String> = self.seen.iter().rev().take(20).map(Value::to_string).collect();
                panic!("no event {what:?}; the last ones, newest first:\n{}", seen.join("\n"));
            };
            self.seen.push(event.clone());
            if satisfies(&event) {
                return event;
            }
        }
    }

    /// Waits until the agent is seen in this state.
    pub fn agent(&mut self, name: &str, state: &str) {
        self.until(&format!("agent {name} {state}"), |event| {
            let is = |agent: &Value| agent["name"] == name && agent["state"] == state;
            is(&event["data"]) || event["data"]["agents"].as_array().is_some_and(|agents| agents.iter().any(is))
        });
    }

    /// Waits until the agent's phone is seen registered, or not.
    pub fn phone(&mut self, name: &str, up: bool) {
        self.until(&format!("phone of {name} up: {up}"), |event| {
            let is = |agent: &Value| agent["name"] == name && agent["phone_up"] == up;
            is(&event["data"]) || event["data"]["agents"].as_array().is_some_and(|agents| agents.iter().any(is))
        });
    }

    /// Waits until the agent is seen paused for this reason.
    pub fn paused(&mut self, name: &str, reason: &str) {
        self.until(&format!("agent {name} paused: {reason}"), |event| {
            let agent = &event["data"];
            agent["name"] == name && agent["state"] == "not_ready" && agent["reason"] == reason
        });
    }

    /// Waits until a call is seen at this stage; returns its contact.
    pub fn call(&mut self, stage: &str) -> String {
        let at = |call: &Value| {
            let contact = (call["stage"] == stage).then(|| call["contact"].as_str().expect("a contact"))?;
            Some(contact.to_owned())
        };
        let found = |event: &Value| {
            let calls = event["data"]["calls"].as_array().into_iter().flatten();
            std::iter::once(&event["data"]).chain(calls).find_map(at)
        };
        let event = self.until(&format!("a call {stage}"), |event| found(event).is_some());
        found(&event).expect("it was found")
    }
}
