//! Conversations between a client and a server that the test plays, on a clock that it turns.

use crate::{
    budget::Budget,
    fault::{ActiveFault, ConnectionMark, Ending},
    http::{RequestTotals, conversation::Conversation},
    pipeline::Appetite,
    proxy::{Membership, Roster},
};
use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use squall_wire::{FaultKind, FaultSpec, Protocol};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

/// Requests, and the responses to them.
const EXCHANGES: &[(&str, &str)] = &[
    ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    (
        "POST /b?c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: t\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00\r\nX: y\r\n\r\n",
    ),
    ("HEAD /d HTTP/1.1\r\nhost:a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
    (
        "\r\nPUT /e HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nX:  y\r\n\r\n",
    ),
    (
        "GET /f HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "DELETE /g HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.0 500 No\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno",
    ),
];

/// Faults that lose and change nothing, each with other parameters to change to.
const KEEPING: &[(&str, &str)] = &[
    (r#""fault": {"latency": {"delay": "30ms", "jitter": "20ms"}}"#, r#"{"latency": {"delay": "5ms"}}"#),
    (
        r#""fault": {"latency": {"delay": "9ms", "jitter": "9ms"}}, "direction": "both""#,
        r#"{"latency": {"delay": "1ms"}}"#,
    ),
    (r#""fault": {"bandwidth": {"rate": "9KB/s"}}, "direction": "both""#, r#"{"bandwidth": {"rate": "0B/s"}}"#),
    (r#""fault": {"drip": {"bytes": 3, "every": "1ms"}}"#, r#"{"drip": {"bytes": 50, "every": "3ms"}}"#),
    (r#""fault": {"drip": {"bytes": 7, "every": "1ms"}}, "direction": "upstream""#, r#"{"drip": {"every": "1ms"}}"#),
    (r#""fault": {"stall": {"every": "50ms", "for": "30ms"}}"#, r#"{"stall": {"every": "9ms", "for": "9ms"}}"#),
    (r#""fault": {"unread": {}}, "direction": "upstream""#, r#"{"unread": {}}"#),
    (r#""fault": {"unread": {}}, "where": {"method": ["POST"]}"#, r#"{"unread": {}}"#),
    (r#""fault": {"reset": {"after": "9h"}}, "direction": "both""#, r#"{"reset": {"after_bytes": "1GB"}}"#),
    (r#""fault": {"truncate": {"bytes": "1GB"}}"#, r#"{"truncate": {"bytes": "2GB"}}"#),
    (r#""fault": {"corrupt": {"rate": 1e-300}}, "direction": "both""#, r#"{"corrupt": {"rate": 2e-300}}"#),
    (r#""fault": {"slow_close": {"delay": "50ms"}}"#, r#"{"slow_close": {"delay": "1ms"}}"#),
    (
        r#""fault": {"http_latency": {"delay": "20ms", "jitter": "20ms"}}"#,
        r#"{"http_latency": {"delay": "1ms", "at": "body"}}"#,
    ),
    (
        r#""fault": {"http_latency": {"delay": "9ms", "at": "request"}}"#,
        r#"{"http_latency": {"delay": "30ms", "at": "headers"}}"#,
    ),
    (
        r#""fault": {"http_latency": {"delay": "9ms", "at": "body"}}"#,
        r#"{"http_latency": {"delay": "99ms", "at": "request"}}"#,
    ),
    (
        r#""fault": {"http_headers": {"remove": ["None"]}}"#,
        r#"{"http_headers": {"remove": ["Nor-This"], "on": "request"}}"#,
    ),
    (r#""fault": {"http_body": {"hang": true}}"#, r#"{"http_body": {"hang": true}}"#),
    (r#""fault": {"flap": {"up": "9h", "down": "1s"}}"#, r#"{"flap": {"up": "8h", "down": "1s"}}"#),
];

struct Bench {
    roster: Roster,
    membership: Arc<Membership>,
    seen: u64,
    conversation: Conversation,
    totals: Arc<RequestTotals>,
    now: Instant,
    /// What reached the server, and the client.
    up: Vec<u8>,
    down: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let mut roster = Roster::of(Protocol::Http);
        let mark = Arc::new(ConnectionMark::new(Arc::new(AtomicU64::new(0))));
        let (_, membership) = roster.enter("127.0.0.1".parse().unwrap(), Arc::clone(&mark));
        let totals = Arc::new(RequestTotals::default());
        let conversation = Conversation::new(&Budget::new(1 << 30), mark, Arc::clone(&totals), None);
        let (up, down) = (Vec::new(), Vec::new());
        Self { roster, membership, seen: 0, conversation, totals, now: Instant::now(), up, down }
    }

    fn set(&mut self, fault: &str) -> Arc<ActiveFault> {
        let spec: FaultSpec = serde_json::from_str(&format!("{{{fault}}}")).unwrap();
        assert_eq!(spec.mistakes_on(Protocol::Http), []);
        let fault = ActiveFault::new("f".parse().unwrap(), &spec, 5);
        let mut faults = self.roster.faults().to_vec();
        faults.push(Arc::clone(&fault));
        self.roster.set_faults(faults);
        fault
    }

    fn remove(&mut self, fault: &ActiveFault) {
        let kept = self.roster.faults().iter().filter(|other| other.id() != fault.id()).cloned().collect();
        self.roster.set_faults(kept);
    }

    /// What the loop of a connection does between two waits; both peers take all that comes.
    fn turn(&mut self) {
        loop {
            if self.membership.version() != self.seen {
                self.seen = self.membership.version();
                self.conversation.follow(&self.membership.plan(), self.membership.for_requests(), self.now);
            }
            self.conversation.advance(self.now);
            let (up, down) = (
                self.conversation.up.pieces().collect::<Vec<_>>().concat(),
                self.conversation.down.pieces().collect::<Vec<_>>().concat(),
            );
            self.conversation.upstream_took(up.len());
            self.conversation.client_took(down.len());
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.up.extend(up);
            self.down.extend(down);
        }
    }

    fn take_from_client(&mut self, bytes: &[u8]) -> usize {
        match self.conversation.client_appetite() {
            Appetite::Hungry => self.conversation.take_from_client(Bytes::copy_from_slice(bytes), self.now),
            Appetite::Tell => {
                self.conversation.tell_unread(true, self.now);
                return 0;
            }
            Appetite::Full => return 0,
        }
        self.turn();
        bytes.len()
    }

    fn take_from_upstream(&mut self, bytes: &[u8]) -> usize {
        match self.conversation.upstream_appetite() {
            Appetite::Hungry => self.conversation.take_from_upstream(Bytes::copy_from_slice(bytes)),
            Appetite::Tell => {
                self.conversation.tell_unread(false, self.now);
                return 0;
            }
            Appetite::Full => return 0,
        }
        self.turn();
        bytes.len()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    Answer(usize),
    Wait(u64),
    Set(usize, bool),
    Change(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1_usize..150).prop_map(Step::Ask),
        5 => (1_usize..150).prop_map(Step::Answer),
        3 => (0_u64..40).prop_map(Step::Wait),
        3 => (0..KEEPING.len(), any::<bool>()).prop_map(|(index, all)| Step::Set(index, all)),
        2 => (0_usize..8).prop_map(Step::Change),
        3 => (0_usize..8).prop_map(Step::Remove),
    ]
}

/// How many bytes the server may have sent once it has read so many.
fn answerable(exchanges: &[(&str, &str)], read: usize) -> usize {
    let (mut asked, mut answered) = (0, 0);
    for (request, response) in exchanges {
        asked += request.len();
        if asked > read {
            break;
        }
        answered += response.len();
    }
    answered
}

proptest! {
    #[test]
    fn through_any_faults_that_keep_bytes_both_peers_get_what_the_other_sent(
        chosen in prop::collection::vec(0..EXCHANGES.len(), 1..50),
        steps in prop_oneof![prop::collection::vec(step(), 1..80), Just(vec![Step::Ask(1); 80])],
    ) {
        let exchanges: Vec<_> = chosen.iter().map(|index| EXCHANGES[*index]).collect();
        let requests: Vec<u8> = exchanges.iter().flat_map(|(request, _)| request.bytes()).collect();
        let responses: Vec<u8> = exchanges.iter().flat_map(|(_, response)| response.bytes()).collect();
        let mut bench = Bench::new();
        let mut set: Vec<(Arc<ActiveFault>, usize)> = Vec::new();
        let (mut asked, mut answered) = (0, 0);
        for step in steps {
            match step {
                Step::Ask(length) => {
                    let end = (asked + length).min(requests.len());
                    asked += bench.take_from_client(&requests[asked..end]);
                }
                Step::Answer(length) => {
                    let end = (answered + length).min(answerable(&exchanges, bench.up.len()));
                    answered += bench.take_from_upstream(&responses[answered..end]);
                }
                Step::Wait(millis) => bench.now += Duration::from_millis(millis),
                Step::Set(index, all) => {
                    let share = if all || KEEPING[index].0.contains("flap") { "" } else { r#", "percent": 50"# };
                    set.push((bench.set(&format!("{}{share}", KEEPING[index].0)), index));
                }
                Step::Change(at) if at < set.len() => {
                    let (fault, index) = &set[at];
                    let kind: FaultKind = serde_json::from_str(KEEPING[*index].1).unwrap();
                    prop_assert!(fault.tune(Some(kind), None));
                    bench.roster.refresh();
                }
                Step::Remove(at) if at < set.len() => {
                    let (fault, _) = set.remove(at);
                    bench.remove(&fault);
                }
                Step::Change(_) | Step::Remove(_) => {}
            }
            bench.turn();
            prop_assert!(requests.starts_with(&bench.up) && responses.starts_with(&bench.down));
            prop_assert_eq!(bench.conversation.verdict(), None);
        }
        bench.roster.set_faults(Vec::new());
        bench.turn();
        // Without faults, everything that is left passes at once.
        while asked < requests.len() || answered < responses.len() {
            let ask = bench.take_from_client(&requests[asked..(asked + 97).min(requests.len())]);
            let end = (answered + 97).min(answerable(&exchanges, bench.up.len()));
            let answer = bench.take_from_upstream(&responses[answered..end]);
            prop_assert!(ask + answer > 0, "stuck at {asked} and {answered}");
            (asked, answered) = (asked + ask, answered + answer);
        }
        prop_assert_eq!(String::from_utf8_lossy(&bench.up), String::from_utf8_lossy(&requests));
        prop_assert_eq!(String::from_utf8_lossy(&bench.down), String::from_utf8_lossy(&responses));
        bench.conversation.end_client(Ending::Eof, bench.now);
        bench.turn();
        prop_assert!(bench.conversation.up_is_over() && !bench.conversation.down_is_over());
        bench.conversation.end_upstream(Ending::Eof, bench.now);
        bench.turn();
        prop_assert!(bench.conversation.down_is_over());
        bench.conversation.close(Instant::now());
        let failed = chosen.iter().filter(|index| **index == 5).count() as u64;
        prop_assert_eq!(bench.totals.errors.load(std::sync::atomic::Ordering::Relaxed), failed);
    }
}

/// A response with a body of so many bytes.
fn large(bytes: usize) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes(), vec![b'x'; bytes]].concat()
}

/// Answers as much as is read, in pieces of what one read takes; how much it was.
fn answer(bench: &mut Bench, responses: &[u8]) -> usize {
    let mut answered = 0;
    while answered < responses.len() {
        let end = (answered + 56 * 1024).min(responses.len());
        match bench.take_from_upstream(&responses[answered..end]) {
            0 => break,
            taken => answered += taken,
        }
    }
    answered
}

/// A fault that is in the way of every request and changes nothing.
const IN_THE_WAY: &str = r#""fault": {"http_headers": {"remove": ["None"]}}"#;

#[test]
fn who_pipelines_deeply_is_not_read_until_some_are_answered() {
    for (depth, fault) in [(32, None), (1024, Some(IN_THE_WAY))] {
        let mut bench = Bench::new();
        fault.map(|fault| bench.set(fault));
        bench.turn();
        let request = EXCHANGES[0].0;
        assert_eq!(bench.take_from_client(request.repeat(1100).as_bytes()), request.len() * 1100);
        assert_eq!(bench.up.len() / request.len(), depth);
        assert_eq!(bench.take_from_client(request.as_bytes()), 0);
        let response = EXCHANGES[0].1.as_bytes();
        for _ in 0..1100 {
            assert_eq!(bench.take_from_upstream(response), response.len());
        }
        assert_eq!((bench.up.len(), bench.down.len()), (request.len() * 1100, response.len() * 1100));
        assert_eq!(bench.take_from_client(request.as_bytes()), request.len());
    }
}

#[test]
fn who_pipelines_large_heads_is_not_read_as_deeply() {
    let mut bench = Bench::new();
    bench.set(IN_THE_WAY);
    bench.turn();
    let request = format!("GET /a HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(60_000));
    let taken = (0..100).take_while(|_| bench.take_from_client(request.as_bytes()) > 0).count();
    assert!((32..40).contains(&taken), "{taken}");
}

#[test]
fn responses_behind_one_that_does_not_come_are_not_read_without_end() {
    let mut bench = Bench::new();
    let hang = bench.set(r#""fault": {"http_latency": {"delay": "9h"}}, "where": {"path": "/first"}"#);
    let requests = format!("GET /first HTTP/1.1\r\n\r\n{}", "GET /a HTTP/1.1\r\n\r\n".repeat(500));
    bench.turn();
    bench.take_from_client(requests.as_bytes());
    let response = large(30_000);
    let before = (0..501).take_while(|_| bench.take_from_upstream(&response) > 0).count();
    assert!((50..100).contains(&before), "{before}");
    bench.remove(&hang);
    bench.turn();
    let behind = (before..501).take_while(|_| bench.take_from_upstream(&response) > 0).count();
    assert_eq!((before + behind, bench.down.len()), (501, 501 * response.len()));
}

#[test]
fn however_many_are_pipelined_each_is_late_from_when_it_came() {
    let mut bench = Bench::new();
    bench.set(r#""fault": {"latency": {"delay": "200ms"}}, "direction": "both""#);
    bench.turn();
    bench.take_from_client(EXCHANGES[0].0.repeat(800).as_bytes());
    bench.now += Duration::from_millis(200);
    bench.turn();
    assert_eq!(bench.up.len(), EXCHANGES[0].0.len() * 800);
    let responses = EXCHANGES[0].1.repeat(800);
    assert_eq!(answer(&mut bench, responses.as_bytes()), responses.len());
    bench.now += Duration::from_millis(199);
    bench.turn();
    assert_eq!(bench.down.len(), 0);
    bench.now += Duration::from_millis(1);
    bench.turn();
    assert_eq!(bench.down.len(), responses.len());
}

#[test]
fn the_buffer_of_a_latency_is_of_the_connection_however_many_exchanges_fill_it() {
    let mut bench = Bench::new();
    bench.set(r#""fault": {"latency": {"delay": "400ms", "buffer": "1MiB"}}"#);
    bench.turn();
    bench.take_from_client(EXCHANGES[0].0.repeat(32).as_bytes());
    let responses = large(200_000).repeat(32);
    let mut answered = 0;
    for _ in 0..600 {
        answered += answer(&mut bench, &responses[answered..]);
        let held = bench.conversation.budget.used();
        assert!(held < (1 << 20) + (64 << 10), "{held}");
        bench.now += Duration::from_millis(10);
        bench.turn();
    }
    // A buffer's worth a delay, less the grain of reads.
    assert!(answered == responses.len() && bench.down == responses, "{answered} {}", bench.down.len());
    assert_eq!(bench.conversation.budget.used(), 0);
}

#[test]
fn what_everything_waits_for_moves_although_later_exchanges_have_filled_the_buffer() {
    let mut bench = Bench::new();
    bench.set(r#""fault": {"http_latency": {"delay": "1s"}}, "where": {"path": "/first"}"#);
    bench.set(r#""fault": {"latency": {"delay": "10ms", "buffer": "64KiB"}}"#);
    bench.turn();
    let requests = format!("GET /first HTTP/1.1\r\n\r\n{}", "GET /a HTTP/1.1\r\n\r\n".repeat(3));
    bench.take_from_client(requests.as_bytes());
    let responses = [large(50_000), large(900_000).repeat(3)].concat();
    let mut answered = 0;
    for _ in 0..99 {
        answered += answer(&mut bench, &responses[answered..]);
        bench.now += Duration::from_millis(10);
        bench.turn();
    }
    assert!(answered > 200_000 && bench.down.is_empty(), "{answered}: the later ones fill what there is");
    for _ in 0..1000 {
        answered += answer(&mut bench, &responses[answered..]);
        bench.now += Duration::from_millis(10);
        bench.turn();
    }
    assert!(bench.down == responses, "{answered} {}", bench.down.len());
}

#[test]
fn an_idle_connection_holds_nothing_of_the_exchange_before() {
    let mut bench = Bench::new();
    bench.set(r#""fault": {"latency": {"delay": "1ms"}}, "direction": "both""#);
    bench.turn();
    let budget = std::mem::size_of_val(&bench.conversation.exchanges[0]);
    for count in [1, 1, 50, 1] {
        bench.take_from_client(EXCHANGES[0].0.repeat(count).as_bytes());
        bench.now += Duration::from_millis(1);
        bench.turn();
        answer(&mut bench, EXCHANGES[0].1.repeat(count).as_bytes());
        bench.now += Duration::from_millis(1);
        bench.turn();
        let conversation = &bench.conversation;
        assert_eq!((conversation.exchanges.len(), conversation.exchanges.capacity()), (1, 1), "after {count}");
        assert!(conversation.exchanges[0].is_finished() && conversation.exchanges[0].request().is_none());
        assert!(budget <= 512, "{budget}");
    }
    assert_eq!(bench.down.len(), EXCHANGES[0].1.len() * 53);
}
