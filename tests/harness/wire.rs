//! HTTP/1.1 messages taken apart strictly, and only as far as needed.

/// A request as the recorder received it; nothing is normalised.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// On which of the recorder's connections, counted from 0.
    pub(crate) connection: usize,
    /// Every byte from the request line to the end of the body.
    pub(crate) raw: Vec<u8>,
    /// Request line, headers and the empty line.
    pub(crate) head: Head,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
}

/// The head of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Request line or status line.
    pub(crate) line: String,
    /// In order, names as received.
    pub(crate) headers: Vec<(String, String)>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    /// Nothing says: no body in a request, everything until the end in an answer.
    Unsaid,
}

impl Recorded {
    pub(crate) fn method(&self) -> &str {
        self.part(0)
    }

    /// Path and query, as received.
    pub(crate) fn target(&self) -> &str {
        self.part(1)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Every value of a header.
    pub(crate) fn header_all(&self, name: &str) -> Vec<&str> {
        self.head.header_all(name)
    }

    /// The names of all headers, lower case, sorted.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.head.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        names
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// Whether `needle` stands anywhere in what was received.
    pub(crate) fn contains(&self, needle: &str) -> bool {
        contains(&self.raw, needle.as_bytes())
    }

    fn part(&self, at: usize) -> &str {
        self.head.line.split(' ').nth(at).expect("a request line of three parts")
    }
}

impl Head {
    /// Takes a whole head apart, empty line included.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text =
            std::str::from_utf8(bytes).map_err(|e| format!("a head that is not text: {e}"))?;
        let text = text.strip_suffix("\r\n\r\n").ok_or("a head without its empty line")?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        for header in lines {
            let (name, value) = header.split_once(':').ok_or(format!("no colon in {header:?}"))?;
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(format!("not a header name: {name:?}"));
            }
            if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
                return Err(format!("a control character in the value of {name}: {value:?}"));
            }
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        if line.bytes().any(|b| b.is_ascii_control()) || line.split(' ').count() < 3 {
            return Err(format!("not a first line: {line:?}"));
        }
        Ok(Self { line, headers })
    }

    /// The value of a header that is there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.header_all(name);
        assert!(all.len() <= 1, "{name} is there {} times: {all:?}", all.len());
        all.first().copied()
    }

    pub(crate) fn header_all(&self, name: &str) -> Vec<&str> {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// How the body ends; doubt is an error.
    pub(crate) fn framing(&self) -> Result<Framing, String> {
        match (
            self.header_all("content-length")[..].as_ref(),
            &self.header_all("transfer-encoding")[..],
        ) {
            ([], []) => Ok(Framing::Unsaid),
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => {
                length.parse().map(Framing::Length).map_err(|e| format!("content-length: {e}"))
            }
            ([], ["chunked"]) => Ok(Framing::Chunked),
            (lengths, codings) => Err(format!("ambiguous framing: {lengths:?} and {codings:?}")),
        }
    }
}

/// Where the head ends, if it is all there.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The first chunk and how many bytes it took, if it is all there; an empty chunk is the last one.
pub(crate) fn chunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let Some(line_end) = bytes.windows(2).position(|window| window == b"\r\n") else {
        return if bytes.len() > 32 { Err("an endless chunk size".to_owned()) } else { Ok(None) };
    };
    let digits = std::str::from_utf8(&bytes[..line_end]).map_err(|e| e.to_string())?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("not a chunk size: {digits:?}"));
    }
    let size = usize::from_str_radix(digits, 16).map_err(|e| e.to_string())?;
    let (start, end) = (line_end + 2, line_end + 2 + size);
    match bytes.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((bytes[start..end].to_vec(), end + 2))),
        Some(other) => Err(format!("a chunk is followed by {other:?}")),
    }
}

/// A whole chunked body and how many bytes it took, if it is all there.
pub(crate) fn chunked_body(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        match chunk(&bytes[at..])? {
            None => return Ok(None),
            Some((data, length)) => {
                at += length;
                if data.is_empty() {
                    return Ok(Some((body, at)));
                }
                body.extend(data);
            }
        }
    }
}

/// Whether `needle` is in `haystack`.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
