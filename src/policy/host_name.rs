/// What a byte can be in a host name and what may follow it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Nothing,
    Label,
    Hyphen,
    Dot,
    Colon,
}

const OF_A_HOST: [Of; 256] = {
    let mut table = [Of::Nothing; 256];
    let mut rest: &mut [Of] = &mut table;
    let mut byte: u8 = 0;
    while let [place, others @ ..] = rest {
        *place = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => Of::Label,
            b'-' => Of::Hyphen,
            b'.' => Of::Dot,
            b':' => Of::Colon,
            _ => Of::Nothing,
        };
        rest = others;
        byte = byte.wrapping_add(1);
    }
    table
};

/// A host name that was looked through once.
pub(super) struct HostName {
    /// Its length in bytes: to the end, or to the colon before a port.
    pub(super) length: usize,
    /// Whether two hyphens stand side by side, as in every A-label.
    pub(super) has_two_hyphens: bool,
}

impl HostName {
    /// Reads a host name, perhaps with a dot at its end.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut before = Of::Dot;
        let mut has_two_hyphens = false;
        let mut length = 0;
        for byte in bytes {
            let of = OF_A_HOST.get(usize::from(*byte)).copied().unwrap_or(Of::Nothing);
            match of {
                Of::Label => {}
                Of::Hyphen => has_two_hyphens |= before == Of::Hyphen,
                Of::Dot if before != Of::Dot => {}
                Of::Colon => break,
                Of::Dot | Of::Nothing => return None,
            }
            before = of;
            length += 1;
        }
        // Nothing but a dot is no name; the first byte was taken for one behind a dot.
        (length > 0).then_some(Self { length, has_two_hyphens })
    }
}
