//! The allocations of an exchange, within 5 % of the figures in `benches/allocations.toml`.
//!
//! A binary of its own, because its allocator counts. `cargo nextest` runs each test in a process
//! of its own, so that no other test allocates meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "tests may stop at the first surprise, and read clocks"
)]

#[path = "it/support/mod.rs"]
mod support;

use std::{
    alloc::System,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::support::{Kind, both, keep_alive::exchange_of};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Exchanges before the count: connections open, statements are prepared and buffers grow.
const WARM_UP: u32 = 200;
const COUNTED: u32 = 200;
const TOLERANCE: f64 = 0.05;

/// Per exchange.
#[derive(Debug, Deserialize)]
struct Figures {
    /// Calls of the allocator: allocations and reallocations.
    allocations: f64,
    bytes: f64,
}

#[derive(Deserialize)]
struct Recorded {
    sqlite: Figures,
    postgres: Figures,
}

both! {
    async fn exchange_allocates_as_recorded(server: Server, "jobs=by_hand") {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let request = exchange_of(&key.value, "");
        let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        for _ in 0..WARM_UP {
            exchange(&mut stream, &request);
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..COUNTED {
            exchange(&mut stream, &request);
        }
        let counted = region.change();
        let per_exchange = |count: usize| f64::from(u32::try_from(count).unwrap()) / f64::from(COUNTED);
        compare(server.database.kind, &Figures {
            allocations: per_exchange(counted.allocations + counted.reallocations),
            bytes: per_exchange(counted.bytes_allocated),
        });
    }
}

/// Exchanges the key of `request`. Allocates nothing, so that only the server is counted.
fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap();
    let (mut response, mut length) = ([0; 16 * 1024], 0);
    while !is_complete(&response[..length]) {
        let read = stream.read(&mut response[length..]).unwrap();
        assert!(read > 0, "the server closed the connection, or the response is too long");
        length += read;
    }
    assert!(response.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&response[..length]));
}

fn is_complete(response: &[u8]) -> bool {
    let Some((head, body)) = str::from_utf8(response).unwrap().split_once("\r\n\r\n") else { return false };
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.unwrap().1.parse::<usize>().unwrap() == body.len()
}

/// Fails if a figure differs from the recorded one by more than the tolerance.
fn compare(kind: Kind, measured: &Figures) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/allocations.toml");
    let recorded: Recorded = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (name, recorded) = match kind {
        Kind::Sqlite => ("sqlite", recorded.sqlite),
        Kind::Postgres => ("postgres", recorded.postgres),
    };
    let is_near = |measured: f64, recorded: f64| (measured - recorded).abs() <= recorded * TOLERANCE;
    assert!(
        is_near(measured.allocations, recorded.allocations) && is_near(measured.bytes, recorded.bytes),
        "an exchange makes {:.1} allocations of {:.0} bytes; {:.1} of {:.0} are recorded, and 5 % more or less is \
         allowed. If the change is worth it, write in benches/allocations.toml:\n\
         [{name}]\nallocations = {:.1}\nbytes = {:.1}",
        measured.allocations,
        measured.bytes,
        recorded.allocations,
        recorded.bytes,
        measured.allocations,
        measured.bytes,
    );
}
