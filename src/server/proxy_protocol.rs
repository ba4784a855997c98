//! The PROXY protocol, version 2: what a proxy in front says of the connection it passes on. It is
//! asked for only where the configuration trusts that proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest rest of a header: addresses, and what else the proxy knows.
const REST_BYTES_MAX: usize = 2048;

/// Reads the header off a connection; the client's address, or `None` when the proxy speaks for itself.
/// What is no such header is an error, and the connection is not to be used.
pub async fn read_proxy_header<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<IpAddr>> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let length = match fixed {
        [signature @ .., _, _, high, low] if signature == SIGNATURE => {
            usize::from(u16::from_be_bytes([high, low]))
        }
        _ => return Err(malformed()),
    };
    if length > REST_BYTES_MAX {
        return Err(malformed());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    let [.., command, family, _, _] = fixed;
    match (command, family) {
        // LOCAL: a health check of the proxy's own.
        (0x20, _) => Ok(None),
        // PROXY, TCP over IPv4.
        (0x21, 0x11) => {
            let address: [u8; 4] = first(&rest, 12)?;
            Ok(Some(Ipv4Addr::from(address).into()))
        }
        // PROXY, TCP over IPv6.
        (0x21, 0x21) => {
            let address: [u8; 16] = first(&rest, 36)?;
            Ok(Some(IpAddr::from(Ipv6Addr::from(address)).to_canonical()))
        }
        _ => Err(malformed()),
    }
}

/// The first bytes of `rest`, which must have room for both addresses and ports.
fn first<const N: usize>(rest: &[u8], needed: usize) -> io::Result<[u8; N]> {
    let address = rest.first_chunk::<N>().copied();
    address.filter(|_| rest.len() >= needed).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a PROXY protocol header of version 2")
}
