//! Requests at a fixed rate, each due at its own moment whatever became of those before it.
//!
//! `rate PORT RATE SECONDS CONNECTIONS`, with the request on standard input. Each connection is a thread that
//! sends every so manieth request when it is due, or as soon after as the answer before has come; the latency
//! is counted from the due moment, so that a stall is seen by all requests that it delays. Prints JSON:
//! percentiles in µs, how many were sent, and how many answers were not 200.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let numbers: Vec<f64> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [port, rate, seconds, connections] = numbers[..] else {
        return Err(io::Error::other("rate PORT RATE SECONDS CONNECTIONS < request"));
    };
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    // Threads that are started later sleep as exactly as this one.
    std::fs::write("/proc/self/timerslack_ns", "1")?;
    let (count, connections) = ((rate * seconds) as u64, connections as u64);
    // Awake a little before it is due: a core that has to be woken is not the proxy's delay. Never more
    // than a twentieth of the time in all.
    let awake = Duration::from_secs_f64((0.05 / rate).min(0.0002));
    let begin = Instant::now() + Duration::from_millis(100);
    let threads: Vec<_> = (0..connections)
        .map(|first| {
            let request = request.clone();
            std::thread::spawn(move || -> io::Result<(Vec<u64>, u64)> {
                let mut connection = TcpStream::connect(("127.0.0.1", port as u16))?;
                connection.set_nodelay(true)?;
                connection.set_read_timeout(Some(Duration::from_secs(20)))?;
                let (mut latencies, mut refused, mut buffer) = (Vec::new(), 0, vec![0; 65536]);
                for number in (first..count).step_by(connections as usize) {
                    let due = begin + Duration::from_secs_f64(number as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now() + awake));
                    while Instant::now() < due {
                        std::hint::spin_loop();
                    }
                    connection.write_all(&request)?;
                    refused += u64::from(!answer(&mut connection, &mut buffer)?);
                    latencies.push(due.elapsed().as_nanos() as u64);
                }
                Ok((latencies, refused))
            })
        })
        .collect();
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for thread in threads {
        let (some, not_200) =
            thread.join().map_err(|_| io::Error::other("a connection's thread ended early"))??;
        latencies.extend(some);
        refused += not_200;
    }
    latencies.sort_unstable();
    let at =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        r#"{{"p50": {}, "p90": {}, "p99": {}, "p99.9": {}, "sent": {}, "refused": {refused}}}"#,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        latencies.len()
    );
    Ok(())
}

/// Reads one answer of known length; whether it is a 200.
fn answer(connection: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    loop {
        let count = connection.read(&mut buffer[filled..])?;
        if count == 0 {
            return Err(io::Error::other("the connection was closed"));
        }
        filled += count;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| io::Error::other("no length"))?;
        if filled >= end + 4 + length {
            return Ok(head.starts_with("http/1.1 200"));
        }
    }
}
