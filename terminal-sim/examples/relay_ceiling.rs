//! Measures the relay alone: round trips a second of many terminals, one request in flight each.
//!
//! `cargo run --release -p terminal-sim --example relay_ceiling [terminals [seconds]]`

use std::cell::Cell;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

/// Octets of a swiped sale with its length (the golden vector).
const FRAME: usize = 116;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|text| text.parse::<u32>().ok());
    let terminals = arguments.next().unwrap_or(256);
    let seconds = arguments.next().unwrap_or(3);

    let issuer = TcpListener::bind("127.0.0.1:0")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (issuer_at, at) = (issuer.local_addr()?, listener.local_addr()?);
    std::thread::spawn(move || terminal_sim::relay::echo_issuer(issuer));
    std::thread::spawn(move || terminal_sim::relay::run(listener, issuer_at));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(256).build()?;
    let warm_up = Duration::from_millis(500);
    let time = Duration::from_secs(seconds.into());
    let rate = LocalSet::new().block_on(&runtime, measure(at, terminals, warm_up, time));
    writeln!(std::io::stdout(), "{terminals} terminals: {rate} round trips/s")
}

async fn measure(at: SocketAddr, terminals: u32, warm_up: Duration, time: Duration) -> u128 {
    let count = Rc::new(Cell::new(0u64));
    for _ in 0..terminals {
        let count = Rc::clone(&count);
        spawn_local(async move {
            // A terminal that fails is missing in the count.
            let _ = terminal(at, &count).await;
        });
    }
    tokio::time::sleep(warm_up).await;
    let (start, before) = (Instant::now(), count.get());
    tokio::time::sleep(time).await;
    u128::from(count.get() - before) * 1_000_000 / start.elapsed().as_micros().max(1)
}

async fn terminal(at: SocketAddr, count: &Cell<u64>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let mut request = [0u8; FRAME];
    if let Some(length) = request.get_mut(1) {
        *length = 114;
    }
    let mut answer = [0u8; 512];
    loop {
        stream.write_all(&request).await?;
        let mut got = 0;
        while got < FRAME {
            let rest = answer.get_mut(got..).unwrap_or_default();
            match stream.read(rest).await? {
                0 => return Ok(()),
                read => got += read,
            }
        }
        count.set(count.get() + 1);
    }
}
