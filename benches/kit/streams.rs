//! Event streams, one begun every 5 ms or so, each until it has brought so many events.
//!
//! `streams PORT STREAMS EVENTS`, with the request on standard input. Prints JSON, medians in µs: from the
//! request to the first event, and the way of each later one, which says when it was sent (`events.rs`).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

const APART: Duration = Duration::from_millis(5);
/// The golden ratio's fraction: its multiples are spread evenly, so that the beginnings keep no step with
/// the events and the ends of other streams.
const SPREAD: f64 = 0.618_033_988_749_895;

fn main() -> io::Result<()> {
    let numbers: Vec<u32> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [port, streams, events] = numbers[..] else {
        return Err(io::Error::other("streams PORT STREAMS EVENTS < request"));
    };
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    // Threads that are started later sleep as exactly as this one.
    std::fs::write("/proc/self/timerslack_ns", "1")?;
    let begin = Instant::now() + Duration::from_millis(20);
    let threads: Vec<_> = (0..streams)
        .map(|number| {
            let request = request.clone();
            std::thread::spawn(move || -> io::Result<(u64, Vec<u64>)> {
                let number = f64::from(number);
                let due = begin + APART.mul_f64(number + (number * SPREAD).fract());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let mut connection = TcpStream::connect(("127.0.0.1", port as u16))?;
                connection.set_nodelay(true)?;
                connection.set_read_timeout(Some(Duration::from_secs(20)))?;
                let asked = Instant::now();
                connection.write_all(&request)?;
                let mut lines = BufReader::new(connection);
                event(&mut lines)?;
                let first = asked.elapsed().as_nanos() as u64;
                let later = (1..events).map(|_| {
                    let sent = event(&mut lines)?;
                    let now = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?;
                    Ok((now.as_nanos() as u64).saturating_sub(sent))
                });
                Ok((first, later.collect::<io::Result<_>>()?))
            })
        })
        .collect();
    let (mut firsts, mut laters) = (Vec::new(), Vec::new());
    for thread in threads {
        let (first, later) =
            thread.join().map_err(|_| io::Error::other("a stream's thread ended early"))??;
        firsts.push(first);
        laters.extend(later);
    }
    println!(r#"{{"first": {}, "later": {}}}"#, median(firsts), median(laters));
    Ok(())
}

/// When the next event was sent.
fn event(lines: &mut BufReader<TcpStream>) -> io::Result<u64> {
    let mut line = String::new();
    while lines.read_line(&mut line)? != 0 {
        if let Some(sent) = line.strip_prefix("data: ") {
            return sent.trim().parse().map_err(io::Error::other);
        }
        line.clear();
    }
    Err(io::Error::other("the stream ended early"))
}

fn median(mut nanoseconds: Vec<u64>) -> f64 {
    nanoseconds.sort_unstable();
    nanoseconds.get(nanoseconds.len() / 2).map_or(f64::NAN, |&middle| middle as f64 / 1000.0)
}
